"""Rollout workers: actors of Ray that each hold a policy, on one machine or many.

Whole groups go to whichever worker is free, in chunks that shrink towards the end. A worker that
dies or hangs is started again, and its groups are redone: what a rollout draws does not depend on
who makes it.

Weights are pulled. The first of the training processes puts a version into Ray's object store; a
worker that is asked for rollouts of that version takes it over first, also if it was started again
in between. Nothing stale is let through: rollouts come with the version that made them, and any
other than the one that was asked for is refused.
"""

import logging
import os
import pickle
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from lookless.episode import Mode, Question, Rollout
from lookless.errors import ConfigError, PolicyError
from lookless.images import SourceCache
from lookless.policies.hf import HfPolicy
from lookless.policies.policy import Policy
from lookless.policies.vllm import DEFAULTS, VllmPolicy, VllmSettings
from lookless.rollout import Limits, counted, rollout
from lookless.vlm import load_vlm
from lookless.vlm.families import NO_LIMITS, PixelLimits

Request = tuple[Question, Mode]

BUCKET_BYTES = 1 << 30
"""Weights are published in parts of this size; a larger tensor is a part by itself."""
_WEIGHTS = "weights"
_AUTH_MODE = "RAY_AUTH_MODE"


class Synchronised(Policy, Protocol):
    """A policy in process whose weights are its own."""

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replace them; names and tensors as in a checkpoint, which may only be read."""

    def seeded(self, seed: int | str) -> "Synchronised":
        """Return the same policy with another seed."""


class WorkerSettings(BaseModel):
    """How many workers there are, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    count: int = Field(ge=1)
    address: str | None = None
    """Of a running Ray cluster, `host:port`, or `auto` for the one on this machine; None starts one
    on this machine that ends with this process."""
    gpus: float = Field(0.0, ge=0)
    """That each worker takes; below 1 it shares a GPU, with 0 it sees none."""
    cpus: float = Field(1.0, ge=0)
    """That each worker takes."""
    restarts: int = Field(3, ge=0)
    """How often each worker is started again after it died or hung."""
    timeout_s: float = Field(1800.0, gt=0)
    """Longest that a worker may take for a chunk (at first half of its share of the groups), new
    weights included; then it is killed. One that takes longer to start is given up."""


@dataclass(frozen=True)
class PolicySpec:
    """Which policy a worker holds."""

    folder: Path
    """An ordinary Hugging Face folder, in the same place on every machine."""
    engine: Literal["hf", "vllm"] = "hf"
    temperature: float = 1.0
    vllm: VllmSettings = DEFAULTS
    pixels: PixelLimits = NO_LIMITS
    """What the model is shown."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of transformers' weights."""
    device: str | None = None
    """Of transformers; None for the GPU, if the worker has one."""

    def build(self) -> Synchronised:
        """Return the policy.

        Raises:
            CheckpointError: If the folder is no checkpoint of a known family.
            ConfigError: If a package is missing, or the engine refuses its settings.
        """
        if self.engine == "vllm":
            return VllmPolicy(self.folder, self.vllm, self.pixels, temperature=self.temperature)
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = getattr(torch, self.dtype)
        vlm = load_vlm(self.folder, dtype=dtype, device=device, limits=self.pixels)
        return HfPolicy(vlm, self.temperature)


@dataclass
class Traffic:
    """What one process and its workers sent each other, pickled, and what went wrong."""

    weights_bytes: int = 0
    """Put into the object store, from where each machine with workers fetches them once."""
    requests_bytes: int = 0
    rollouts_bytes: int = 0
    redone_groups: int = 0
    """Whose worker died or hung before they were there."""
    restarts: int = 0


