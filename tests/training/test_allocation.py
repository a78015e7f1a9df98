from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from lookless.episode import Group, Mode, Question, Rollout, StopReason
from lookless.grading import grade
from lookless.necessity import NecessityPool
from lookless.training.allocation import roll_out
from lookless.training.rl_config import RlConfig
from lookless.workers import Request

MakeQuestion = Callable[..., Question]
Say = Callable[..., Rollout]
SEQUENTIAL = RlConfig(forced=6, prohibited=6, adaptive=3, first_pairs=2)


class Scripted:
    """Answers as a function of question and mode says, and remembers what it was asked for."""

    def __init__(self, say: Say, is_right: Callable[[str, Mode, int], bool]) -> None:
        self.say = say
        self.is_right = is_right
        self.waves: list[list[Request]] = []
        self.seeds: list[str] = []
        self.counts: dict[tuple[str, Mode], int] = {}

    def collect(self, requests: Sequence[Request], seed: str) -> list[Rollout]:
        self.waves.append(list(requests))
        self.seeds.append(seed)
        made = []
        for question, mode in requests:
            count = self.counts[question.id, mode] = self.counts.get((question.id, mode), 0) + 1
            said = "K7" if self.is_right(question.id, mode, count) else "K8"
            done = self.say(rf"\boxed{{{said}}}", mode=mode)
            made.append(replace(done, question_id=question.id))
        return made

    def synchronise(self, engine: object) -> None: ...

    def traffic(self) -> dict[str, float]:
        return {}


def modes_of(group: Group) -> list[int]:
    return [sum(r.mode is mode for r in group.rollouts) for mode in (
        Mode.FORCED, Mode.PROHIBITED, Mode.ADAPTIVE)]  # fmt: skip


@pytest.fixture
def batch(make_question: MakeQuestion) -> list[Question]:
    return [make_question(name) for name in ("easy", "hard", "mixed")]


def outcome(name: str, mode: Mode, count: int) -> bool:
    """Right always, only with a look, or every other time."""
    return name == "easy" or (count % 2 == 0 if name == "mixed" else mode is Mode.FORCED)


def test_a_fixed_number_is_made_at_once(batch: list[Question], say: Say) -> None:
    collector = Scripted(say, outcome)
    config = RlConfig(forced=2, prohibited=1, adaptive=3)
    groups = roll_out(collector, batch, config, NecessityPool(), grade, "7 0")
    assert collector.seeds == ["7 0"]
    assert [request[0].id for request in collector.waves[0]] == [
        q.id for q in batch for _ in "123456"
    ]
    assert [group.question for group in groups] == batch
    assert [modes_of(group) for group in groups] == [[2, 1, 3]] * 3
    assert [r.mode for r in groups[0].rollouts] == list(config.modes)
    assert groups[0].grades == (1.0,) * 6
    assert groups[1].grades == (1.0, 1.0, 0.0, 0.0, 0.0, 0.0)


def test_pairs_are_added_where_need_is_undecided(batch: list[Question], say: Say) -> None:
    collector = Scripted(say, outcome)
    groups = roll_out(collector, batch, SEQUENTIAL, NecessityPool(), grade, "7 0")
    # All right is decided after three pairs, right only with a look after two.
    assert [modes_of(group) for group in groups] == [[3, 3, 3], [2, 2, 3], [6, 6, 3]]
    assert [len(wave) for wave in collector.waves] == [21, 4, 2, 2, 2]
    assert len(set(collector.seeds)) == 5
    for group in groups:
        assert [r.mode for r in group.rollouts] == sorted(
            (r.mode for r in group.rollouts), key=list(SEQUENTIAL.modes).index
        )
        assert len(group.grades) == len(group.rollouts)


def test_earlier_visits_count(batch: list[Question], say: Say) -> None:
    pool = NecessityPool()
    for question in batch:
        pool.add(question.id, [1.0] * 6, [0.0] * 6)
    before = pool.state()
    groups = roll_out(Scripted(say, outcome), batch[1:2], SEQUENTIAL, pool, grade, "0")
    assert modes_of(groups[0]) == [2, 2, 3]
    assert pool.state() == before


def test_a_query_that_comes_twice_keeps_its_rollouts_apart(batch: list[Question], say: Say) -> None:
    twice = [batch[0], batch[1], batch[0]]
    groups = roll_out(Scripted(say, outcome), twice, SEQUENTIAL, NecessityPool(), grade, "0")
    assert [group.question.id for group in groups] == ["easy", "hard", "easy"]
    assert [modes_of(group) for group in groups] == [[3, 3, 3], [2, 2, 3], [3, 3, 3]]


def test_faults_decide_nothing_and_end(batch: list[Question], say: Say) -> None:
    class Failing(Scripted):
        def collect(self, requests: Sequence[Request], seed: str) -> list[Rollout]:
            return [replace(r, stop=StopReason.FAULT) for r in super().collect(requests, seed)]

    groups = roll_out(Failing(say, outcome), batch, SEQUENTIAL, NecessityPool(), grade, "0")
    assert [modes_of(group) for group in groups] == [[6, 6, 3]] * 3
    assert all(one is None for group in groups for one in group.grades)


@pytest.mark.parametrize("settings", [{"first_pairs": 5}, {"first_pairs": 2, "prohibited": 1}])
def test_more_first_pairs_than_rollouts_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="first_pairs must be at most"):
        RlConfig(**settings)
