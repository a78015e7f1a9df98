from pathlib import Path

import pytest

from benchmarks.made import as_text, picture
from lookless.benchmarks.stored import Embedded, unpack
from lookless.errors import DataError


def test_bytes_and_base64_of_one_image_share_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "images"
    one = unpack(Embedded(picture(1), "here"), folder)
    same = unpack(Embedded(as_text(picture(1)), "there"), folder)
    other = unpack(Embedded(picture(2), "here"), folder)
    assert one == same != other
    assert one.read_bytes() == picture(1)
    assert sorted(folder.iterdir()) == sorted([one, other])


def test_a_file_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    file = unpack(Embedded(picture(), "here"), tmp_path)
    written = file.stat().st_mtime_ns
    assert unpack(Embedded(picture(), "here"), tmp_path).stat().st_mtime_ns == written


@pytest.mark.parametrize("text", ["no base64!", "QUJ", "QUJD\nQUJD", "Bildé"])
def test_damaged_base64_names_its_field_and_writes_nothing(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"^'a.tsv' row 3: image must be an image as base64, got "):
        unpack(Embedded(text, "'a.tsv' row 3: image"), tmp_path)
    assert list(tmp_path.iterdir()) == []
