"""The example that shows the whole method in one file runs, and stays one file to read."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "rgrl_in_one_file.py"


@pytest.mark.slow
def test_the_example_trains_and_evaluates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--steps", "2", "--queries", "2", "--sft-questions", "40", "--eval-questions", "6"]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--out", str(tmp_path), *arguments])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    assert "RGRL step 2" in out
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["never", "always", "rgrl"]


def test_the_example_is_at_most_300_lines() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 300
