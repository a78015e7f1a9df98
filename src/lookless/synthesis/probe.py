"""Necessity of each question for a model: what RL should be trained on, and what needs looking."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lookless.data.record import Need, Record
from lookless.episode import Question
from lookless.evaluation.answered import Answered
from lookless.necessity import Necessity, gain_interval, posterior
from lookless.statistics.intervals import mean_interval

Grades = list[float | None]


@dataclass(frozen=True)
class Probed:
    """A question with what a model's answers say about it."""

    id: str
    category: str
    cluster: str
    """Questions of one cluster are not independent."""
    look: tuple[float | None, ...]
    """Grades of the answers that had to look; None where there is none."""
    no_look: tuple[float | None, ...]

    @property
    def necessity(self) -> Necessity:
        """Return whether it needs a look, by the posterior."""
        return posterior(self.look, self.no_look)

    def need(self, model: str) -> Need:
        """Return it as a record keeps it."""
        found = self.necessity
        low, high = gain_interval(self.look, self.no_look) or (None, None)
        return Need(
            model=model,
            p_look=found.p_look,
            p_no_look=found.p_no_look,
            n_look=found.n_look,
            n_no_look=found.n_no_look,
            gain_low=low if low is None else round(low, 4),
            gain_high=high if high is None else round(high, 4),
            label=None if found.need is None else bool(found.need),
        )


def probed(always: Iterable[Answered], never: Iterable[Answered]) -> dict[str, Probed]:
    """Return what answers say about each question, by its id.

    Args:
        always: Answers that had to look.
        never: Answers that could not look.
    """
    asked: dict[str, Question] = {}
    grades: dict[str, tuple[Grades, Grades]] = defaultdict(lambda: ([], []))
    for side, part in enumerate((always, never)):
        for one in part:
            asked.setdefault(one.question.id, one.question)
            grades[one.question.id][side].append(None if one.is_failed else one.grade)
    return {
        name: Probed(name, asked[name].family, asked[name].unit, tuple(look), tuple(no_look))
        for name, (look, no_look) in grades.items()
    }


@dataclass
class Filtered:
    """Which questions RL can learn from."""

    kept: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    """By the reason."""
    is_balanced: bool = True
    """Whether the wanted share was reached; it cannot be with questions of one kind alone."""


def filtered(
    found: Mapping[str, Probed],
    seed: int = 0,
    share: float | None = None,
    *,
    drop_easy: bool = False,
) -> Filtered:
    """Return which questions are kept.

    Dropped are those without answers and those that are never right. Those that are always right
    are what a model learns from that a look is not needed: rollout-guided RL must keep some. A
    reward of accuracy alone learns nothing from them.

    Args:
        found: What is known about each question.
        seed: Of which are dropped to keep a share.
        share: Wanted share of questions that need a look among those decided; the others are
            dropped by chance until it is reached. None keeps all.
        drop_easy: Whether those that are always right, looking or not, are dropped.
    """
    result = Filtered()
    for name, one in found.items():
        known = one.necessity
        grades = [grade for grade in (*one.look, *one.no_look) if grade is not None]
        if not known.n_look or not known.n_no_look:
            result.dropped["no answers"] += 1
        elif drop_easy and all(grade == 1.0 for grade in grades):
            result.dropped["always right"] += 1
        elif all(grade == 0.0 for grade in grades):
            result.dropped["never right"] += 1
        else:
            result.kept.append(name)
    if share is not None:
        _balance(result, found, share, np.random.default_rng(seed))
    return result


def _balance(
    result: Filtered, found: Mapping[str, Probed], share: float, rng: np.random.Generator
) -> None:
    labels = {name: found[name].necessity.need for name in result.kept}
    sides = {label: [name for name in result.kept if labels[name] == label] for label in (1.0, 0.0)}
    wanted = {1.0: share, 0.0: 1.0 - share}
    if not all(sides[label] for label in sides if wanted[label] > 0):
        result.is_balanced = False
        return
    total = min(len(sides[label]) / wanted[label] for label in sides if wanted[label] > 0)
    for label, names in sides.items():
        surplus = len(names) - round(total * wanted[label])
        if surplus > 0:
            gone = {names[k] for k in rng.choice(len(names), surplus, replace=False)}
            result.kept = [name for name in result.kept if name not in gone]
            result.dropped["balance"] += surplus


def kinds(found: Iterable[Probed]) -> list[dict[str, Any]]:
    """Return for each category, and for all together, how often a look is needed.

    The rate is of the decided questions, with a 95 % interval that takes questions about one image
    together; gain is the mean over questions of what looking adds to accuracy.
    """
    groups: dict[str, list[tuple[Necessity, str]]] = defaultdict(list)
    for one in found:
        groups["all"].append((one.necessity, one.cluster))
        if one.category:
            groups[one.category].append((one.necessity, one.cluster))
    rows = []
    for name, pairs in groups.items():
        own = [known for known, _ in pairs]
        decided = [known.need for known in own if known.need is not None]
        gains = [n.gain for n in own if n.gain is not None]
        needed = sum(decided)
        clusters = [cluster for known, cluster in pairs if known.need is not None]
        low, high = mean_interval(decided, clusters)
        rows.append(
            {
                "category": name,
                "questions": len(own),
                "undecided": len(own) - len(decided),
                "need_rate": needed / len(decided) if decided else None,
                "need_low": low,
                "need_high": high,
                "p_look": _mean([n.p_look for n in own]),
                "p_no_look": _mean([n.p_no_look for n in own]),
                "gain": sum(gains) / len(gains) if gains else None,
            }
        )
    return sorted(rows, key=lambda row: (row["category"] != "all", -(row["need_rate"] or 0)))


def with_need(records: Iterable[Record], found: Mapping[str, Probed], model: str) -> list[Record]:
    """Return records with what is known of their need; those that were not asked stay out."""
    return [
        record.model_copy(update={"need": found[record.id].need(model)})
        for record in records
        if record.id in found
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
