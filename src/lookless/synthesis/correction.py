"""Self-correction, induced by an error: a wrong look is put in the model's mouth, it goes on alone.

The wrong place is as large as a look is, and shows none of the evidence: of the boxes that the
data knows, or else of what right answers of the same model looked at. Kept are answers that are
right after another look, at the evidence where that is known; the wrong look is shown in training
without being learned.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lookless.chat.dialect import Dialect
from lookless.chat.toolcall import written_call
from lookless.demonstrations import THINK, Demonstration
from lookless.episode import Mode, Question
from lookless.evaluation.answered import Answered
from lookless.frames import Box, Frame, View
from lookless.ops import zoom_in
from lookless.policies.begun import First
from lookless.policies.policy import Prompt
from lookless.synthesis.answers import demonstration_of, is_clean

GUESSES = ("It may be here.", "Let me try this part first.", "I look here first.")
"""Said before the wrong look."""
SHARES = (0.15, 0.35)
"""Side of a wrong look, of the image's sides."""
_TRIES = 100


def known_places(
    questions: Sequence[Question], looked: Mapping[str, Answered]
) -> dict[str, tuple[Box, ...]]:
    """Return where each question's evidence is, in source pixels; without those that nobody knows.

    Args:
        questions: What is asked.
        looked: Right answers that looked, by their questions' ids.
    """
    places = {}
    for question in questions:
        if question.boxes:
            places[question.id] = question.boxes
        elif question.id in looked:
            places[question.id] = tuple(
                view.region for view in looked[question.id].rollout.views[1:]
            )
    return places


def wrong_place(whole: Box, evidence: Sequence[Box], rng: np.random.Generator) -> Box | None:
    """Return a part of the image that shows none of the evidence; None if none was found."""
    for _ in range(_TRIES):
        width, height = rng.uniform(*SHARES) * whole.width, rng.uniform(*SHARES) * whole.height
        left = whole.left + rng.uniform(0, whole.width - width)
        top = whole.top + rng.uniform(0, whole.height - height)
        box = Box(left, top, left + width, top + height, Frame.SOURCE).outward()
        # A model writes thousandths: rounding must not bring any of the evidence in.
        slack = max(whole.width, whole.height) / 500
        if all(box.intersection(one.grown(slack)).area == 0 for one in evidence):
            return box
    return None


def wrong_looks(
    places: Mapping[str, Sequence[Box]], wholes: Mapping[str, Box], seed: int
) -> dict[str, Box]:
    """Return a wrong look for each question for which there is room, in source pixels.

    Args:
        places: Where the evidence is.
        wholes: The images.
        seed: Of what is drawn.
    """
    drawn = {
        name: wrong_place(wholes[name], evidence, np.random.default_rng([seed, *name.encode(), 2]))
        for name, evidence in places.items()
    }
    return {name: box for name, box in drawn.items() if box is not None}


def first_turn(wrong: Mapping[str, Box], chat: Dialect, seed: int) -> First:
    """Return what says the wrong look of each question, in a dialect."""

    def said(prompt: Prompt) -> str:
        name = prompt.question.id
        view: View = prompt.overview.view
        box = view.from_source(wrong[name], chat.frame)
        arguments = {"bbox_2d": [round(v) for v in box.coordinates], "image": 0}
        rng = np.random.default_rng([seed, *name.encode(), 3])
        guess = GUESSES[rng.integers(len(GUESSES))]
        thought = f"{guess}</think>\n" if _is_open(chat) else f"{THINK}{guess}</think>\n"
        return thought + written_call(zoom_in.NAME, arguments)

    return said


def kept(
    answers: Sequence[Answered], chat: Dialect, evidence: Mapping[str, Sequence[Box]]
) -> list[Demonstration]:
    """Return the shortest good correction of each question as a demonstration.

    Args:
        answers: What was said after a wrong look.
        chat: The dialect that it was said in.
        evidence: Where it is known to be; another look must show some of it.
    """
    best: dict[str, Answered] = {}
    for one in answers:
        if not is_clean(one) or one.rollout.executed_looks < 2:
            continue
        seen = [view.region for view in one.rollout.views[2:]]
        boxes = evidence.get(one.question.id, ())
        if boxes and not any(region.intersection(box).area > 0 for region in seen for box in boxes):
            continue
        other = best.get(one.question.id)
        if other is None or one.rollout.generated_tokens < other.rollout.generated_tokens:
            best[one.question.id] = one
    shown = [demonstration_of(one, chat, Mode.ADAPTIVE, mistakes=1) for one in best.values()]
    return [
        one.model_copy(update={"id": f"{one.id}-corrected"}) for one in shown if one is not None
    ]


def _is_open(chat: Dialect) -> bool:
    """Return whether a prompt ends inside thoughts already."""
    return THINK in getattr(chat, "opening", "")
