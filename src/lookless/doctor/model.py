"""Whether a checkpoint folder is complete; nothing of its weights but their headers is read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from lookless.chat.chatml import ChatML
from lookless.doctor.finding import Finding, ok, warning
from lookless.errors import CheckpointError, LooklessError
from lookless.vlm import VLM
from lookless.vlm.families import Parts, PixelLimits, load_parts

CHECK = "model"
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True)
class Subject:
    """A checkpoint without its weights."""

    folder: Path
    parts: Parts
    config: dict[str, Any]
    """Its config.json."""
    vlm: VLM
    """Its architecture, on torch's meta device: shapes only."""

    @property
    def chat(self) -> ChatML:
        """Return how it is talked to."""
        return self.parts.chat

    @property
    def text_config(self) -> Any:
        """Return the configuration of its text tower."""
        return self.vlm.model.config.get_text_config()

    @property
    def head_dim(self) -> int:
        """Return the features of each head of the text tower's attention."""
        text = self.text_config
        found = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return int(found)


def open_subject(folder: Path, limits: PixelLimits) -> Subject:
    """Return the checkpoint of a folder.

    Args:
        folder: An ordinary Hugging Face folder.
        limits: What the model is shown, if not what its image processor says.

    Raises:
        CheckpointError: If a file other than the weights is missing, or the family is not known.
        ConfigError: If the limits do not fit the family.
    """
    try:
        parts = load_parts(folder, limits)
        build: Any = parts.family.model
        with torch.device("meta"):
            model = build(AutoConfig.from_pretrained(folder))
    except LooklessError:
        raise
    except Exception as error:  # wrong settings make transformers raise nearly anything
        raise CheckpointError(
            f"config.json must describe a model that can be built, got {str(folder)!r}: "
            f"{' '.join(str(error).split())}; copy it again"
        ) from None
    vlm = parts.family.vlm(model, parts.processor, parts.chat, folder)
    return Subject(folder, parts, json.loads((folder / "config.json").read_text()), vlm)


def check_weights(subject: Subject) -> list[Finding]:
    """Return whether the weights' headers hold all that the architecture needs.

    Raises:
        CheckpointError: If a file or a weight is missing, unreadable, or of another shape.
    """
    stored = _stored(subject.folder)
    model: Any = subject.vlm.model
    needed = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    there = dict(_renamed(model, stored))
    tied: dict[str, str] = model.all_tied_weights_keys
    missing = sorted(name for name in needed if there.keys().isdisjoint({name, tied.get(name)}))
    if missing:
        raise CheckpointError(
            f"checkpoint must have all weights, got {str(subject.folder)!r} without {missing[0]}"
            f"{f' and {len(missing) - 1} others' if len(missing) > 1 else ''}; copy it again"
        )
    for name, shape in there.items():
        if name in needed and shape is not None and shape != needed[name]:
            raise CheckpointError(
                f"{name} must have the shape {needed[name]} of config.json, got {shape} in "
                f"{str(subject.folder)!r}; copy both from the same checkpoint"
            )
    found = []
    unused = sorted(there.keys() - needed.keys())
    if unused:
        others = f" and {len(unused) - 1} others" if len(unused) > 1 else ""
        found.append(warning(CHECK, f"weights {unused[0]}{others} are of no use to this model"))
    count = sum(parameter.numel() for parameter in model.parameters())
    kind = subject.config.get("model_type")
    what = f"{kind}, {count / 1e6:.1f} M parameters, {subject.chat.budget}"
    return [*found, ok(CHECK, f"{what}; {len(stored)} weights are there in {subject.folder}")]


def _stored(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights in a folder's files."""
    if not (folder / INDEX).is_file():
        if (folder / SINGLE).is_file():
            return dict(_header(folder / SINGLE))
        raise CheckpointError(
            f"weights must be {SINGLE}, or shards with {INDEX}, got {str(folder)!r} without; "
            "copy it again, or convert it to safetensors"
        )
    try:
        listed: dict[str, str] = json.loads((folder / INDEX).read_text())["weight_map"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{INDEX} must list the weights, got {error!r} in {str(folder)!r}; copy it again"
        ) from None
    stored: dict[str, tuple[int, ...]] = {}
    for name in sorted(set(listed.values())):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"checkpoint must have all its shards, got {str(folder)!r} without {name}; "
                "copy it again"
            )
        stored |= _header(folder / name)
    return stored


def _header(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield names and shapes of the weights in a file, which is known to be whole then."""
    try:
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
                yield name, tuple(opened.get_slice(name).get_shape())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"weights must be a whole safetensors file, got {str(file)!r}: {error}; copy it again"
        ) from None


def _renamed(
    model: Any, stored: dict[str, tuple[int, ...]]
) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Yield stored weights by the names that loading gives them; no shape if it changes them."""
    transforms = get_model_conversion_mapping(model)
    renamings = [one for one in transforms if isinstance(one, WeightRenaming)]
    converters = [one for one in transforms if isinstance(one, WeightConverter)]
    needed = model.state_dict()
    for name, shape in stored.items():
        new, converted = rename_source_key(
            name, renamings, converters, model.base_model_prefix, needed
        )
        if new not in needed and name in needed:
            new, converted = name, None
        yield new, shape if converted is None else None
