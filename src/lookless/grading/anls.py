"""Average normalised Levenshtein similarity, for answers that are spans of a document."""

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from lookless.episode import Question
from lookless.grading.extraction import accepted, final_answer
from lookless.grading.verdict import UNPARSED, Verdict

THRESHOLD = 0.5
"""Less similar answers score nothing."""


def anls(question: Question, text: str) -> Verdict:
    """Return the similarity of a model's answer to the nearest accepted one, in 0..1.

    What a text marks as its answer is compared, peeled; a text that marks nothing is compared as it
    is, as in the official scripts: `The answer is Facebook` is not `Facebook`.

    Example:
        >>> from pathlib import Path
        >>> anls(Question("q", Path(), "Which?", "Facebook"), "<answer>**Facebok**</answer>")
        Verdict(answer='facebok', grade=0.875)
    """
    answer = _normal(final_answer(text))
    return Verdict(answer, anls_similarity(answer, accepted(question))) if answer else UNPARSED


def anls_similarity(prediction: str, references: Sequence[str]) -> float:
    """Return one minus the edit distance to the nearest reference over the longer one's length.

    Case and the amount of white space do not count. Below `THRESHOLD` it is 0, and so it is for an
    empty prediction or without references.

    Example:
        >>> anls_similarity("42 %", ["42%", "forty-two"]), anls_similarity("  xy   ", ["ab"])
        (0.75, 0.0)

    Source: Biten et al. 2019 (arXiv 1907.00490) as in RRC's script and its copies in Qwen-VL,
    lmms-eval and VLMEvalKit; like them it keeps a similarity of exactly 0.5, which the paper drops.
    Differs from them: length is counted after white space is unified, so padding gains nothing.
    """
    said = _normal(prediction)
    if not said:
        return 0.0
    best = max((_similarity(said, _normal(one)) for one in references), default=0.0)
    return best if best >= THRESHOLD else 0.0


def _similarity(a: str, b: str) -> float:
    return 1 - Levenshtein.distance(a, b) / max(len(a), len(b))


def _normal(text: str) -> str:
    return " ".join(text.lower().split())
