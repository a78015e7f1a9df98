"""What can be evaluated: a checkpoint folder, a chat server, or a script, by one name."""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, model_validator

from lookless.chat import tiny
from lookless.chat.chatml import ChatML
from lookless.chat.dialect import Dialect
from lookless.chat.remote import RemoteChat
from lookless.errors import ConfigError
from lookless.frames import Frame
from lookless.policies.policy import Policy
from lookless.policies.scripted import SCRIPTS, ScriptedPolicy
from lookless.policies.vllm import VllmPolicy, VllmSettings
from lookless.rollout import Limits
from lookless.vlm.families import PixelLimits
from lookless.workers import PolicySpec, Workers, WorkerSettings

TINY_LIMITS = Limits(max_looks=2, max_turn_tokens=72)
"""What the embedded VLM was trained with."""
LARGE_LIMITS = Limits(max_looks=3, max_turn_tokens=1024, max_context=32_768)
SCRIPTED = "scripted:"
_EDGE_BYTES = 1 << 20


@dataclass(frozen=True)
class Server:
    """How a chat server is asked."""

    model: str | None = None
    """Name on the server; None for the only one that it has."""
    frame: Frame = Frame.PERMILLE
    """What the model writes boxes in."""
    concurrency: int = 8
    timeout_s: float = 120.0
    retries: int = 5
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What it calls the limit on a turn's tokens."""
    api_key: str | None = None
    checkpoint: Path | None = None
    """Folder of the served checkpoint, or of its tokenizer, processor and config.json: the model is
    then spoken to as its family is. None: in general words."""


class Closable(Protocol):
    """Something that runs until it is ended."""

    def close(self) -> None:
        """End it."""


class Local(BaseModel):
    """How a checkpoint is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["hf", "vllm"] = "hf"
    """Transformers, or vLLM."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of the weights; None: bfloat16 on a GPU, float32 without, the tiny model always float32."""
    pixels: PixelLimits = PixelLimits()
    """What the model is shown, if not what its image processor says."""
    vllm: VllmSettings = VllmSettings()
    """Its context and number of images follow from the limits of an episode."""
    workers: WorkerSettings | None = None
    """Ray actors that each hold an engine; None: one in this process."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        said = {"max_context", "max_images", "dtype"} & self.vllm.model_fields_set
        if said:
            raise ConfigError(
                "vllm.max_context, vllm.max_images and vllm.dtype must be left to --max-context, "
                f"--max-looks and --dtype, got {min(said)}; say those instead"
            )
        return self


@dataclass(frozen=True)
class Model:
    """A model that can be asked."""

    name: str
    """As results call it."""
    identity: str
    """Tells distinct models apart, as well as that can be known from outside."""
    chat: Dialect
    policy: Callable[[int], Policy]
    """Returns the model with a seed."""
    limits: Limits
    """Of an episode, unless others are asked for."""
    batch: int
    """Answers that are asked for together, unless another number is asked for."""
    is_batched: bool = True
    """Whether answers are computed together, so that rounding depends on the batch; servers are
    asked for each by itself."""
    concurrency: int = 1
    """Rollouts under way at once, each a batch of its own; 1 makes one batch of all."""
    precision: str | None = None
    """What computes a checkpoint's numbers: engine and type; None where that is not known."""
    workers: Workers | None = None
    """That answer instead of a policy in this process."""
    engine: Closable | None = None
    """What must be ended when nothing is asked any more."""

    def close(self) -> None:
        """End what runs it besides this process's own code: workers, or an engine."""
        if self.engine is not None:
            self.engine.close()


def open_model(
    spec: str,
    temperature: float,
    server: Server | None = None,
    local: Local | None = None,
    limits: Callable[[Limits], Limits] = lambda usual: usual,
) -> Model:
    """Return the model that a name stands for.

    Args:
        spec: `http://host:8000/v1` of a chat server, `scripted:gold`, `scripted:chance`, or else
            a checkpoint folder.
        temperature: 0 is greedy.
        server: How a server is asked; for no other kind of model.
        local: How a checkpoint is run; for no other kind of model.
        limits: Given the usual limits of an episode for this model, those that it will have.

    Raises:
        ConfigError: If a name or setting does not fit.
        CheckpointError: If the folder is no checkpoint.
        PolicyError: If a server has to be asked for its model and does not say.
    """
    if spec.startswith(("http://", "https://")):
        return _served(spec, temperature, server or Server())
    if spec.startswith(SCRIPTED):
        return _scripted(spec)
    return _checkpoint(spec, temperature, local or Local(), limits)


