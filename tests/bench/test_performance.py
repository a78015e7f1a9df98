"""The measurements of speed run, and compare what they say they compare."""

import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookless.images import PixelBudget

ROOT = Path(__file__).parents[2]
SMALL = (
    "--prefix-tokens 120 --visual-tokens 16 --crop-tokens 4 --tail-tokens 60 --rollouts 6 "
    "--hidden 64 --layers 2 --vision-hidden 64 --vision-layers 1 --rounds 1 --no-trl"
)


@pytest.fixture(autouse=True)
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))


def printed(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the object that a command prints last."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words.split()])
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    importlib.import_module(name).main()
    found: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return found


@pytest.mark.parametrize("more", ["", "--no-train-vision --checkpointing --batch-tokens 400"])
def test_an_update_is_measured(more: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "update.json"
    found = printed("update", f"{SMALL} {more} --out {out}", monkeypatch)
    assert found.items() <= json.loads(out.read_text()).items()
    assert (found["prefix_tokens"], found["tail_tokens"]) == (120, 60)
    assert (found["visual_tokens"], found["rollouts"]) == (16, 6)
    assert abs(found["packed_tokens"] - (120 + 6 * 60)) < 6 * 16  # they branch at multiples of 16
    assert 0 < found["max_relative_gradient_error"] < 1e-4
    assert found["gradient_errors"]["batched"] < 1e-4
    assert found["flop_limit"] > 1.5
    assert found["speedup_vs_plain"] == pytest.approx(
        found["seconds_plain"] / found["seconds_ours"]
    )
    assert found["seconds_trl"] is None


def test_lengths_without_room_for_words_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        printed("update", SMALL.replace("--tail-tokens 60", "--tail-tokens 9"), monkeypatch)
    assert ended.value.code == 2
    assert "lengths must leave room for words" in capsys.readouterr().err


def test_rollouts_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    found = printed("rollouts", "--queries 1 --rounds 1 --no-trl", monkeypatch)
    assert found["rollouts"] == 16
    assert found["same_greedy_rollouts"] == 1
    assert found["speedups"].keys() == {"generate"}
    assert sum(found["phases"].values()) > 0


def test_images_are_measured(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpeg"
    Image.effect_noise((1600, 1200), 40).convert("RGB").save(file)
    compare = importlib.import_module("images").compare
    found = compare(file, PixelBudget(1, 200 * 150, 1), 1)
    assert found.keys() == {"overview", "overview and crop"}
    assert 0 < found["overview"]["levels_off_mean"] < 3
    assert found["overview"]["held_mb"] == pytest.approx(found["overview"]["held_mb_whole"] / 16)
