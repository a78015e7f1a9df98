from dataclasses import replace
from pathlib import Path

from lookless.episode import Mode, Question
from lookless.evaluation.protocol import differences, protocol_hash


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


def test_differences_are_named_by_where_they_are() -> None:
    first = {"seed": 0, "limits": {"max_looks": 3, "max_context": 9}, "old": 1}
    second = {"seed": 0, "limits": {"max_looks": 2, "max_context": 9}, "new": None}
    assert differences(first, second) == {"limits.max_looks": (3, 2), "old": (1, None)}
    assert differences(first, first) == {}
