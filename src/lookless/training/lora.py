"""Low-rank adapters on the text tower (LoRA, arXiv 2106.09685), by peft."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from lookless.errors import ConfigError
from lookless.vlm import VLM

ADAPTER = "default"
TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
"""Every matrix of the text tower's layers."""


class LoraSettings(BaseModel):
    """How large the adapters are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: int = Field(64, ge=1)
    alpha: int = Field(64, ge=1)
    """The adapters' product is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)


def add_lora(vlm: VLM, settings: LoraSettings) -> None:
    """Put adapters into a model in place; they begin without effect, and only they are trained.

    Raises:
        ConfigError: If peft is missing.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ConfigError(
            "lora needs the package peft, got none; run pip install 'lookless[lora]'"
        ) from error
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=TARGETS,
    )
    vlm.model.requires_grad_(False)
    inject_adapter_in_model(config, vlm.model, adapter_name=ADAPTER)


def merged(name: str, weight: Tensor, state: dict[str, Tensor], scale: float) -> Tensor:
    """Return a matrix with its adapter added, if it has one.

    Args:
        name: Of the matrix in a state dict whose `.base_layer` is taken out.
        weight: The matrix.
        state: Whole adapters by their names in the state dict.
        scale: alpha / rank.
    """
    stem = name.removesuffix(".weight")
    down = state.get(f"{stem}.lora_A.{ADAPTER}.weight")
    up = state.get(f"{stem}.lora_B.{ADAPTER}.weight")
    if down is None or up is None:
        return weight
    return (weight.float() + scale * (up.float() @ down.float())).to(weight.dtype)


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """Take the adapters' effect away while it lasts: the model is again as it was before them."""
    from peft.tuners.lora import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    scales = [layer.scaling[ADAPTER] for layer in layers]
    for layer in layers:
        layer.scaling[ADAPTER] = 0.0
    try:
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scaling[ADAPTER] = scale
