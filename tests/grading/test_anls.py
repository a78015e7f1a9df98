from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.answers import Row, adversarial, asked, expected, hostile, is_bounded
from lookless.grading.anls import THRESHOLD, anls, anls_similarity
from lookless.grading.verdict import UNPARSED, Verdict


@adversarial("anls")
def test_span_is_what_the_text_marks_or_all_of_it(row: Row) -> None:
    assert anls(asked(), row["said"]).answer == expected(row), row["why"]


@pytest.mark.parametrize(
    ("references", "prediction", "similarity"),
    [  # what lmms-eval and VLMEvalKit give, once the texts are stripped
        (["42%"], "42%", 1.0),
        (["42%"], "42 %", 0.75),
        (["New York", "NYC"], "new  york", 1.0),
        (["Facebook"], "Facebok", 0.875),
        (["Facebook"], "The answer is Facebook", 0.0),
        (["10"], "100", 2 / 3),
        (["ab"], "ac", 0.5),
        (["7"], "", 0.0),
        ([" 7 "], "7", 1.0),
        (["ab"], "   ac   ", 0.5),
        (["ab"], "xy      ", 0.0),
        (["42%"], "43%\n\n", 2 / 3),
        ([], "x", 0.0),
        ([""], "x", 0.0),
    ],
)
def test_similarity_is_that_of_the_official_script_on_stripped_texts(
    references: list[str], prediction: str, similarity: float
) -> None:
    assert anls_similarity(prediction, references) == pytest.approx(similarity)


def test_verdict_takes_the_nearest_reference() -> None:
    question = asked(answer="NYC", references=("NYC", "New York"))
    assert anls(question, "<answer>New Yorc</answer>") == Verdict("new yorc", 0.875)
    assert anls(question, " ") == UNPARSED


def distance(a: str, b: str) -> int:
    """Return the edit distance by its definition, row by row."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        above, row = row, [i]
        for j, right in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (left != right)))
    return row[-1]


SHORT = st.text("abAB 1%", min_size=1, max_size=8).filter(str.strip)


@given(SHORT, SHORT)
def test_similarity_is_one_minus_the_normalised_distance(a: str, b: str) -> None:
    one, other = (" ".join(text.lower().split()) for text in (a, b))
    similarity = 1 - distance(one, other) / max(len(one), len(other))
    assert anls_similarity(a, [b]) == pytest.approx(similarity if similarity >= THRESHOLD else 0)


@given(SHORT, SHORT, st.sampled_from(["", " ", "\n\t "]))
def test_case_white_space_and_order_do_not_matter(a: str, b: str, space: str) -> None:
    similarity = anls_similarity(a, [b])
    assert anls_similarity(b, [a]) == similarity
    assert anls_similarity(a.upper(), [b.lower()]) == similarity
    assert anls_similarity(space + a.replace(" ", " " + space) + space, [b]) == similarity


@given(st.text(min_size=1).filter(str.strip), st.lists(st.text(), max_size=3))
def test_equal_texts_are_fully_similar_and_none_is_nearly_dissimilar(
    text: str, others: list[str]
) -> None:
    assert anls_similarity(text, [*others, text]) == 1.0
    assert anls_similarity(text, others) == 0.0 or anls_similarity(text, others) >= THRESHOLD


@given(st.text(), st.text())
def test_no_text_crashes_it(said: str, answer: str) -> None:
    assert 0 <= anls(asked(answer=answer), said).grade <= 1


@hostile
def test_time_is_bounded_on_long_repetition(make: Callable[[int], str]) -> None:
    assert is_bounded(anls, asked(answer="Facebook"), make)
