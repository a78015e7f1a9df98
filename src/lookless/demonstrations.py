"""Demonstrations for SFT: what is said and looked at, in no model family's own words.

A demonstration is played through the rollout loop in the dialect of the model that is to learn from
it, so that its tokens are those that the model itself would have said and seen.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self, overload

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from lookless.chat.chatml import ChatML
from lookless.chat.toolcall import OPEN, extract_boxed, written_call
from lookless.episode import LookOutcome, Mode, Question, Rollout, StopReason
from lookless.errors import ConfigError, DataError, encodable, wrong_setting
from lookless.frames import Box, Frame, View
from lookless.images import PixelBudget, Source, SourceCache
from lookless.ops import zoom_in
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import Limits, rollout

THINK = "<think>"
_ANY_SIZE = PixelBudget(1, 1_000_000, 1)
"""Of views whose boxes are shares of them."""


class DemonstratedLook(BaseModel):
    """A look at a part of an image."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    box: tuple[float, float, float, float]
    """Left, top, right, bottom."""
    frame: Literal[Frame.UNIT, Frame.PERMILLE, Frame.SOURCE]
    """What the numbers mean: 0..1 or 0..1000 across that image, or pixels of the whole file."""
    image: int = Field(0, ge=0)
    """0 is the image, k the crop of the k-th look."""
    is_mistake: bool = False
    """Whether the call is shown without being learned, so that what follows it is."""


class DemonstratedTurn(BaseModel):
    """What is said in one turn, and the look that ends it, if any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    say: Annotated[str, AfterValidator(encodable)]
    """The last turn holds the answer in `\\boxed{}`; thoughts stand in `<think>...</think>`."""
    look: DemonstratedLook | None = None


class Demonstration(BaseModel):
    """How one question is answered: a line of a demonstrations file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, AfterValidator(encodable)]
    image: Path
    """In a file: relative to its folder."""
    question: Annotated[str, AfterValidator(encodable)]
    mode: Literal[Mode.ADAPTIVE, Mode.FORCED, Mode.PROHIBITED] = Mode.ADAPTIVE
    """Of the prompt that is answered."""
    turns: tuple[DemonstratedTurn, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Refuse turns that would not be read as they are meant."""
        looks = [turn.look is not None for turn in self.turns]
        if looks != [True] * (len(looks) - 1) + [False]:
            raise ConfigError(
                "turns must look, all but the last one, got "
                f"{', '.join('a look' if is_look else 'none' for is_look in looks)}; put them right"
            )
        if any(OPEN in turn.say for turn in self.turns):
            raise ConfigError(f"say must hold no call, got {OPEN}; give the look as `look`")
        if self.mode is Mode.FORCED and len(looks) == 1:
            raise ConfigError("a demonstration of mode forced must look, got no look; add one")
        if self.mode is Mode.PROHIBITED and len(looks) > 1:
            raise ConfigError("a demonstration of mode prohibited may not look, got a look; take "
                              "it out")  # fmt: skip
        return self


def read_demonstrations(file: Path) -> list[Demonstration]:
    """Return the demonstrations in a JSONL file, their images as paths that can be opened.

    Raises:
        DataError: If the file cannot be read, a line does not fit, an id occurs twice, or an image
            is not there; the message names the line.
    """
    found: dict[str, Demonstration] = {}
    for where, shown in demonstrations_in(file):
        if isinstance(shown, DataError):
            raise shown
        if shown.id in found:
            raise DataError(f"{where}: id must be of one line only, got {shown.id!r} again")
        if not shown.image.is_file():
            raise DataError(
                f"{where}: image must be a file, got {str(shown.image)!r}; check the path"
            )
        found[shown.id] = shown
    if not found:
        raise DataError(f"demonstrations must be at least one, got an empty {str(file)!r}")
    return list(found.values())


def demonstrations_in(file: Path) -> Iterator[tuple[str, Demonstration | DataError]]:
    """Yield for each line of a JSONL file where it is, and its demonstration or what is wrong.

    Images are paths that can be opened, if they are there.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        # Not splitlines: texts may hold other characters that it takes for the end of a line.
        lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"demonstrations must be a readable JSONL file, got {str(file)!r}: {error}"
        ) from None
    for number, line in enumerate(lines if lines != [""] else [], 1):
        where = f"{str(file)!r} line {number}"
        try:
            shown = Demonstration.model_validate(json.loads(line))
            yield where, shown.model_copy(update={"image": file.parent / shown.image})
        except ValidationError as error:
            yield where, DataError(f"{where}: {wrong_setting(Demonstration, error)}")
        except (ValueError, RecursionError) as error:
            yield where, DataError(f"{where} must be a JSON object, got {error}; mend it")


