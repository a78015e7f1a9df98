"""vLLM in process: continuous batching over the turns of many rollouts.

A rollout's next turn starts as soon as its last one has ended, whatever the others do. Each turn is
a request with all tokens so far: what was computed of them before is found in the prefix cache, and
the features of images seen before in the encoder cache.
"""

import copy
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from lookless.chat.chatml import ChatML
from lookless.errors import ConfigError
from lookless.picture import Picture
from lookless.policies.policy import Failed, Observation, Prompt, Sampled
from lookless.vlm.families import NO_LIMITS, PixelLimits, load_parts

if TYPE_CHECKING:
    from vllm import LLM


_OURS = frozenset(
    "model dtype max_model_len max_num_seqs limit_mm_per_prompt gpu_memory_utilization "
    "tensor_parallel_size enforce_eager enable_prefix_caching logprobs_mode mm_processor_kwargs "
    "disable_log_stats".split()
)
"""Arguments of `vllm.LLM` that the settings below stand for, or that rollouts rely on."""


class VllmSettings(BaseModel):
    """How the engine is set up."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_context: int = Field(4096, ge=1)
    """Tokens of an episode."""
    max_images: int = Field(4, ge=1)
    """Of an episode: the overview, and one for each look."""
    max_rollouts: int = Field(256, ge=1)
    """Under way at once; others wait."""
    memory: float = Field(0.9, gt=0, le=1)
    """Share of the GPU's memory that the engine takes, weights included. Beside training on the
    same GPU, as much as training leaves."""
    cache_gib: float = Field(1.0, gt=0)
    """Of keys and values, without a GPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is vLLM's own choice, half precision even for a float32 checkpoint; in a recipe it is
    that of the trained model's computation."""
    gpus: int = Field(1, ge=1)
    """That one copy of the weights is spread over (tensor parallelism)."""
    eager: bool = False
    """Without CUDA graphs: starts sooner, runs slower."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `vllm.LLM`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ours = sorted(_OURS & self.settings.keys())
        if ours:
            raise ConfigError(
                f"settings must be further arguments of vllm.LLM, got {ours[0]}, which is set "
                "already; leave it out, or use the setting for it"
            )
        return self


DEFAULTS = VllmSettings()


class VllmPolicy:
    """Samples with an engine of its own; temperature 0 is greedy.

    What a rollout draws depends on the seed, its question, its mode and which sample it is, as far
    as the engine computes the same numbers whatever else it is busy with.
    """

    def __init__(
        self,
        folder: Path,
        settings: VllmSettings = DEFAULTS,
        limits: PixelLimits = NO_LIMITS,
        *,
        temperature: float = 1.0,
        seed: int | str = 0,
    ) -> None:
        """Start an engine with a checkpoint; takes from seconds to minutes.

        Args:
            folder: An ordinary Hugging Face folder of a known family.
            settings: Of the engine.
            limits: What the model is shown, if not what its image processor says.
            temperature: Of sampling, and of the log-probabilities.
            seed: Of sampling.

        Raises:
            CheckpointError: If the folder is no checkpoint of a known family.
            ConfigError: If vLLM is missing or refuses the settings.
        """
        if not 0 <= temperature <= 2:
            raise ConfigError(
                f"temperature must be from 0 to 2 with vLLM, got {temperature}; lower it"
            )
        self.chat = load_parts(folder, limits).chat
        self.temperature = temperature
        self.seed = seed
        self.gpus = settings.gpus
        self.engine = _engine(folder, self.chat, settings)

    def seeded(self, seed: int | str) -> "VllmPolicy":
        """Return the same policy with another seed; both share the engine."""
        other = copy.copy(self)
        other.seed = seed
        return other

    def start(self, prompts: Sequence[Prompt]) -> "VllmSession":
        """Begin a batch of rollouts."""
        return VllmSession(self, prompts)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replace the engine's weights, and forget what was computed with the old ones.

        No rollout may be under way.

        Args:
            weights: Names as in the checkpoint, and whole tensors.
        """
        # Processes of a spread engine must be sent them; here one after the other will do.
        given = list(weights) if self.gpus > 1 else iter(weights)
        self.engine.collective_rpc("reload_weights", kwargs={"weights_iterator": given})
        self.forget()

    def close(self) -> None:
        """End the engine, and with it the group of processes that it was started in."""
        self.engine.llm_engine.engine_core.shutdown()

    def forget(self) -> None:
        """Empty the caches of keys and values, of image features, and of processed images."""
        engine = self.engine.llm_engine
        if not self.engine.reset_prefix_cache():
            raise RuntimeError("the prefix cache must be free to be reset, got rollouts under way")
        engine.reset_encoder_cache()
        engine.reset_mm_cache()

    def hit_rates(self) -> dict[str, float]:
        """Return which share of what was asked for the prefix and the image caches held so far."""
        counts: dict[str, float] = {
            metric.name: metric.value
            for metric in self.engine.get_metrics()
            if hasattr(metric, "value")
        }
        rates = {}
        for name in ("prefix_cache", "mm_cache"):
            asked = counts.get(f"vllm:{name}_queries", 0.0)
            rates[name] = counts.get(f"vllm:{name}_hits", 0.0) / asked if asked else 0.0
        return rates


