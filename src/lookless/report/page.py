"""What the pages of all runs share: how they are rendered, and their pictures."""

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from lookless.episode import Look, LookOutcome
from lookless.errors import ImageError
from lookless.evaluation.records import looks_of, views_of
from lookless.frames import Box, Frame, View, surroundings
from lookless.images import open_image
from lookless.report.data import Record
from lookless.report.format import number, p_value, percent, points, share
from lookless.report.overlay import Mark, draw_marks, evidence_marks, fitted, look_marks

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


def rendered(template: str, twin: Record, **more: Any) -> str:
    """Return the page that a template makes of a report's data and what else it needs."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": share,
        "percent": percent,
        "points": points,
        "number": number,
        "p_value": p_value,
        "shade": shade,
        "words": words,
    }
    environment.globals["pieces"] = pieces
    settings = json.dumps(twin["head"], indent=1)
    return environment.get_template(template).render(twin, settings=settings, **more)


def words(name: str) -> str:
    """Return the name of a stop reason or an outcome as it is read.

    Example:
        >>> words("no_answer")
        'no answer'
    """
    return name.replace("_", " ")


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
    """Return a trajectory with its pictures, the image with boxes and the crops, and its answer.

    The answer is what the grader read, where that is recorded.
    """
    scene, crops = pictures(run, one["question"], one["rollout"])
    said = one.get("answer", one["rollout"]["answer"])
    return one | {"scene": scene, "crops": crops, "said": said}


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
    said = [f"Image of {question['id']}"]
    if question["boxes"]:
        count = len(question["boxes"])
        said.append(f"evidence in {count} green box{'es' if count > 1 else ''}")
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
        around = surroundings([_box(box) for box in question["boxes"]])
        if around.intersection(Box(0, 0, *image.size, Frame.SOURCE)).area >= 1:
            crops = [_shown(_enlarged(image, around), "The evidence, enlarged")]
    return scene, crops


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
