"""OpenAI's form: `messages` of `role` and `content`, with `tool_calls`.

Content is a text (in which `<image>` takes the next of `images`) or a list of text and image parts,
as OpenAI, Qwen or TRL write them. Looks are `tool_calls`, or stand in `<tool_call>` tags; a crop
comes back in a message of role `tool` or `user`. `--option images=FOLDER` says where the images
are, if not beside the file.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookless.benchmarks.tables import Row
from lookless.data.reader import Broken, Found, Reader, Reading, rows_of
from lookless.data.readers.conversation import (
    Habits,
    Media,
    Message,
    Role,
    call_of,
    found_in,
    images_in,
    tagged,
    talk_in,
)

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "tool": "user",
    "assistant": "assistant",
}
IMAGE_PARTS = ("image_url", "image", "input_image")
TEXT_PARTS = ("text", "input_text", "output_text")
_ADVICE = "is it in OpenAI's form?"


def load(path: Path, reading: Reading) -> Iterator[Found | Broken]:
    """Yield the first question of each conversation."""
    return rows_of(path, reading, _ADVICE, ("*.json", "*.jsonl", "*.parquet"), _question)


def _question(row: Row, reading: Reading) -> Found:
    images = images_in(row)
    messages = [_message(turn, images, row) for turn in talk_in(row, "messages")]
    return found_in(_joined(messages), row, reading, Habits())


def _message(turn: dict[str, Any], images: list[Any], row: Row) -> Message:
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str) or role not in ROLES:
        raise row.wrong(("role",), f"one of {', '.join(ROLES)}", role)
    made = turn.get("tool_calls")
    if made is not None and not isinstance(made, list):
        raise row.wrong(("tool_calls",), "a list of calls", made)
    calls = tuple(call_of(call, row) for call in made or ())
    if content is None or isinstance(content, str):
        return Message(ROLES[role], tagged(content or "", images), calls)
    if not isinstance(content, list):
        raise row.wrong(("content",), "a text, or a list of parts", content)
    parts = tuple(_part(part, images, row) for part in content)
    return Message(ROLES[role], parts, calls)


def _part(part: Any, images: list[Any], row: Row) -> str | Media:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, str):
        return part
    if kind in TEXT_PARTS and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind in IMAGE_PARTS:
        value = part.get("image_url") or part.get("image")
        if value is None and images:
            value = images.pop(0)
        return Media(value)
    raise row.wrong(("content",), "parts of type text or image_url", part)


def _joined(messages: list[Message]) -> list[Message]:
    """Return messages with neighbours of one role put together: a result, and a crop behind it."""
    joined: list[Message] = []
    for one in messages:
        if joined and joined[-1].role == one.role == "user":
            joined[-1] = replace(joined[-1], parts=(*joined[-1].parts, *one.parts))
        else:
            joined.append(one)
    return joined


READER = Reader(
    "openai", "conversations in OpenAI's messages form, with tool calls", load, ("images",)
)
