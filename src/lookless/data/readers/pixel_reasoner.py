"""Pixel-Reasoner's published SFT and RL data (TIGER-Lab/PixelReasoner-SFT-Data, -RL-Data).

SFT: release.json, a list of `qid` and `message_list`. Boxes are shares of the image that
`target_image` names, counted from 1; the crops that were seen reach 0.1 further on each side, and
that is what is read as the look. A look is a mistake where the next turn says that the part does
not contain the target. RL: release.parquet with `question`, `answer`, `image` and `is_video`. Rows
about videos are left out. Images lie beside the file, or in `--option images=FOLDER`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lookless.benchmarks.tables import Row
from lookless.chat.toolcall import extract_boxed
from lookless.data.reader import Broken, Found, Reader, Reading, rows_of
from lookless.data.readers.conversation import (
    Habits,
    Media,
    Message,
    Role,
    asked,
    found_in,
    stored_image,
    talk_in,
)
from lookless.data.readers.vqa import option_of
from lookless.frames import Frame

NOT_THERE = "The cropped part doesn't contain"
HABITS = Habits(
    frame=Frame.UNIT,
    index="target_image",
    first=1,
    padding=0.1,
    is_mistake=lambda text: text.lstrip().startswith(NOT_THERE),
)
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
_ADVICE = "is it Pixel-Reasoner's release file?"


def load_sft(path: Path, reading: Reading) -> Iterator[Found | Broken]:
    """Yield the question of each trajectory, and how it is answered."""
    names = ("release.json", "*.json", "*.jsonl", "*.parquet")
    return rows_of(path, reading, _ADVICE, names, _trajectory)


def load_rl(path: Path, reading: Reading) -> Iterator[Found | Broken]:
    """Yield the questions."""
    names = ("release.parquet", "*.parquet", "*.json", "*.jsonl")
    return rows_of(path, reading, _ADVICE, names, _question)


def _trajectory(row: Row, reading: Reading) -> Found:
    messages = [_message(turn, row) for turn in talk_in(row, "message_list")]
    return found_in(messages, row, reading, HABITS)


def _message(turn: dict[str, Any], row: Row) -> Message:
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str) or role not in _ROLES or not isinstance(content, list | str):
        raise row.wrong(("message_list",), f"of {', '.join(_ROLES)}, with content", role)
    parts: list[str | Media] = []
    for item in [content] if isinstance(content, str) else content:
        if isinstance(item, str):
            parts.append(item)
        elif isinstance(item, dict) and item.get("video"):
            raise row.wrong(("message_list",), "about an image", "a video")
        elif isinstance(item, dict) and item.get("image"):
            parts.append(Media(item["image"]))
        elif isinstance(item, dict) and isinstance(item.get("text"), str):
            parts.append(item["text"])
    return Message(_ROLES[role], tuple(parts))


def _question(row: Row, reading: Reading) -> Found:
    if row.values.get("is_video"):
        raise row.wrong(("is_video",), "False, videos are not read", True)
    images = row.values.get("image")
    images = images if isinstance(images, list | tuple) else [images]
    if len(images) != 1:
        raise row.wrong(("image",), "one image", list(images))
    question, options = asked(row.text("question"))
    answers = tuple(extract_boxed(text) or text for text in row.answers("answer", "gt_answer"))
    return Found(
        where=row.where,
        image=stored_image(Media(images[0]), row, reading),
        question=question,
        answers=(option_of(row, answers[0], options),) if options else answers,
        options=options,
        id=row.optional("qid"),
    )


SFT = Reader(
    "pixel-reasoner-sft", "Pixel-Reasoner's published SFT trajectories", load_sft, ("images",)
)
RL = Reader("pixel-reasoner-rl", "Pixel-Reasoner's published RL questions", load_rl, ("images",))
