import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.chat.toolcall import (
    MAX_CALL_CHARS,
    ToolCall,
    extract_boxed,
    parse_tool_call,
    without_thinking,
)
from lookless.episode import LookOutcome

MALFORMED = LookOutcome.MALFORMED
CALL = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (r"\boxed{A}", None),
        ("</tool_call>", None),
        ("<tool_call", None),
        (CALL, ToolCall("f", {})),
        ('<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>', ToolCall("f", {})),
        (f"<think>where?</think>\n{CALL} and so on", ToolCall("f", {})),
        (f"<think>{CALL}</think>", None),
        (f"<think>never closed {CALL}", None),
        (f"</tool_call>{CALL}", ToolCall("f", {})),
        (f'{CALL}<tool_call>{{"name": "g", "arguments": {{}}}}</tool_call>', ToolCall("f", {})),
        (
            '<tool_call>{"name": "f", "arguments": {"a": {"b": {"c": "}}"}}}}</tool_call>',
            ToolCall("f", {"a": {"b": {"c": "}}"}}}),
        ),
        ('<tool_call>{"name": "f", "arguments": [1]}</tool_call>', ToolCall("f", [1])),
        ('<tool_call>{"name": "f", "arguments": null}</tool_call>', ToolCall("f", None)),
        ("<tool_call>", MALFORMED),
        ("<tool_call></tool_call>", MALFORMED),
        ('<tool_call>{"name": "f", "arguments": {}}', MALFORMED),
        ('<tool_call>{"name": "f", "arguments": {}</tool_call>', MALFORMED),
        ('<tool_call>{"name": "f", "arguments": {},}</tool_call>', MALFORMED),
        ("<tool_call>{'name': 'f', 'arguments': {}}</tool_call>", MALFORMED),
        ('<tool_call>{"name": "f"}</tool_call>', MALFORMED),
        ('<tool_call>{"arguments": {}}</tool_call>', MALFORMED),
        ('<tool_call>{"name": "f", "arguments": {}, "id": 1}</tool_call>', MALFORMED),
        ('<tool_call>{"name": 1, "arguments": {}}</tool_call>', MALFORMED),
        ('<tool_call>[{"name": "f", "arguments": {}}]</tool_call>', MALFORMED),
        (f"<tool_call>{CALL}</tool_call>", MALFORMED),
        ('<tool_call>{"name": "f", "arguments": {}} {}</tool_call>', MALFORMED),
        ("<tool_call>zoom_in(1, 2, 3, 4)</tool_call>", MALFORMED),
        (f"<tool_call>broken</tool_call>{CALL}", MALFORMED),
    ],
)
def test_first_call_of_a_turn_is_parsed(text: str, expected: ToolCall | LookOutcome | None) -> None:
    assert parse_tool_call(text) == expected


def test_nan_reaches_the_operation_as_a_number() -> None:
    call = parse_tool_call('<tool_call>{"name": "f", "arguments": NaN}</tool_call>')
    assert isinstance(call, ToolCall)
    assert math.isnan(call.arguments)


@pytest.mark.parametrize("depth", [300, MAX_CALL_CHARS - 50, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_json_is_malformed(depth: int, opening: str) -> None:
    body = (opening * depth)[: MAX_CALL_CHARS - 50] if depth < 10_000 else opening * depth
    assert parse_tool_call(f"<tool_call>{body}</tool_call>") is MALFORMED


def test_deep_but_complete_json_never_raises() -> None:
    deep = "[" * 950 + "]" * 950
    text = f'<tool_call>{{"name": "f", "arguments": {deep}}}</tool_call>'
    call = parse_tool_call(text)
    assert call is MALFORMED or isinstance(call, ToolCall)


def test_call_of_too_many_characters_is_malformed() -> None:
    def call(padding: int) -> ToolCall | LookOutcome | None:
        body = json.dumps({"name": "f", "arguments": {}})
        return parse_tool_call(f"<tool_call>{body}{' ' * (padding - len(body))}</tool_call>")

    assert call(MAX_CALL_CHARS) == ToolCall("f", {})
    assert call(MAX_CALL_CHARS + 1) is MALFORMED


def test_huge_integer_is_malformed() -> None:
    text = f'<tool_call>{{"name": "f", "arguments": {"9" * 5000}}}</tool_call>'
    assert parse_tool_call(text) is MALFORMED


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "<tool_call>",
            "</tool_call>",
            "<think>",
            "</think>",
            r"\boxed",
            "{",
            "}",
            '"name"',
            ":",
            '"arguments"',
            ",",
            "[",
            "]",
            '"f"',
            " ",
            "NaN",
            "\\",
            "\n",
            "\x00",
            "é",
            "1",
        ]
    ),
    max_size=40,
).map("".join)


@given(FRAGMENTS | st.text())
def test_no_text_raises(text: str) -> None:
    call, answer = parse_tool_call(text), extract_boxed(text)
    assert call is None or call is MALFORMED or isinstance(call, ToolCall)
    assert (call is None) == ("<tool_call>" not in without_thinking(text))
    assert answer is None or answer in text


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.integers() | st.text(max_size=20) | st.lists(st.integers()),
        max_size=4,
    )
)
def test_any_arguments_come_back(arguments: dict[str, Any]) -> None:
    body = json.dumps({"name": "f", "arguments": arguments})
    if len(body) <= MAX_CALL_CHARS and "</tool_call>" not in body:
        text = f"<tool_call>{body}</tool_call>"
        assert parse_tool_call(text) == ToolCall("f", arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("the answer is A", None),
        (r"\boxed{A}", "A"),
        (r"\boxed {A}", "A"),
        (r"\boxed{ A }", "A"),
        (r"\boxed{}", ""),
        (r"boxed{A}", None),
        (r"\fbox{A}", None),
        (r"\boxed{\text{B}}", r"\text{B}"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{{a}{{b}}}", "{a}{{b}}"),
        (r"\boxed{A", None),
        (r"\boxed{A}}", "A"),
        (r"{\boxed{A}", "A"),
        (r"\boxed{A} or rather \boxed{B}", "B"),
        (r"\boxed{A} or rather \boxed{B", "A"),
        (r"\boxed{A \boxed{B}}", "B"),
        (r"\boxed{A \boxed{B}", "B"),
        ("\\boxed{two\nlines}", "two\nlines"),
        (r"<think>\boxed{A}</think>", None),
        (r"<think>\boxed{A}</think>\boxed{B}", "B"),
        (r"\boxed{B}<think>\boxed{A}</think>", "B"),
        (r"<think>\boxed{A}", None),
        (r"\boxed{B}<think>\boxed{A}", "B"),
        (r"<think>a</think>\boxed{B}<think>\boxed{C}</think>", "B"),
        (r"</think>\boxed{B}", "B"),
    ],
)
def test_last_complete_box_outside_thinking_is_the_answer(text: str, expected: str | None) -> None:
    assert extract_boxed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 20_000,
        r"\boxed{A}" * 20_000,
        "{" * 100_000,
        r"\boxed{" + "{" * 100_000,
        "<think>" * 20_000,
        "<tool_call>" * 20_000,
        r"\boxed" + " " * 100_000,
    ],
)
def test_huge_text_costs_little(text: str) -> None:
    began = time.process_time()
    parse_tool_call(text)
    extract_boxed(text)
    assert time.process_time() - began < 1.0
