import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookless.chat.chatml import ChatML
from lookless.demonstrations import (
    DemonstratedLook,
    DemonstratedTurn,
    Demonstration,
    Played,
    read_demonstrations,
    write_demonstrations,
)
from lookless.episode import LookOutcome, Mode, Rollout, StopReason
from lookless.errors import DataError
from lookless.frames import Frame
from lookless.images import SourceCache

LOOK: dict[str, Any] = {"box": [0.25, 0.5, 0.5, 0.75], "frame": "unit"}
ROW: dict[str, Any] = {
    "id": "a",
    "image": "images/i.png",
    "question": "What is it?",
    "turns": [{"say": "<think>Small.</think>\n", "look": LOOK}, {"say": r"\boxed{K7}"}],
}
Read = Callable[..., list[Demonstration]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (800, 640), "navy").save(tmp_path / "images" / "i.png")

    def read(*rows: dict[str, Any] | str) -> list[Demonstration]:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")
        return read_demonstrations(tmp_path / "d.jsonl")

    return read


def played(chat: ChatML, shown: list[Demonstration], max_context: int = 4096) -> list[Rollout]:
    return list(Played(chat, shown, SourceCache(), max_context))


def learned(chat: ChatML, r: Rollout) -> str:
    return chat.decode([t for t, own in zip(r.token_ids, r.is_sampled, strict=True) if own])


def test_demonstration_is_played_as_the_model_would_have_done_it(read: Read, chat: ChatML) -> None:
    [r] = played(chat, read(ROW))
    assert (r.mode, r.stop, r.answer) == (Mode.ADAPTIVE, StopReason.ANSWERED, "K7")
    assert [look.outcome for look in r.looks] == [LookOutcome.EXECUTED]
    assert r.views[1].region.coordinates == (200, 320, 400, 480)
    call = '{"name": "zoom_in", "arguments": {"bbox_2d": [250, 500, 500, 750], "image": 0}}'
    said = f"<think>Small.</think>\n<tool_call>\n{call}\n</tool_call><|im_end|>"
    assert learned(chat, r) == said + r"\boxed{K7}<|im_end|>"


@pytest.mark.parametrize(
    ("box", "frame"),
    [
        ([250, 500, 500, 750], "permille"),
        ([0.25, 0.5, 0.5, 0.75], "unit"),
        ([200, 320, 400, 480], "source"),
    ],
)
def test_frames_mean_the_same_place(read: Read, chat: ChatML, box: list[float], frame: str) -> None:
    turns = [{"say": "", "look": {"box": box, "frame": frame}}, ROW["turns"][1]]
    shown = read(ROW | {"turns": turns})
    [r] = played(chat, shown)
    assert r.views[1].region.coordinates == (200, 320, 400, 480)
    # As a model says it that writes pixels of the resized image.
    [r] = played(replace(chat, frame=Frame.RESIZED), shown)
    view = r.views[0]
    look = r.looks[0].box
    assert look is not None
    assert look.coordinates == (
        round(view.width_px / 4), round(view.height_px / 2),
        round(view.width_px / 2), round(view.height_px * 3 / 4),
    )  # fmt: skip
    assert r.views[1].region.coordinates == pytest.approx((200, 320, 400, 480), abs=5)


def test_look_into_a_crop_is_relative_to_it(read: Read, chat: ChatML) -> None:
    inner = {"box": [0.5, 0.5, 1, 1], "frame": "unit", "image": 1}
    turns = [ROW["turns"][0], {"say": "", "look": inner}, ROW["turns"][1]]
    [r] = played(chat, read(ROW | {"turns": turns}))
    assert r.views[2].region.coordinates == (300, 400, 400, 480)


def test_call_that_is_a_mistake_is_not_learned(read: Read, chat: ChatML) -> None:
    wrong = {"say": "Here.", "look": {"box": [0, 0, 200, 200], "frame": "permille",
                                      "is_mistake": True}}  # fmt: skip
    right = {"say": "Not there.", "look": LOOK}
    [r] = played(chat, read(ROW | {"turns": [wrong, right, ROW["turns"][1]]}))
    text = learned(chat, r)
    assert text.startswith("Here.Not there.<tool_call>")
    assert text.count("<tool_call>") == 1


def test_thought_goes_on_where_the_template_has_begun_it(read: Read, chat: ChatML) -> None:
    thinking = replace(chat, opening="<think>\n")
    [first, second] = read(ROW, ROW | {"id": "b", "turns": [{"say": r"No thought. \boxed{K7}"}]})
    [thought] = played(thinking, [first])
    assert thought.turns[1].text.startswith("Small.</think>\n")
    again = read(ROW)[0]
    [looked] = played(thinking, [again])
    assert looked.turns[3].text == "</think>\n\n" + r"\boxed{K7}"
    [plain] = played(thinking, [second])
    assert plain.turns[1].text.startswith("</think>\n\nNo thought.")
    assert [thought.answer, plain.answer] == ["K7", "K7"]


def test_written_demonstrations_are_read_back(read: Read, tmp_path: Path) -> None:
    odd = "é\n\u2028\u0085\x0c?"
    shown = read(ROW, ROW | {"id": "b", "mode": "forced"}, {**ROW, "id": "ü", "question": odd})
    write_demonstrations(tmp_path / "again.jsonl", shown)
    assert read_demonstrations(tmp_path / "again.jsonl") == shown


