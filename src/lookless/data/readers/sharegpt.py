"""ShareGPT's form (LLaMA-Factory, LLaVA): `conversations` of `from` and `value`.

`human` and `observation` ask and show, `gpt` and `function_call` answer and look; `<image>` in a
text takes the next of `images` (or `image`). A call is JSON, or stands in `<tool_call>` tags. Of
several questions in one conversation the first is read. `--option images=FOLDER` says where the
images are, if not beside the file.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookless.benchmarks.tables import Row
from lookless.chat.toolcall import OPEN
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
    "human": "user",
    "user": "user",
    "observation": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
}
_ADVICE = "is it in ShareGPT's form?"


def load(path: Path, reading: Reading) -> Iterator[Found | Broken]:
    """Yield the first question of each conversation."""
    return rows_of(path, reading, _ADVICE, ("*.json", "*.jsonl", "*.parquet"), _question)


def _question(row: Row, reading: Reading) -> Found:
    images = images_in(row)
    messages = [_message(turn, images, row) for turn in talk_in(row, "conversations")]
    first = next((k for k, one in enumerate(messages) if one.role == "user"), None)
    if first is not None and not messages[first].media and len(images) == 1:
        # LLaVA's forks leave the tag out where there is one image.
        messages[first] = replace(
            messages[first], parts=(Media(images.pop()), *messages[first].parts)
        )
    return found_in(messages, row, reading, Habits())


def _message(turn: dict[str, Any], images: list[Any], row: Row) -> Message:
    role, text = turn.get("from"), turn.get("value")
    if not isinstance(role, str) or role not in ROLES or not isinstance(text, str):
        raise row.wrong(("conversations",), f"from {', '.join(ROLES)}, with a text", role)
    if role == "function_call" and OPEN not in text:
        thought, end, call = text.rpartition("</think>")
        return Message("assistant", tuple(filter(None, [thought + end])), (call_of(call, row),))
    return Message(ROLES[role], tagged(text, images))


READER = Reader(
    "sharegpt",
    "conversations of ShareGPT, LLaMA-Factory and LLaVA, with or without calls",
    load,
    ("images",),
)
