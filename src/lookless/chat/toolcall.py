r"""Reading a model's turn: a `<tool_call>{...}</tool_call>`, or an answer in `\boxed{}`."""

import json
import re
from dataclasses import dataclass
from typing import Any

from lookless.episode import LookOutcome

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
MAX_CALL_CHARS = 2000
"""Longer calls are malformed; nothing that parses a model's text may cost much."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A well-formed call of any name with any arguments."""

    name: str
    arguments: Any


def written_call(name: str, arguments: Any) -> str:
    """Return a call as Qwen models write it.

    Example:
        >>> print(written_call("zoom_in", {"bbox_2d": [1, 2, 3, 4]}))
        <tool_call>
        {"name": "zoom_in", "arguments": {"bbox_2d": [1, 2, 3, 4]}}
        </tool_call>
    """
    return f"{OPEN}\n{json.dumps({'name': name, 'arguments': arguments})}\n{CLOSE}"


def without_thinking(text: str) -> str:
    """Return what a turn says aloud: neither `<think>...</think>` nor an unclosed `<think>`.

    Thinking models have the opening tag in their prompt: before a lone `</think>` is thinking.

    Example:
        >>> without_thinking("a<think>b</think>c"), without_thinking("b</think>c<think>d")
        ('ac', 'c')
    """
    spoken = re.sub(r"<think>.*?(</think>|\Z)", "", text, flags=re.DOTALL)
    return spoken.rpartition("</think>")[2]


def parse_tool_call(text: str) -> ToolCall | LookOutcome | None:
    """Return the first tool call of a model's turn.

    Returns:
        None if the turn has no `<tool_call>`; `LookOutcome.MALFORMED` if it has one that is not
        exactly one JSON object with a string `name` and `arguments`; else the call. Text around
        the call is ignored, and a call that is only thought of is none. A missing `</tool_call>`
        is malformed.

    Example:
        >>> parse_tool_call('<tool_call>{"name": "zoom_in", "arguments": {}}</tool_call>')
        ToolCall(name='zoom_in', arguments={})
        >>> parse_tool_call("no call") is None
        True
    """
    spoken = without_thinking(text)
    start = spoken.find(OPEN)
    if start < 0:
        return None
    end = spoken.find(CLOSE, start)
    body = spoken[start + len(OPEN) : end]
    if end < 0 or len(body) > MAX_CALL_CHARS:
        return LookOutcome.MALFORMED
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return LookOutcome.MALFORMED
    if (
        not isinstance(call, dict)
        or set(call) != {"name", "arguments"}
        or not isinstance(call["name"], str)
    ):
        return LookOutcome.MALFORMED
    return ToolCall(call["name"], call["arguments"])


_BOXED = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"[{}]")


def extract_boxed(text: str) -> str | None:
    r"""Return the content of the last complete `\boxed{...}`, braces balanced, or None.

    What a model thinks (`<think>...</think>`) is not an answer and is left out.

    Example:
        >>> extract_boxed(r"so \boxed{A} or rather \boxed{\text{B}}")
        '\\text{B}'
    """
    spoken = without_thinking(text)
    boxes = {match.end() for match in _BOXED.finditer(spoken)}
    open_braces: list[int] = []
    best: tuple[int, int] | None = None
    for brace in _BRACE.finditer(spoken):
        if brace[0] == "{":
            open_braces.append(brace.end())
        elif open_braces:
            start = open_braces.pop()
            if start in boxes and (best is None or start > best[0]):
                best = start, brace.start()
    return None if best is None else spoken[best[0] : best[1]].strip()
