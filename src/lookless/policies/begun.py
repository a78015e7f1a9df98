"""A policy whose first turn is given: what follows is its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lookless.chat.dialect import Dialect
from lookless.policies.policy import Failed, Observation, Policy, Prompt, Sampled, Session

First = Callable[[Prompt], str]
"""Given the prompt, what the first turn says (without the end token); it must call an operation."""


@dataclass(frozen=True)
class Begun:
    """Says what a function tells it to say first, and goes on as another policy does."""

    policy: Policy
    first: First

    @property
    def chat(self) -> Dialect:
        """Return the dialect it speaks."""
        return self.policy.chat

    def start(self, prompts: Sequence[Prompt]) -> "BegunSession":
        """Begin a batch of rollouts."""
        return BegunSession(self, self.policy.start(prompts), tuple(prompts))


@dataclass
class BegunSession:
    """A batch of rollouts under way."""

    policy: Begun
    session: Session
    prompts: tuple[Prompt, ...]
    said: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """First turns that the policy has not been told of yet."""
    has_begun: bool = False

    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> Mapping[int, Sampled | Failed]:
        """Return the first turns that were given, then those of the policy."""
        if not self.has_begun:
            self.has_begun = True
            chat = self.policy.chat
            for row in appended:
                text = self.policy.first(self.prompts[row])
                self.said[row] = (*chat.encode(text), chat.end_id)
            return {
                row: Sampled(ids, (0.0,) * len(ids), True, generated_tokens=0)
                for row, ids in self.said.items()
            }
        told = {row: self._with_first(row, seen) for row, seen in appended.items()}
        return self.session.step(told, max_tokens)

    def _with_first(self, row: int, seen: Observation | None) -> Observation | None:
        said = self.said.pop(row, ())
        return replace(seen, said=said) if said and seen is not None else seen
