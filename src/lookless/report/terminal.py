"""Results as tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from lookless.benchmarks.benchmark import Benchmark
from lookless.data.dedupe import Pair
from lookless.data.validate import Checked, kinds_of
from lookless.doctor.finding import Finding, Level
from lookless.evaluation.looking import TERMS
from lookless.report.format import number, p_value, percent, span

Record = Mapping[str, Any]
SHOWN = 20
"""Rows of a long table."""


def table(title: str, name: str, columns: Sequence[str]) -> Table:
    """Return an empty table: a column of names, and columns of numbers."""
    made = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    made.add_column(name, no_wrap=True)
    for column in columns:
        made.add_column(column, justify="right", no_wrap=True)
    return made


def demo_table(results: Record) -> Table:
    """Return the demo's table."""
    made = table(
        f"LookWorld test, n = {results['n']}, {results['oracle_look_rate']:.1%} need a look",
        "policy",
        (
            "accuracy\n%",
            "95 % CI\n%",
            "look\nrate %",
            "looks",
            "visual\ntokens",
            "s per\nsample",
            "MCC",
        ),
    )
    for name, row in results["policies"].items():
        made.add_row(
            name,
            percent(row["accuracy"]),
            span(row["accuracy_ci"]),
            percent(row["look_rate"]),
            number(row["looks_per_sample"]),
            number(row["visual_tokens_per_sample"], 0),
            number(row["seconds_per_sample"], 3),
            number(row["necessity"] and row["necessity"]["mcc"]),
        )
    return made


def modes_tables(results: Record) -> list[Table]:
    """Return the tables of an evaluation: what came of each mode, and what it cost."""
    modes = results["modes"]
    n = results["questions"]
    kind = ", not the full official set" if results["is_complete"] is False else ""
    accuracy = table(
        f"{results['title']}, {n} questions{kind}",
        "mode",
        (
            "accuracy\n%",
            "95 % CI\n%",
            "look\nrate %",
            "looks",
            "un-\nparsed",
            "un-\ndecided",
            "failed",
            "MCC",
        ),
    )
    costs = table(
        "Costs per sample",
        "mode",
        (
            "visual\ntokens",
            "generated\ntokens",
            "seconds",
            "latency s\nmedian",
            "latency s\n90 %",
            "tried to\nlook %",
        ),
    )
    for name, row in modes.items():
        accuracy.add_row(
            name,
            percent(row["accuracy"]),
            span(row["accuracy_ci"]),
            percent(row["look_rate"]),
            number(row["looks_per_sample"]),
            str(row["unparsed"]),
            str(row["undecided"]),
            str(row["failed"]),
            number(row["necessity"] and row["necessity"]["mcc"]),
        )
        latency = row["latency_s"] or {}
        costs.add_row(
            name,
            number(row["visual_tokens_per_sample"], 0),
            number(row["generated_tokens_per_sample"], 1),
            number(row["seconds_per_sample"], 3),
            number(latency.get("median")),
            number(latency.get("p90")),
            percent(row["attempted_look_rate"]),
        )
    return [accuracy, metrics_table(modes), costs]


def metrics_table(modes: Record) -> Table:
    """Return the official metrics, one line each, of all modes."""
    made = table("Official metrics, %", "metric", [*modes, "n"])
    values = {
        mode: {metric["name"]: metric for metric in row["metrics"]} for mode, row in modes.items()
    }
    for name in dict.fromkeys(name for metrics in values.values() for name in metrics):
        found = [metrics.get(name) for metrics in values.values()]
        count = next(metric["n"] for metric in found if metric)
        shown = escape(name) or "(none)"
        made.add_row(shown, *(percent(m["value"] if m else None) for m in found), str(count))
    return made


def gains_table(results: Record) -> Table:
    """Return gain and harm of looking, in points of accuracy."""
    columns = (
        "difference",
        "gain by\na look",
        "without\na look",
        "harm by\na look",
        "without\na look",
    )
    made = table("Gain and harm, points of accuracy", "", columns)
    for name, terms in results["looking"]["gain_and_harm"].items():
        signs = (1, 1, -1, -1)
        values = [sign * terms[term]["value"] for sign, term in zip(signs, TERMS, strict=True)]
        shown = (percent(value, sign=True) for value in (terms["difference"], *values))
        made.add_row(name, *shown)
    return made


def looking_facts(results: Record) -> list[tuple[str, str]]:
    """Return what looking was worth as names and values, as far as the modes that ran can say."""
    looking = results["looking"]
    facts: list[tuple[str, str]] = []
    mixture = looking["above_mixture"]
    if mixture:
        interval = span(mixture["ci"], sign=True)
        facts.append(("above looking as often at random",
                      f"{percent(mixture['value'], sign=True)} ({interval})"))  # fmt: skip
    decision = looking["decision"] or {"known": None, "estimated": {}}
    rows = {"known need": decision["known"]} if decision["known"] else {}
    rows |= {f"need by {name}": row for name, row in decision["estimated"].items()}
    for name, row in rows.items():
        left_open = f", {row['abstained']} open" if row.get("abstained") else ""
        numbers = " ".join(
            f"{key} {number(row[key] if row['n'] else None)}"
            for key in ("precision", "recall", "mcc")
        )
        rate = f"base rate {percent(row['base_rate'])}"
        facts.append((f"decision, {name}", f"{numbers}, {rate}, n {row['n']}{left_open}"))
    for mode, row in looking["coverage"].items():
        facts.append((f"evidence in the crops, {mode}", f"{percent(row['coverage'])} %"))
    gap = looking["zooming_gap"]
    if gap:
        facts.append(
            ("zooming gap", f"{percent(gap['value'], sign=True)} ({span(gap['ci'], sign=True)})")
        )
    audit = results["audit"] or {}
    for crop, row in audit.items():
        if crop != "mode":
            facts.append(
                (f"answers changed by a {crop} crop", f"{percent(row['changed'])} % of {row['n']}")
            )
    return facts


