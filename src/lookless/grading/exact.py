"""Exact match after normalisation."""

import re

from lookless.chat.toolcall import extract_boxed
from lookless.episode import Question, Rollout, StopReason
from lookless.grading.verdict import UNPARSED, Verdict


def exact_match(answer: str, reference: str) -> float:
    r"""Return 1.0 if two short answers say the same, else 0.0.

    Case, surrounding white space, final full stops, and a LaTeX `\text{}` around the answer do not
    count.

    Example:
        >>> exact_match(" \\text{Left}. ", "left")
        1.0
        >>> exact_match("K7", "K8")
        0.0
    """
    return float(_normal(answer) == _normal(reference))


def _normal(text: str) -> str:
    bare = re.sub(r"\\text\s*\{(.*)\}", r"\1", text.strip(), flags=re.DOTALL)
    return " ".join(bare.casefold().split()).rstrip(". ")


def grade(question: Question, rollout: Rollout) -> float | None:
    """Return a rollout's grade in 0..1; no answer is wrong, an infrastructure fault is None."""
    if rollout.stop is StopReason.FAULT:
        return None
    return 0.0 if rollout.answer is None else exact_match(rollout.answer, question.answer)


def boxed_exact(question: Question, text: str) -> Verdict:
    r"""Return the verdict on the last `\boxed{}` of a model's text: training's own rule.

    Without one, or with an empty one, nothing could be read; thinking does not count.
    """
    answer = extract_boxed(text)
    if not answer:
        return UNPARSED
    return Verdict(answer, exact_match(answer, question.answer))
