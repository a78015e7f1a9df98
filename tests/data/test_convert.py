import json
import os
from pathlib import Path
from typing import Any

import pytest

from data.layouts import converted, picture, records_in, shown_in, silent, write_json, write_lines
from lookless.benchmarks import own
from lookless.benchmarks.questions import Selection, read_questions, with_images
from lookless.data.convert import ConvertConfig, convert, in_validation
from lookless.data.questions import read_questions as questions_of
from lookless.data.reader import Reading
from lookless.data.readers.registry import READERS
from lookless.errors import RunError
from lookless.frames import Frame


def rows(folder: Path, count: int = 40) -> Path:
    found = []
    for k in range(count):
        picture(folder / f"{k}.jpg", k)
        found += [
            {"image": f"{k}.jpg", "question": f"Which digit, {n}?", "answer": str(k)}
            for n in range(2)
        ]
    return write_lines(folder / "q.jsonl", found)


def test_ids_depend_on_pixels_and_words_alone(tmp_path: Path) -> None:
    file = rows(tmp_path / "in", 3)
    converted("vqa", file, tmp_path / "one")
    lines = file.read_text().splitlines()
    (tmp_path / "in/other.jsonl").write_text("\n".join(reversed(lines)))
    os.rename(tmp_path / "in/1.jpg", tmp_path / "in/renamed.jpg")
    text = (tmp_path / "in/other.jsonl").read_text().replace("1.jpg", "renamed.jpg")
    (tmp_path / "in/other.jsonl").write_text(text)
    converted("vqa", tmp_path / "in/other.jsonl", tmp_path / "two")
    first, second = (
        {r.id: (r.question, r.sha256) for r in records_in(tmp_path / name)}
        for name in ("one", "two")
    )
    assert first == second
    assert len(first) == 6


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_validation_is_split_by_image(kind: str, tmp_path: Path) -> None:
    file = rows(tmp_path / "in")
    made = converted("vqa", file, tmp_path / "out", validation=0.3, kind=kind)
    train = records_in(tmp_path / "out", f"questions.{kind}")
    held = records_in(tmp_path / "out", f"validation.{kind}")
    assert (len(train), len(held)) == (made.questions, made.validation)
    assert 0.1 < len(held) / 80 < 0.5
    assert not {r.sha256 for r in train} & {r.sha256 for r in held}
    assert all(in_validation(r.sha256, 0.3) for r in held)


def test_a_larger_set_keeps_images_on_their_side(tmp_path: Path) -> None:
    converted("vqa", rows(tmp_path / "few", 20), tmp_path / "one", validation=0.3)
    converted("vqa", rows(tmp_path / "many", 40), tmp_path / "two", validation=0.3)
    before = {r.sha256 for r in records_in(tmp_path / "one", "validation.jsonl")}
    after = {r.sha256 for r in records_in(tmp_path / "two", "validation.jsonl")}
    assert before <= after
    assert not before & {r.sha256 for r in records_in(tmp_path / "two")}


def test_repeated_rows_are_counted_and_one_id_for_two_questions_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    row = {"image": "a.jpg", "question": "Which?", "answer": "0"}
    found = [row, row, {**row, "id": "x"}, {**row, "id": "x", "question": "Why?"}]
    made = converted("vqa", write_lines(tmp_path / "q.jsonl", found), tmp_path / "out")
    assert (made.questions, made.repeated, made.broken.total()) == (2, 1, 1)


def test_several_trajectories_of_one_question_have_ids_of_their_own(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    talk = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "GO"}]
    found = [{"id": "1", "image": "a.jpg", "conversations": talk}] * 2
    made = converted("sharegpt", write_json(tmp_path / "q.json", found), tmp_path / "out")
    assert (made.questions, made.demonstrations, made.repeated) == (1, 2, 1)
    assert [one.id for one in shown_in(tmp_path / "out")] == ["1", "1-1"]


def test_an_interrupted_conversion_leaves_no_half_files_and_can_be_continued(
    tmp_path: Path,
) -> None:
    file = rows(tmp_path / "in", 4)
    config, out = ConvertConfig(), tmp_path / "out"

    def dying(path: Path, reading: Reading) -> Any:
        for k, found in enumerate(READERS["vqa"].load(path, reading)):
            if k == 3:
                raise KeyboardInterrupt
            yield found

    broken = type(READERS["vqa"])("vqa", "", dying)
    with pytest.raises(KeyboardInterrupt):
        convert(broken, file, out, Reading(), config, silent)
    assert not (out / "questions.jsonl").exists()
    with pytest.raises(RunError, match="--resume"):
        convert(READERS["vqa"], file, out, Reading(), config, silent)
    made = convert(READERS["vqa"], file, out, Reading(), config, silent, resume=True)
    assert made.questions == len(records_in(out)) == 8
    assert not list(out.glob("*.part"))


def test_records_are_read_by_the_reader_of_own_questions_as_they_are_here(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    found = [
        {"image": "a.jpg", "question": "Which digit?", "answer": ["0", "zero"], "category": "read"},
        {"image": "a.jpg", "question": "Which colour?", "answer": "B", "options": ["red", "blue"],
         "boxes": [[1, 2, 30, 40]]},
    ]  # fmt: skip
    file = write_lines(tmp_path / "q.jsonl", found)
    for name, settings in (("usual", {}), ("bare", {"instruction": ""})):
        out = tmp_path / name
        converted("vqa", file, out, Reading(Frame.SOURCE), **settings)
        _, ours = questions_of(out / "questions.jsonl")
        chosen = read_questions(own.BENCHMARK, out / "questions.jsonl", Selection())
        theirs = with_images(own.BENCHMARK, out / "questions.jsonl", chosen, tmp_path / "cache")
        assert ours == theirs.questions
    assert ours[0].text == "Which digit?"
    assert ours[1].text == "Which colour?\nA. red\nB. blue"
    assert ours[1].answer == "B"


def test_all_lines_have_the_same_fields(tmp_path: Path) -> None:
    converted("vqa", rows(tmp_path / "in", 2), tmp_path / "out")
    lines = (tmp_path / "out/questions.jsonl").read_text().splitlines()
    assert len({tuple(json.loads(line)) for line in lines}) == 1


def test_datasets_reads_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for kind, name in (("jsonl", "json"), ("parquet", "parquet")):
        out = tmp_path / kind
        converted("vqa", rows(tmp_path / f"in-{kind}", 3), out, kind=kind)
        loaded = datasets.load_dataset(
            name, data_files=str(out / f"questions.{kind}"), split="train",
            cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        assert loaded.num_rows == 6
        assert loaded[0]["answer"] == ["0"]
        assert loaded[0]["width"] == 400
