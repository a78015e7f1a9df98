"""A policy that plays a script: for tests, baselines and demonstrations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lookless.chat.chatml import ChatML
from lookless.policies.policy import Observation, Prompt, Sampled

Script = Callable[[Prompt, int], str]
"""Given the prompt and the number of earlier turns, what the model says (without the end token)."""


@dataclass(frozen=True)
class ScriptedPolicy:
    """Says what a function tells it to say; every token gets log-probability 0."""

    chat: ChatML
    script: Script

    def start(self, prompts: Sequence[Prompt]) -> "ScriptedSession":
        """Begin a batch of rollouts."""
        return ScriptedSession(self, tuple(prompts))


@dataclass
class ScriptedSession:
    """A batch of scripted rollouts."""

    policy: ScriptedPolicy
    prompts: tuple[Prompt, ...]
    turns: dict[int, int] = field(default_factory=dict)

    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> dict[int, Sampled]:
        """Return the next scripted turn of each rollout that goes on."""
        sampled = {}
        for row in appended:
            turn = self.turns.get(row, 0)
            self.turns[row] = turn + 1
            ids = self.policy.chat.encode(self.policy.script(self.prompts[row], turn))
            ids = [*ids, self.policy.chat.end_id]
            kept = tuple(ids[:max_tokens])
            sampled[row] = Sampled(kept, (0.0,) * len(kept), len(kept) == len(ids))
        return sampled
