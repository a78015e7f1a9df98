"""A run's report: one self-contained page and its JSON twin, rebuilt from the records on disk."""

from collections.abc import Callable
from pathlib import Path

from lookless.errors import RunError
from lookless.report import dataset, demo, evaluation
from lookless.report.data import Record, Records
from lookless.runs import write_json

PAGE, TWIN = "report.html", "report.json"
Report = tuple[Callable[[Path], Record], Callable[[Record, Path], str]]
"""Gathers a run's data, and renders its page."""

DEMO: Report = demo.gather, demo.render
EVALUATION: Report = evaluation.gather, evaluation.render
DATASET: Report = dataset.gather, dataset.render


def write_report(run: Path) -> Path:
    """Write report.html and report.json into a run folder from its records; return the page's path.

    Works for interrupted runs: what is missing is named on the page.

    Raises:
        RunError: If there is no such folder, or nothing in it is such a run's.
    """
    report = report_of(run)
    if report is None:
        raise RunError(
            "run must be a folder that `lookless demo`, `lookless eval` or `lookless convert` "
            f"wrote, got {str(run)!r}; check the path"
        )
    gather, render = report
    twin = gather(run)
    page = render(twin, run)
    write_json(run / TWIN, twin)
    part = run / f"{PAGE}.part"
    # A server can send text that UTF-8 cannot hold: half of a surrogate pair.
    part.write_text(page, encoding="utf-8", errors="replace")
    return part.replace(run / PAGE)


def report_of(run: Path) -> Report | None:
    """Return which report a folder's settings, or else its results, ask for; None if none does."""
    records = Records(run)
    config = (records.json("config.json") or {}).get("config")
    settings = config.keys() if isinstance(config, dict) else set()
    results = records.json("results.json") or {}
    if "sft" in settings or results.keys() >= demo.RESULTS:
        return DEMO
    if {"benchmark", "modes"} <= settings or results.keys() >= evaluation.RESULTS:
        return EVALUATION
    if dataset.is_dataset(run):
        return DATASET
    return None