class Workers:
    """The workers of a run as one of its processes uses them.

    Of several training processes the first starts them and the others join; each has workers of its
    own, or shares one if there are too few.
    """

    def __init__(
        self,
        actors: Sequence[Any],
        weights: Any,
        settings: WorkerSettings,
        rank: int,
        world: int,
        closing: ExitStack,
    ) -> None:
        """Use actors that run; see `start` and `join`."""
        self._ray = _ray()
        own = actors[rank::world] or [actors[rank % len(actors)]]
        sharers = -(-world // len(actors))
        self._timeout_s = settings.timeout_s * sharers  # a call may wait for the others' calls
        self._weights = weights
        self._closing = closing
        self._traffic = Traffic()
        self._last_words = ""
        self._lanes = [_Lane(actor) for actor in own]
        for lane in self._lanes:
            self._begin(lane)

    @classmethod
    def start(
        cls, build: Callable[[], Synchronised], settings: WorkerSettings, name: str, world: int = 1
    ) -> "Workers":
        """Return new workers, which begin to build their policies.

        Args:
            build: Returns a worker's policy; it is pickled, as `PolicySpec(...).build` can be.
            settings: How many workers, and where.
            name: Of the run; no other one in the cluster may have it.
            world: Number of training processes that share the workers, this one being the first.

        Raises:
            ConfigError: If Ray is missing, or there is no such cluster, or it is too small.
        """
        with ExitStack() as closing:
            ray = _connect(settings.address or "local", closing)
            _check_room(settings)
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            # Beside the weights themselves: neither is lost without the other.
            here = NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )
            kind = ray.remote(_Weights).options(
                name=_WEIGHTS, namespace=name, num_cpus=0, scheduling_strategy=here
            )
            weights = kind.remote()
            closing.callback(ray.kill, weights)
            actors = []
            for number in range(settings.count):
                kind = ray.remote(_Worker).options(
                    name=_name(number),
                    namespace=name,
                    num_cpus=settings.cpus,
                    num_gpus=settings.gpus,
                    max_restarts=settings.restarts,
                    max_task_retries=-1,  # calls wait for a restart instead of failing meanwhile
                )
                actors.append(kind.remote(build, name))
                closing.callback(ray.kill, actors[-1])
            return cls(actors, weights, settings, 0, world, closing.pop_all())

    @classmethod
    def join(
        cls, address: str, name: str, settings: WorkerSettings, rank: int, world: int
    ) -> "Workers":
        """Return the workers that the first of several processes has started.

        This process should not have imported Ray before, which reads then how it is to connect.

        Args:
            address: The first process's `address`.
            name: Of the run, as it was started.
            settings: As they were started.
            rank: This process's, from 1.
            world: Number of processes.

        Raises:
            ConfigError: If Ray is missing, or there are no such workers.
        """
        mode, _, place = address.rpartition("@")
        if mode:
            os.environ.setdefault(_AUTH_MODE, mode)  # Ray reads it when it is imported
        with ExitStack() as closing:
            ray = _connect(place, closing)
            try:
                weights = ray.get_actor(_WEIGHTS, namespace=name)
                actors = [ray.get_actor(_name(k), namespace=name) for k in range(settings.count)]
            except ValueError as error:
                raise ConfigError(
                    f"workers of {name!r} must run, got none at {place}; start them first"
                ) from error
            return cls(actors, weights, settings, rank, world, closing.pop_all())

    @property
    def address(self) -> str:
        """Return what other processes need to join: where, and whether a token is asked for.

        A cluster on one machine asks for one; Ray keeps it in the user's folder.
        """
        place = self._ray.get_runtime_context().gcs_address
        return f"{os.environ.get(_AUTH_MODE, '')}@{place}"

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Take leave; in the process that started the workers, end them.

        Ray's cluster ends too if it began here.
        """
        self._lanes = []
        self._closing.close()

    def publish(self, version: int, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replace the weights that workers pull; all rollouts of the last version must be there.

        They stay in Ray's object store, 30 % of this machine's memory by default; what does not fit
        goes to the disk.

        Args:
            version: Above 0, which are the weights that workers begin with.
            weights: Names as in the checkpoint, and whole tensors.
        """
        ray = self._ray
        ray.get(self._weights.replace.remote(None, []))  # makes room for the new ones
        buckets = []
        for bucket in _buckets(weights, BUCKET_BYTES):
            self._traffic.weights_bytes += sum(one.content.nbytes for one in bucket)
            buckets.append(ray.put(bucket))
        ray.get(self._weights.replace.remote(version, buckets))

    def roll_out(
        self,
        groups: Sequence[Sequence[Request]],
        limits: Limits,
        seed: int | str,
        version: int = 0,
        samples: Sequence[int] | None = None,
    ) -> list[Rollout]:
        """Return one rollout for each request, group after group, in order.

        Args:
            groups: Whole groups stay together. Paths of images must lead to them on the workers'
                machines too.
            limits: Of each episode.
            seed: Of sampling.
            version: Of the weights that must make them.
            samples: As in `rollout`, one for each request.

        Raises:
            PolicyError: If no worker is left, or one has weights of another version.
            ImageError: If an image cannot be opened on a worker.
            CheckpointError: As building the policy does.
            ConfigError: As building the policy does.
        """
        if samples is None:
            samples = counted([request for group in groups for request in group])
        batch = _Batch(groups, samples, limits, seed, version)
        try:
            while not batch.is_done:
                for lane in self._lanes:
                    if lane.call is None:
                        self._ask(lane, batch)
                self._hear(batch)
        finally:
            for lane in self._lanes:
                if lane.chunk:  # of a batch that has failed; its rollouts are not waited for
                    self._begin(lane)
        return batch.rollouts()

    def traffic(self) -> Traffic:
        """Return the traffic since this was last asked."""
        found, self._traffic = self._traffic, Traffic()
        return found

    def _begin(self, lane: "_Lane", *, again: bool = False) -> None:
        """Let a worker say when it is ready."""
        self._call(lane, lane.actor.start.remote(), [])
        lane.is_restarting = again

    def _ask(self, lane: "_Lane", batch: "_Batch") -> None:
        """Let a worker make a chunk of what waits, if anything does."""
        chunk = batch.take(len(self._lanes))
        if chunk:
            asked = batch.asked(chunk)
            self._traffic.requests_bytes += len(asked)
            # Ray must not redo it: it would wait for the same worker.
            self._call(lane, lane.actor.roll_out.options(max_task_retries=0).remote(asked), chunk)

    def _call(self, lane: "_Lane", call: Any, chunk: list[int]) -> None:
        lane.call, lane.chunk = call, chunk
        lane.deadline = time.monotonic() + self._timeout_s

    def _hear(self, batch: "_Batch") -> None:
        """Wait until one worker has answered, died, or used up its time."""
        if not self._lanes:
            raise PolicyError(
                f"at least one rollout worker must live, got none, the last: {self._last_words}; "
                "see /tmp/ray/session_latest/logs, or allow more restarts"
            )
        busy = {lane.call: lane for lane in self._lanes if lane.call is not None}
        patience = min(lane.deadline for lane in busy.values()) - time.monotonic()
        done, _ = self._ray.wait(list(busy), timeout=max(patience, 0.0))
        for call in done:
            self._take(busy[call], batch)
        if not done:
            for lane in busy.values():
                if lane.deadline <= time.monotonic():
                    self._ray.kill(lane.actor, no_restart=not lane.chunk)
                    self._lose(lane, batch, f"it took longer than {self._timeout_s:g} s")

    def _take(self, lane: "_Lane", batch: "_Batch") -> None:
        """Take in the answer of a worker, which is then free."""
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(lane.call)
        except errors.RayTaskError as error:  # raised by the policy or the rollout itself
            lane.call, lane.chunk = None, []
            raise error.cause from error
        except errors.RayError as error:
            self._lose(lane, batch, shorten(str(error).splitlines()[-1], 200))
            return
        if lane.chunk:
            rollouts, version = answer
            self._traffic.rollouts_bytes += len(rollouts)
            batch.finish(lane.chunk, pickle.loads(rollouts), version)
        elif lane.is_restarting:
            self._traffic.restarts += 1
        lane.call, lane.chunk = None, []

    def _lose(self, lane: "_Lane", batch: "_Batch", why: str) -> None:
        """Give a lost worker's groups to others, and wait for it to be there again."""
        self._last_words = why
        if lane.chunk:
            self._traffic.redone_groups += len(lane.chunk)
            batch.put_back(lane.chunk)
            self._begin(lane, again=True)
        else:  # it has not come back
            self._lanes.remove(lane)


