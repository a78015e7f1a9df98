"""How many rollouts each query of a step gets: a fixed number, or as many as its necessity takes.

Sequential allocation, which is ours, starts with a few forced and prohibited rollouts and adds one
of each, wave by wave, to the queries whose necessity the posterior leaves undecided.
"""

from collections.abc import Sequence

from lookless.episode import TRAINED_MODES, Group, Mode, Question, Rollout
from lookless.necessity import NecessityPool, necessity_grades, posterior
from lookless.training.collector import Collector
from lookless.training.rl_config import RlConfig
from lookless.training.scoring import Grade


def roll_out(
    collector: Collector,
    batch: Sequence[Question],
    config: RlConfig,
    pool: NecessityPool,
    grade: Grade,
    seed: str,
) -> list[Group]:
    """Return each query's rollouts with their grades, mode by mode.

    Args:
        collector: Makes rollouts.
        batch: The queries.
        config: Says how many.
        pool: Grades of earlier visits to these queries, which count as evidence; not added to.
        grade: Grades rollouts.
        seed: Of the step; every wave has its own.
    """
    done: list[list[tuple[Rollout, float | None]]] = [[] for _ in batch]
    wave = [(k, mode) for k in range(len(batch)) for mode in config.first_modes]
    groups: list[Group] = []
    number = 0
    while wave:
        requests = [(batch[k], mode) for k, mode in wave]
        made = collector.collect(requests, f"{seed} {number}" if number else seed)
        for (k, _), r in zip(wave, made, strict=True):
            done[k].append((r, grade(batch[k], r)))
        groups = [_group(question, own) for question, own in zip(batch, done, strict=True)]
        wave = [
            (k, mode)
            for k in dict.fromkeys(k for k, _ in wave)
            if not is_decided(groups[k], pool)
            for mode in next_pair(groups[k], config)
        ]
        number += 1
    return groups


def is_decided(group: Group, pool: NecessityPool) -> bool:
    """Return whether what is known of a query says that it needs a look, or that it does not."""
    return pool.with_more(group.question.id, *necessity_grades(group), posterior).need is not None


def next_pair(group: Group, config: RlConfig) -> list[Mode]:
    """Return what one more wave adds to a query, nothing if it has all rollouts."""
    counts = {mode: sum(r.mode is mode for r in group.rollouts) for mode in TRAINED_MODES}
    limits = {Mode.FORCED: config.forced, Mode.PROHIBITED: config.prohibited}
    return [mode for mode, limit in limits.items() if counts[mode] < limit]


def _group(question: Question, done: Sequence[tuple[Rollout, float | None]]) -> Group:
    ordered = sorted(done, key=lambda one: TRAINED_MODES.index(one[0].mode))
    return Group(question, tuple(r for r, _ in ordered), tuple(grade for _, grade in ordered))
