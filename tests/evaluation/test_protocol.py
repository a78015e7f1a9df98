from dataclasses import replace
from pathlib import Path
from typing import Any

from lookless.episode import Mode, Question
from lookless.evaluation.protocol import differences, image_hashes, protocol_hash, questions_hash
from lookless.frames import Box, Frame


def test_hash_depends_on_questions_images_and_settings_but_not_on_where_images_lie(
    tmp_path: Path,
) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    asked = [Question("q", tmp_path / "a", "?", "K7")]
    settings = {"seed": 0, "mode": Mode.FORCED}
    first = protocol_hash(asked, settings)
    assert len(first) == 12
    elsewhere = [replace(asked[0], image=tmp_path / "b")]
    assert protocol_hash(elsewhere, {"mode": Mode.FORCED, "seed": 0}) == first
    assert protocol_hash(asked, settings | {"seed": 1}) != first
    assert protocol_hash([replace(asked[0], image=tmp_path / "c")], settings) != first
    assert protocol_hash([replace(asked[0], text="!")], settings) != first
    assert protocol_hash([replace(asked[0], answer="K8")], settings) != first


def test_questions_hash_covers_all_that_is_asked_graded_and_shown(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    one = Question("q", tmp_path / "a", "?", "K7")
    first = questions_hash([one])
    box = Box(0, 0, 1, 1, Frame.SOURCE)
    changes: list[dict[str, Any]] = [
        {"references": ("K7", "k 7")}, {"options": ("a", "b")}, {"boxes": (box,)},
        {"cluster": "x"}, {"region": box}, {"answer": "K8"}, {"id": "p"},
    ]  # fmt: skip
    assert len({first, *(questions_hash([replace(one, **c)]) for c in changes)}) == 8
    assert questions_hash([one]) == first
    images = [image_hashes([one])]
    (tmp_path / "a").write_bytes(b"2")
    images.append(image_hashes([one]))
    (tmp_path / "a").unlink()
    images.append(image_hashes([one]))
    assert images[2] == {tmp_path / "a": None}
    assert len({questions_hash([one], hashes) for hashes in images}) == 3


def test_differences_are_named_by_where_they_are() -> None:
    first = {"seed": 0, "limits": {"max_looks": 3, "max_context": 9}, "old": 1}
    second = {"seed": 0, "limits": {"max_looks": 2, "max_context": 9}, "new": None}
    assert differences(first, second) == {"limits.max_looks": (3, 2), "old": (1, None)}
    assert differences(first, first) == {}
