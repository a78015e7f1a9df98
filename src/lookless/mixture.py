"""Which ways of answering SFT shows, and how often."""

from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lookless.episode import Mode
from lookless.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Mixture:
    """Shares of what SFT shows, each in 0..1; `forced` and `prohibited` at most 1 together."""

    forced: Share = 0.2
    """Share of the trajectories in forced mode."""
    prohibited: Share = 0.2
    """Share in prohibited mode; the rest is adaptive."""
    look: Share = 0.75
    """Share of adaptive trajectories that look, whatever is asked: Pixel Reasoner's public data."""
    corrected: Share = 0.1
    """Share of looks at a detail that are at the wrong place first."""
    closer: Share = 0.05
    """Share of looks at a detail that are too wide first."""

    def __post_init__(self) -> None:
        if self.forced + self.prohibited > 1:
            raise ConfigError(
                f"forced and prohibited must be at most 1 together, got {self.forced} and "
                f"{self.prohibited}; lower one"
            )

    def draw(self, rng: np.random.Generator) -> tuple[Mode, bool]:
        """Return the mode of a demonstration, and whether it looks; nothing else decides that."""
        draw = rng.random()
        if draw < self.forced:
            return Mode.FORCED, True
        if draw < self.forced + self.prohibited:
            return Mode.PROHIBITED, False
        return Mode.ADAPTIVE, bool(rng.random() < self.look)
