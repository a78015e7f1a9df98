"""Where a training run's rollouts are made: its settings, and the collector that they ask for."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lookless.images import SourceCache
from lookless.policies.hf import HfPolicy
from lookless.policies.vllm import VllmPolicy, VllmSettings
from lookless.training.collector import Collector, OnWorkers, OwnWeights, SameWeights
from lookless.training.engine import DTYPES, Engine
from lookless.training.ranks import Ranks
from lookless.training.rl_config import RlConfig
from lookless.vlm import load_vlm
from lookless.vlm.families import NO_LIMITS, PixelLimits
from lookless.workers import PolicySpec, Workers, WorkerSettings


class RolloutConfig(BaseModel):
    """Who makes the rollouts of RL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["hf", "vllm"] = "hf"
    """Transformers, or vLLM."""
    vllm: VllmSettings = VllmSettings()
    workers: WorkerSettings | None = None
    """Ray actors that each hold an engine; None: each training process has its own engine."""


@contextmanager
def collecting(
    engine: Engine,
    start: Path,
    sources: SourceCache,
    config: RolloutConfig,
    rl: RlConfig,
    pixels: PixelLimits = NO_LIMITS,
) -> Iterator[Collector]:
    """Give what makes this process's rollouts; all processes must call it.

    Args:
        engine: The model in training.
        start: The checkpoint that it was made of.
        sources: Opens images.
        config: Who makes them.
        rl: Their limits and temperature.
        pixels: What the model is shown.

    Raises:
        ConfigError: If a package is missing, or an engine refuses its settings.
    """
    vllm = config.vllm
    if vllm.dtype == "auto":
        vllm = vllm.model_copy(update={"dtype": engine.config.dtype})
    if config.workers is not None:
        spec = PolicySpec(
            start.resolve(),
            config.engine,
            rl.temperature,
            vllm,
            pixels,
            engine.config.dtype,
        )
        with _workers(engine.ranks, spec, config.workers) as workers:
            yield OnWorkers(workers, rl.limits)
    elif config.engine == "vllm":
        settings = vllm
        if engine.ranks.world > 1:
            # Each process has an engine of its own within the group that they train in.
            own = {"distributed_executor_backend": "external_launcher", **settings.settings}
            settings = settings.model_copy(update={"settings": own})
        with closing(VllmPolicy(start, settings, pixels, temperature=rl.temperature)) as policy:
            yield OwnWeights(policy, sources, rl.limits)
    elif engine.is_sharded:
        dtype = DTYPES[engine.config.dtype]
        vlm = load_vlm(start, dtype=dtype, device=engine.ranks.device, limits=pixels)
        yield OwnWeights(HfPolicy(vlm, rl.temperature), sources, rl.limits)
    else:
        yield SameWeights(engine, sources, rl.limits, rl.temperature)


def _workers(ranks: Ranks, spec: PolicySpec, settings: WorkerSettings) -> Workers:
    """Return the run's workers: the first process starts them, the others join."""
    name = ranks.first(f"lookless-{uuid.uuid4().hex[:12]}")
    started = ranks.together(
        lambda: Workers.start(spec.build, settings, name, ranks.world) if ranks.is_first else None
    )
    address = ranks.first(started.address if started else "")
    if started is not None:
        return started
    return Workers.join(address, name, settings, ranks.rank, ranks.world)
