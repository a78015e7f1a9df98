from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.made import as_text, image_file, picture, tsv
from lookless.benchmarks.benchmark import Benchmark, Entry, share
from lookless.benchmarks.lookworld import BENCHMARK as LOOKWORLD
from lookless.benchmarks.questions import Chosen, Selection, read_questions, with_images
from lookless.benchmarks.tables import Files
from lookless.episode import Question
from lookless.errors import ConfigError, DataError


def load(files: Files) -> Iterator[Entry]:
    for row in files.rows("*.tsv"):
        question = Question(row.text("index"), Path(), "?", "A", family=row.text("family"))
        names = [name for name in ("image", "second") if row.has(name)]
        yield Entry(question, tuple(row.image(name) for name in names))


def benchmark(**counts: int) -> Benchmark:
    return replace(LOOKWORLD, title="Made", load=load, counts=counts,
                   score=lambda graded: [share("accuracy", graded)])  # fmt: skip


def row(index: str, image: str, family: str = "a", **more: Any) -> dict[str, Any]:
    return {"index": index, "image": image, "family": family} | more


def asked(
    folder: Path, rows: Sequence[dict[str, Any]], selection: Selection | None = None
) -> Chosen:
    table = tsv(folder / "made.tsv", rows)
    chosen = read_questions(benchmark(), table, selection or Selection())
    return with_images(benchmark(), table, chosen, folder / "cache")


def test_embedded_images_become_files_and_equal_ones_share_theirs(tmp_path: Path) -> None:
    one, other = as_text(picture(1)), as_text(picture(2))
    found = asked(tmp_path, [row("1", one), row("2", one), row("3", other)]).questions
    assert found[0].image == found[1].image != found[2].image
    with Image.open(found[2].image) as image:
        assert image.getpixel((0, 0)) == (2, 90, 200)
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_reference_leads_to_the_row_that_carries_the_image(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    rows = [row("1", as_text(picture(1))), row("2", "1"), row("3", "1")]
    found = asked(tmp_path, [rows[k] for k in order]).questions
    assert len({question.image for question in found}) == 1


def test_a_carrier_that_was_not_chosen_is_read_for_its_image_only(tmp_path: Path) -> None:
    rows = [row("1", "3"), row("2", as_text(picture(2))), row("3", as_text(picture(1)))]
    found = asked(tmp_path, rows, Selection(ids=("1",)))
    assert [question.id for question in found.questions] == ["1"]
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("1", "9")], "'made.tsv' row 1: image .*got '9', which is no row"),
        ([row("1", "2"), row("2", "1")], "row [12]: image .*which carries none"),
        ([row("1", as_text(picture())[:-5])], "row 1: image must be an image as base64"),
    ],
)
def test_a_bad_image_field_is_named(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    pad = "A" * 80  # long enough to be no reference
    rows = [r | {"image": r["image"] + pad + "!"} if len(r["image"]) > 70 else r for r in rows]
    with pytest.raises(DataError, match=said):
        asked(tmp_path, rows)


def test_questions_about_several_images_are_left_out_and_counted(tmp_path: Path) -> None:
    image = as_text(picture())
    rows = [row("1", image, second=image), row("2", image, second=""), row("3", "", second="")]
    found = asked(tmp_path, rows)
    assert [question.id for question in found.questions] == ["2"]
    assert found.left_out == {"several images": 1, "no image": 1}
    assert not found.is_complete


def test_counts_of_the_official_file_are_asserted(tmp_path: Path) -> None:
    table = tsv(tmp_path / "made.tsv", [row("1", "x", "a"), row("2", "x", "b")])
    assert read_questions(benchmark(a=1, b=1), table, Selection()).is_complete
    said = r"Made must have 5 rows, got 2 in .*\(a 1 of 2, b 1 of 3\).*--partial"
    with pytest.raises(DataError, match=said):
        read_questions(benchmark(a=2, b=3), table, Selection())
    found = read_questions(benchmark(a=2, b=3), table, Selection(), is_partial=True)
    assert not found.is_complete
    assert len(found.questions) == 2
    with pytest.raises(DataError, match="in all 2 of 3"):
        read_questions(benchmark(**{"": 3}), table, Selection())
    with pytest.raises(DataError, match=r"must have 1 rows, got 2 .*unknown categories"):
        read_questions(benchmark(a=1), table, Selection())


def test_a_part_of_the_questions_is_not_complete(tmp_path: Path) -> None:
    table = tsv(tmp_path / "made.tsv", [row("1", "x", "a"), row("2", "x", "b")])
    found = read_questions(benchmark(a=1, b=1), table, Selection(limit=1))
    assert [question.id for question in found.questions] == ["1"]
    assert not found.is_complete


def test_two_questions_of_one_id_are_refused(tmp_path: Path) -> None:
    table = tsv(tmp_path / "made.tsv", [row("1", "x"), row("1", "x")])
    with pytest.raises(DataError, match=r"ids .* must be distinct, got '1' twice"):
        read_questions(benchmark(), table, Selection())


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(ids=("1", "7")), "ids must be of the benchmark, got '7'; there is 1, 2"),
        (Selection(categories=("c",)), "categories must be .* got 'c'; there is a, b"),
        (Selection(ids=("1",), categories=("b",)), "questions must be at least one"),
    ],
)
def test_a_selection_of_nothing_is_refused(tmp_path: Path, selection: Selection, said: str) -> None:
    table = tsv(tmp_path / "made.tsv", [row("1", "x", "a"), row("2", "x", "b")])
    with pytest.raises(ConfigError, match=said):
        read_questions(benchmark(), table, selection)


def test_image_files_are_used_where_they_are(tmp_path: Path) -> None:
    def from_files(files: Files) -> Iterator[Entry]:
        for one in files.rows("*.tsv", images=()):
            yield Entry(Question(one.text("index"), Path(), "?", "A"), (one.file("image"),))

    made = replace(benchmark(), load=from_files)
    file = image_file(tmp_path / "pictures" / "1.png")
    table = tsv(tmp_path / "made.tsv", [row("1", "pictures/1.png")])
    chosen = read_questions(made, table, Selection())
    assert with_images(made, table, chosen, tmp_path / "cache").questions[0].image == file
    assert not (tmp_path / "cache").exists()