def write_demonstrations(file: Path, demonstrations: Sequence[Demonstration]) -> None:
    """Write demonstrations as JSONL; the images must lie under the file's folder."""
    lines = [written_demonstration(shown, file.parent) for shown in demonstrations]
    file.write_text("".join(lines), encoding="utf-8")


def written_demonstration(shown: Demonstration, folder: Path) -> str:
    """Return a demonstration as a line of a file in `folder`, which its image must lie under."""
    image = shown.image.relative_to(folder)
    row = shown.model_copy(update={"image": image}).model_dump(mode="json", exclude_defaults=True)
    return json.dumps(row, ensure_ascii=False) + "\n"


def flaw_in(shown: Demonstration, source: Source) -> str | None:
    """Return why a demonstration can be shown to no model; None if nothing speaks against it.

    Its looks must be such as can be carried out, with boxes in thousandths of what was seen, and
    its answer must be found in the last turn.

    Args:
        shown: What is shown.
        source: Of its image.

    Raises:
        ImageError: If the image, or a part of it, cannot be shown.
    """
    views = [source.full_view(_ANY_SIZE)]
    for turn in shown.turns:
        if turn.look is None:
            break
        if turn.look.image >= len(views):
            return (
                f"image of a look must be one that was seen, 0 to {len(views) - 1}, got "
                f"{turn.look.image}"
            )
        arguments = call_arguments(turn.look, views, Frame.PERMILLE)
        look = zoom_in.validate(arguments, Frame.PERMILLE, tuple(views))
        if look.outcome is not LookOutcome.EXECUTED:
            return f"looks must be such as can be carried out, got {look.outcome}"
        views.append(source.view(zoom_in.region_of(look, tuple(views)), _ANY_SIZE))
    if not extract_boxed(shown.turns[-1].say):
        return "last turn must hold an answer in \\boxed{}, got none that can be read"
    return None


def call_arguments(
    look: DemonstratedLook, views: Sequence[View], frame: Frame
) -> dict[str, object]:
    """Return the arguments of a look's call, in whole numbers of a frame.

    Args:
        look: At one of the views.
        views: What was seen so far.
        frame: That a model writes boxes in.
    """
    view = views[look.image]
    box = view.from_source(view.to_source(Box(*look.box, look.frame)), frame)
    return {"bbox_2d": [round(v) for v in box.coordinates], "image": look.image}


