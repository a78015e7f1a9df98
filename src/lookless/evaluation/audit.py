"""The evidence audit: does the answer depend on what the crop showed?

Answers that came after a look are asked for again, three times: with the same crops, as a control
of what repeating alone changes; with grey ones; and with crops of other questions' images. Only
where the new rollout begins with the very words of the old one, up to its first crop, do the two
differ in nothing but the crop; the others are counted and left out.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from lookless.chat.dialect import Dialect
from lookless.episode import LookOutcome, Rollout
from lookless.evaluation.answered import Answered
from lookless.frames import Box, View
from lookless.images import SourceCache
from lookless.picture import Picture
from lookless.policies.policy import Failed, Observation, Policy, Prompt, Sampled, Session

CROPS = ("same", "blank", "shuffled")
GREY = (128, 128, 128)


@dataclass(frozen=True)
class Blank(Picture):
    """A picture that shows nothing, as large as the one that it stands for."""

    @property
    def key(self) -> tuple[str, View]:
        """Return what tells it from the others: its size."""
        view = self.view
        return f"blank {view.width_px}x{view.height_px}", view

    @property
    def pixels(self) -> Image.Image:
        """Return an image of one grey."""
        return Image.new("RGB", (self.view.width_px, self.view.height_px), GREY)


Swap = Callable[[Prompt, Picture], Picture]
"""Gives what a rollout is shown instead of a crop; it must have the same size."""


@dataclass(frozen=True)
class Swapped:
    """A policy that is shown other crops than it asked for."""

    policy: Policy
    swap: Swap

    @property
    def chat(self) -> Dialect:
        """Return the dialect it speaks."""
        return self.policy.chat

    def start(self, prompts: Sequence[Prompt]) -> "SwappedSession":
        """Begin a batch of rollouts."""
        return SwappedSession(self.policy.start(prompts), tuple(prompts), self.swap)


@dataclass(frozen=True)
class SwappedSession:
    """A batch of rollouts that are shown other crops."""

    session: Session
    prompts: tuple[Prompt, ...]
    swap: Swap

    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> Mapping[int, Sampled | Failed]:
        """Return the next turn of each rollout that goes on."""
        return self.session.step(
            {row: self._swapped(row, seen) for row, seen in appended.items()}, max_tokens
        )

    def _swapped(self, row: int, seen: Observation | None) -> Observation | None:
        if seen is None or seen.picture is None:
            return seen
        return Observation(seen.token_ids, self.swap(self.prompts[row], seen.picture))


def auditable(answered: Sequence[Answered], most: int, seed: int) -> list[Answered]:
    """Return at most so many answers with an executed look, drawn at random, in their order."""
    looked = [a for a in answered if a.rollout.is_used and a.grade is not None]
    if len(looked) <= most:
        return looked
    kept = sorted(random.Random(seed).sample(range(len(looked)), most))
    return [looked[k] for k in kept]


def swaps(audited: Sequence[Answered], sources: SourceCache) -> dict[str, Swap]:
    """Return what is shown instead of a crop, for each kind in CROPS.

    A shuffled crop is the first one of the next audited question about another image, resized to
    the size of the crop that it stands for.
    """
    other = {}
    for place, one in enumerate(audited):
        following = [*audited[place + 1 :], *audited[:place]]
        found = next((b for b in following if b.question.image != one.question.image), None)
        other[one.question.id] = found

    def shuffled(prompt: Prompt, picture: Picture) -> Picture:
        found = other[prompt.question.id]
        if found is None:
            return Blank(picture.source, picture.view)
        size = picture.view.width_px, picture.view.height_px
        return Picture(sources.get(found.question.image), View(first_crop(found.rollout), *size))

    return {
        "same": lambda prompt, picture: picture,
        "blank": lambda prompt, picture: Blank(picture.source, picture.view),
        "shuffled": shuffled,
    }


def first_crop(rollout: Rollout) -> Box:
    """Return the first crop of a rollout that has one, in source pixels."""
    views = [look.view for look in rollout.looks if look.outcome is LookOutcome.EXECUTED]
    assert views[0] is not None
    return rollout.views[views[0]].region


def is_same_until_crop(first: Rollout, second: Rollout) -> bool:
    """Return whether two rollouts of one prompt said the same until the first one's first crop."""
    looks = iter(first.looks)
    for k, turn in enumerate(first.turns):
        if turn.role != "model":
            continue
        if k >= len(second.turns) or second.turns[k].text != turn.text:
            return False
        look = next(looks, None)
        if look is None or look.outcome is LookOutcome.EXECUTED:
            return True
    return True


def changes(before: Sequence[Answered], after: Sequence[Answered]) -> dict[str, Any]:
    """Return how answers changed between audited rollouts and their repetition.

    `n` are the pairs that differ in nothing but the crop; `changed` the share of other answers
    among them, `to_wrong` and `to_right` the shares that turned.
    """
    pairs = [
        (a, b)
        for a, b in zip(before, after, strict=True)
        if b.grade is not None and is_same_until_crop(a.rollout, b.rollout)
    ]
    n = len(pairs)
    if not n:
        return {"n": 0, "not_repeated": len(before), "changed": None, "to_wrong": None,
                "to_right": None, "accuracy": None}  # fmt: skip
    changed = sum(_said(a) != _said(b) for a, b in pairs)
    return {
        "n": n,
        "not_repeated": len(before) - n,
        "changed": changed / n,
        "to_wrong": sum((a.grade or 0) > 0.5 >= (b.grade or 0) for a, b in pairs) / n,
        "to_right": sum((b.grade or 0) > 0.5 >= (a.grade or 0) for a, b in pairs) / n,
        "accuracy": sum(b.grade or 0.0 for _, b in pairs) / n,
    }


def _said(one: Answered) -> str | None:
    return None if one.verdict is None else one.verdict.answer
