import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lookless.episode import Mode
from lookless.errors import RunError
from lookless.runs import append_jsonl, keep_rows, open_run, plain, read_jsonl, revision, write_json

CONFIG: dict[str, Any] = {
    "seed": 0,
    "mode": Mode.FORCED,
    "rl": {"steps": 3, "modes": (Mode.FORCED,)},
}


def test_config_is_saved_before_anything_else(tmp_path: Path) -> None:
    folder = open_run(tmp_path / "a" / "b", CONFIG)
    assert [file.name for file in folder.iterdir()] == ["config.json"]
    saved = json.loads((folder / "config.json").read_text())
    assert saved["config"] == {
        "seed": 0, "mode": "forced", "rl": {"steps": 3, "modes": ["forced"]},
    }  # fmt: skip
    assert saved["versions"]["torch"]
    assert saved["versions"]["python"]
    assert {"revision", "machine", "argv"} <= set(saved)


def test_empty_folder_may_be_used(tmp_path: Path) -> None:
    assert open_run(tmp_path, CONFIG) == tmp_path


def test_folder_with_content_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(RunError, match="must be new") as caught:
        open_run(tmp_path, CONFIG)
    assert str(tmp_path) in str(caught.value)
    assert "--resume" in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["precious.txt"]


def test_finished_run_is_not_started_again(tmp_path: Path) -> None:
    before = (open_run(tmp_path / "run", CONFIG) / "config.json").read_text()
    with pytest.raises(RunError, match="must be new"):
        open_run(tmp_path / "run", CONFIG)
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_identical_config_is_resumed_and_its_file_kept(tmp_path: Path) -> None:
    before = (open_run(tmp_path / "run", CONFIG) / "config.json").read_text()
    assert open_run(tmp_path / "run", dict(reversed(CONFIG.items())), resume=True)
    assert (tmp_path / "run" / "config.json").read_text() == before


@pytest.mark.parametrize(
    ("change", "name"),
    [({"seed": 1}, "seed"), ({"rl": {"steps": 4}}, "rl"), ({"extra": 1}, "extra")],
)
def test_another_config_is_not_resumed(tmp_path: Path, change: dict[str, Any], name: str) -> None:
    before = (open_run(tmp_path / "run", CONFIG) / "config.json").read_text()
    with pytest.raises(RunError, match=f"got another {name};"):
        open_run(tmp_path / "run", CONFIG | change, resume=True)
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_folder_that_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(RunError):
        open_run(tmp_path, CONFIG, resume=True)
    assert not (tmp_path / "config.json").exists()


def test_reader_never_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results.json"
    write_json(file, {"step": 1})

    def cut(self: Path, text: str) -> int:
        with self.open("w") as stream:
            stream.write(text[: len(text) // 2])
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", cut)
        with pytest.raises(OSError, match="disk full"):
            write_json(file, {"step": 2})
    assert json.loads(file.read_text()) == {"step": 1}
    write_json(file, {"step": 3})
    assert json.loads(file.read_text()) == {"step": 3}
    assert list(tmp_path.iterdir()) == [file]


def test_unknown_object_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    write_json(file, 1)
    with pytest.raises(TypeError, match="cannot write object as JSON"):
        write_json(file, object())
    assert file.read_text() == "1\n"


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    rows = [{"text": "two\nlines \u2028 é"}, {"step": 2, "mode": Mode.FORCED}]
    for row in rows:
        append_jsonl(tmp_path / "log.jsonl", row)
    assert read_jsonl(tmp_path / "log.jsonl") == [rows[0], {"step": 2, "mode": "forced"}]


@pytest.mark.parametrize("cut", range(1, 12))
def test_last_line_cut_anywhere_is_left_out(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "log.jsonl"
    append_jsonl(file, {"step": 1})
    append_jsonl(file, {"step": 2})
    text = file.read_text()
    file.write_text(text[:-cut])
    # Without its line break alone, the last row is still whole.
    assert read_jsonl(file) == [{"step": 1}, {"step": 2}][: 2 if cut == 1 else 1]


@dataclass
class Named:
    file: Path


def test_paths_enums_and_dataclasses_become_json() -> None:
    assert plain(Path("a/b")) == "a/b"
    assert plain(Mode.FORCED) == "forced"
    assert json.dumps(Named(Path("x")), default=plain) == '{"file": "x"}'
    with pytest.raises(TypeError):
        plain(Named)


def test_rows_that_are_not_kept_leave_the_file(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    keep_rows(file, lambda row: True)
    assert not file.exists()
    for step in range(5):
        append_jsonl(file, {"step": step})
    keep_rows(file, lambda row: row["step"] < 3)
    assert [row["step"] for row in read_jsonl(file)] == [0, 1, 2]
    assert [f.name for f in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("precious")
    with pytest.raises(RunError, match="got the file"):
        open_run(tmp_path / "taken", CONFIG)


def test_revision_is_unknown_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert revision() is None
