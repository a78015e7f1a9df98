"""Untrained checkpoints of the real architectures, with the real tokenizers and templates."""

import os
from pathlib import Path

from lookless.vlm.fresh import Size, fresh_checkpoint

FOLDER = Path(os.environ.get("LOOKLESS_PARTS", Path(__file__).parents[2] / ".parts"))
TOKENIZERS = {"qwen2_5_vl": "qwen2_5", "qwen3_vl": "qwen3", "internvl": "qwen2_5"}
FAMILIES = tuple(TOKENIZERS)


def checkpoint(family: str, folder: Path) -> Path:
    """Write a family's checkpoint of 20 M parameters, most of them embeddings; return its place."""
    tokenizer = FOLDER / TOKENIZERS[family]
    assert tokenizer.is_dir(), f"no real tokenizers in {FOLDER}: run make parts"
    place = folder / family
    if not place.exists():
        fresh_checkpoint(place, family, tokenizer, Size())
    return place
