"""The page of a folder of records: what it holds, in numbers and pictures."""

import json
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from lookless.data.statistics import statistics
from lookless.data.store import BROKEN, DEMONSTRATIONS, KINDS, QUESTIONS
from lookless.data.validate import Complaint, kinds_of
from lookless.demonstrations import Demonstration
from lookless.episode import Look, LookOutcome
from lookless.errors import ImageError
from lookless.frames import Box
from lookless.images import PixelBudget, Source
from lookless.report.data import Record, Records, finite
from lookless.report.figures import Figure
from lookless.report.page import pictures, rendered
from lookless.report.plots import bars_svg

TITLES = {
    "words": ("How long questions are", "questions"),
    "megapixels": ("How large images are", "images"),
    "evidence": ("How much of its image a box takes up", "boxes"),
}
_SEEN = PixelBudget(1, 1_000_000, 1)


def is_dataset(folder: Path) -> bool:
    """Return whether a folder holds records or demonstrations."""
    names = [DEMONSTRATIONS, *(f"{QUESTIONS}{kind}" for kind in KINDS)]
    return any((folder / name).is_file() for name in names)


def gather(run: Path) -> Record:
    """Return the data behind every table and figure of the page; all numbers finite or None.

    Raises:
        DataError: If a row is wrong.
    """
    records = Records(run)
    head = records.json("config.json") or {}
    broken = []
    if (run / BROKEN).is_file():
        rows = map(json.loads, (run / BROKEN).read_text().splitlines())
        broken = [Complaint(row["where"], row["why"]) for row in rows]
    twin = {
        "run": run.resolve().name,
        "head": head,
        "missing": [],
        **statistics(run),
        "broken": dict(kinds_of(broken).most_common()),
    }
    return finite(twin)


def render(twin: Record, run: Path) -> str:
    """Return the page."""
    figures = [
        _bars(f"bins-{name}", twin["bins"][name], *TITLES[name])
        for name in TITLES
        if twin["bins"].get(name) and any(twin["bins"][name].values())
    ]
    for name, one in twin["demonstrations"].items():
        figures.append(_bars(f"looks-{name}", one["looks"], f"Looks in {name}", "demonstrations"))
    samples = [row | {"scene": pictures(run, row, None)[0]} for row in twin["samples"]]
    shown = [shown_demonstration(run, row) for row in twin["shown"]]
    return rendered("dataset.html.jinja", twin, figures=figures, pictured=samples, played=shown)


def shown_demonstration(run: Path, row: Record) -> Record:
    """Return a demonstration with its pictures: the image with its looks, and the crops."""
    one = Demonstration.model_validate(row)
    try:
        source = Source(one.image)
        views = [source.full_view(_SEEN)]
        looks = []
        for turn in one.turns[:-1]:
            assert turn.look is not None
            view = views[turn.look.image]
            box = view.to_source(Box(*turn.look.box, turn.look.frame))
            looks.append(Look(LookOutcome.EXECUTED, 0, box, len(views)))
            views.append(source.view(box, _SEEN))
    except ImageError:
        return row | {"scene": None, "crops": []}
    regions = [
        {"region": list(v.region.coordinates), "width_px": v.width_px, "height_px": v.height_px}
        for v in views
    ]
    rollout = {
        "views": regions,
        "looks": [
            {
                "outcome": look.outcome,
                "image": 0,
                "box": look.box and list(look.box.coordinates),
                "frame": look.box and look.box.frame,
                "view": look.view,
            }
            for look in looks
        ],
    }
    question = {"id": one.id, "image": str(one.image), "boxes": []}
    scene, crops = pictures(run, question, rollout)
    return row | {"scene": scene, "crops": crops}


def _bars(name: str, counts: Mapping[str, int], title: str, unit: str) -> Figure:
    said = ", ".join(f"{key}: {count}" for key, count in counts.items())
    plot = bars_svg(name.replace(".", "-"), f"{title}: {said}", counts, unit)
    return Figure(Markup(plot), title)
