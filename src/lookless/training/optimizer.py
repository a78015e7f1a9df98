"""The optimiser and its schedule."""

import torch

from lookless.vlm import VLM


def optimizer_for(vlm: VLM, lr: float) -> torch.optim.AdamW:
    """Return AdamW over the trainable weights, without weight decay."""
    trainable = [p for p in vlm.model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trainable, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)


def constant_then_linear(
    step: int, steps: int, lr: float, warmup: int, decay: float = 0.5
) -> float:
    """Return the learning rate: linear warm-up, constant, linear to 0 over the last share `decay`.

    Example:
        >>> [round(constant_then_linear(s, 10, 1.0, 2), 2) for s in (0, 1, 4, 9)]
        [0.5, 1.0, 1.0, 0.2]
    """
    up = (step + 1) / max(warmup, 1)
    down = (steps - step) / max(decay * steps, 1)
    return lr * min(up, 1.0, down)