def _served(url: str, temperature: float, server: Server) -> Model:
    from lookless.policies.openai import OpenAIPolicy

    chat: RemoteChat | ChatML = RemoteChat(server.frame)
    if server.checkpoint is not None:
        from lookless.vlm.families import load_parts

        chat = load_parts(server.checkpoint).chat
    policy = OpenAIPolicy(
        url,
        server.model,
        chat,
        temperature=temperature,
        concurrency=1,
        timeout_s=server.timeout_s,
        retries=server.retries,
        limit_name=server.limit_name,
        api_key=server.api_key,
    )
    return Model(
        f"{policy.model} at {policy.server}",
        policy.model,
        chat,
        policy.seeded,
        usual_limits(chat),
        batch=8 * server.concurrency,
        is_batched=False,
        concurrency=server.concurrency,
    )


def _scripted(spec: str) -> Model:
    name = spec.removeprefix(SCRIPTED)
    if name not in SCRIPTS:
        raise ConfigError(
            f"script must be one of {', '.join(SCRIPTS)}, got {name!r}; "
            f"say for instance {SCRIPTED}gold"
        )
    chat = RemoteChat()

    def seeded(seed: int) -> ScriptedPolicy:
        return ScriptedPolicy(chat, SCRIPTS[name](chat, seed))

    return Model(spec, spec, chat, seeded, LARGE_LIMITS, batch=96)


def _checkpoint(
    spec: str, temperature: float, local: Local, limits: Callable[[Limits], Limits]
) -> Model:
    from lookless.vlm.families import load_parts
    from lookless.vlm.hub import checkpoint_folder

    folder = checkpoint_folder(spec)
    if not folder.is_dir():
        raise ConfigError(
            "model must be a checkpoint folder (make demo leaves one, runs/demo/rgrl/checkpoint), "
            f"OWNER/NAME on the hub, http(s)://.../v1, or {SCRIPTED}NAME, got {spec!r}; "
            "check the path"
        )
    parts = load_parts(folder, local.pixels)
    usual = usual_limits(parts.chat, parts.context)
    asked = limits(usual)
    dtype = local.dtype or _dtype(parts.chat)
    vllm = local.vllm.model_copy(
        update={
            "max_context": asked.max_context,
            "max_images": asked.max_looks + 1,
            "dtype": dtype,
        }
    )
    made = PolicySpec(folder.resolve(), local.engine, temperature, vllm, local.pixels, dtype)
    workers = None
    if local.workers is not None:
        name = f"lookless-{uuid.uuid4().hex[:12]}"
        workers = Workers.start(made.build, local.workers, name)
    built = None if workers else made.build()
    return Model(
        str(folder),
        fingerprint(folder),
        parts.chat,
        built.seeded if built else _unused,
        usual,
        batch=96 * (local.workers.count if local.workers else 1),
        precision=f"{local.engine} {dtype}",
        workers=workers,
        engine=workers or (built if isinstance(built, VllmPolicy) else None),
    )


def _dtype(chat: ChatML) -> Literal["float32", "bfloat16"]:
    import torch

    return "bfloat16" if torch.cuda.is_available() and not is_tiny(chat) else "float32"


def _unused(seed: int) -> Policy:
    raise AssertionError("workers answer, not a policy in this process")


def is_tiny(chat: Dialect) -> bool:
    """Return whether a dialect is that of the embedded VLM."""
    return isinstance(chat, ChatML) and chat.wording == tiny.WORDING


def usual_limits(chat: Dialect, context: int | None = None) -> Limits:
    """Return the limits of an episode: the tiny model's own, or those of large models.

    Args:
        chat: The model's dialect.
        context: Tokens that it can take, where that is known.
    """
    limits = TINY_LIMITS if is_tiny(chat) else LARGE_LIMITS
    return replace(limits, max_context=min(limits.max_context, context or limits.max_context))


def fingerprint(folder: Path) -> str:
    """Return 12 hex digits that change with a checkpoint's files, however large they are.

    They stand for the names, the sizes, and the first and last megabyte of every file.
    """
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file():
            size = file.stat().st_size
            with file.open("rb") as stream:
                found.update(f"{file.name} {size} ".encode() + stream.read(_EDGE_BYTES))
                stream.seek(max(size - _EDGE_BYTES, 0))
                found.update(stream.read(_EDGE_BYTES))
    return found.hexdigest()[:12]
