from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.made import as_text, feature, image_file, lines, listed, parquet, picture, tsv
from lookless.benchmarks.stored import Embedded, Reference
from lookless.benchmarks.tables import Files, ImageKeys, Row, read_json
from lookless.errors import DataError
from lookless.frames import Box, Frame

WHERE = "'t.tsv' row 2"


def row(**values: Any) -> Row:
    return Row(values, WHERE, Path("data"))


# --- Files


def test_the_first_pattern_that_any_file_fits_is_taken(tmp_path: Path) -> None:
    for name in ("b.tsv", "a.tsv", "c.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "folder.parquet").mkdir()
    found = Files(tmp_path).tables("*.parquet", "*.tsv", "*.jsonl")
    assert [file.name for file in found] == ["a.tsv", "b.tsv"]


def test_one_table_is_taken_whatever_its_name(tmp_path: Path) -> None:
    file = lines(tmp_path / "mine.JSONL", [{"a": 1}])
    assert Files(file).tables("official.tsv") == [file]
    assert Files(file).folder == Files(tmp_path).folder == tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", r"data must be a folder or a table, got .*nowhere', which is not there"),
        ("table.xlsx", r"table must be one of .tsv, .*, got .*table.xlsx'; convert it"),
        (".", r"data must hold a.tsv or \*.parquet, got .* without; name the file itself"),
    ],
)
def test_data_that_is_not_there_is_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "table.xlsx").touch()
    with pytest.raises(DataError, match=said):
        Files(tmp_path / name).tables("a.tsv", "*.parquet")


def test_every_kind_of_table_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "question": 'two\nlines, a\ttab and "quotes"'},
        {"id": "2", "question": "é"},
    ]
    listed(tmp_path / "list.json", rows)
    (tmp_path / "data.json").write_text(
        '\ufeff{"version": 1, "data": [{"id": "1", "question": "two\\nlines, a\\ttab and '
        '\\"quotes\\""}, {"id": "2", "question": "\\u00e9"}]}'
    )
    lines(tmp_path / "lines.json", rows)  # as POPE's authors call theirs
    lines(tmp_path / "lines.jsonl", rows)
    parquet(tmp_path / "table.parquet", rows)
    tsv(tmp_path / "table.tsv", rows)
    (tmp_path / "table.csv").write_text('id,question\n1,"two\nlines, a\ttab and ""quotes"""\n2,é\n')
    for file in sorted(tmp_path.iterdir()):
        found = list(Files(file).rows())
        assert [one.values for one in found] == rows, file.name
        assert [one.where for one in found] == [f"{file.name!r} row {n}" for n in (1, 2)]
        assert found[0].folder == tmp_path