@dataclass
class _Lane:
    """A worker as one process sees it."""

    actor: Any
    call: Any = None
    """Under way; None: it is free."""
    chunk: list[int] = field(default_factory=list)
    """The groups that it makes; none while it starts."""
    deadline: float = 0.0
    """Of the call, on the monotonic clock."""
    is_restarting: bool = False


class _Batch:
    """Groups to be made: which of them wait, and what was made of the others."""

    def __init__(
        self,
        groups: Sequence[Sequence[Request]],
        samples: Sequence[int],
        limits: Limits,
        seed: int | str,
        version: int,
    ) -> None:
        numbers = iter(samples)
        self._groups = [[(request, next(numbers)) for request in group] for group in groups]
        self._settings = limits, seed, version
        self._version = version
        self._waiting = deque(range(len(groups)))
        self._made: dict[int, list[Rollout]] = {}

    @property
    def is_done(self) -> bool:
        """Whether all groups are made."""
        return len(self._made) == len(self._groups)

    def take(self, workers: int) -> list[int]:
        """Return the groups that a free worker makes next: half of an equal share of the rest."""
        count = -(-len(self._waiting) // (2 * workers))
        return [self._waiting.popleft() for _ in range(count)]

    def put_back(self, chunk: Sequence[int]) -> None:
        """Let groups be the next ones to be taken."""
        self._waiting.extendleft(reversed(chunk))

    def asked(self, chunk: Sequence[int]) -> bytes:
        """Return what a worker is sent."""
        asked = [one for k in chunk for one in self._groups[k]]
        requests = [request for request, _ in asked]
        samples = [sample for _, sample in asked]
        return pickle.dumps((requests, samples, *self._settings))

    def finish(self, chunk: Sequence[int], rollouts: list[Rollout], version: int | None) -> None:
        """Take in a chunk's rollouts, made with weights of a version."""
        if version != self._version:
            raise PolicyError(
                f"rollouts must be made with weights of version {self._version}, got {version}; "
                "ask for the version published last"
            )
        come = iter(rollouts)
        for k in chunk:
            self._made[k] = [next(come) for _ in self._groups[k]]

    def rollouts(self) -> list[Rollout]:
        """Return all rollouts in order."""
        return [r for k in range(len(self._groups)) for r in self._made[k]]


class _Weights:
    """The actor that knows the newest weights: their version, and where their parts lie."""

    def __init__(self) -> None:
        self._newest: tuple[int | None, list[Any]] = (0, [])

    def replace(self, version: int | None, buckets: list[Any]) -> None:
        """Forget the last version; None while the next one is on its way."""
        self._newest = version, buckets

    def newest(self) -> tuple[int | None, list[Any]]:
        """Return the version and its parts."""
        return self._newest


class _Worker:
    """The actor that makes rollouts."""

    def __init__(self, build: Callable[[], Synchronised], run: str) -> None:
        self._build = build
        self._run = run
        self._policy: Synchronised | None = None
        self._version: int | None = 0
        self._sources = SourceCache()

    def start(self) -> None:
        """Build the policy, unless it is there."""
        # Not when the actor is made: Ray would hide what was raised.
        if self._policy is None:
            if not _ray().get_gpu_ids():  # Ray leaves those visible that it has not given
                os.environ["CUDA_VISIBLE_DEVICES"] = ""
            self._policy = self._build()

    def roll_out(self, asked: bytes) -> tuple[bytes, int | None]:
        """Return rollouts, pickled, and the version of the weights that made them."""
        requests, samples, limits, seed, version = pickle.loads(asked)
        self.start()
        assert self._policy is not None
        if version != self._version:
            self._pull(self._policy)
        policy = self._policy.seeded(seed)
        rollouts = rollout(policy, requests, self._sources, limits, samples)
        return pickle.dumps(rollouts), self._version

    def _pull(self, policy: Synchronised) -> None:
        """Take over the newest weights."""
        ray = _ray()
        weights = ray.get_actor(_WEIGHTS, namespace=self._run)
        version, buckets = ray.get(weights.newest.remote())
        self._version = None  # what a failure leaves is neither
        policy.load_weights(
            (packed.name, packed.tensor()) for bucket in buckets for packed in ray.get(bucket)
        )
        self._version = version


@dataclass(frozen=True)
class _Packed:
    """A tensor as bytes, which processes on a machine read from the same memory."""

    name: str
    content: np.ndarray
    dtype: torch.dtype
    shape: torch.Size

    @classmethod
    def of(cls, name: str, tensor: Tensor) -> "_Packed":
        """Return a tensor packed."""
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return cls(name, content, tensor.dtype, tensor.shape)

    def tensor(self) -> Tensor:
        """Return the tensor, which may only be read."""
        return torch.from_numpy(self.content).view(self.dtype).reshape(self.shape)


def _buckets(weights: Iterable[tuple[str, Tensor]], limit: int) -> Iterator[list[_Packed]]:
    """Yield weights packed, in parts of at most `limit` bytes, or of a single larger tensor."""
    bucket: list[_Packed] = []
    size = 0
    for name, tensor in weights:
        packed = _Packed.of(name, tensor)
        if bucket and size + packed.content.nbytes > limit:
            yield bucket
            bucket, size = [], 0
        bucket.append(packed)
        size += packed.content.nbytes
    if bucket:
        yield bucket


def _name(number: int) -> str:
    """Return what a worker is called in the cluster."""
    return f"worker {number}"


def _ray() -> Any:
    """Return the package, which is installed only if asked for."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "workers need the package ray, got none; run pip install 'lookless[ray]'"
        ) from error
    return ray


def _connect(address: str, closing: ExitStack) -> Any:
    """Return Ray, connected to a cluster, which `local` starts, unless it is connected already.

    Args:
        address: As in `WorkerSettings`, or `local`.
        closing: Will undo it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _ray()
    if ray.is_initialized():
        return ray
    try:
        if address not in ("local", "auto"):
            # Ray itself would go on trying for minutes.
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"address must be that of a running Ray cluster, got {address!r}: {error}; start one "
            "with ray start --head, set RAY_AUTH_MODE=token if it wants a token, or leave it out"
        ) from error
    closing.callback(ray.shutdown)
    return ray


def _check_room(settings: WorkerSettings) -> None:
    """Raise if the workers could not all be placed, however long they wait."""
    found = _ray().cluster_resources()
    cpus, gpus = found.get("CPU", 0.0), found.get("GPU", 0.0)
    if settings.count * settings.cpus > cpus or settings.count * settings.gpus > gpus:
        raise ConfigError(
            f"workers must fit the cluster's {cpus:g} CPUs and {gpus:g} GPUs, got {settings.count} "
            f"with {settings.cpus:g} and {settings.gpus:g} each; lower count, cpus or gpus"
        )
