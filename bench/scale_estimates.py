"""How long a step would take on machines that are assumed: nothing here was measured."""

from dataclasses import dataclass, replace
from typing import Any

from scale_counts import BF16, Query, Shards, assumed


@dataclass(frozen=True)
class Machine:
    """What is assumed of the hardware."""

    machine_gpus: int = assumed(8, "GPUs of a machine")
    memory: float = assumed(80e9, "bytes of a GPU that can be used")
    peak: float = assumed(989e12, "FLOP/s of a GPU in bfloat16")
    peak_fp32: float = assumed(67e12, "FLOP/s of a GPU in float32, where `engine.dtype` is that")
    bandwidth: float = assumed(3.35e12, "bytes/s of a GPU's memory")
    update_share: float = assumed(0.35, "share of the peak that updates achieve")
    prefill_share: float = assumed(0.5, "share of the peak that prefill and vision achieve")
    decode_share: float = assumed(0.5, "share of the memory's bandwidth that decoding achieves")
    nvlink: float = assumed(300e9, "bytes/s of collectives within a machine")
    network: float = assumed(50e9, "bytes/s of collectives into each machine")
    put: float = assumed(2e9, "bytes/s from a GPU into Ray's object store")
    ray: float = assumed(3.2e9, "bytes/s of Ray's object store to all other machines together: "
                         "Ray's own release test sends 1 GiB to 50 machines in 16.9 s")  # fmt: skip
    worker_memory: float = assumed(0.9, "share of its memory that vLLM takes of a GPU of its own")


@dataclass(frozen=True)
class Design:
    """How the package does it; anything but the defaults is a what-if."""

    is_broadcast: bool = False
    """Weights go to workers by a collective of the GPUs instead of Ray's object store."""
    is_padded: bool = False
    """The update computes a query's shared prefix for each rollout instead of once."""
    is_overlapped: bool = False
    """Workers make the next step's rollouts meanwhile, by weights that are one step old."""


NOW = Design()
WHAT_IF = {
    "as it is": NOW,
    "weights sent by a collective": Design(is_broadcast=True),
    "rollouts during the update, one step stale": Design(is_overlapped=True),
    "both of these": Design(is_broadcast=True, is_overlapped=True),
    "the prefix computed for each rollout in the update": Design(is_padded=True),
}
"""The last is what `share_prefixes = false` does."""


@dataclass(frozen=True)
class Estimate:
    """How long a step takes on so many GPUs, by what is assumed of them."""

    placement: str
    gpus: int
    """That are used: no more workers are counted than could have something to do."""
    trainers: int
    workers: int
    """GPUs that only make rollouts."""
    queries: int
    rollouts: int
    seconds: dict[str, float]
    memory_bytes: dict[str, float]
    """Of a training GPU: what it holds, activations left out."""
    problem: str = ""
    """Why it cannot be; empty if it can."""
    is_overlapped: bool = False

    @property
    def step_s(self) -> float:
        """Return the seconds of a step."""
        apart = self.seconds["prefill"] + self.seconds["decode"] + self.seconds["vision"]
        rest = sum(self.seconds.values()) - apart
        update = self.seconds["update"] + self.seconds["update vision"]
        return rest + apart - (min(apart, update) if self.is_overlapped else 0.0)

    @property
    def bottleneck(self) -> str:
        """Return what takes longest."""
        return max(self.seconds, key=lambda name: self.seconds[name])

    def record(self) -> dict[str, Any]:
        """Return it as JSON, to three digits."""
        found: dict[str, Any] = {
            "placement": self.placement,
            "gpus": self.gpus,
            "trainers": self.trainers,
            "workers": self.workers,
            "queries": self.queries,
            "memory_gb": {name: round(value / 1e9, 1) for name, value in self.memory_bytes.items()},
        }
        if self.problem:
            return found | {"problem": self.problem}
        return found | {
            "seconds": {name: digits(value) for name, value in self.seconds.items()},
            "step_s": digits(self.step_s),
            "rollouts_per_s": digits(self.rollouts / self.step_s),
            "bottleneck": self.bottleneck,
        }