def test_images_that_are_not_wanted_are_not_in_the_rows(tmp_path: Path) -> None:
    parquet(tmp_path / "p.parquet", [{"id": 1, "image": feature(), "crop": feature()}])
    tsv(tmp_path / "t.tsv", [{"id": 1, "image": "aaaa", "crop": "bbbb"}])
    for name in ("p.parquet", "t.tsv"):
        rows = Files(tmp_path / name, with_images=False).rows(images=("image", "crop"))
        assert [list(one.values) for one in rows] == [["id"]]
        assert "crop" in next(Files(tmp_path / name, with_images=False).rows()).values


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", '[{"a": 1}, {"a"', r"^'a.json' must be JSON, got .*download the file again"),
        ("a.json", '"text"', r"^'a.json' must be a list of objects, got str"),
        ("a.json", '{"rows": []}', r"^'a.json' must be a list of objects, got dict"),
        ("a.json", "[[1]]", r"^'a.json' row 1 must be a JSON object, got list"),
        ("a.json", "[" * 100_000, r"^'a.json' must be JSON"),
        ("a.jsonl", '{"a": 1}\n\n{"a": ', r"^'a.jsonl' line 3 must be JSON"),
        ("a.jsonl", "[1]\n", r"^'a.jsonl' row 1 must be a JSON object, got list"),
        ("a.tsv", "a\tb\n1\t2\t3\n", r"^'a.tsv' line 2 must have as many fields as columns"),
        ("a.tsv", "a\tb\n1\n", r"line 2 must have as many fields as columns, got another number"),
        ("a.parquet", "no parquet", r"a.parquet' must be a readable parquet table, got"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        list(Files(tmp_path / name).rows())
    assert "\n" not in str(caught.value)


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    for name in ("a.tsv", "a.json", "a.jsonl"):
        (tmp_path / name).write_bytes(b"caf\xe9\n1\n")
        said = rf"{name}' (line \d must be UTF-8|must be a readable .*utf-8)"
        with pytest.raises(DataError, match=said):
            list(Files(tmp_path / name).rows())


def test_a_table_without_rows_gives_none(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\tquestion\n")
    (tmp_path / "b.tsv").touch()
    listed(tmp_path / "c.json", [])
    (tmp_path / "d.jsonl").write_text("\n\n")
    assert [list(Files(file).rows()) for file in sorted(tmp_path.iterdir())] == [[]] * 4


def test_read_json_returns_an_object_and_names_what_is_none(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('\ufeff{"a": 1}')
    assert read_json(file) == {"a": 1}
    for content, said in [("[1]", "row 1 must be a JSON object, got list"), ("{", "must be JSON")]:
        file.write_text(content)
        with pytest.raises(DataError, match=rf"^'a.json' {said}"):
            read_json(file)
    with pytest.raises(DataError, match=r"b.json' must be a readable JSON file"):
        read_json(tmp_path / "b.json")


# --- Row


@pytest.mark.parametrize(
    ("value", "text"), [("a b", "a b"), (7, "7"), (7.0, "7"), (7.5, "7.5"), (" x", " x")]
)
def test_numbers_count_as_their_text(value: Any, text: str) -> None:
    assert row(name=value).text("name") == text


def test_the_first_field_with_a_value_is_read() -> None:
    one = row(a=None, b=float("nan"), c="", d="  ", e="here", f="later")
    assert one.text("a", "b", "c", "d", "missing", "e", "f") == "here"
    assert [one.has(name) for name in "abcdef"] == [False] * 4 + [True] * 2
    assert one.optional("a", "b") is None
    assert one.optional("a", "f") == "later"


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda r: r.text("none"), "none must be filled in, got None"),
        (lambda r: r.text("gone", "away"), "gone or away must be there, got only none, yes, list"),
        (lambda r: r.text("yes"), "yes must be a text, got True"),
        (lambda r: r.text("list"), r"list must be a text, got \['a'\]"),
        (lambda r: r.integer("word"), "word must be a whole number, got 'x+"),
        (lambda r: r.integer("half"), "half must be a whole number, got '0.5'"),
        (lambda r: r.texts("word"), "word must be JSON or a Python list, got 'x+"),
        (lambda r: r.texts("half"), "half must be a list of texts, got 0.5"),
        (lambda r: r.texts("nested"), r"nested must be a list of texts, got \[\['a'\]\]"),
        (lambda r: r.letter("word", options=2), "word must be a letter from A to B, got 'x+"),
        (lambda r: r.image("half"), "half must be an image, got 0.5"),
        (lambda r: r.boxes("list"), r"list must be boxes of four numbers, got \[\['a'\]\]"),
        (lambda r: r.answers("empty"), r"empty must be an answer, or a list of answers, got \[\]"),
    ],
)
def test_a_field_that_does_not_fit_is_named(read: Any, said: str) -> None:
    one = row(none=None, yes=True, list=["a"], word="x" * 99, half=0.5, nested=[["a"]], empty=[])
    with pytest.raises(DataError, match=rf"^'t.tsv' row 2: {said}.*belongs here\?$"):
        read(one)


def test_a_long_value_is_cut_in_messages() -> None:
    with pytest.raises(DataError) as caught:
        row(a="x" * 10_000).integer("a")
    assert len(str(caught.value)) < 200


@given(st.text(max_size=30))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(DataError):
        row(a=text).parsed("a")


def test_code_in_a_field_is_not_run(tmp_path: Path) -> None:
    code = f"[open({str(tmp_path / 'made')!r}, 'w')]"
    with pytest.raises(DataError, match="a must be JSON or a Python list"):
        row(a=code).texts("a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [["a", 7], '["a", 7]', "['a', 7]", ("a", "7")])
def test_a_list_may_be_written_as_text(value: Any) -> None:
    assert row(a=value).texts("a") == ("a", "7")


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        ("red ", ("red",)),
        (7, ("7",)),
        (["red", 7], ("red", "7")),
        ('["red", "rot"]', ("red", "rot")),
        ("['it''s', \"rot\"]", ("its", "rot")),
        ("[3, 4]", ("[3, 4]",)),
        ("[Yes, No]", ("[Yes, No]",)),
        ("[", ("[",)),
    ],
)
def test_answers_are_one_text_or_several(value: Any, answers: tuple[str, ...]) -> None:
    assert row(a=value).answers("a") == answers


