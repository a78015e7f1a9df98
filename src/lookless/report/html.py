"""A run's report: one self-contained page and its JSON twin, rebuilt from the records on disk."""

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from PIL import Image

from lookless.episode import TRAINED_MODES, Look, LookOutcome
from lookless.errors import ImageError, RunError
from lookless.evaluation.records import looks_of, views_of
from lookless.frames import Box, Frame, View
from lookless.images import open_image
from lookless.report.data import Record, Records, gather
from lookless.report.figures import NOTHING, by_policy, figures, share
from lookless.report.overlay import Mark, draw_marks, evidence_marks, fitted, look_marks
from lookless.runs import write_json

PAGE, TWIN = "report.html", "report.json"
SCENE_PX, CROP_PX = 460, 150
"""Longest side of the pictures on the page."""
_JPEG_QUALITY = 82

_SPOKEN = re.compile(
    r"(?P<call><tool_call>.*?(?:</tool_call>|\Z))"
    r"|(?P<think><think>.*?(?:</think>|\Z))"
    r"|(?P<answer>\\boxed\{[^}\n]*\})"
    r"|(?P<special><\|[a-z_]+\|>|</?tool_response>)",
    re.DOTALL,
)


def write_report(run: Path) -> Path:
    """Write report.html and report.json into a run folder from its records; return the page's path.

    Works for interrupted runs: what is missing is named on the page.

    Raises:
        RunError: If there is no such folder, or nothing in it is a run's.
    """
    config = (Records(run).json("config.json") or {}).get("config", {})
    if not run.is_dir() or ("sft" not in config and not (run / "results.json").is_file()):
        raise RunError(
            f"run must be a folder that `lookless demo` wrote, got {str(run)!r}; check the path"
        )
    twin = gather(run)
    page = render(twin, run)
    write_json(run / TWIN, twin)
    part = run / f"{PAGE}.part"
    part.write_text(page)
    return part.replace(run / PAGE)


def render(twin: Record, run: Path) -> str:
    """Return the page of a report's data; images are read from where the records say they are."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": share, "number": number, "shade": shade}
    environment.globals |= {"pieces": pieces, "by_policy": by_policy}
    template = environment.get_template("report.html.jinja")
    return template.render(
        twin,
        figures=figures(twin),
        shown=[shown_trajectory(run, one) for one in twin["trajectories"]],
        compared=[shown_group(run, one) for one in twin["groups"]],
        settings=json.dumps(twin["head"], indent=1),
    )


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with so many decimals, a dash for None."""
    return NOTHING if value is None else f"{value:z.{digits}f}"


def shade(count: int, of: int) -> str:
    """Return the strength of a table cell's tint, in percent.

    Example:
        >>> shade(1, 4)
        '25%'
    """
    return f"{100 * count / of:.0f}%" if of else "0%"


def pieces(text: str) -> list[tuple[str, str]]:
    r"""Return a turn's text cut into (kind, text): call, think, answer, special, or plain.

    Example:
        >>> pieces(r"So \boxed{red}")
        [('plain', 'So '), ('answer', '\\boxed{red}')]
    """
    found, end = [], 0
    for match in _SPOKEN.finditer(text):
        found += [("plain", text[end : match.start()]), (str(match.lastgroup), match[0])]
        end = match.end()
    found.append(("plain", text[end:]))
    return [(kind, part) for kind, part in found if part]


@dataclass(frozen=True)
class Shown:
    """A picture on the page."""

    source: str
    """A data URI."""
    alt: str
    width: int
    height: int


def shown_trajectory(run: Path, one: Record) -> Record:
    """Return a trajectory with its pictures: the image with boxes, and the crops."""
    scene, crops = pictures(run, one["question"], one["rollout"])
    return one | {"scene": scene, "crops": crops}


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


def pictures(
    run: Path, question: Record, rollout: Record | None
) -> tuple[Shown | None, list[Shown]]:
    """Return a question's image with evidence and looks drawn, and what each look showed.

    Without a look the evidence is enlarged instead. None and no crops if it cannot be opened.
    """
    try:
        image = open_image(located(run, question["image"]))
    except ImageError:
        return None, []
    views, looks = (views_of(rollout), looks_of(rollout)) if rollout else ((), ())
    marks = evidence_marks(_box(box) for box in question["boxes"])
    marks += look_marks(looks, views)
    small = image.resize(fitted(image.size, SCENE_PX), Image.Resampling.LANCZOS)
    said = [f"Image of {question['id']}", f"evidence in {len(question['boxes'])} green boxes"]
    said += [
        f"look {k} {look.outcome.replace('_', ' ')} at {[round(v) for v in mark.box.coordinates]}"
        for k, look, mark in _numbered(looks, views)
    ]
    scene = _shown(draw_marks(small, marks, image.size), "; ".join(said))
    crops = [
        _shown(_enlarged(image, mark.box), f"What look {k} showed")
        for k, look, mark in _numbered(looks, views)
        if look.outcome is LookOutcome.EXECUTED
    ]
    if not crops and question["boxes"]:
        crops = [_shown(_enlarged(image, _around(question["boxes"])), "The evidence, enlarged")]
    return scene, crops


def _around(boxes: Sequence[Sequence[float]]) -> Box:
    """Return what holds all boxes, with a margin as wide as they are."""
    left, top = (min(box[k] for box in boxes) for k in (0, 1))
    right, bottom = (max(box[k] for box in boxes) for k in (2, 3))
    margin = max(right - left, bottom - top)
    return Box(left - margin, top - margin, right + margin, bottom + margin, Frame.SOURCE)


def _enlarged(image: Image.Image, box: Box) -> Image.Image:
    """Return the part of an image in `box` so that its longer side is CROP_PX."""
    part = box.intersection(Box(0, 0, *image.size, Frame.SOURCE))
    scale = CROP_PX / max(part.width, part.height)
    size = max(round(part.width * scale), 1), max(round(part.height * scale), 1)
    return image.resize(size, Image.Resampling.BICUBIC, box=part.coordinates)


def _numbered(looks: Sequence[Look], views: Sequence[View]) -> list[tuple[int, Look, Mark]]:
    """Return number, look and mark of each look that has a place on the image."""
    numbered = []
    for k, look in enumerate(looks, 1):
        numbered += [(k, look, mark) for mark in look_marks([look], views)]
    return numbered


def located(run: Path, name: str) -> Path:
    """Return where a record's image is: at its path, or below the run folder if that was moved."""
    path = Path(name)
    if path.is_file():
        return path
    tails = (run.joinpath(*path.parts[k:]) for k in range(1, len(path.parts)))
    return next((tail for tail in tails if tail.is_file()), path)


def _box(coordinates: Sequence[float]) -> Box:
    left, top, right, bottom = coordinates
    return Box(left, top, right, bottom, Frame.SOURCE)


def _shown(image: Image.Image, alt: str) -> Shown:
    """Return an image as a JPEG inside the page."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    text = base64.b64encode(file.getvalue()).decode()
    return Shown(f"data:image/jpeg;base64,{text}", alt, *image.size)