def facts_table(title: str, facts: Sequence[tuple[str, str]]) -> Table:
    """Return names and values, which may take several lines."""
    made = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
                 show_header=False)  # fmt: skip
    for _ in range(2):
        made.add_column(overflow="fold")
    for name, said in facts:
        made.add_row(escape(name), escape(said))
    return made


def comparisons_table(title: str, rows: Sequence[tuple[str, Record]]) -> Table:
    """Return differences between modes or runs, each with its name; p-values are Holm's."""
    margins = {row["non_inferiority"]["margin"] for _, row in rows}
    columns = (
        "points",
        "95 % CI",
        "p (Holm)",
        "could\nshow",
        f"not worse\nby {'/'.join(percent(margin) for margin in margins)}",
        "looks\nsaved %",
    )
    made = table(escape(title), "", columns)
    counts = sorted({row["n"] for _, row in rows})
    made.caption = f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} questions"
    left_out = max(row["left_out"] for _, row in rows)
    if left_out:
        made.caption += f"; up to {left_out} more have a grade on one side only"
    for name, row in rows:
        made.add_row(
            escape(name),
            percent(row["difference"], sign=True),
            span([row["low"], row["high"]], sign=True),
            p_value(row["p_holm"]),
            percent(row["detectable"]),
            "yes" if row["non_inferiority"]["is_shown"] else "not shown",
            percent(row["looks_saved"], 0),
        )
    return made


def benchmarks_table(benchmarks: Mapping[str, Benchmark]) -> Table:
    """Return what benchmarks there are."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("name", "questions", "where to get it", "licence"):
        made.add_column(column, justify="right" if column == "questions" else "left",
                        overflow="fold")  # fmt: skip
    for name, one in benchmarks.items():
        count = str(sum(one.counts.values())) if one.counts else "any"
        made.add_row(name, count, one.home, one.licence)
    return made


MARKS = {
    Level.OK: "[green]ok[/]",
    Level.WARNING: "[yellow]warning[/]",
    Level.FAULT: "[red]fault[/]",
}


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return what the doctor found, one line each; a check is named in its first line."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    made.add_column("", no_wrap=True)
    made.add_column("check", no_wrap=True)
    made.add_column("finding", overflow="fold")
    before = None
    for one in findings:
        name = "" if one.check == before else one.check
        made.add_row(MARKS[one.level], name, escape(one.message))
        before = one.check
    return made


def counts_table(title: str, counts: Mapping[str, float]) -> Table:
    """Return numbers under each other, each with its name."""
    made = Table(
        title=escape(title),
        title_justify="left",
        box=None,
        show_header=False,
        pad_edge=False,
        min_width=min(len(title), 78),
    )
    made.add_column()
    made.add_column(justify="right")
    for name, value in counts.items():
        shown = name if "." in name else name.replace("_", " ")
        made.add_row(escape(shown), f"{round(value):,}")
    return made


def complaints_table(found: Checked) -> Table:
    """Return what is wrong with records: the first complaints, and how often each kind came."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    made.add_column("row", overflow="fold")
    made.add_column("wrong", overflow="fold")
    for one in found.complaints[:SHOWN]:
        made.add_row(escape(one.where), escape(one.what))
    kinds = kinds_of(found.complaints).most_common(SHOWN)
    made.caption = "; ".join(f"{count} x {escape(kind)}" for kind, count in kinds)
    return made


def pairs_table(pairs: Sequence[Pair]) -> Table:
    """Return images that look alike, those of benchmarks first."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("image", "looks like", "of", "bits of 256 that differ"):
        made.add_column(column, overflow="fold", justify="right" if "bits" in column else "left")
    ordered = sorted(pairs, key=lambda pair: (pair.benchmark is None, pair.bits))
    for pair in ordered[:SHOWN]:
        made.add_row(
            escape(pair.image), escape(pair.other), escape(pair.benchmark or ""), str(pair.bits)
        )
    if len(pairs) > SHOWN:
        made.caption = f"the first {SHOWN} of {len(pairs)}"
    return made


def kinds_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return which kinds of question need a look."""
    made = Table(title="Which questions need a look", box=box.SIMPLE_HEAD, pad_edge=False)
    heads = (
        "category",
        "questions",
        "need %",
        "95 % CI",
        "undecided",
        "looking %",
        "not %",
        "gain",
    )
    for k, head in enumerate(heads):
        made.add_column(head, justify="right" if k else "left", overflow="fold")
    for row in rows:
        made.add_row(
            escape(row["category"]),
            str(row["questions"]),
            percent(row["need_rate"]),
            span([row["need_low"], row["need_high"]]),
            str(row["undecided"]),
            percent(row["p_look"]),
            percent(row["p_no_look"]),
            percent(row["gain"], sign=True),
        )
    return made
