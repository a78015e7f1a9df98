"""A question on disk: one line of questions.jsonl, or one row of a Parquet file.

It is a row that `lookless.benchmarks.own` reads, with what is known of its image besides.
"""

import hashlib
from itertools import combinations
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lookless.errors import ConfigError, encodable
from lookless.grading.exact import exact_match

MOST_OPTIONS = 26
Finite = Annotated[float, Field(allow_inf_nan=False)]
BoxNumbers = tuple[Finite, Finite, Finite, Finite]
"""Left, top, right, bottom."""
Text = Annotated[str, AfterValidator(encodable)]
BEYOND = 0.05
"""How far a box may reach beyond its image, as a share of it: annotators are not exact."""
Probability = Annotated[float, Field(ge=0, le=1)]


class Need(BaseModel):
    """What a model's own rollouts say of whether it must look to answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """Whose."""
    p_look: Probability | None
    """Mean grade of the answers that had to look; None without any."""
    p_no_look: Probability | None
    """Mean grade of the answers that could not look; None without any."""
    n_look: int = Field(ge=0)
    """Graded answers behind `p_look`."""
    n_no_look: int = Field(ge=0)
    gain_low: float | None
    """95 % interval of what looking gains, in -1..1; None without answers on both sides."""
    gain_high: float | None
    label: bool | None
    """Whether a look is needed; None: undecided."""


class Record(BaseModel):
    """A question about one image, with what is known about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text = Field(min_length=1)
    """Distinct within the data."""
    image: Text = Field(min_length=1)
    """The file, relative to that of the record."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the image's file."""
    width: int = Field(ge=1)
    """In pixels, upright; so is `height`."""
    height: int = Field(ge=1)
    question: Text = Field(min_length=1)
    answer: tuple[Text, ...] = Field(min_length=1)
    """All accepted ones, the first one to be said; with options the right one's text."""
    options: tuple[Text, ...] = Field((), max_length=MOST_OPTIONS)
    boxes: tuple[BoxNumbers, ...] = ()
    """Where the evidence is, in pixels of the image."""
    category: Text = ""
    instruction: Text | None = None
    """What is said after the question; None: the usual words, by whether there are options."""
    source: Text = ""
    """Where it comes from."""
    need: Need | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        path = PurePosixPath(self.image)
        if path.is_absolute() or ".." in path.parts:
            raise ConfigError(
                f"image must be a file beside or below the record, got {self.image!r}; move it"
            )
        for name, texts in (("question", (self.question,)), ("answer", self.answer)):
            if not all(text.strip() for text in texts):
                raise ConfigError(f"{name} must say something, got white space; fill it in")
        self._check_options()
        self._check_boxes()
        return self

    def _check_options(self) -> None:
        if not self.options:
            return
        alike = any(exact_match(a, b) for a, b in combinations(self.options, 2))
        if len(self.options) == 1 or alike:
            raise ConfigError(
                f"options must be two or more distinct texts, got {list(self.options)}; mend them"
            )
        if len(self.answer) != 1 or self.answer[0] not in self.options:
            raise ConfigError(
                f"answer must be one of the options, got {list(self.answer)} with "
                f"{list(self.options)}; correct it"
            )

    def _check_boxes(self) -> None:
        for box in self.boxes:
            left, top, right, bottom = box
            across, down = BEYOND * self.width, BEYOND * self.height
            is_inside = left < self.width and top < self.height and right > 0 and bottom > 0
            is_inside &= left >= -across and right <= self.width + across
            is_inside &= top >= -down and bottom <= self.height + down
            if not (left < right and top < bottom and is_inside):
                raise ConfigError(
                    f"boxes must be left, top, right, bottom in the image of {self.width}x"
                    f"{self.height} pixels, got {list(box)}; correct it"
                )


def stable_id(sha256: str, question: str, options: tuple[str, ...]) -> str:
    """Return an id that depends on what is asked about which pixels alone.

    Example:
        >>> stable_id("0" * 64, "Which letter?", ())
        'd03945e9c930f227'
    """
    content = repr((sha256, question, options)).encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()
