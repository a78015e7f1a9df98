"""Recipes: all settings of SFT and RL on a model, in one TOML file with overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lookless.benchmarks.registry import BENCHMARKS
from lookless.errors import ConfigError
from lookless.settings import override, read_toml, validated
from lookless.training.alarms import AlarmConfig
from lookless.training.engine import EngineConfig
from lookless.training.rl_config import RlConfig
from lookless.training.rollouts import RolloutConfig
from lookless.training.sft import SftConfig
from lookless.vlm.families import PixelLimits

SHORTEST_REST = 64
"""Tokens that a prompt takes at least, its image left out."""


class DataConfig(BaseModel):
    """Where the data lies; paths are relative to the folder that a command runs in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    demonstrations: Path | None = None
    """What SFT learns from: JSONL as docs/recipes.md describes it."""
    held_out: Path | None = None
    """Demonstrations that SFT only measures its loss on; the best checkpoint is kept."""
    questions: Path | None = None
    """What RL asks: files that `reader` reads."""
    validation: Path | None = None
    """Questions that RL only measures itself on; the best checkpoint is kept."""
    reader: str = "own"
    """The benchmark whose form the questions have, and whose rules grade the answers."""


class Recipe(BaseModel):
    """How a model is trained, by SFT, by RL, or by one after the other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """A checkpoint folder, or a model on the Hugging Face hub as OWNER/NAME."""
    seed: int = Field(0, ge=0)
    data: DataConfig = DataConfig()
    pixels: PixelLimits = PixelLimits()
    """What the model is shown of an image, if not what its image processor says."""
    sft: SftConfig = SftConfig()
    rl: RlConfig = RlConfig()
    engine: EngineConfig = EngineConfig()
    rollouts: RolloutConfig = RolloutConfig()
    alarms: AlarmConfig = AlarmConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Refuse settings that do not go together."""
        if self.data.reader not in BENCHMARKS:
            raise ConfigError(
                f"data.reader must be one of {', '.join(BENCHMARKS)}, got {self.data.reader!r}; "
                "`lookless benchmarks` tells more"
            )
        if self.rl.max_turn_tokens + SHORTEST_REST > self.rl.max_context:
            raise ConfigError(
                f"rl.max_context must leave room for a prompt before rl.max_turn_tokens, got "
                f"{self.rl.max_context} and {self.rl.max_turn_tokens}; raise the first"
            )
        if self.rollouts.engine == "vllm":
            self._check_vllm()
        return self

    def _check_vllm(self) -> None:
        vllm, rl = self.rollouts.vllm, self.rl
        if vllm.max_context < rl.max_context:
            raise ConfigError(
                "rollouts.vllm.max_context must be at least rl.max_context, got "
                f"{vllm.max_context} and {rl.max_context}; raise it"
            )
        if vllm.max_images < rl.max_looks + 1:
            raise ConfigError(
                "rollouts.vllm.max_images must be above rl.max_looks, got "
                f"{vllm.max_images} and {rl.max_looks}; raise it"
            )
        if rl.temperature > 2:
            raise ConfigError(
                f"rl.temperature must be at most 2 with vLLM, got {rl.temperature}; lower it"
            )


def read_recipe(file: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return a recipe from a TOML file, with settings that differ from it.

    Args:
        file: The recipe, or a folder with a recipe.toml.
        overrides: Such as `rl.lr=1e-6`; a value is read as TOML, and as plain text where it is
            none.

    Raises:
        ConfigError: If the file cannot be read, or a setting is unknown or out of range.
    """
    settings = read_toml("recipe", file / "recipe.toml" if file.is_dir() else file)
    for text in overrides:
        override(settings, text)
    return validated(Recipe, settings)
