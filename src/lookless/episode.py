"""The data types: what is asked, what a model did, and why it stopped.

Everything here is plain data that can be written to JSON and read back; behaviour lives elsewhere.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lookless.frames import Box, View


class Mode(StrEnum):
    """What the prompt says about looking."""

    FORCED = "forced"
    """Must look at least once."""
    PROHIBITED = "prohibited"
    """Must answer from the overview; a look is refused, not executed."""
    ADAPTIVE = "adaptive"
    """May look."""
    TOOLFREE = "toolfree"
    """Answers from the overview, and the prompt does not even mention the operation."""


TRAINED_MODES = (Mode.FORCED, Mode.PROHIBITED, Mode.ADAPTIVE)
"""The modes of training, which share their prefix; `TOOLFREE` is for measurement only."""


class StopReason(StrEnum):
    """Every way a rollout can end."""

    ANSWERED = "answered"
    """A turn without a tool call ended: the final answer is its last `\\boxed{}`."""
    NO_ANSWER = "no_answer"
    """A turn without a tool call ended, and it holds no `\\boxed{}`."""
    TURN_LENGTH = "turn_length"
    """A turn reached its token limit before it ended."""
    CONTEXT_LENGTH = "context_length"
    """The next turn or observation would not fit into the context."""
    TOO_MANY_LOOKS = "too_many_looks"
    """Too many of the calls were not executed."""
    FAULT = "fault"
    """The infrastructure failed; the rollout counts for nothing."""


class LookOutcome(StrEnum):
    """What became of one tool call."""

    EXECUTED = "executed"
    MALFORMED = "malformed"
    """Not one JSON object with `name` and `arguments`."""
    UNKNOWN_OPERATION = "unknown_operation"
    BAD_ARGUMENTS = "bad_arguments"
    """Missing, superfluous, or of the wrong type; a box that is not four numbers."""
    NOT_FINITE = "not_finite"
    SWAPPED_CORNERS = "swapped_corners"
    OUTSIDE = "outside"
    """The box does not overlap the image."""
    TOO_SMALL = "too_small"
    UNKNOWN_IMAGE = "unknown_image"
    REPEATED = "repeated"
    TOO_MANY = "too_many"
    """No look is left."""
    REFUSED = "refused"
    """The mode prohibits looking."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one image, with what is known about it."""

    id: str
    image: Path
    text: str
    answer: str
    """The reference answer."""
    family: str = ""
    kind: str = ""
    needs_look: bool | None = None
    """Ground truth of necessity where the data knows it."""
    detail_px: float | None = None
    """Size of the needed detail in pixels of the overview."""
    boxes: tuple[Box, ...] = ()
    """The evidence, in source pixels."""
    choices: int = 0
    """Number of possible answers, 0 if open."""
    options: tuple[str, ...] = ()
    """What can be chosen from, lettered A, B, ... in this order; `answer` is then a letter."""
    references: tuple[str, ...] = ()
    """All accepted answers, `answer` among them, where the data has several."""
    cluster: str = ""
    """Questions of one cluster are not independent: permutations of one, or about one image."""
    region: Box | None = None
    """What the model is shown first, in source pixels; None: all of the image."""

    @property
    def unit(self) -> str:
        """Return what statistics take as independent: the cluster, or else the question itself."""
        return self.cluster or self.id


@dataclass(frozen=True, slots=True)
class Look:
    """One tool call and what became of it."""

    outcome: LookOutcome
    image: int | None = None
    """Index of the view that the box was given in; 0 is the overview."""
    box: Box | None = None
    """As the model gave it."""
    view: int | None = None
    """Index of the new view, if executed."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said, decoded."""

    role: str
    """`prompt`, `model`, `observation`, or `fault` with what the infrastructure said."""
    text: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One episode: the exact tokens, which of them were sampled, and what was looked at.

    `token_ids`, `is_sampled` and `logprobs` have one entry per token of the whole episode, prompt
    included; image tokens appear expanded, one pad token per visual token, in the order of `views`.
    """

    question_id: str
    mode: Mode
    token_ids: tuple[int, ...]
    is_sampled: tuple[bool, ...]
    """The loss mask: True for tokens that the policy chose."""
    logprobs: tuple[float, ...]
    """Log-probability at the sampling temperature of each sampled token; 0 elsewhere."""
    views: tuple[View, ...]
    """The overview, then each executed crop."""
    looks: tuple[Look, ...]
    turns: tuple[Turn, ...]
    answer: str | None
    """Extracted final answer; None if there is none."""
    stop: StopReason
    visual_tokens: int
    generated_tokens: int = 0
    """What the policy wrote, as its server counted it; in process that is `sampled_tokens`."""
    seconds: float = 0.0
    """Wall-clock seconds of the batch that this rollout ran in, divided by the batch's size."""
    latency: float = 0.0
    """Seconds until this rollout stopped: those of its own requests where the policy times them,
    else since the start of its batch."""

    @property
    def is_used(self) -> bool:
        """Whether at least one look was executed."""
        return any(look.outcome is LookOutcome.EXECUTED for look in self.looks)

    @property
    def executed_looks(self) -> int:
        """Number of looks that gave a crop."""
        return sum(look.outcome is LookOutcome.EXECUTED for look in self.looks)

    @property
    def is_obedient(self) -> bool:
        """Whether the mode's instruction was followed; adaptive rollouts always do."""
        if self.mode is Mode.FORCED:
            return self.is_used
        return self.mode is Mode.ADAPTIVE or not self.looks

    @property
    def sampled_tokens(self) -> int:
        """Number of tokens in the loss mask."""
        return sum(self.is_sampled)


@dataclass(frozen=True, slots=True)
class Group:
    """All rollouts of one query, with their grades."""

    question: Question
    rollouts: tuple[Rollout, ...]
    grades: tuple[float | None, ...]
    """In 0..1; None where no verdict could be reached or the rollout failed."""
