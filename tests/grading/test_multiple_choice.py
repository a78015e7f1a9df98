from collections.abc import Callable
from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.answers import ASKED, COLOURS, Row, adversarial, asked, expected, hostile, is_bounded
from lookless.grading.multiple_choice import multiple_choice, read_letter
from lookless.grading.verdict import UNPARSED, Verdict

OF_COLOURS = asked(ASKED, "B", COLOURS)

KNOWN_TO_BE_MISREAD = [
    ("A", "A"),
    ("(B)", "B"),
    ("B.", "B"),
    ("b", "B"),
    ("B. blue", "B"),
    ("blue", "B"),
    ("The answer is B.", "B"),
    ("The correct answer is **B**.", "B"),
    ("**B**", "B"),
    (r"\boxed{B}", "B"),
    ("<answer>B</answer>", "B"),
    ("<think>The bag looks red, option A? No.</think><answer>B</answer>", "B"),
    ("Based on the image, the answer is C", "C"),
    ("Answer: C", "C"),
    ("A blue bag is visible, so the answer is B", "B"),
    ("The bag is blue.", "B"),
    ("I think it is B because A is wrong", "B"),
    ("The answer is not A, it is B.", "B"),
    ("Option B", "B"),
    ("B\n\nExplanation: A is red.", "B"),
    ("I cannot determine the answer.", None),
    ("", None),
    ("E", None),
    (
        "The color of the bag is blue. Therefore, the correct option is B: blue",
        "B",
    ),
    ("D) white", "D"),
    ("C is wrong; the right choice is D", "D"),
]
"""Answers that public graders were run on: each of them reads some of these wrongly."""


@pytest.mark.parametrize(("said", "letter"), KNOWN_TO_BE_MISREAD)
def test_what_public_graders_misread_is_read(said: str, letter: str | None) -> None:
    assert multiple_choice(OF_COLOURS, said).answer == letter


@adversarial("choice")
def test_answer_is_read_as_a_careful_reader_does(row: Row) -> None:
    question = asked(ASKED, "A", tuple(row["options"]))
    assert multiple_choice(question, row["said"]).answer == expected(row), row["why"]


def test_verdict_compares_letters() -> None:
    assert multiple_choice(OF_COLOURS, "b") == Verdict("B", 1.0)
    assert multiple_choice(OF_COLOURS, "The bag is red.") == Verdict("A", 0.0)
    assert multiple_choice(OF_COLOURS, "no idea") == UNPARSED
    assert multiple_choice(asked(answer=" b ", options=COLOURS), "B").grade == 1.0


def test_text_of_an_option_that_the_question_repeats_is_not_an_answer() -> None:
    question = asked("Is the blue bag left of the tree?", "A", ("blue bag", "tree"))
    assert multiple_choice(question, "Is the blue bag left of the tree?") == UNPARSED


LETTERS = st.sampled_from("ABCD")
WRAPPERS = [
    *("{}", " {} ", "{}.", "({})", "[{}]", "{})", "**{}**", "__{}__", "`{}`", "${}$", "'{}'"),
    *("“{}”", "# {}", "> {}", "- {}", "<b>{}</b>", "```\n{}\n```", "\u200b{}", "{}\n", "\n\n{}"),
    *(r"\boxed{{{}}}", r"\text{{{}}}", r"\({}\)", r"\[{}\]", r"$\mathbf{{{}}}$", "<answer>{}"),
    *("<answer>{}</answer>", "<think>A, B, C</think>{}", "reason</think>{}", '{{"answer": "{}"}}'),
    *("{}<|im_end|>", "<|begin_of_box|>{}<|end_of_box|>", "<answer>Answer: {}</answer>"),
]
SENTENCES = [
    *(
        "The answer is {}",
        "Answer: {}",
        "Option {}",
        "So {}",
        "It is {}",
        "I choose {}",
        "答案是{}",
    ),
    *("{} is correct", "It is not a colour, so {}", "The correct option is ({})", "Antwort: {}"),
]


@given(LETTERS, st.lists(st.sampled_from(WRAPPERS[:25]), max_size=2), st.sampled_from(WRAPPERS))
def test_bare_letter_in_any_wrapper_is_that_letter(
    letter: str, inner: list[str], outer: str
) -> None:
    text = letter
    for wrapper in (*inner, outer):
        text = wrapper.format(text)
    assert multiple_choice(OF_COLOURS, text).answer == letter


@given(LETTERS, st.sampled_from(SENTENCES), st.sampled_from(WRAPPERS[:17]), st.sampled_from(" .!"))
def test_wrapped_letter_in_a_sentence_is_that_letter(
    letter: str, sentence: str, wrapper: str, end: str
) -> None:
    if wrapper in (" {} ", "{}.", "# {}", "> {}", "- {}", "```\n{}\n```"):
        wrapper = "{}"
    assert (
        multiple_choice(OF_COLOURS, sentence.format(wrapper.format(letter)) + end).answer == letter
    )


@given(LETTERS, st.sampled_from(SENTENCES), LETTERS, st.sampled_from(SENTENCES))
def test_tagged_letter_beats_all_around_it(
    letter: str, before: str, other: str, behind: str
) -> None:
    text = f"{before.format(other)}. <answer>{letter}</answer> {behind.format(other)}"
    assert multiple_choice(OF_COLOURS, text).answer == letter


@given(
    st.lists(
        st.from_regex(r"[a-z]{3,8}( [a-z]{3,8}){0,2}", fullmatch=True), min_size=2, unique=True
    ),
    st.data(),
)
def test_every_option_is_read_from_its_own_text(texts: list[str], data: st.DataObject) -> None:
    texts = texts[:26]
    k = data.draw(st.integers(0, len(texts) - 1))
    letter = ascii_uppercase[k]
    assert read_letter(texts[k], texts) == letter
    assert read_letter(f"{letter}. {texts[k]}", texts) == letter
    assert read_letter(f"The answer is {texts[k]}.", texts) == letter


@given(st.text(), st.lists(st.text(max_size=9), max_size=5))
def test_no_text_and_no_options_crash_it(said: str, options: list[str]) -> None:
    letter = multiple_choice(asked(options=tuple(options)), said).answer
    assert letter is None or letter in ascii_uppercase[: len(options)]


WORDS = "A B C D E a b I . , : ; ? ! ( ) [ ] \n { } \" ' | ** not is the answer option or and no"
WORDS += (
    r" wait so <answer> </answer> <think> </think> \boxed{ red blue green because wrong correct it"
)
PIECES = st.sampled_from(WORDS.split(" "))


@given(st.lists(PIECES, max_size=30).map(" ".join))
def test_no_mixture_of_the_words_of_answers_crashes_it(said: str) -> None:
    assert multiple_choice(OF_COLOURS, said).answer in (*"ABCD", None)


@given(st.lists(PIECES.filter(lambda one: one not in "ABCDabcdredbluegreenwhite"), max_size=20))
def test_without_letter_and_option_nothing_is_read(pieces: list[str]) -> None:
    assert multiple_choice(OF_COLOURS, " ".join(pieces)) == UNPARSED


@hostile
def test_time_is_bounded_on_long_repetition(make: Callable[[int], str]) -> None:
    assert is_bounded(multiple_choice, OF_COLOURS, make)


@pytest.mark.parametrize("filler", ["The bag hangs there. ", "A red one? ", "x", "\n"])
def test_answer_behind_100_000_characters_is_read(filler: str) -> None:
    said = filler * (100_000 // len(filler)) + " The answer is C."
    assert multiple_choice(OF_COLOURS, said).answer == "C"
