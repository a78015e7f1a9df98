"""Settings of an evaluation."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lookless.benchmarks.questions import Selection
from lookless.episode import Mode
from lookless.frames import Frame
from lookless.rollout import Limits

MODES: dict[str, Mode] = {
    "toolfree": Mode.TOOLFREE,
    "never": Mode.PROHIBITED,
    "always": Mode.FORCED,
    "adaptive": Mode.ADAPTIVE,
    "oracle": Mode.PROHIBITED,
}
"""Modes of an evaluation and their prompts; `oracle` is shown the evidence instead of the image."""

ModeName = Literal["toolfree", "never", "always", "adaptive", "oracle"]


class EvalConfig(BaseModel):
    """What is measured, on what, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str
    data: Path
    """A folder of the benchmark's files, or one table."""
    model: str
    """Checkpoint folder, address of a server, or script; see `open_model`."""
    modes: tuple[ModeName, ...] = Field(("never", "always", "adaptive"), min_length=1)
    samples: int = Field(1, ge=1)
    """Answers to each question in each mode."""
    temperature: float = Field(0.0, ge=0)
    seed: int = Field(0, ge=0)

    limit: int | None = Field(None, ge=1)
    ids: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    partial: bool = False
    """Whether the files may hold fewer rows than the official ones."""

    max_looks: int | None = Field(None, ge=0)
    """None: as the model's kind has it; so for the next three."""
    max_turn_tokens: int | None = Field(None, ge=1)
    max_context: int | None = Field(None, ge=1)
    batch: int | None = Field(None, ge=1)

    server_model: str | None = None
    """Name on the server; None for the only one that it has."""
    frame: Literal["permille", "resized"] = "permille"
    """What a model behind a server writes boxes in."""
    concurrency: int = Field(8, ge=1)
    """Requests at once."""

    margin: float = Field(0.01, ge=0, le=1)
    """Loss of accuracy that would not matter, for non-inferiority."""
    audit: int = Field(0, ge=0)
    """Answers with a look that are asked again with other crops, at most."""
    judge: str | None = None
    """Address of a server whose model grades instead of the rules."""
    judge_model: str | None = None

    @property
    def selection(self) -> Selection:
        """Return which questions are asked."""
        return Selection(self.limit, self.ids, self.categories)

    @property
    def server_frame(self) -> Frame:
        """Return the frame of a server's boxes."""
        return Frame(self.frame)

    def limits(self, usual: Limits) -> Limits:
        """Return the limits of each episode: those of the model's kind, where none are set."""
        return Limits(
            max_looks=usual.max_looks if self.max_looks is None else self.max_looks,
            max_refusals=usual.max_refusals,
            max_turn_tokens=self.max_turn_tokens or usual.max_turn_tokens,
            max_context=self.max_context or usual.max_context,
        )
