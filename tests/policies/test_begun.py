"""A first turn that is given is followed as if the policy had said it itself."""

import importlib
from pathlib import Path

import pytest

from lookless.chat.toolcall import written_call
from lookless.episode import LookOutcome, Mode
from lookless.images import SourceCache
from lookless.lookworld.base import load_base
from lookless.lookworld.dataset import Split, export, questions
from lookless.ops import zoom_in
from lookless.policies.begun import Begun
from lookless.policies.hf import HfPolicy
from lookless.policies.policy import Prompt
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import Limits, rollout

ROOT = Path(__file__).parents[2]
LIMITS = Limits(max_looks=2, max_turn_tokens=24)


def first(prompt: Prompt) -> str:
    """Look at a place that depends on the question."""
    left = 25 * (len(prompt.question.text) % 20)
    arguments = {"bbox_2d": [left, 100, left + 250, 400], "image": 0}
    return f"<think>See {left}.</think>\n{written_call(zoom_in.NAME, arguments)}"


def test_what_follows_is_what_generate_says_after_the_same_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    scratch = importlib.import_module("scratch_policy")
    vlm = load_base()
    asked = export(tmp_path, list(questions(Split.TEST, 4)))
    requests = [(q, mode) for q in asked for mode in (Mode.ADAPTIVE, Mode.FORCED)]
    made = [
        rollout(Begun(policy, first), requests, SourceCache(), LIMITS)
        for policy in (HfPolicy(vlm, 0.0), scratch.GeneratePolicy(vlm, 0.0))
    ]
    for ours, theirs in zip(*made, strict=True):
        assert ours.token_ids == theirs.token_ids
        assert ours.looks[0].outcome is LookOutcome.EXECUTED
        assert ours.turns[1].text.startswith("<think>See ")
        assert len(ours.views) >= 2


def test_a_given_turn_that_is_refused_is_not_hidden(tmp_path: Path) -> None:
    vlm = load_base()
    [asked] = export(tmp_path, list(questions(Split.TEST, 1)))
    told = ScriptedPolicy(vlm.chat, lambda prompt, turn: "\\boxed{4}")
    [done] = rollout(
        Begun(told, lambda prompt: "<tool_call>x</tool_call>"),
        [(asked, Mode.ADAPTIVE)], SourceCache(), LIMITS,
    )  # fmt: skip
    assert [look.outcome for look in done.looks] == [LookOutcome.MALFORMED]
    assert done.answer == "4"
