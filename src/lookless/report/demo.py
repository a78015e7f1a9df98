"""The page of a demo: its results, what its policies did, and the curves of their training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lookless.episode import TRAINED_MODES, LookOutcome
from lookless.report.data import (
    Record,
    Records,
    chosen_trajectories,
    confusion_tables,
    finite,
)
from lookless.report.figures import by_policy, demo_figures
from lookless.report.page import pictures, rendered, shown_trajectory

RESULTS = {"n", "oracle_look_rate", "seed", "seconds", "policies", "shifted"}
"""What a demo's results.json holds."""


def gather(run: Path) -> Record:
    """Return the data behind every table and curve of the report; all numbers finite or None."""
    records = Records(run)
    head = records.json("config.json") or {}
    results = records.json("results.json")
    if results is not None and not results.keys() >= RESULTS:
        records.missing.add("results.json (not of a demo)")
        results = None
    trained = ["rgrl", *head.get("config", {}).get("compare", [])]
    metrics = {name: records.jsonl(f"{name}/metrics.jsonl") for name in ("sft", *trained)}
    answered = records.jsonl("eval/rgrl.jsonl")
    twin = {
        "run": run.resolve().name,
        "head": head,
        "tables": result_tables(records, results, ["never", "always", "sft", *trained]),
        "seconds": results and results.get("seconds"),
        "peak_memory_mb": results and results.get("peak_memory_mb"),
        "curves": {name: columns(rows) for name, rows in metrics.items() if rows},
        "confusion": confusion_tables(answered),
        "trajectories": chosen_trajectories(answered),
        "groups": late_groups(records.jsonl("rgrl/rollouts.jsonl")),
    }
    twin["missing"] = sorted(records.missing)
    return finite(twin)


def render(twin: Record, run: Path) -> str:
    """Return the page of a report's data; images are read from where the records say they are."""
    return rendered(
        "demo.html.jinja",
        twin,
        by_policy=by_policy,
        figures=demo_figures(twin),
        shown=[shown_trajectory(run, one) for one in twin["trajectories"]],
        compared=[shown_group(run, one) for one in twin["groups"]],
    )


def result_tables(records: Records, results: Record | None, names: Sequence[str]) -> list[Record]:
    """Return each split's result table: from the results, or else from each policy's summary."""
    tables = []
    for split, suffix in (("test", ""), ("shifted", ".shifted")):
        found = [name for name in names if records.has(f"eval/{name}{suffix}.jsonl")]
        if results is None:
            table = _table_without_results(records, found, suffix)
        else:
            table = results if split == "test" else results.get("shifted", {})
        if table.get("policies"):
            facts = {key: table.get(key) for key in ("n", "oracle_look_rate", "protocol")}
            seed = (results or {}).get("seed")
            rows = [{"policy": name} | row for name, row in table["policies"].items()]
            tables.append({"split": split, **facts, "seed": seed, "rows": rows})
    return tables


def _table_without_results(records: Records, names: Sequence[str], suffix: str) -> Record:
    """Return what an interrupted run knows of one split."""
    summaries = {name: records.json(f"eval/{name}{suffix}.summary.json") for name in names}
    policies = {name: row for name, row in summaries.items() if row is not None}
    if not policies:
        return {}
    rows = records.jsonl(f"eval/{next(iter(policies))}{suffix}.jsonl")
    needs = [bool(row["question"]["needs_look"]) for row in rows]
    return {
        "n": len(rows),
        "oracle_look_rate": sum(needs) / max(len(needs), 1),
        "policies": policies,
    }


def columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Return rows of metrics as one list per metric; None where a row lacks it.

    Example:
        >>> columns([{"step": 1, "a": 2.0}, {"step": 2}])
        {'step': [1, 2], 'a': [2.0, None]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def late_groups(rows: Sequence[Record]) -> list[Record]:
    """Return two groups of the end of training: the last that needs a look, the last that does not.

    Where one kind is missing, the last others take its place.
    """
    latest = list(reversed(rows))
    chosen = [
        next((r for r in latest if r["question"]["needs_look"] is need), None)
        for need in (True, False)
    ]
    groups = [group for group in chosen if group is not None]
    groups += [group for group in latest if all(group is not other for other in groups)]
    return groups[:2]


def shown_group(run: Path, one: Record) -> Record:
    """Return a group with its picture and its rollouts by mode, each mode's with one to be read."""
    scene, _ = pictures(run, one["question"], None)
    names = dict.fromkeys(name for r in one["rollouts"] for name in r["parts"] or {})
    rollouts = [
        r
        | {
            "total": r["parts"] and sum(r["parts"].values()),
            "executed": sum(look["outcome"] == LookOutcome.EXECUTED for look in r["looks"]),
        }
        for r in one["rollouts"]
    ]
    by_mode = [(mode.value, [r for r in rollouts if r["mode"] == mode]) for mode in TRAINED_MODES]
    return one | {
        "scene": scene,
        "parts": list(names),
        "modes": [{"name": mode, "rollouts": part} for mode, part in by_mode if part],
        "has_decision": any(r["decision"] is not None for r in rollouts),
    }
