import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evaluation.asked import evaluated, lines, world
from lookless.errors import RunError
from lookless.evaluation.compare import compare


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a run where everything is right, and the same with three wrong answers."""
    folder = tmp_path_factory.mktemp("runs")
    data = world(folder / "world", 12)
    evaluated(folder / "good", data)
    shutil.copytree(folder / "good", folder / "bad")
    rows = lines(folder / "good" / "samples.jsonl")
    for row in [row for row in rows if row["mode"] == "adaptive"][:3]:
        row["grade"] = 0.0
    (folder / "bad" / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "good", folder / "bad"


def edited(run: Path, out: Path, **changes: Any) -> Path:
    shutil.copytree(run, out)
    results = json.loads((out / "results.json").read_text())
    results["protocol"] |= changes
    (out / "results.json").write_text(json.dumps(results))
    return out


def test_runs_are_paired_by_example_in_each_mode(runs: tuple[Path, Path]) -> None:
    rows = {row["mode"]: row for row in compare(*runs, margin=0.01)}
    assert list(rows) == ["never", "always", "adaptive"]
    assert rows["never"]["difference"] == 0
    row = rows["adaptive"]
    assert (row["n"], row["difference"]) == (12, -0.25)
    assert (row["first"], row["second"]) == (1.0, 0.75)
    assert (row["only_first"], row["only_second"]) == (3, 0)
    assert not row["non_inferiority"]["is_shown"]
    assert row["p_holm"] == row["p"]  # one benchmark only


def test_swapping_the_runs_swaps_the_sign(runs: tuple[Path, Path]) -> None:
    there, back = compare(*runs, margin=0.01)[2], compare(*runs[::-1], margin=0.01)[2]
    assert there["difference"] == -back["difference"]
    assert there["p"] == back["p"]


def test_different_protocols_are_refused_and_named(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    protocol = json.loads((runs[0] / "results.json").read_text())["protocol"]
    prompts = {**protocol["prompts"], "never": protocol["prompts"]["never"] + " Think."}
    other = edited(runs[1], tmp_path / "other", seed=7, hash="x", prompts=prompts)
    with pytest.raises(RunError) as caught:
        compare(runs[0], other, 0.01)
    said = str(caught.value)
    assert "seed 0 and 7" in said
    assert "--ignore seed --ignore prompts.never" in said
    assert "Think.'" in said
    assert "hash" not in said
    assert len(compare(runs[0], other, 0.01, ["seed", "prompts"])) == 3


def test_a_prompt_of_a_mode_that_only_one_run_has_does_not_matter(
    tmp_path: Path, runs: tuple[Path, Path]
) -> None:
    protocol = json.loads((runs[0] / "results.json").read_text())["protocol"]
    prompts = {**protocol["prompts"], "toolfree": "?"}
    assert compare(runs[0], edited(runs[1], tmp_path / "other", prompts=prompts), 0.01)


def test_p_values_are_adjusted_over_benchmarks(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    for side, run in zip(("first", "second"), runs, strict=True):
        for name in ("lookworld", "own", "vstar"):
            out = edited(run, tmp_path / side / name)
            results = json.loads((out / "results.json").read_text())
            (out / "results.json").write_text(json.dumps(results | {"benchmark": name}))
    rows = compare(tmp_path / "first", tmp_path / "second", 0.01)
    adaptive = [row for row in rows if row["mode"] == "adaptive"]
    assert [row["benchmark"] for row in adaptive] == ["lookworld", "own", "vstar"]
    for row in adaptive:
        assert row["p_holm"] == min(3 * row["p"], 1.0)


@pytest.mark.parametrize("name", ["nowhere", "empty", "half"])
def test_what_is_no_finished_run_is_said(
    tmp_path: Path, runs: tuple[Path, Path], name: str
) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(runs[0], tmp_path / "half")
    (tmp_path / "half" / "results.json").unlink()
    with pytest.raises(RunError, match=f"that `lookless eval` finished, got .*{name}"):
        compare(tmp_path / name, runs[1], 0.01)


def test_runs_without_a_common_benchmark_or_mode_are_refused(
    tmp_path: Path, runs: tuple[Path, Path]
) -> None:
    other = edited(runs[1], tmp_path / "other")
    results = json.loads((other / "results.json").read_text())
    (other / "results.json").write_text(json.dumps(results | {"benchmark": "vstar"}))
    with pytest.raises(RunError, match="share a benchmark, got lookworld and vstar"):
        compare(runs[0], other, 0.01)
    modes = {"toolfree": results["modes"]["never"]}
    results["protocol"]["prompts"]["toolfree"] = "?"
    (other / "results.json").write_text(json.dumps(results | {"modes": modes}))
    with pytest.raises(RunError, match="share a mode, got never, always, adaptive and toolfree"):
        compare(runs[0], other, 0.01)
