from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from lookless.benchmarks import hub
from lookless.benchmarks.hub import download
from lookless.benchmarks.registry import BENCHMARKS
from lookless.errors import DataError


def test_only_what_a_benchmark_needs_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, list[str]]] = []

    def fetched(name: str, *, repo_type: str, allow_patterns: list[str]) -> str:
        asked.append((name, repo_type, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", fetched)
    assert download(BENCHMARKS["vstar"]) == tmp_path
    assert download(BENCHMARKS["infovqa"]) == tmp_path
    folders = ["test_questions.jsonl", "direct_attributes/*", "relative_position/*"]
    assert asked == [
        ("craigwu/vstar_bench", "dataset", folders),
        ("lmms-lab/DocVQA", "dataset", ["InfographicVQA/validation-*.parquet"]),
    ]


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("no network\nat all"), ConnectionError("refused")]
)
def test_without_a_network_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*names: Any, **settings: Any) -> str:
        raise error

    monkeypatch.setattr(hub, "snapshot_download", fails)
    with pytest.raises(DataError, match=r"DreamMr/HR-Bench must be within reach.*--data PATH"):
        download(BENCHMARKS["hrbench_4k"])


@pytest.mark.parametrize("name", ["own", "lookworld", "mmbench"])
def test_what_is_not_on_the_hub_has_to_be_given(name: str) -> None:
    with pytest.raises(DataError, match=f"data must be given for {name}"):
        download(BENCHMARKS[name])
