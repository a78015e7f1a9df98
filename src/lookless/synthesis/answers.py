"""Demonstrations out of a model's own answers, or a teacher's: rejection sampling, both ways.

Questions are answered several times with looking forced and with looking prohibited. Of the right
answers of each kind the shortest one is kept. Which kind a question gives is drawn by the mixture's
shares, as `synthesis.boxes` does, and if there is none of that kind it gives the other; then the
kind that is too frequent among adaptive ones is thinned out until the shares are kept.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lookless.chat.dialect import Dialect
from lookless.chat.toolcall import OPEN
from lookless.demonstrations import THINK, DemonstratedLook, DemonstratedTurn, Demonstration
from lookless.episode import LookOutcome, Mode, StopReason
from lookless.evaluation.answered import Answered
from lookless.frames import Frame
from lookless.mixture import Mixture

RIGHT = 1.0


@dataclass
class Chosen:
    """What came of a set of answers."""

    demonstrations: list[Demonstration] = field(default_factory=list)
    looks: Counter[str] = field(default_factory=Counter)
    """How they go: none, look, corrected."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Questions without a demonstration, by the reason."""
    thinned: int = 0
    """Adaptive ones that were taken out to keep the shares."""


def choose(
    forced: Iterable[Answered],
    prohibited: Iterable[Answered],
    chat: Dialect,
    mixture: Mixture,
    seed: int,
) -> Chosen:
    """Return a demonstration for each question that was answered right.

    Args:
        forced: Answers that had to look.
        prohibited: Answers that could not look.
        chat: The dialect that they were given in.
        mixture: The shares of the kinds.
        seed: Of what is drawn.
    """
    looked, unlooked = shortest_right(forced), shortest_right(prohibited)
    asked = {a.question.id: a.question for a in (*forced, *prohibited)}
    chosen = Chosen()
    for name in asked:
        rng = np.random.default_rng([seed, *name.encode()])
        mode, is_look = mixture.draw(rng)
        if name not in looked and name not in unlooked:
            chosen.left_out["no right answer"] += 1
            continue
        if name not in (looked if is_look else unlooked):
            if mode is not Mode.ADAPTIVE:
                chosen.left_out[f"no right answer in mode {mode}"] += 1
                continue
            is_look = not is_look
        best = (looked if is_look else unlooked)[name]
        shown = demonstration_of(best, chat, mode)
        if shown is None:
            chosen.left_out["more than one call in a turn"] += 1
            continue
        chosen.demonstrations.append(shown)
        chosen.looks["look" if is_look else "none"] += 1
    _thin(chosen, mixture.look, np.random.default_rng([seed, 1]))
    return chosen


def shortest_right(answers: Iterable[Answered]) -> dict[str, Answered]:
    """Return each question's right answer with the fewest looks, then the fewest tokens, by id."""
    best: dict[str, Answered] = {}
    for one in answers:
        if not is_clean(one):
            continue
        other = best.get(one.question.id)
        if other is None or _cost(one) < _cost(other):
            best[one.question.id] = one
    return best


def is_clean(one: Answered) -> bool:
    """Return whether an answer is right, follows its prompt, and holds nothing that failed."""
    done = one.rollout
    return (
        one.grade == RIGHT
        and done.stop is StopReason.ANSWERED
        and done.is_obedient
        and all(look.outcome is LookOutcome.EXECUTED for look in done.looks)
    )


def demonstration_of(
    one: Answered, chat: Dialect, mode: Mode, *, mistakes: int = 0
) -> Demonstration | None:
    """Return an answer as a demonstration; None if a turn speaks of a call that it does not make.

    Args:
        one: A clean answer.
        chat: The dialect that it was given in.
        mode: Of the prompt that it is to answer; not necessarily the one that it was given to.
        mistakes: How many of its first looks are not to be learned.
    """
    done = one.rollout
    turns = []
    said = [turn.text for turn in done.turns if turn.role == "model"]
    for k, text in enumerate(said):
        look = None
        if k < len(done.looks):
            taken = done.looks[k]
            assert taken.box is not None
            assert taken.image is not None
            box = done.views[taken.image].to_source(taken.box)
            look = DemonstratedLook(
                box=box.coordinates,
                frame=Frame.SOURCE,
                image=taken.image,
                is_mistake=k < mistakes,
            )
            text = _before_call(text)
        if OPEN in text:
            return None
        turns.append(DemonstratedTurn(say=_with_opening(text, chat), look=look))
    return Demonstration(
        id=one.question.id,
        image=one.question.image,
        question=one.question.text,
        mode=mode,
        turns=tuple(turns),
    )


def _before_call(text: str) -> str:
    """Return what a turn says before the call that is carried out: the first one said aloud.

    Example:
        >>> _before_call("<think>a</think>b <tool_call>{}</tool_call> <tool_call>{}</tool_call>")
        '<think>a</think>b'
    """
    thought, end, spoken = text.rpartition("</think>")
    return f"{thought}{end}{spoken.partition(OPEN)[0]}".rstrip()


def _with_opening(text: str, chat: Dialect) -> str:
    """Return a turn with the beginning of its thoughts, which a thinking model's prompt holds."""
    opens = THINK in getattr(chat, "opening", "")
    return f"{THINK}{text}" if opens and not text.startswith(THINK) else text


def _cost(one: Answered) -> tuple[int, int, int]:
    done = one.rollout
    return len(done.looks), done.generated_tokens, one.sample


def _thin(chosen: Chosen, look: float, rng: np.random.Generator) -> None:
    """Take adaptive demonstrations out until the share of those that look is `look`, or nearly.

    Where there are only some of one kind, they stay.
    """
    adaptive = [k for k, d in enumerate(chosen.demonstrations) if d.mode is Mode.ADAPTIVE]
    by_kind: dict[bool, list[int]] = {True: [], False: []}
    for k in adaptive:
        by_kind[len(chosen.demonstrations[k].turns) > 1].append(k)
    if not all(by_kind.values()):
        return
    wanted = {True: look, False: 1.0 - look}
    # As many in all as the rarer kind allows.
    total = min(
        (len(by_kind[kind]) / share for kind, share in wanted.items() if share > 0),
        default=0.0,
    )
    dropped: set[int] = set()
    for kind, places in by_kind.items():
        surplus = len(places) - round(total * wanted[kind])
        if surplus > 0:
            dropped |= {int(k) for k in rng.choice(places, surplus, replace=False)}
            chosen.looks["look" if kind else "none"] -= surplus
    chosen.thinned = len(dropped)
    chosen.demonstrations = [d for k, d in enumerate(chosen.demonstrations) if k not in dropped]


def costs(answers: Mapping[str, Sequence[Answered]], given: int = 0) -> dict[str, float]:
    """Return what answers cost: rollouts, turns, tokens that were written and seen, seconds.

    Args:
        answers: All that were asked for.
        given: Turns of each that the model did not have to make.
    """
    every = [one.rollout for part in answers.values() for one in part]
    return {
        "answers": len(every),
        "requests": sum(sum(turn.role == "model" for turn in r.turns) - given for r in every),
        "generated_tokens": sum(r.generated_tokens for r in every),
        "visual_tokens": sum(r.visual_tokens for r in every),
        "seconds": sum(r.seconds for r in every),
    }
