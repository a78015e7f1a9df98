"""VQA accuracy: how many of ten people gave the same answer."""

import re
from collections import Counter
from collections.abc import Sequence

from lookless.episode import Question
from lookless.grading.extraction import final_answer
from lookless.grading.verdict import UNPARSED, Verdict

ENOUGH = 3
"""So many people with the same answer make it fully right."""

_NUMBERS = {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
} | {"none": "0"}
_ARTICLES = frozenset(("a", "an", "the"))
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_FULL_STOP = re.compile(r"\.(?!\d)")
_CONTRACTIONS = frozenset(
    "aint arent cant couldve couldnt couldntve didnt doesnt dont hadnt hadntve hasnt havent "
    "hed hedve howd howll isnt itd itdve itll maam mightnt mightntve mightve mustnt mustve "
    "neednt notve oclock oughtnt owsat shant shedve shouldve shouldnt shouldntve somebodyd "
    "somebodydve somebodyll someoned someonedve someonell somethingd somethingdve somethingll "
    "thered theredve therere theyd theydve theyll theyre theyve twas wasnt wedve weve werent "
    "whatll whatre whatve whered whereve whod whodve wholl whyll whyre wont wouldve wouldnt "
    "wouldntve yall yallll yalldve youd youdve youll youre youve".split()
)


def vqa_accuracy(question: Question, text: str) -> Verdict:
    """Return the VQA accuracy of a model's answer over the question's references, in 0..1.

    A question with one reference is right or wrong; with several, each is one person's answer.

    Example:
        >>> from pathlib import Path
        >>> people = ("stop",) * 3 + ("a stop sign",) * 7
        >>> vqa_accuracy(Question("q", Path(), "?", "stop", references=people), "Stop!").grade
        0.9
    """
    answer = final_answer(text)  # `A` is an answer, though nothing is left of it without articles
    references = question.references or (question.answer,)
    return Verdict(vqa_normal(answer), vqa_agreement(answer, references)) if answer else UNPARSED


def vqa_agreement(prediction: str, references: Sequence[str]) -> float:
    """Return how far people agree with a prediction, in 0..1.

    Each of the people is left out once; the rest agree fully if three of them gave the same
    answer. All are normalised. Fewer than four references can never agree fully; a single one is
    the exception and stands for all people.

    Example:
        >>> [round(vqa_agreement("2", ["two"] * k + ["3"] * (10 - k)), 2) for k in (0, 1, 2, 3, 4)]
        [0.0, 0.3, 0.6, 0.9, 1.0]

    Source: Antol et al. 2015 (arXiv 1505.00468), the official evaluation as in lmms-eval's TextVQA.
    """
    said = vqa_normal(prediction)
    people = Counter(vqa_normal(one) for one in references)
    n, same = people.total(), people[said]
    if n <= 1:
        return float(same)
    others = same * min(1.0, (same - 1) / ENOUGH) + (n - same) * min(1.0, same / ENOUGH)
    return others / n


def vqa_normal(text: str) -> str:
    """Return an answer without case, articles, punctuation; number words up to ten are digits.

    Example:
        >>> vqa_normal("The  two dogs!"), vqa_normal("don't"), vqa_normal("12.5")
        ('2 dogs', 'dont', '12.5')

    Source: the official evaluation's `processPunctuation` and `processDigitArticle`, as in MMF's
    `EvalAIAnswerProcessor`. Differs: a contraction loses its apostrophe where there it gains one,
    which makes the same answers equal.
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    given = text.replace("\n", " ").replace("\t", " ").strip()
    text = given
    for mark in _MARKS:
        is_beside_space = f"{mark} " in given or f" {mark}" in given
        text = text.replace(mark, "" if is_beside_space else " ")
    words = (_NUMBERS.get(word, word) for word in _FULL_STOP.sub("", text).split())
    return " ".join(_contracted(word) for word in words if word not in _ARTICLES)


def _contracted(word: str) -> str:
    bare = word.replace("'", "")
    return bare if bare in _CONTRACTIONS else word