class Played(Sequence[Rollout]):
    """Demonstrations as rollouts of one model, each played when it is asked for.

    A rollout's `is_sampled` is the loss mask: what is said and called, but for calls that are
    mistakes.
    """

    def __init__(
        self,
        chat: ChatML,
        demonstrations: Sequence[Demonstration],
        sources: SourceCache,
        max_context: int = 4096,
    ) -> None:
        """Play nothing yet.

        Args:
            chat: The dialect of the model that is to learn.
            demonstrations: What is shown.
            sources: Opens the images; only their sizes are needed here.
            max_context: Tokens of a demonstration at most.
        """
        self.chat = chat
        self.demonstrations = demonstrations
        self.sources = sources
        self.max_context = max_context

    def __len__(self) -> int:
        return len(self.demonstrations)

    @overload
    def __getitem__(self, index: int) -> Rollout: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rollout]: ...
    def __getitem__(self, index: int | slice) -> Rollout | list[Rollout]:
        """Return demonstrations as rollouts.

        Raises:
            DataError: If a look cannot be carried out, or a demonstration is too long.
            ImageError: If an image cannot be opened.
        """
        if isinstance(index, slice):
            return [self._play(shown) for shown in self.demonstrations[index]]
        return self._play(self.demonstrations[index])

    def __iter__(self) -> Iterator[Rollout]:
        return map(self._play, self.demonstrations)

    def source(self, index: int) -> Source:
        """Return the source of a demonstration's image."""
        return self.sources.get(self.demonstrations[index].image)

    def _play(self, shown: Demonstration) -> Rollout:
        texts = self._texts(shown)
        policy = ScriptedPolicy(self.chat, lambda prompt, turn: texts[turn])
        question = Question(shown.id, shown.image, shown.question, "")
        limits = Limits(
            max_looks=len(texts), max_turn_tokens=self.max_context, max_context=2**31
        )  # it is looked at as a whole below
        [played] = rollout(policy, [(question, Mode(shown.mode))], self.sources, limits)
        if len(played.token_ids) > self.max_context or played.stop is StopReason.TURN_LENGTH:
            raise DataError(
                f"demonstration {shown.id!r} must fit into max_context, {self.max_context} tokens, "
                f"got {len(played.token_ids)} or more; raise it, or lower max_pixels"
            )
        self._check(shown, played)
        return self._without_mistakes(shown, played)

    def _check(self, shown: Demonstration, played: Rollout) -> None:
        """Raise unless what was played is what was demonstrated."""
        looks = len(shown.turns) - 1
        if played.stop is not StopReason.ANSWERED or played.executed_looks != looks:
            raise DataError(
                f"demonstration {shown.id!r} must end in an answer in \\boxed{{}} after {looks} "
                f"looks, got {played.stop} after {played.executed_looks}; close its thoughts, and "
                "box the answer"
            )
        own = [t for t, said in zip(played.token_ids, played.is_sampled, strict=True) if said]
        wrong = [t for t in own if t in self.chat.banned_ids]
        if wrong or own.count(self.chat.end_id) != len(shown.turns):
            token = self.chat.decode([wrong[0] if wrong else self.chat.end_id])
            raise DataError(
                f"demonstration {shown.id!r}: say must hold no token that opens or ends a turn or "
                f"stands for pixels, got {token}; take it out"
            )

    def _texts(self, shown: Demonstration) -> list[str]:
        """Return what the model says in each turn, calls included."""
        source = self.sources.get(shown.image)
        views = [source.full_view(self.chat.budget)]
        texts = []
        for turn in shown.turns:
            said = self._opened(turn.say)
            if turn.look is None:
                texts.append(said)
                continue
            arguments = self._arguments(turn.look, views, shown.id)
            look = zoom_in.validate(arguments, self.chat.frame, tuple(views))
            if look.outcome is not LookOutcome.EXECUTED:
                raise DataError(
                    f"demonstration {shown.id!r}: looks must be such as can be carried out, got "
                    f"{look.outcome} for {list(turn.look.box)} of image {turn.look.image}; "
                    "correct the box or its frame"
                )
            views.append(source.view(zoom_in.region_of(look, tuple(views)), self.chat.budget))
            texts.append(said + written_call(zoom_in.NAME, arguments))
        return texts

    def _opened(self, say: str) -> str:
        """Return a turn as it goes on where the model's own opening ends."""
        if THINK not in self.chat.opening:
            return say
        if say.startswith(THINK):
            return say.removeprefix(THINK).lstrip("\n")
        return f"</think>\n\n{say}"

    def _arguments(
        self, look: DemonstratedLook, views: Sequence[View], name: str
    ) -> dict[str, object]:
        """Return a call's arguments, in whole numbers of the model's own frame."""
        if look.image >= len(views):
            raise DataError(
                f"demonstration {name!r}: image of a look must be one that was seen, 0 to "
                f"{len(views) - 1}, got {look.image}; correct it"
            )
        return call_arguments(look, views, self.chat.frame)

    def _without_mistakes(self, shown: Demonstration, played: Rollout) -> Rollout:
        """Return a rollout with calls that are mistakes taken out of the loss."""
        opening = self.chat.encode(OPEN)[0]
        mask = list(played.is_sampled)
        place = -1
        for turn in shown.turns[:-1]:
            place = next(
                k
                for k in range(place + 1, len(mask))
                if played.is_sampled[k] and played.token_ids[k] == opening
            )
            if turn.look is not None and turn.look.is_mistake:
                end = place
                while mask[end]:
                    mask[end] = False
                    end += 1
        return replace(played, is_sampled=tuple(mask))
