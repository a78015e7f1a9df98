"""Which dialect a checkpoint speaks, from its configuration."""

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lookless.chat import tiny
from lookless.chat.chatml import ChatML
from lookless.errors import CheckpointError

Family = Callable[[PreTrainedTokenizerBase, Qwen2VLImageProcessorPil], ChatML]


def family_of(config: dict[str, Any]) -> Family:
    """Return the dialect of the checkpoint that has this `config.json`.

    Raises:
        CheckpointError: If the family is not known.
    """
    if config.get("lookless_family") == "tiny":
        return tiny.dialect
    raise CheckpointError(
        f"model family must be tiny, got model_type {config.get('model_type')!r}; "
        "other families are not supported yet"
    )
