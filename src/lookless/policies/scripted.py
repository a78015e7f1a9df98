"""A policy that plays a script: for tests, baselines and demonstrations."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase

from lookless.chat.dialect import Dialect
from lookless.episode import Mode
from lookless.frames import surroundings
from lookless.ops import zoom_in
from lookless.policies.policy import Observation, Prompt, Sampled

Script = Callable[[Prompt, int], str]
"""Given the prompt and the number of earlier turns, what the model says (without the end token)."""


@dataclass(frozen=True)
class ScriptedPolicy:
    """Says what a function tells it to say; every token gets log-probability 0."""

    chat: Dialect
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


def gold(chat: Dialect, seed: int = 0) -> Script:
    """Return a script that knows the answer, for checking everything around a model.

    It looks first where it must and, if it may, where a look is known to be needed: at the evidence
    if that is known, else at the middle of the image.
    """

    def script(prompt: Prompt, turn: int) -> str:
        asked = prompt.question
        wants = {Mode.FORCED: True, Mode.ADAPTIVE: asked.needs_look is True}
        if turn > 0 or not wants.get(prompt.mode, False):
            return f"\\boxed{{{asked.answer}}}"
        view = prompt.overview.view
        whole = view.region
        middle = whole.grown(-min(whole.width, whole.height) / 4)
        part = surroundings(asked.boxes) if asked.boxes else middle
        box = view.from_source(part.intersection(whole), chat.frame)
        call = {"name": zoom_in.NAME, "arguments": {"bbox_2d": list(box.coordinates)}}
        return f"<tool_call>{json.dumps(call)}</tool_call>"

    return script


def chance(chat: Dialect, seed: int = 0) -> Script:
    """Return a script that picks an option at random: by seed, question and sample.

    It never looks. Questions without options it leaves without an answer.
    """

    def script(prompt: Prompt, turn: int) -> str:
        asked = prompt.question
        if not asked.options:
            return "I do not know."
        place = repr((seed, asked.id, prompt.sample)).encode()
        drawn = int.from_bytes(hashlib.blake2b(place, digest_size=8).digest())
        return f"\\boxed{{{ascii_uppercase[drawn % len(asked.options)]}}}"

    return script


SCRIPTS: dict[str, Callable[[Dialect, int], Script]] = {"gold": gold, "chance": chance}
"""Scripts by the names that the command line knows, given a dialect and a seed."""
