"""What demonstrations made of boxes say; a TOML file can put it into other words."""

from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lookless.errors import ConfigError
from lookless.frames import Box
from lookless.settings import read_toml, validated

FIELDS = frozenset("left top right bottom x y width height size percent place each".split())


def _known(template: str) -> str:
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ConfigError(f"phrase must be a template, got {template!r}: {error}") from None
    if any(name not in FIELDS or form or kind for _, name, form, kind in parts):
        raise ConfigError(
            f"phrase must have nothing but {', '.join(sorted(FIELDS))} in braces, got "
            f"{template!r}; mend it"
        )
    return template


Templates = Annotated[tuple[Annotated[str, AfterValidator(_known)], ...], Field(min_length=1)]


class Phrases(BaseModel):
    """Templates, of which one is drawn each time.

    Numbers in braces are about the evidence, in 0..1000 across the image: `left`, `top`, `right`,
    `bottom` and `x`, `y`, `width`, `height` of all of it; `size` is the longer side of its smallest
    box; `percent` its share of the image's area; `place` says where it is in words; `each` is the
    template of that name once for every box.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    thought: Templates = (
        "What I need is in the {place} of the image, about {percent} % of its area.",
        "The question is about something in the {place}, {percent} % of the image.",
        "The relevant part lies at ({x}, {y}) on a scale of 1000 and is {size} wide.",
        "I have to read what is around ({x}, {y}) of 1000; it takes up {percent} % of the image.",
    )
    """Said first, whether or not a look follows."""
    neutral: Templates = ("Let me see what the question is about.",)
    """Said instead where what is above or below would give the answer away."""
    each: Annotated[str, AfterValidator(_known)] = "({left}, {top}, {right}, {bottom})"
    not_there: Templates = (
        "This part does not show it. I look again, in the right place.",
        "That is not what was asked about. I look elsewhere.",
    )
    """Said after a look at the wrong place."""
    closer: Templates = (
        "It is here, but still small. I look closer.",
        "I can see where it is; a closer look will show it.",
    )
    """Said after a look that was too wide."""
    seen: Templates = ("Now I can see it. ", "The crop shows it. ")
    """Said before the answer that follows a look."""
    unseen: Templates = ("From the image as it is: ", "As far as the image shows: ")
    """Said before the answer that no look came before."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "{each}" in self.each:
            raise ConfigError("each must be made of numbers, got itself in it; take it out")
        return self


def read_phrases(file: Path | None) -> Phrases:
    """Return the phrases of a TOML file; the usual ones where it has none.

    Raises:
        ConfigError: If the file cannot be read, or a template is none.
    """
    return Phrases() if file is None else validated(Phrases, read_toml("phrases", file))


def filled(template: str, boxes: list[Box], each: str, grid: int) -> str:
    """Return a template with what it says of the evidence.

    Args:
        template: With names of `FIELDS` in braces.
        boxes: As shares of the image (`Frame.UNIT`), at least one.
        each: The template for a single box.
        grid: Coordinates are multiples of this, in 0..1000.

    Example:
        >>> from lookless.frames import Frame
        >>> filled("{place}: {each}", [Box(0.1, 0.1, 0.2, 0.204, Frame.UNIT)], "{left} {size}", 1)
        'upper left: 100 104'
    """
    parts = " ".join(each.format(**_numbers([box], grid)) for box in boxes)
    return template.format(**_numbers(boxes, grid), each=parts)


def _numbers(boxes: list[Box], grid: int) -> dict[str, Any]:
    left, top = max(min(b.left for b in boxes), 0.0), max(min(b.top for b in boxes), 0.0)
    right, bottom = min(max(b.right for b in boxes), 1.0), min(max(b.bottom for b in boxes), 1.0)
    x, y = (left + right) / 2, (top + bottom) / 2
    size = min(max(box.width, box.height) for box in boxes)
    area = (right - left) * (bottom - top)

    def on_grid(share: float) -> int:
        return round(min(max(share, 0.0), 1.0) * 1000 / grid) * grid

    return {
        "left": on_grid(left),
        "top": on_grid(top),
        "right": on_grid(right),
        "bottom": on_grid(bottom),
        "x": on_grid(x),
        "y": on_grid(y),
        "width": max(on_grid(right - left), grid),
        "height": max(on_grid(bottom - top), grid),
        "size": max(round(size * 1000), 1),
        "percent": f"{100 * area:.1g}" if area < 0.1 else f"{100 * area:.0f}",
        "place": _place(x, y),
    }


def _place(x: float, y: float) -> str:
    across = ("left", "", "right")[min(int(3 * x), 2)]
    down = ("upper", "", "lower")[min(int(3 * y), 2)]
    if across and down:
        return f"{down} {across}"
    return f"{down}{across} part" if across or down else "middle"