@pytest.mark.parametrize("value", ["B", "b", " (B) ", "B.", "(b)."])
def test_a_letter_may_be_dressed(value: str) -> None:
    assert row(a=value).letter("a", options=4) == "B"


@pytest.mark.parametrize("value", ["E", "AB", "1", "Ä", "()", "@"])
def test_no_letter_of_an_option_is_refused(value: str) -> None:
    with pytest.raises(DataError, match="a must be a letter from A to D"):
        row(a=value).letter("a", options=4)


def test_options_end_with_the_first_empty_column() -> None:
    assert row(A="red", B=2, C=None, D="late").options() == ("red", "2")
    assert row(A="a", B="b", C="c", D="d", E="e").options("ABCDE") == tuple("abcde")
    with pytest.raises(DataError, match="row 2: B must be an option, got None"):
        row(A="red").options()


@pytest.mark.parametrize(
    "value", [[1, 2, 3.5, 4], [[1, 2, 3.5, 4]], "[1, 2, 3.5, 4]", "[(1, 2, 3.5, 4)]"]
)
def test_boxes_are_one_or_several_in_source_pixels(value: Any) -> None:
    assert row(a=value).boxes("a") == (Box(1, 2, 3.5, 4, Frame.SOURCE),)


@pytest.mark.parametrize(
    "value",
    [[1, 2, 3], [[1, 2, 3, "4"]], [[1, 2, 3, True]], "[[1, 2, 3, NaN]]", [[1, 2, 3, 1e999]]],
)
def test_boxes_of_anything_but_four_numbers_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match="a must be boxes of four numbers"):
        row(a=value).boxes("a")


def test_an_image_is_bytes_base64_or_a_reference() -> None:
    where = f"{WHERE}: image"
    text = as_text(picture())
    assert row(image=picture()).image("image") == Embedded(picture(), where)
    assert row(image=feature()).image("image") == Embedded(picture(), where)
    assert row(image=text, index=3).image("image") == Embedded(text, where)
    assert row(image="17", index=3).image("image") == Reference("17", where)
    assert row(image="17").image("image") == Embedded("17", where)
    assert Row({}, WHERE, Path(), with_images=False).image("image") == Path()


def test_a_file_is_looked_for_in_all_its_places(tmp_path: Path) -> None:
    image = image_file(tmp_path / "images" / "1.png")
    one = Row({"image": "1.png"}, WHERE, tmp_path)
    assert one.file("image", beside=("val2014", "images")) == image
    assert one.file("image", under=tmp_path / "images") == image
    with pytest.raises(DataError, match=r"row 2: image must name a file, got .*1.png', which is"):
        one.file("image", beside=("val2014",))


def test_a_file_is_not_looked_for_where_images_are_not_wanted(tmp_path: Path) -> None:
    one = Row({"image": "1.png"}, WHERE, tmp_path, with_images=False)
    assert one.file("image") == tmp_path / "1.png"


def test_advice_ends_the_messages() -> None:
    one = Row({"a": None}, WHERE, Path(), advice="ask Ada")
    for name in ("a", "b"):
        with pytest.raises(DataError, match=r"; ask Ada$"):
            one.text(name)


# --- ImageKeys


def test_equal_images_share_a_key_also_by_reference() -> None:
    keys, text = ImageKeys(), as_text(picture(1))
    carried = keys.of(row(image=text, index=4), "image")
    assert keys.of(row(image="4", index=5), "image") == carried
    assert keys.of(row(image=text, index=6), "image") == carried
    assert keys.of(row(image=as_text(picture(2)), index=7), "image") != carried
    assert keys.of(row(index=8), "image") == ""


def test_bytes_and_features_of_one_image_share_a_key() -> None:
    keys = ImageKeys()
    one = keys.of(row(image=picture(1)), "image")
    assert one == keys.of(row(image=feature(1)), "image") != keys.of(row(image=feature(2)), "image")
