"""The commands about data, from somebody's files to training and to other trainers."""

import json
from pathlib import Path

import pytest
from PIL import Image

from data.layouts import picture, write_lines
from lookless.demonstrations import read_demonstrations
from lookless.lookworld.dataset import Split, export
from lookless.lookworld.dataset import questions as world
from served import serving
from synthesis.model import play, questions
from test_cli import mistake, run_here


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for k in range(6):
        picture(tmp_path / f"in/{k}.jpg", k)
    rows = [
        {"image": f"{k}.jpg", "question": "Which?", "answer": str(k), "boxes": [[5, 5, 90, 60]]}
        for k in range(6)
    ]
    return write_lines(tmp_path / "in/q.jsonl", [*rows, {"image": "0.jpg", "question": "?"}])


def test_from_a_table_to_other_trainers(table: Path, tmp_path: Path) -> None:
    data, shown = str(tmp_path / "data"), str(tmp_path / "shown")
    done = run_here("convert", "vqa", str(table), "--frame", "source", "--out", data)
    assert done.returncode == 0
    assert "questions 6" in " ".join(done.stdout.split())
    assert "rows left out" in done.stdout
    assert run_here("validate", data).returncode == 0
    done = run_here("synth", "boxes", data, "--out", shown, "--mix", "look=0.5", "--set", "grid=25")
    assert "demonstrations 6" in " ".join(done.stdout.split())
    for target, file in (("verl", "sft_demonstrations.parquet"), ("ms-swift", "config.json")):
        out = tmp_path / target
        assert run_here("export", target, shown, "--out", str(out)).returncode == 0
        assert (out / file).is_file()
    for folder in (data, shown):
        assert run_here("report", folder).returncode == 0
        page = (Path(folder) / "report.html").read_text()
        assert "data:image/" in page
    assert "answer or answers" in (Path(data) / "report.html").read_text()


def test_wrong_data_ends_with_code_2_and_says_where(table: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    run_here("convert", "vqa", str(table), "--frame", "source", "--out", str(data))
    file = data / "questions.jsonl"
    file.write_text(file.read_text().replace('"width": 400', '"width": 40', 1))
    done = run_here("validate", str(data))
    assert done.returncode == 2
    assert "'questions.jsonl' row 1" in done.stdout
    found = json.loads(run_here("validate", str(data), "--json").stdout)
    assert found["count"] == 1


def test_a_benchmarks_image_is_refused(table: Path, tmp_path: Path) -> None:
    asked = export(tmp_path / "scenes", list(world(Split.TEST, 6)))
    images = list(dict.fromkeys(question.image for question in asked))
    rows = [{"image": str(file), "question": "Which?", "answer": "1"} for file in images]
    file, data = write_lines(tmp_path / "q.jsonl", rows), tmp_path / "data"
    run_here("convert", "vqa", str(file), "--out", str(data))
    (tmp_path / "bench").mkdir()
    with Image.open(images[0]) as image:
        image.resize((300, 300)).save(tmp_path / "bench/small.jpg", quality=60)
    against = ["--against", f"mine={tmp_path / 'bench'}"]
    done = run_here("dedupe", str(data), *against)
    assert done.returncode == 2
    assert "also in mine 1" in " ".join(done.stdout.split())
    out = tmp_path / "clean"
    assert run_here("dedupe", str(data), *against, "--out", str(out)).returncode == 0
    assert len((out / "questions.jsonl").read_text().splitlines()) == len(images) - 1
    assert json.loads(run_here("dedupe", str(data), "--json").stdout)["pairs"] == []


def test_a_server_is_probed_and_taught_from(tmp_path: Path) -> None:
    data = questions(tmp_path, 6)
    with serving() as server:
        server.play = play
        words = ["--model", server.url, "--samples", "2", "--yes"]
        done = run_here("probe", str(data), *words, "--out", str(tmp_path / "probed"))
        assert done.returncode == 0, done.stderr
        assert "need" in done.stdout
        assert "cost, about" in done.stdout
        own = ["--out", str(tmp_path / "own")]
        assert run_here("synth", "model", str(data), *words, *own).returncode == 0
        more = ["--answers", str(tmp_path / "own"), "--out", str(tmp_path / "corrected")]
        done = run_here("synth", "corrections", str(data), *words, *more)
        assert done.returncode == 0, done.stderr
    folders = [str(tmp_path / name) for name in ("own", "corrected")]
    done = run_here("synth", "merge", *folders, "--out", str(tmp_path / "all"))
    assert done.returncode == 0, done.stderr
    parts = [read_demonstrations(Path(name) / "demonstrations.jsonl") for name in folders]
    together = read_demonstrations(tmp_path / "all/demonstrations.jsonl")
    assert len(together) == sum(map(len, parts))
    account = json.loads((tmp_path / "own/account.json").read_text())
    assert account["costs"]["answers"] == 24
    assert (tmp_path / "probed/report.html").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["convert", "nothing", ".", "--out", "o"], "reader must be one of"),
        (["convert", "vqa", "gone.csv", "--out", "o"], "path must be files that are there"),
        (["convert", "vqa", ".", "--frame", "metres", "--out", "o"], "frame must be one of"),
        (["convert", "vqa", ".", "--option", "x", "--out", "o"], "option must be NAME=VALUE"),
        (["validate", "gone"], "data must be a folder"),
        (["synth", "boxes", "gone", "--out", "o"], "data must be a folder"),
        (["synth", "boxes", "gone", "--mix", "look=2", "--out", "o"], "mix: look"),
        (["synth", "boxes", "gone", "--mix", "see=1", "--out", "o"], "mix: see"),
        (["synth", "boxes", "gone", "--set", "grid=0", "--out", "o"], "grid"),
        (["probe", "gone", "--model", "scripted:gold", "--out", "o"], "data must be a folder"),
        (["dedupe", "gone", "--against", "vstar"], "against must be NAME=VALUE"),
        (["dedupe", "gone", "--against", "other=gone"], "against must name a benchmark"),
        (["synth", "merge", "gone", "--out", "o"], "folders must hold demonstrations.jsonl"),
        (["export", "nobody", ".", "--out", "o"], "target must be one of"),
        (["export", "verl", ".", "--out", "o"], "data must be a folder"),
        (
            ["convert", "vqa", ".", "--option", "ask=count", "--out", "o"],
            "option must be of images",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in mistake(run_here(*words))
    assert not (tmp_path / "o").exists()
