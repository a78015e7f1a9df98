"""A model behind a server that sees small things only when it looks."""

import random
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.layouts import HEIGHT, WIDTH, converted, picture, write_lines
from lookless.data.reader import Reading
from lookless.frames import Frame
from served import Body, Reply, said, wrong

CALL = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [%s], "image": 0}}</tool_call>'


def questions(folder: Path, count: int = 12, *, boxes: bool = True) -> Path:
    """Write records: every third question needs a look; return their folder."""
    rows = []
    for k in range(count):
        picture(folder / f"in/{k}.jpg", k)
        row: dict[str, Any] = {
            "image": f"{k}.jpg",
            "question": f"Which number is on sign {k}?",
            "answer": str(k),
            "category": "small" if k % 3 == 0 else "large",
        }
        x, y = 30 + 37 * k % 300, 20 + 53 * k % 140
        rows.append(row | ({"boxes": [[x, y, x + 40, y + 30]]} if boxes else {}))
    file = write_lines(folder / "in/q.jsonl", rows)
    converted("vqa", file, folder / "data", Reading(Frame.SOURCE))
    return folder / "data"


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def play(body: Body) -> Reply:
    """Answer: right if it has looked at the sign or the sign is large."""
    messages = body["messages"]
    asked = text_of(messages[1])
    found = re.search(r"sign (\d+)\?", asked)
    assert found is not None
    k = int(found[1])
    x, y = 30 + 37 * k % 300, 20 + 53 * k % 140
    at = [1000 * x / WIDTH, 1000 * y / HEIGHT, 1000 * (x + 40) / WIDTH, 1000 * (y + 30) / HEIGHT]
    call = CALL % ", ".join(str(round(v)) for v in at)
    turns = [text_of(m) for m in messages if m["role"] == "assistant"]
    has_seen = any(call in turn for turn in turns)
    is_forced = "at least once" in asked
    is_misled = bool(turns) and not has_seen
    if is_misled or (is_forced and not turns):
        return said(f"I look closer. {call}")
    right = has_seen or k % 3 != 0
    more = " Surely." * (body["seed"] % 3)
    text = f"It says so.{more} \\boxed{{{k if right else k + 1}}}"
    return said(text, tokens=len(text))


class Flaky:
    """A server that fails one request in five, and is silent on one in twenty."""

    def __init__(self, play: Callable[[Body], Reply], silence_s: float) -> None:
        self.play = play
        self.silence_s = silence_s
        self.random = random.Random(0)
        self.lock = threading.Lock()
        self.failed = self.silent = 0

    def __call__(self, body: Body) -> Reply:
        with self.lock:
            draw = self.random.random()
            self.failed += draw < 0.2
            self.silent += 0.2 <= draw < 0.25
        if draw < 0.2:
            return wrong(500 if draw < 0.15 else 429)
        if draw < 0.25:
            time.sleep(self.silence_s)
        return self.play(body)