@dataclass
class _Talk:
    """One rollout under way."""

    prompt: Prompt
    token_ids: list[int]
    pictures: list[Picture]
    turn: int = 0


class VllmSession:
    """A batch of rollouts in the engine."""

    def __init__(self, policy: VllmPolicy, prompts: Sequence[Prompt]) -> None:
        self.policy = policy
        self._talks = [
            _Talk(prompt, [*prompt.prefix, *prompt.rest], [prompt.overview]) for prompt in prompts
        ]
        self._rows: dict[str, int] = {}
        """Rollouts by the ids of their requests."""

    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> dict[int, Sampled | Failed]:
        """Return the next turn of at least one rollout under way; the others' come later."""
        for row, seen in appended.items():
            talk = self._talks[row]
            if seen is not None:
                talk.token_ids += [*seen.said, *seen.token_ids]
                if seen.picture is not None:
                    talk.pictures.append(seen.picture)
            self._ask(row, talk, max_tokens)
        turns: dict[int, Sampled | Failed] = {}
        while self._rows and not turns:
            for output in self.policy.engine.llm_engine.step():
                if output.finished:
                    row = self._rows.pop(output.request_id)
                    turns[row] = self._taken(self._talks[row], output)
        return turns

    def _ask(self, row: int, talk: _Talk, max_tokens: int) -> None:
        from vllm import SamplingParams

        policy = self.policy
        chat = policy.chat
        params = SamplingParams(
            temperature=policy.temperature,
            max_tokens=max_tokens,
            seed=_seed(policy.seed, talk) if policy.temperature else None,
            stop_token_ids=[chat.end_id],
            ignore_eos=True,
            bad_words=[chat.decode([token]) for token in chat.banned_ids],
            logprobs=0,
            detokenize=False,
        )
        pixels = [picture.pixels for picture in talk.pictures]
        names = [_name(picture) for picture in talk.pictures]
        prompt: Any = {
            "prompt_token_ids": chat.with_images_as_written(talk.token_ids),
            "multi_modal_data": {"image": pixels},
            "multi_modal_uuids": {"image": names},
        }
        [request] = policy.engine.enqueue(prompt, params, use_tqdm=False)
        # Outputs carry the id without the random characters that make it unique inside.
        self._rows[request.partition("-")[0]] = row

    def _taken(self, talk: _Talk, output: Any) -> Sampled | Failed:
        """Return a finished turn, if the engine saw the very tokens that we count."""
        if list(output.prompt_token_ids) != talk.token_ids:
            return Failed(
                f"vLLM must see the prompt of {len(talk.token_ids)} tokens, got "
                f"{len(output.prompt_token_ids)}: it resizes images in another way"
            )
        [said] = output.outputs
        ids = tuple(said.token_ids)
        logprobs = tuple(
            step[token].logprob for token, step in zip(ids, said.logprobs, strict=True)
        )
        talk.token_ids += ids
        talk.turn += 1
        return Sampled(ids, logprobs, ids[-1] == self.policy.chat.end_id)


def _seed(seed: int | str, talk: _Talk) -> int:
    """Return the seed of a turn."""
    prompt = talk.prompt
    place = (seed, prompt.question.id, prompt.mode.value, prompt.sample, talk.turn)
    return int.from_bytes(hashlib.blake2b(repr(place).encode(), digest_size=7).digest())


def _name(picture: Picture) -> str:
    """Return what tells a picture from others in the engine's caches."""
    return hashlib.blake2b(repr(picture.key).encode(), digest_size=16).hexdigest()


def _engine(folder: Path, chat: ChatML, settings: VllmSettings) -> "LLM":
    # In this process: weights are handed over by reference, and nothing is left behind at the end.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    if not torch.cuda.is_available():
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(round(settings.cache_gib), 1))
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    try:
        from vllm import LLM
    except ImportError as error:
        raise ConfigError(
            f"rollouts by vLLM need the package vllm, got none ({error}); "
            "run pip install 'lookless[vllm]'"
        ) from error
    asked: dict[str, Any] = {
        "model": str(folder),
        "dtype": settings.dtype,
        "max_model_len": settings.max_context,
        "max_num_seqs": settings.max_rollouts,
        "limit_mm_per_prompt": {"image": settings.max_images, "video": 0},
        "gpu_memory_utilization": settings.memory,
        "tensor_parallel_size": settings.gpus,
        "enforce_eager": settings.eager,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",
        "disable_log_stats": False,
        "mm_processor_kwargs": chat.budget.keeping_settings(),
    }
    if not torch.cuda.is_available():
        # A prompt computed in chunks makes vLLM rewind its seed, which it cannot on a CPU.
        asked["enable_chunked_prefill"] = False
        # The prefix cache holds whole blocks: of the usual 128 a short prompt fills none.
        asked["block_size"] = 32
        asked["max_num_batched_tokens"] = 2 * settings.max_context
    asked |= settings.settings
    try:
        return LLM(**asked)
    except (ValueError, TypeError) as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"vLLM must take the checkpoint and its settings, got: {line}") from error
