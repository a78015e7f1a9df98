"""What a rollout asks of a policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lookless.chat.dialect import Dialect
from lookless.episode import Mode, Question
from lookless.picture import Picture


@dataclass(frozen=True)
class Prompt:
    """How one rollout begins: a prefix that many rollouts may share, and the rest."""

    question: Question
    mode: Mode
    prefix: tuple[int, ...]
    """System + image + question; rollouts with equal prefix and overview share its computation."""
    overview: Picture
    rest: tuple[int, ...]
    """The mode's instruction and the opening of the model's turn."""
    sample: int = 0
    """Which of several rollouts of the same question in the same mode."""


@dataclass(frozen=True)
class Observation:
    """What is appended to a rollout between two of the model's turns."""

    token_ids: tuple[int, ...]
    picture: Picture | None
    said: tuple[int, ...] = ()
    """The turn that came before it, in a rollout whose first turn was given instead of sampled."""


@dataclass(frozen=True)
class Sampled:
    """One turn of the model."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of each token at the sampling temperature."""
    is_ended: bool
    """Whether the model ended its turn; False if the token limit did."""
    generated_tokens: int | None = None
    """As the server counted them; None: the number of `token_ids`."""
    seconds: float | None = None
    """That this turn's own request took; None if the turns of a step are made together."""


@dataclass(frozen=True)
class Failed:
    """A turn that the infrastructure failed to deliver; it ends this rollout and no other."""

    message: str
    """What went wrong, in one line."""


class Session(Protocol):
    """A batch of rollouts under way."""

    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> Mapping[int, Sampled | Failed]:
        """Return the next turn of at least one rollout under way, by its index.

        Args:
            appended: The rollouts whose last turn was returned and that go on, each with what is
                appended first (None in the first turn, unless that one was given). Those left out
                then are over: they may not come back. Those whose turn is still to come are not
                named again.
            max_tokens: Limit on the tokens of the turn.
        """


class Policy(Protocol):
    """Something that answers."""

    @property
    def chat(self) -> Dialect:
        """Return the dialect it speaks."""

    def start(self, prompts: Sequence[Prompt]) -> Session:
        """Begin a batch of rollouts."""
