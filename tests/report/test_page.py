import pytest

from lookless.report.page import pieces


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("", []),
        ("plain", ["plain"]),
        ("<think>a</think>\n<tool_call>\n{}\n</tool_call>", ["think", "plain", "call"]),
        ("<tool_call>{never closed", ["call"]),
        ("so \\boxed{red}<|im_end|>", ["plain", "answer", "special"]),
        ("<tool_call>a</tool_call><tool_call>b</tool_call>", ["call", "call"]),
    ],
)
def test_text_is_cut_by_what_it_says_and_nothing_is_lost(text: str, kinds: list[str]) -> None:
    assert [kind for kind, _ in pieces(text)] == kinds
    assert "".join(part for _, part in pieces(text)) == text