LAST = ROW["turns"][1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 2 must be a JSON object"),
        ("[]", "line 2: config: Input should be"),
        ("[" * 100_000, "line 2 must be a JSON object"),
        ({**ROW, "id": 1}, "line 2: id: Input should be a valid string"),
        ({**ROW, "extra": 1}, "line 2: extra is no setting; use one of id, image"),
        ({**ROW, "mode": "toolfree"}, "line 2: mode: Input should be"),
        ({**ROW, "turns": []}, "line 2: turns: Tuple should have at least 1 item"),
        ({**ROW, "turns": [{"say": "x", "look": LOOK}]}, "must look, all but the last one"),
        ({**ROW, "turns": [LAST, LAST]}, "must look, all but the last one, got none, none"),
        ({**ROW, "mode": "forced", "turns": [LAST]}, "mode forced must look"),
        ({**ROW, "mode": "prohibited"}, "mode prohibited may not look"),
        ({**ROW, "turns": [{"say": "<tool_call>"}]}, "say must hold no call"),
        ({**ROW, "turns": [{"say": "", "look": {"box": [1, 2, 3], "frame": "unit"}}, LAST]},
         "line 2: turns.0.look.box.3: Field required"),
        ({**ROW, "turns": [{"say": "x", "foo": 1}]},
         "line 2: turns.0.foo is no setting; use one of say, look"),
        ({**ROW, "turns": [{"say": "", "look": {"box": [1, 2, 3, 4]}}, LAST]},
         "line 2: turns.0.look.frame: Field required"),
        ({**ROW, "turns": [{"say": "", "look": {"box": [0, 0, 9, 9], "frame": "resized"}}, LAST]},
         "line 2: turns.0.look.frame: Input should be"),
        ({**ROW, "id": "b", "image": "none.png"}, "line 2: image must be a file"),
        (ROW, "line 2: id must be of one line only, got 'a' again"),
    ],
)  # fmt: skip
def test_wrong_line_is_named(read: Read, row: dict[str, Any] | str, said: str) -> None:
    with pytest.raises(DataError) as raised:
        read(ROW, row)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_and_empty_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a readable JSONL file"):
        read_demonstrations(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="must be at least one"):
        read_demonstrations(tmp_path / "empty.jsonl")


@pytest.mark.parametrize(
    ("box", "image", "said"),
    [
        ([0.5, 0.5, 0.2, 0.2], 0, "swapped_corners"),
        ([2, 2, 3, 3], 0, "outside"),
        ([0.5, 0.5, 0.501, 0.501], 0, "too_small"),
        ([0.1, 0.1, 0.5, 0.5], 1, "image of a look must be one that was seen, 0 to 0, got 1"),
    ],
)
def test_look_that_cannot_be_carried_out_is_named(
    read: Read, chat: ChatML, box: list[float], image: int, said: str
) -> None:
    look = {"box": box, "frame": "unit", "image": image}
    with pytest.raises(DataError, match="demonstration 'a'") as raised:
        played(chat, read(ROW | {"turns": [{"say": "", "look": look}, LAST]}))
    assert said in str(raised.value)


def test_demonstration_that_does_not_fit_is_named(read: Read, chat: ChatML) -> None:
    shown = read(ROW)
    [r] = played(chat, shown)
    assert played(chat, shown, max_context=len(r.token_ids))
    with pytest.raises(DataError, match="demonstration 'a' must fit into max_context"):
        played(chat, shown, max_context=len(r.token_ids) - 1)
    [long] = read(ROW | {"turns": [{"say": "word " * 3000}]})
    with pytest.raises(DataError, match="must fit into max_context"):
        played(chat, [long], max_context=512)


def test_demonstrations_are_played_when_they_are_asked_for(chat: ChatML, read: Read) -> None:
    shown = read(ROW, ROW | {"id": "b"})
    broken = Demonstration(
        id="c", image=Path("nowhere.png"), question="?",
        turns=(DemonstratedTurn(say="", look=DemonstratedLook(box=(0, 0, 1, 1), frame=Frame.UNIT)),
               DemonstratedTurn(say="x")),
    )  # fmt: skip
    lazy = Played(chat, [*shown, broken], SourceCache())
    assert len(lazy) == 3
    assert [r.question_id for r in lazy[:2]] == ["a", "b"]
    assert lazy[1].question_id == "b"
    assert lazy.source(1).path == shown[1].image


@pytest.mark.parametrize(
    ("say", "said"),
    [
        (r"<|image_pad|> \boxed{K7}", "got <|image_pad|>"),
        (r"<|vision_start|> \boxed{K7}", "got <|vision_start|>"),
        (r"<|im_start|>user \boxed{K7}", "got <|im_start|>"),
        (r"\boxed{K7}<|im_end|>", "got <|im_end|>"),
        ("It is K7.", "must end in an answer in"),
        (r"<think>\boxed{K7}", "must end in an answer in"),
    ],
)
def test_what_the_model_could_not_have_said_is_refused(
    read: Read, chat: ChatML, say: str, said: str
) -> None:
    with pytest.raises(DataError, match="demonstration 'a'") as raised:
        played(chat, read(ROW | {"turns": [{"say": say}]}))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_look_within_an_open_thought_is_refused(read: Read, chat: ChatML) -> None:
    turns = [{"say": "<think>hm", "look": LOOK}, LAST]
    with pytest.raises(DataError, match="after 1 looks, got no_answer after 0"):
        played(chat, read(ROW | {"turns": turns}))
