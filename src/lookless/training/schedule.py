"""How the learning rate changes over a run."""


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
