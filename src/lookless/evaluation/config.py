"""Settings of an evaluation."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lookless.benchmarks.questions import Selection
from lookless.episode import Mode
from lookless.errors import ConfigError
from lookless.evaluation.model import SCRIPTED, Local, Server
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
    temperature: float = Field(0.0, ge=0, allow_inf_nan=False)
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

    local: Local = Local()
    """How a checkpoint is run."""

    server_model: str | None = None
    """Name on the server; None for the only one that it has."""
    frame: Literal["permille", "resized"] = "permille"
    """What a model behind a server writes boxes in."""
    server_checkpoint: Path | None = None
    """Folder of the served checkpoint; its family then says prompts and frame."""
    concurrency: int = Field(8, ge=1)
    """Requests at once."""
    timeout_s: float = Field(120.0, gt=0, allow_inf_nan=False)
    """Longest silence of a server; then the request is tried again."""
    retries: int = Field(5, ge=0)
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What a server calls the limit on a turn's tokens."""

    margin: float = Field(0.01, ge=0, le=1)
    """Loss of accuracy that would not matter, for non-inferiority."""
    audit: int = Field(0, ge=0)
    """Answers with a look that are asked again with other crops, at most."""
    judge: str | None = None
    """Address of a server whose model grades instead of the rules."""
    judge_model: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Refuse what would have no effect, or mean nothing."""
        if len(set(self.modes)) < len(self.modes):
            raise ConfigError(
                f"modes must be distinct, got {', '.join(self.modes)}; name each once"
            )
        if self.samples > 1 and self.temperature == 0:
            raise ConfigError(
                f"temperature must be above 0 for several samples, got 0 and {self.samples} "
                "samples; without chance they are all the same"
            )
        if self.audit and not {"adaptive", "always"} & set(self.modes):
            raise ConfigError("audit must have a mode that looks, got neither adaptive nor always; "
                              "add one")  # fmt: skip
        if self.judge_model and not self.judge:
            raise ConfigError("judge_model must come with judge, got it alone; say where it is")
        if not self.is_served and (
            self.server_model or self.server_checkpoint or self.frame != "permille"
        ):
            raise ConfigError(
                "server_model, server_checkpoint and frame must come with a server, got model "
                f"{self.model!r}; leave them out"
            )
        is_elsewhere = self.is_served or self.model.startswith(SCRIPTED)
        if is_elsewhere and self.local != Local():
            raise ConfigError(
                "engine, dtype, pixel limits and workers must come with a checkpoint, got model "
                f"{self.model!r}; leave them out"
            )
        if self.audit and self.local.workers is not None:
            raise ConfigError(
                f"audit must be made without workers, got {self.audit} answers to ask again and "
                f"{self.local.workers.count} workers; leave one out"
            )
        if self.server_checkpoint and self.frame != "permille":
            raise ConfigError(
                "frame must be left to the checkpoint where server_checkpoint names one, got "
                f"{self.frame}; leave it out"
            )
        return self

    @property
    def is_served(self) -> bool:
        """Return whether the model is behind a server."""
        return self.model.startswith(("http://", "https://"))

    @property
    def selection(self) -> Selection:
        """Return which questions are asked."""
        return Selection(self.limit, self.ids, self.categories)

    def server(self, api_key: str | None) -> Server:
        """Return how a server is asked."""
        return Server(
            self.server_model,
            Frame(self.frame),
            self.concurrency,
            self.timeout_s,
            self.retries,
            self.limit_name,
            api_key,
            self.server_checkpoint,
        )

    def limits(self, usual: Limits) -> Limits:
        """Return the limits of each episode: those of the model's kind, where none are set."""
        return Limits(
            max_looks=usual.max_looks if self.max_looks is None else self.max_looks,
            max_refusals=usual.max_refusals,
            max_turn_tokens=self.max_turn_tokens or usual.max_turn_tokens,
            max_context=self.max_context or usual.max_context,
        )
