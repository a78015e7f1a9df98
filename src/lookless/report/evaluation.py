"""The page of an evaluation: what came of each mode, what it cost, and what looking was worth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lookless.episode import StopReason
from lookless.evaluation.records import answered_of
from lookless.evaluation.summary import summary
from lookless.report.data import (
    Record,
    Records,
    chosen_trajectories,
    confusion_tables,
    finite,
    is_used,
)
from lookless.report.figures import evaluation_figures
from lookless.report.page import rendered, shown_trajectory

RESULTS = set(
    "benchmark title model questions is_complete left_out protocol modes comparisons looking audit "
    "judge".split()
)
"""What an evaluation's results.json holds."""
MESSAGES, DISAGREEMENTS = 20, 40
"""How many different failures and disagreements the page lists."""
_QUALITIES = ("precision", "recall", "f1", "mcc", "over_use", "under_use", "base_rate")


def gather(run: Path) -> Record:
    """Return the data behind every table and figure of the page; all numbers finite or None.

    Without results, which come last, there are the modes' own numbers of the answers so far.
    """
    records = Records(run)
    head = records.json("config.json") or {}
    config = head.get("config", {})
    rows = records.jsonl("samples.jsonl")
    results = records.json("results.json")
    if results is not None and not results.keys() >= RESULTS:
        records.missing.add("results.json (not of an evaluation)")
        results = None
    if results is None and config.get("audit"):
        records.has("audit.jsonl")
    modes: dict[str, list[Record]] = {}
    for row in rows:
        modes.setdefault(row["mode"], []).append(row)
    found = results or so_far(config, modes)
    mode = mode_of_examples(modes)
    asked = modes[mode] if mode else []
    twin = {
        "run": run.resolve().name,
        "head": head,
        "is_finished": results is not None,
        **found,
        "scope": [] if found["is_complete"] else scope(config, found["left_out"]),
        "decisions": decisions(found),
        "examples_of": mode,
        "confusion": confusion_tables(asked),
        "trajectories": chosen_trajectories(row for row in asked if row["sample"] == 0),
        "failures": failures(rows),
        "missing": sorted(records.missing),
    }
    return finite(twin)


def render(twin: Record, run: Path) -> str:
    """Return the page of a report's data; images are read from where the records say they are."""
    return rendered(
        "evaluation.html.jinja",
        twin,
        figures=evaluation_figures(twin),
        metrics=metric_rows(twin["modes"]),
        stops=list(dict.fromkeys(stop for row in twin["modes"].values() for stop in row["stops"])),
        shown=[shown_trajectory(run, one) for one in twin["trajectories"]],
        most_messages=MESSAGES,
        most_disagreements=DISAGREEMENTS,
    )


def so_far(config: Mapping[str, object], modes: Mapping[str, Sequence[Record]]) -> Record:
    """Return what takes the place of an interrupted evaluation's results.

    Comparisons are left out: the modes need not have come to the same questions.
    """
    return {
        "benchmark": config.get("benchmark"),
        "title": config.get("benchmark") or "Evaluation",
        "model": {"name": config.get("model"), "identity": config.get("model_identity")},
        "questions": len({row["question"]["id"] for part in modes.values() for row in part}),
        "is_complete": False,
        "left_out": {},
        "protocol": None,
        "modes": {
            name: summary([answered_of(row) for row in part]) | {"metrics": []}
            for name, part in modes.items()
        },
        "comparisons": [],
        "looking": None,
        "audit": None,
        "judge": None,
        "peak_memory_mb": None,
    }


def scope(config: Mapping[str, object], left_out: Mapping[str, int]) -> list[str]:
    """Return in which ways an evaluation's questions are not all official ones, in words.

    Example:
        >>> scope({"limit": 200, "categories": ["color"]}, {"several images": 3})
        ['only the first 200', 'only of color', '3 left out: several images']
    """
    limit, ids, categories = (config.get(name) for name in ("limit", "ids", "categories"))
    found = []
    if limit:
        found.append(f"only the first {limit}")
    if isinstance(ids, list) and ids:
        found.append(f"only {len(ids)} chosen by their ids")
    if isinstance(categories, list) and categories:
        found.append(f"only of {', '.join(map(str, categories))}")
    if config.get("partial"):
        found.append("from files that may lack rows")
    return found + [f"{count} left out: {reason}" for reason, count in left_out.items()]


def mode_of_examples(modes: Mapping[str, Sequence[Record]]) -> str | None:
    """Return the mode that decides, or else the first that looked, or else the first."""
    if "adaptive" in modes:
        return "adaptive"
    looked = [name for name, part in modes.items() if any(is_used(row["rollout"]) for row in part)]
    return next(iter([*looked, *modes]), None)


def decisions(results: Record) -> list[Record]:
    """Return how the adaptive looks agree with the known need and with each estimate of it.

    Qualities of no decision at all are None.
    """
    adaptive = results["modes"].get("adaptive")
    known = adaptive and adaptive["necessity"]
    unestimated = {"need": "known", "abstained": None, "rollouts_per_side": None}
    rows = [unestimated | known] if known else []
    measured = results["looking"] and results["looking"]["decision"]
    if measured:
        rows += [{"need": name, **row} for name, row in measured["estimated"].items()]
    return [row if row["n"] else row | dict.fromkeys(_QUALITIES) for row in rows]


def metric_rows(modes: Mapping[str, Record]) -> list[Record]:
    """Return the official metrics, one row each: its name, its questions, its value by mode."""
    rows: dict[str, dict[str, Record]] = {}
    for mode, row in modes.items():
        for metric in row["metrics"]:
            rows.setdefault(metric["name"], {})[mode] = metric
    return [
        {"name": name, "n": sorted({metric["n"] for metric in found.values()}), "modes": found}
        for name, found in rows.items()
    ]


def failures(rows: Sequence[Record]) -> list[Record]:
    """Return what failed answers said, each message of a mode once with its count, most first."""
    said = Counter(
        (row["mode"], row["rollout"]["turns"][-1]["text"])
        for row in rows
        if row["rollout"]["stop"] == StopReason.FAULT
    )
    return [
        {"mode": mode, "message": message, "count": count}
        for (mode, message), count in said.most_common()
    ]