@dataclass(frozen=True)
class Step:
    """A step of a recipe on machines that are assumed."""

    query: Query
    machine: Machine
    design: Design = NOW

    def colocated(self, gpus: int, queries: int) -> Estimate:
        """Return the estimate with an engine in each training process: all GPUs do both in turn."""
        share = self.query.recipe.rollouts.vllm.memory
        mine = -(-queries // gpus)
        return self._estimate("colocated", gpus, 0, queries, mine, mine, share)

    def beside(self, trainers: int, workers: int, queries: int) -> Estimate:
        """Return the estimate with workers on GPUs of their own.

        Each training process has workers of its own, or shares one if there are too few.
        """
        mine = -(-queries // trainers)
        if workers >= trainers:
            served = -(-mine // (workers // trainers))
        else:
            served = mine * -(-trainers // workers)
        share = self.machine.worker_memory
        return self._estimate("workers", trainers, workers, queries, mine, served, share)

    def fastest_beside(self, gpus: int, queries: int) -> Estimate:
        """Return the estimate of the split of GPUs that takes least, or a reason why none can be.

        Trainers are less than a machine, or whole machines.
        """
        size = self.machine.machine_gpus
        splits = [n for n in range(1, gpus) if (n < size or n % size == 0) and n <= queries]
        found = [self.beside(n, min(gpus - n, n * -(-queries // n)), queries) for n in splits]
        possible = [one for one in found if not one.problem]
        return min(possible or found, key=lambda one: (one.step_s, one.gpus))

    def _estimate(
        self,
        placement: str,
        trainers: int,
        workers: int,
        queries: int,
        mine: int,
        served: int,
        share: float,
    ) -> Estimate:
        """Return an estimate.

        Args:
            placement: Its name.
            trainers: Training processes.
            workers: Workers beside them.
            queries: Of the step.
            mine: Of the process that has most.
            served: Of the engine that has most.
            share: Of a GPU's memory that an engine takes.
        """
        model, recipe = self.query.model, self.query.recipe
        shards = Shards(recipe, model, trainers)
        memory = {"state": shards.state_bytes, "handing over": shards.handing_bytes}
        if not workers:
            memory["engine"] = share * self.machine.memory
        needed = sum(memory.values())
        problem = ""
        if trainers > queries:
            problem = f"refused: {queries} queries for {trainers} processes"
        elif needed > self.machine.memory:
            problem = f"needs {needed / 1e9:.0f} GB a GPU"
        batch = self._batch(share)
        if batch < 1:
            problem = problem or "the engine has no memory for a rollout"
        seconds = {
            "weights": self._weights_s(shards, workers),
            "prefill": served * self._prefill_s(),
            "decode": self._decode_s(served * len(self.query.looks), max(batch, 1)),
            "vision": served * self.query.vision_flops() / self._prefill_flops_per_s,
            "update": self._update_s(shards, mine),
            "update vision": self._update_vision_s(mine),
        }
        return Estimate(
            placement,
            trainers + workers,
            trainers,
            workers,
            queries,
            queries * len(self.query.looks),
            seconds,
            memory,
            problem,
            self.design.is_overlapped and workers > 0,
        )

    @property
    def _prefill_flops_per_s(self) -> float:
        return self.machine.peak * self.machine.prefill_share

    @property
    def _update_peak(self) -> float:
        is_half = self.query.recipe.engine.dtype == "bfloat16"
        return self.machine.peak if is_half else self.machine.peak_fp32

    def _collective_rate(self, world: int) -> float:
        """Return bytes/s: a ring passes all of them into each machine once."""
        is_one_machine = world <= self.machine.machine_gpus
        return self.machine.nvlink if is_one_machine else self.machine.network

    def _weights_s(self, shards: Shards, workers: int) -> float:
        """Return the seconds until all engines have the weights.

        All processes gather them. For workers the first one then puts them into Ray's object store,
        from where each other machine fetches them once; loading them is left out.
        """
        gathered = shards.weights_bytes / self._collective_rate(shards.world)
        if not workers:
            return gathered
        size = self.machine.machine_gpus
        sent = shards.published_bytes
        others = -(-(shards.world + workers) // size) - max(shards.world // size, 1)
        if self.design.is_broadcast:
            return gathered + sent / self._collective_rate(shards.world + workers)
        return gathered + sent / self.machine.put + others * sent / self.machine.ray

    def _prefill_s(self) -> float:
        """Return the seconds of a query's prefill, with a prefix cache."""
        return self.query.prefill_flops(shared=True) / self._prefill_flops_per_s

    def _batch(self, share: float) -> int:
        """Return the rollouts that an engine runs at once: as many as its cache has room for."""
        query, model = self.query, self.query.model
        room = share * self.machine.memory - BF16 * model.parameters
        own = query.mean_tokens - query.shared * (1 - 1 / len(query.looks))
        fitting = int(room / (own * model.kv_bytes))
        return min(fitting, query.recipe.rollouts.vllm.max_rollouts)

    def _decode_s(self, rollouts: int, batch: int) -> float:
        """Return the seconds of decoding: of the memory's bandwidth, or of FLOPs if that is longer.

        Rollouts run in waves of a batch, the last one as long as its longest rollout. A token of a
        wave reads the weights once, and of each rollout the keys and values so far.
        """
        query, model, machine = self.query, self.query.model, self.machine
        limit = self.query.recipe.rl.max_turn_tokens * (max(query.looks) + 1)
        longest = min(self.query.lengths.longest * query.mean_sampled, limit)
        steps = (-(-rollouts // batch) - 1) * query.mean_sampled + longest
        context = query.mean_tokens - query.mean_sampled / 2
        read = steps * BF16 * (model.layers + model.head)
        read += rollouts * query.mean_sampled * context * model.kv_bytes
        flops = query.decode_flops() * rollouts / len(query.looks)
        by_bandwidth = read / (machine.bandwidth * machine.decode_share)
        return max(by_bandwidth, flops / self._prefill_flops_per_s)

    @property
    def _updated(self) -> Query:
        """Return a query as the update takes it."""
        recipe = self.query.recipe
        engine = recipe.engine.model_copy(update={"share_prefixes": not self.design.is_padded})
        return replace(self.query, recipe=recipe.model_copy(update={"engine": engine}))

    def _update_s(self, shards: Shards, queries: int) -> float:
        """Return the seconds of the text tower's update: computing, or sending if that is longer.

        FSDP sends one layer while it computes another, so that only the longer of both counts.
        """
        flops = queries * self._updated.update_flops()
        computing = flops / (self._update_peak * self.machine.update_share)
        sent = shards.gathered_bytes + shards.reduced_bytes
        batches = self._updated.micro_batches(queries) * self.query.recipe.rl.epochs
        return max(computing, batches * sent / self._collective_rate(shards.world))

    def _update_vision_s(self, queries: int) -> float:
        """Return the seconds of the vision tower in the update."""
        flops = queries * self._updated.update_vision_flops(queries)
        return flops / (self._update_peak * self.machine.prefill_share)


def digits(value: float, count: int = 3) -> float:
    """Return a number to so many digits.

    Example:
        >>> digits(1234.5), digits(0.012345)
        (1230.0, 0.0123)
    """
    return float(f"{value:.{count}g}")
