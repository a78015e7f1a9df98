import io
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.layouts import converted, records_in, silent, write_lines
from lookless.data.dedupe import look_for, write_clean
from lookless.data.phash import distance, groups, hash_of, near, perceptual_hash
from lookless.data.validate import validate
from lookless.errors import DataError
from lookless.lookworld.dataset import Split, export, questions

ALIKE = 24
words = st.integers(0, 2**64 - 1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return images of distinct scenes over few backgrounds."""
    folder = tmp_path_factory.mktemp("scenes")
    asked = export(folder, list(questions(Split.TRAIN, 60)))
    return list(dict.fromkeys(question.image for question in asked))


def changed(file: Path, scale: float, quality: int, kind: str = "JPEG") -> Image.Image:
    with Image.open(file) as image:
        size = round(image.width * scale), round(image.height * scale)
        stream = io.BytesIO()
        image.resize(size, Image.Resampling.LANCZOS).save(stream, kind, quality=quality)
    return Image.open(stream)


@pytest.mark.parametrize(
    ("scale", "quality", "kind"),
    [(1.0, 30, "JPEG"), (0.5, 75, "JPEG"), (0.25, 60, "JPEG"), (1.7, 90, "WEBP"), (0.8, 50, "PNG")],
)
def test_resized_and_recompressed_images_look_alike(
    scale: float, quality: int, kind: str, scenes: list[Path]
) -> None:
    for file in scenes[:10]:
        bits = distance(perceptual_hash(file), hash_of(changed(file, scale, quality, kind)))
        assert bits <= ALIKE


def test_distinct_scenes_do_not_look_alike(scenes: list[Path]) -> None:
    hashes = [perceptual_hash(file) for file in scenes]
    assert min(distance(a, b) for a, b in combinations(hashes, 2)) > ALIKE


@given(st.lists(st.tuples(words, words, words, words), min_size=2, max_size=12), st.data())
def test_near_finds_all_pairs_that_are_near(
    found: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    hashes = np.array(found, np.uint64)
    turned = data.draw(st.lists(st.integers(0, 255), max_size=40))
    for bit in turned:  # one hash becomes like the first one, but for some bits
        hashes[1, bit // 64] = hashes[0, bit // 64] ^ np.uint64(1 << bit % 64)
    most = data.draw(st.integers(0, 31))
    rows = [tuple(row) for row in hashes.tolist()]
    firsts = [rows.index(row) for row in rows]
    wanted = {(first, k) for k, first in enumerate(firsts) if first != k}
    wanted |= {
        (i, j)
        for i, j in combinations(sorted(set(firsts)), 2)
        if distance(hashes[i], hashes[j]) <= most
    }
    pairs = list(near(hashes, most=most))
    assert set(pairs) == wanted
    assert len(pairs) == len(wanted)
    crossed = set(near(hashes[:1], hashes, most))
    assert crossed == {(0, j) for j in range(len(hashes)) if distance(hashes[0], hashes[j]) <= most}


def test_more_bits_than_bands_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 31"):
        list(near(np.zeros((1, 4), np.uint64), most=32))


def test_groups_follow_chains() -> None:
    assert groups(5, [(3, 4), (0, 1), (1, 4)]) == [0, 0, 2, 0, 0]


def made(tmp_path: Path, scenes: list[Path]) -> Path:
    """Return records about five scenes and a small copy of the first."""
    folder = tmp_path / "in"
    folder.mkdir()
    for k, file in enumerate(scenes[:5]):
        (folder / f"{k}.jpg").write_bytes(file.read_bytes())
    changed(scenes[0], 0.5, 80).save(folder / "copy.jpg", quality=80)
    rows = [{"image": f"{k}.jpg", "question": "Which?", "answer": "1"} for k in range(5)]
    rows += [{"image": "copy.jpg", "question": q, "answer": "1"} for q in ("which?", "Another?")]
    converted("vqa", write_lines(folder / "q.jsonl", rows), tmp_path / "data", validation=0.5)
    return tmp_path / "data"


def test_a_planted_copy_of_a_benchmarks_image_is_caught(tmp_path: Path, scenes: list[Path]) -> None:
    data = made(tmp_path, scenes)
    planted = tmp_path / "benchmark.jpg"
    changed(scenes[3], 0.6, 70).save(planted, quality=70)
    found = look_for(data, {"vstar": [planted, scenes[20]]}, ALIKE, silent)
    assert found.by_benchmark == {"vstar": 1}
    cleaned = write_clean(data, tmp_path / "clean", found)
    assert (cleaned.contaminated, cleaned.repeated, cleaned.kept) == (1, 1, 5)
    assert validate(tmp_path / "clean", silent).count == 0
    flagged = write_clean(data, tmp_path / "flagged", found, flag=True)
    assert (flagged.contaminated, flagged.kept) == (0, 6)


def test_copies_keep_together_and_ask_each_question_once(
    tmp_path: Path, scenes: list[Path]
) -> None:
    data = made(tmp_path, scenes)
    rows = [
        json.loads(line)
        for name in ("questions.jsonl", "validation.jsonl")
        for line in (data / name).read_text().splitlines()
    ]
    write_lines(data / "questions.jsonl", [row for row in rows if row["width"] == 1024])
    write_lines(data / "validation.jsonl", [row for row in rows if row["width"] != 1024])
    found = look_for(data, {}, ALIKE, silent)
    [pair] = found.pairs
    assert pair.benchmark is None
    assert pair.bits <= ALIKE
    cleaned = write_clean(data, tmp_path / "clean", found)
    # "which?" of the copy repeats "Which?" of its original; "Another?" moves to where that is.
    assert (cleaned.kept, cleaned.repeated, cleaned.moved) == (6, 1, 1)
    assert not (tmp_path / "clean/validation.jsonl").exists()
    assert sorted(r.question for r in records_in(tmp_path / "clean")) == (
        ["Another?"] + ["Which?"] * 5
    )


def test_other_answers_to_a_copy_are_kept(tmp_path: Path, scenes: list[Path]) -> None:
    data = made(tmp_path, scenes)
    for name in ("questions.jsonl", "validation.jsonl"):
        file = data / name
        file.write_text(
            file.read_text().replace('"which?", "answer": ["1"]', '"which?", "answer": ["2"]')
        )
    cleaned = write_clean(data, tmp_path / "clean", look_for(data, {}, ALIKE, silent))
    assert (cleaned.kept, cleaned.repeated) == (7, 0)


def test_unreadable_images_are_listed_and_left_out(tmp_path: Path, scenes: list[Path]) -> None:
    data = made(tmp_path, scenes)
    record = next(iter(records_in(data)))
    (data / record.image).write_bytes(b"no image")
    found = look_for(data, {}, ALIKE, silent)
    assert len(found.unreadable) == 1
    cleaned = write_clean(data, tmp_path / "clean", found)
    assert cleaned.unreadable >= 1
    assert validate(tmp_path / "clean", silent).count == 0


def test_nothing_to_compare_with_is_refused(tmp_path: Path, scenes: list[Path]) -> None:
    data = made(tmp_path, scenes)
    for others in ([], [tmp_path / "gone.jpg"]):
        with pytest.raises(DataError, match="against must be images that can be read"):
            look_for(data, {"vstar": others}, ALIKE, silent)
