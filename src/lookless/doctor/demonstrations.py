"""Whether SFT can learn from its demonstrations as they are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookless.demonstrations import Demonstration, Played, read_demonstrations
from lookless.doctor.finding import (
    Finding,
    Level,
    evenly,
    fault,
    looked_at,
    ok,
    warning,
    with_others,
)  # fmt: skip
from lookless.doctor.model import Subject
from lookless.doctor.pictures import Pictures
from lookless.doctor.plan import Load
from lookless.episode import Rollout
from lookless.errors import LooklessError
from lookless.frames import Frame
from lookless.images import SourceCache
from lookless.recipe import Recipe

FEW = 8
"""So many boxes that are strange in the same way are no chance."""
_ENDLESS = 2**20
"""Tokens that no demonstration has."""


@dataclass(frozen=True)
class Examined:
    """A file of demonstrations, and what was found in it."""

    findings: list[Finding]
    demonstrations: list[Demonstration]
    load: Load | None
    """What a step brings with it; None if they could not be played."""


def examine_demonstrations(
    check: str, file: Path, subject: Subject | None, recipe: Recipe, processes: int
) -> Examined:
    """Return what is to be said of a file of demonstrations.

    Args:
        check: What it is called.
        file: JSONL.
        subject: The model that is to learn; None looks at rows, images and boxes only.
        recipe: The settings.
        processes: That train.

    Raises:
        DataError: If the file cannot be read, or a row does not fit.
    """
    shown = read_demonstrations(file)
    some = evenly(shown)
    pictures = Pictures([one.image for one in some])
    found = [fault(check, with_others(pictures.faults))] if pictures.faults else []
    good = [one for one in some if one.image in pictures.sizes]
    found += _frames(check, good, pictures.sizes)
    if len(shown) < processes:
        found.append(
            fault(
                check,
                f"demonstrations must be one for each of {processes} processes, got {len(shown)}; "
                "add some, or start fewer",
            )
        )
    load, longest = None, ""
    if subject is not None:
        played, faults = _played(subject, good)
        if faults:
            found.append(fault(check, with_others(faults)))
        found += _lengths(check, played, recipe)
        if played:
            load = _load(played, len(shown) / len(some), pictures, subject, recipe, processes)
            longest = f", the longest has {load.longest} tokens"
    if not any(one.level is Level.FAULT for one in found):
        looks = sum(len(one.turns) > 1 for one in some) / len(some)
        said = f"{looked_at(len(shown), 'demonstrations')}; {looks:.0%} look{longest}"
        found.append(ok(check, said))
    return Examined(found, shown, load)


def check_held_out(
    shown: Sequence[Demonstration], held_out: Sequence[Demonstration]
) -> list[Finding]:
    """Return what is in both the demonstrations that are learned from and those held out."""
    ids = {one.id for one in shown} & {one.id for one in held_out}
    if not ids:
        return []
    return [
        warning(
            "held out",
            f"held-out demonstrations must not be learned from, got {len(ids)} ids in both, such "
            f"as {min(ids)!r}; take them out of one",
        )
    ]


def _frames(
    check: str, shown: Sequence[Demonstration], sizes: Mapping[Path, tuple[int, int]]
) -> Iterator[Finding]:
    """Yield boxes that look as if they were meant in another frame than they say."""
    boxes: dict[Frame, list[tuple[tuple[float, ...], tuple[int, int]]]] = {}
    beyond: list[str] = []
    for one in shown:
        for turn in one.turns:
            if turn.look is None or turn.look.image:
                continue
            frame, size = Frame(turn.look.frame), sizes[one.image]
            boxes.setdefault(frame, []).append((turn.look.box, size))
            width, height = {Frame.UNIT: (1, 1), Frame.PERMILLE: (1000, 1000)}.get(frame, size)
            left, top, right, bottom = turn.look.box
            if min(left, top) < 0 or right > width or bottom > height:
                beyond.append(
                    f"demonstration {one.id!r}: box must lie within its image of {width:g}x"
                    f"{height:g} in frame {frame}, got {list(turn.look.box)}; correct it, or its "
                    "frame"
                )
    if beyond:
        yield warning(check, with_others(beyond))
    for frame, found in boxes.items():
        largest = max(max(box) for box, _ in found)
        smallest = min(min(size) for _, size in found)
        meant = None
        if frame is not Frame.UNIT and largest <= 1:
            meant = Frame.UNIT
        elif frame is Frame.SOURCE and largest <= 1000 and smallest > 1500 and len(found) >= FEW:
            meant = Frame.PERMILLE
        if meant is not None:
            yield warning(
                check,
                f"boxes in frame {frame} must be as large as their images, got none above "
                f"{largest:g} in {len(found)}; say frame {meant} if that is what they are in",
            )


def _played(
    subject: Subject, shown: Sequence[Demonstration]
) -> tuple[list[tuple[Demonstration, Rollout]], list[str]]:
    """Return demonstrations in the model's dialect, and why others cannot be played."""
    played = Played(subject.chat, shown, SourceCache(), _ENDLESS)
    done, faults = [], []
    for place, one in enumerate(shown):
        try:
            done.append((one, played[place]))
        except LooklessError as error:
            faults.append(str(error))
    return done, faults


def _lengths(
    check: str, played: Sequence[tuple[Demonstration, Rollout]], recipe: Recipe
) -> Iterator[Finding]:
    most = recipe.sft.max_context
    long = [(len(r.token_ids), one.id) for one, r in played if len(r.token_ids) > most]
    if long:
        tokens, name = max(long)
        yield fault(
            check,
            f"sft.max_context must hold the longest demonstration, got {most} for the {tokens} "
            f"tokens of {name!r}, and {len(long)} too long in all; raise it, or lower "
            "pixels.max_pixels",
        )


def _load(
    played: Sequence[tuple[Demonstration, Rollout]],
    scale: float,
    pictures: Pictures,
    subject: Subject,
    recipe: Recipe,
    processes: int,
) -> Load:
    rollouts = [r for _, r in played]
    views = [view for r in rollouts for view in r.views]
    total = sum(len(r.token_ids) for r in rollouts)
    return Load(
        rows=-(-min(recipe.sft.batch, round(len(played) * scale)) // processes),
        longest=max(len(r.token_ids) for r in rollouts),
        learned=sum(r.sampled_tokens for r in rollouts) / total,
        seen=sum(r.visual_tokens for r in rollouts) / total,
        pictures=round(len(set(views)) * scale),
        view=max(map(subject.chat.visual_tokens, views)),
        decoded=pictures.decoded * scale,
        largest=pictures.largest,
    )
