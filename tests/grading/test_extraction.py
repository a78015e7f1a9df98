import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.answers import Row, adversarial, asked
from lookless.grading.extraction import (
    MAX_CHARS,
    accepted,
    corrections,
    final_answer,
    peel,
    plain,
    sentence,
    sentences,
    statements,
    without_question,
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("B", "B"),
        ("<think>A</think>B", "B"),
        ("A</think>B", "B"),
        ("<think>B", ""),
        ("<answer>A</answer><answer>B</answer>", "B"),
        ("<answer><answer>B</answer></answer>", "B"),
        ("<answer>B</answer><answer></answer>", "B"),
        ("<answer>B</answer><answer>...</answer>", "B"),
        ("<answer>B", "B"),
        ("B</answer>", "B"),
        (r"\boxed{A} \boxed{B}", "B"),
        (r"\boxed{B", "B"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{50\%}", "50%"),
        (r"<answer>\boxed{B}</answer>", "B"),
        (r"\boxed{A} <answer>B</answer>", "B"),
        (r"<answer>A</answer> \boxed{B}", "B"),
        ('{"answer": "B"}', "B"),
        ('{"answer": "say \\"hi\\""}', 'say "hi"'),
        ('{"answer": 3}', "3"),
        ('<answer>{"answer": "B"}</answer>', "B"),
        ('<tool_call>{"answer": "A"}</tool_call>', ""),
        ('<tool_call>{"answer": "A"}', ""),
        ('<tool_call>{"answer": "A"}<answer>B</answer>', "B"),
        ("B<|im_end|><|endoftext|>", "B"),
        ("<|begin_of_box|>B<|end_of_box|> indeed", "B"),
    ],
)
def test_answer_is_what_the_text_marks_last(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@given(st.text("<>/answerthink{}\\boxed\"': AB\n`", max_size=60))
def test_reading_ends_and_never_adds_to_the_text(text: str) -> None:
    assert len(final_answer(text)) <= len(text)
    assert final_answer(text) == final_answer(text).strip()


def test_only_the_end_of_a_long_text_is_read() -> None:
    assert (
        final_answer("<answer>A</answer>" + "x " * MAX_CHARS) == ("x " * (MAX_CHARS // 2)).strip()
    )
    assert final_answer("x " * MAX_CHARS + "<answer>B</answer>") == "B"


@pytest.mark.parametrize(
    ("text", "peeled"),
    [
        ("**B**", "B"),
        ("***B***", "B"),
        ("`B`", "B"),
        ("```\nB\n```", "B"),
        (r"$\text{B}$", "B"),
        (r"\(B\)", "B"),
        ("«B»", "B"),
        ('"a" or "b"', '"a" or "b"'),
        ("**a** b **c**", "**a** b **c**"),
        ("$5", "$5"),
        ("5*", "5*"),
        ("''", "''"),
        ("", ""),
    ],
)
def test_only_what_wraps_all_of_a_text_is_peeled(text: str, peeled: str) -> None:
    assert peel(text) == peeled


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a\u200bb", "ab"),
        ("\uff21\uff22", "AB"),
        ("a&nbsp;b", "a b"),
        ("<b>a</b><br>b", "a\nb"),
        ("~~a~~ b", "b"),
        ("<del>a</del> b", "b"),
        ("**a** _b_ `c`", "a b c"),
        ("a_b and 5*3 and 2**3 and 3 * 4", "a_b and 5*3 and 2**3 and 3 * 4"),
        ("# Head\n* item", "Head\nitem"),
        ("#1 of $5", "#1 of $5"),
        ("10\u00b3", "10^3"),
        ("3\u00bd", "3 1/2"),
        (r"\textbf{a} \frac12", r"a \frac12"),
        ("a  \n\n\n b", "a\nb"),
        ("3 < 4 > 2", "3 < 4 > 2"),
        ("!!!!!!!!", "!!!"),
    ],
)
def test_markup_is_taken_off_and_words_and_numbers_stay(text: str, read: str) -> None:
    assert plain(text) == read


@given(st.text())
def test_plain_text_has_no_double_space_and_no_control_characters(text: str) -> None:
    said = plain(text)
    assert said == said.strip()
    assert "  " not in said
    assert "\n\n" not in said
    assert not any(c < " " and c != "\n" for c in said)


def test_repeated_question_is_left_out_unless_it_is_too_short_to_tell() -> None:
    question = asked("What colour is **it**?")
    assert without_question("What colour is it? blue", question) == "blue"
    assert without_question("blue one", asked("blue")) == "blue one"


def test_accepted_answers_are_given_bare_and_peeled_once_each() -> None:
    assert accepted(asked(answer="x")) == ("x",)
    assert accepted(asked(answer="x", references=("'x'", "y"))) == ("'x'", "x", "y")


@pytest.mark.parametrize(
    ("said", "last"),
    [
        ("A. Wait, B", "B"),
        ("A. No, B", "B"),
        ("A... hmm, sorry, I mean B", "B"),
        ("A. On second thought, B. Actually, C", "C"),
        ("A wait", "A wait"),
        ("I await B", "I await B"),
        ("No idea", "No idea"),
        ("A. Wait", "A. Wait"),
    ],
)
def test_what_follows_words_of_correction_comes_first(said: str, last: str) -> None:
    assert next(corrections(said)) == last
    assert list(corrections(said))[-1] == said


def test_no_is_an_answer_where_yes_and_no_are_asked() -> None:
    assert next(corrections("Hmm. No, it is not", is_no_an_answer=True)) == "Hmm. No, it is not"
    assert next(corrections("Hmm. No, it is B")) == "it is B"


@pytest.mark.parametrize(
    ("said", "is_negated", "is_hedged"),
    [
        ("the answer is B", False, False),
        ("the answer isn't B", True, False),
        ("the answer is B?", False, True),
        ("the answer could be B", False, True),
        ("the answer could not be B", True, True),
        ("I do not think the answer is B", True, False),
        ("if the answer is B", True, False),
        ("I thought the answer was B", True, False),
    ],
)
def test_statements_know_what_is_denied_and_hedged(
    said: str, is_negated: bool, is_hedged: bool
) -> None:
    [statement] = statements(said)
    assert said[statement.start :].strip(" ?") == "B"
    assert (statement.is_negated, statement.is_hedged) == (is_negated, is_hedged)


@pytest.mark.parametrize("said", ["answers differ", "no answer", "options: A, B", "an island", ""])
def test_a_cue_without_a_verb_states_nothing(said: str) -> None:
    assert not list(statements(said))


def test_sentences_end_at_full_stops_but_not_behind_a_letter() -> None:
    assert sentences("It is so. B. blue\nDone!") == ["It is so.", "B. blue", "Done!"]
    assert sentence("x: It is 3.5 m. Yes", 2) == " It is 3.5 m."
    assert len(sentence("a" * 999, 0)) < 999


@adversarial("choice")
def test_reading_again_what_was_read_changes_nothing(row: Row) -> None:
    assert plain(plain(row["said"])) == plain(row["said"])
