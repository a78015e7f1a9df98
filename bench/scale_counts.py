"""What the rollouts of one query take, and what processes that train together send: counted.

A multiplication with an addition is 2 FLOPs. Norms, activations and embeddings' look-ups are left
out. Attention counts 4 FLOPs a pair of tokens, layer and hidden unit: of a token with itself and
all before it; of all with all in an update of padded rows, whose mask allows no less.
"""

import inspect
import pickle
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PretrainedConfig

from lookless.episode import Look, LookOutcome, Mode, Question, Rollout, StopReason, Turn
from lookless.errors import ConfigError
from lookless.frames import Box, Frame, View
from lookless.recipe import Recipe
from lookless.vlm import FeatureCache
from lookless.vlm.families import family_of, load_parts

BF16, FP32 = 2, 4
"""Bytes of a number."""
WIDTHS = {"bfloat16": BF16, "float32": FP32}
STATE_BYTES = 16
"""Of a trained parameter: itself, its gradient and AdamW's two moments, all float32."""
SYSTEM_TOKENS = 280
"""Of `Lengths.text_tokens`, about: the system text."""
CACHE_BYTES: int = inspect.signature(FeatureCache).parameters["max_bytes"].default
# fmt: off
QWEN2_5_VISION = {
    "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
    "spatial_merge_size": 2, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
}
MODELS: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "model_type": "qwen2_5_vl",
        "text_config": {
            "hidden_size": 2048, "num_hidden_layers": 36, "intermediate_size": 11008,
            "num_attention_heads": 16, "num_key_value_heads": 2, "vocab_size": 151936,
        },
        "vision_config": QWEN2_5_VISION | {"out_hidden_size": 2048},
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        "model_type": "qwen2_5_vl",
        "text_config": {
            "hidden_size": 3584, "num_hidden_layers": 28, "intermediate_size": 18944,
            "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
        },
        "vision_config": QWEN2_5_VISION | {"out_hidden_size": 3584},
        "tie_word_embeddings": False,
    },
    "Qwen/Qwen3-VL-8B-Instruct": {
        "model_type": "qwen3_vl",
        "text_config": {
            "hidden_size": 4096, "num_hidden_layers": 36, "intermediate_size": 12288,
            "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
            "vocab_size": 151936,
        },
        "vision_config": {
            "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16,
            "patch_size": 16, "spatial_merge_size": 2, "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [8, 16, 24], "out_hidden_size": 4096,
        },
        "tie_word_embeddings": False,
    },
}
# fmt: on
"""What the checkpoints' config.json say of sizes."""


def assumed(value: Any, what: str) -> Any:
    """Return a field that is an option of `bench/scale.py`."""
    return field(default=value, metadata={"help": what})


@dataclass(frozen=True)
class Lengths:
    """What is assumed of rollouts."""

    text_tokens: int = assumed(320, "tokens of the prompt that a query's rollouts share, its image "
                               "left out: system text with the operation (277 with Qwen2.5's "
                               "tokenizer, 286 with Qwen3's) and question")  # fmt: skip
    mode_tokens: int = assumed(16, "tokens of the prompt after them: the mode's instruction")
    turn_tokens: int = assumed(200, "tokens that are sampled a turn")
    look_share: float = assumed(0.5, "share of adaptive rollouts that look; forced ones all do")
    looks: int = assumed(1, "looks of a rollout that looks, each at a crop of its own that is as "
                         "large as the pixel limit allows")  # fmt: skip
    longest: float = assumed(
        2.5, "sampled tokens of the slowest engine's longest rollout, in means"
    )


def pairs(past: int, new: int) -> float:
    """Return how many pairs `new` tokens after `past` ones make with those before and themselves.

    Example:
        >>> pairs(0, 3), pairs(5, 1)
        (6.0, 6.0)
    """
    return new * past + new * (new + 1) / 2


@dataclass(frozen=True)
class Architecture:
    """What is counted of a model; parameters and matrices in numbers, not bytes."""

    parameters: int
    sent: int
    """Of a state dict: an output matrix that is tied to the embedding is in it twice."""
    largest: int
    """Entries of the largest tensor."""
    vision: int
    vision_layers: int
    """Of the vision tower's parts that FSDP shards each by itself, if they are trained."""
    layers: int
    """Parameters of all text layers."""
    matrices: int
    """Entries of their matrices."""
    last_matrices: int
    """Of them, those of each layer's last one."""
    head: int
    """Entries of the output matrix."""
    adapted: int
    """Rows and columns of the matrices that get adapters: parameters for each rank."""
    depth: int
    width: int
    """Of attention: heads times their dimension."""
    kv_width: int
    hidden: int
    """Of visual tokens, with what goes into the first text layers besides."""
    factor: int
    """Side in pixels of a visual token."""
    merge: int
    patch_matrices: int
    """Entries of the matrices that each patch goes through."""
    token_matrices: int
    """Entries of those that each visual token goes through."""
    vision_width: int
    full_layers: int
    """Vision layers in which all patches of an image see each other."""
    window_layers: int
    window: int
    """Patches that see each other in the others."""

    @classmethod
    def of(cls, config: PretrainedConfig) -> "Architecture":
        """Return what a model of this configuration is made of, without giving it memory."""
        with torch.device("meta"):
            model: Any = family_of(config.to_dict()).model(config)
        text, vision = config.text_config, config.vision_config
        tower, layers = model.model.visual, model.model.language_model.layers
        blocks = entries(tower.blocks) + tower.patch_embed.proj.weight.numel()
        full = getattr(vision, "fullatt_block_indexes", range(vision.depth))
        listed = [m for m in tower.modules() if isinstance(m, nn.ModuleList)]
        head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        deepstack = len(getattr(vision, "deepstack_visual_indexes", ()))
        return cls(
            parameters=numbers(model),
            sent=sum(value.numel() for value in model.state_dict().values()),
            largest=max(p.numel() for p in model.parameters()),
            vision=numbers(tower),
            vision_layers=sum(numbers(part) for part in listed),
            layers=numbers(layers),
            matrices=entries(layers),
            last_matrices=sum(layer.mlp.down_proj.weight.numel() for layer in layers),
            head=model.lm_head.weight.numel(),
            adapted=sum(sum(m.weight.shape) for m in layers.modules() if isinstance(m, nn.Linear)),
            depth=text.num_hidden_layers,
            width=text.num_attention_heads * head_dim,
            kv_width=text.num_key_value_heads * head_dim,
            hidden=text.hidden_size * (1 + deepstack),
            factor=vision.patch_size * vision.spatial_merge_size,
            merge=vision.spatial_merge_size,
            patch_matrices=blocks,
            token_matrices=entries(tower) - entries(tower.blocks),
            vision_width=vision.hidden_size,
            full_layers=len(full),
            window_layers=vision.depth - len(full),
            window=(getattr(vision, "window_size", 0) // vision.patch_size) ** 2,
        )

    def text_flops(self, tokens: float, attended: float, sampled: float) -> float:
        """Return those of a forward pass over tokens, with logits for those that are sampled."""
        return (
            2 * self.matrices * tokens
            + 4 * self.depth * self.width * attended
            + 2 * self.head * sampled
        )

    def vision_flops(self, visual_tokens: int) -> float:
        """Return those of a forward pass over an image."""
        patches = visual_tokens * self.merge**2
        seen = self.full_layers * patches + self.window_layers * self.window
        return (
            2 * self.patch_matrices * patches
            + 2 * self.token_matrices * visual_tokens
            + 4 * self.vision_width * patches * seen
        )

    @property
    def kv_bytes(self) -> int:
        """Return what a token takes in a cache of keys and values."""
        return 2 * BF16 * self.depth * self.kv_width


def numbers(module: nn.Module) -> int:
    """Return how many parameters a module has."""
    return sum(p.numel() for p in module.parameters())


def entries(module: nn.Module) -> int:
    """Return how many entries the matrices of a module have."""
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))


def config_of(model: str) -> PretrainedConfig:
    """Return the configuration of a checkpoint folder, or of one of `MODELS`.

    Raises:
        ConfigError: If it is neither.
    """
    if (Path(model) / "config.json").is_file():
        saved: PretrainedConfig = AutoConfig.from_pretrained(model)
        return saved
    if model not in MODELS:
        raise ConfigError(
            f"model must be a checkpoint folder or one of {', '.join(MODELS)}, got {model!r}; "
            "add its sizes to MODELS in bench/scale.py"
        )
    found: PretrainedConfig = AutoConfig.for_model(**MODELS[model])
    return found


@dataclass(frozen=True)
class Query:
    """What the rollouts of one query take: tokens, FLOPs, bytes."""

    recipe: Recipe
    model: Architecture
    lengths: Lengths
    visual_tokens: int
    """Of each picture."""

    @cached_property
    def looks(self) -> list[int]:
        """Return how often each rollout looks."""
        rl, lengths = self.recipe.rl, self.lengths
        looking = rl.forced + round(lengths.look_share * rl.adaptive)
        return [lengths.looks if k < looking else 0 for k in range(len(rl.modes))]

    @property
    def shared(self) -> int:
        """Return the tokens of the prompt that the rollouts share."""
        return self.lengths.text_tokens + self.visual_tokens

    def sampled(self, looks: int) -> int:
        """Return the tokens that a rollout samples."""
        return (looks + 1) * min(self.lengths.turn_tokens, self.recipe.rl.max_turn_tokens)

    def tokens(self, looks: int) -> int:
        """Return all tokens of a rollout."""
        seen = looks * self.visual_tokens
        return self.shared + self.lengths.mode_tokens + self.sampled(looks) + seen

    @property
    def mean_tokens(self) -> float:
        """Return the tokens of a rollout, on average."""
        return mean(map(self.tokens, self.looks))

    @property
    def mean_sampled(self) -> float:
        """Return the sampled tokens of a rollout, on average."""
        return mean(map(self.sampled, self.looks))

    @property
    def pictures(self) -> int:
        """Return the distinct pictures: the overview, and every crop."""
        return 1 + sum(self.looks)

    def prefill_flops(self, *, shared: bool) -> float:
        """Return those of all tokens that are not sampled, logits left out.

        Args:
            shared: Whether the prompt's shared part is computed once, as it is with a prefix cache.
        """
        start = self.shared
        once = self.model.text_flops(start, pairs(0, start), 0)
        total = once if shared else once * len(self.looks)
        for looks in self.looks:
            new = [self.lengths.mode_tokens, *[self.visual_tokens] * looks]
            past = start
            for tokens in new:
                total += self.model.text_flops(tokens, pairs(past, tokens), 0)
                past += tokens + self.sampled(0)
        return total

    def decode_flops(self) -> float:
        """Return those of the sampled tokens."""
        total = 0.0
        for looks in self.looks:
            past, turn = self.shared + self.lengths.mode_tokens, self.sampled(0)
            for _ in range(looks + 1):
                total += self.model.text_flops(turn, pairs(past, turn), turn)
                past += turn + self.visual_tokens
        return total

    def vision_flops(self) -> float:
        """Return those of the distinct pictures."""
        return self.pictures * self.model.vision_flops(self.visual_tokens)

    @property
    def packed_tokens(self) -> int:
        """Return the tokens of all rollouts where what they share counts once."""
        tails = sum(self.tokens(looks) - self.shared for looks in self.looks)
        return self.shared + tails

    def update_flops(self) -> float:
        """Return those of the text tower in an update.

        What rollouts share is computed once, unless the recipe says otherwise. Backward is twice
        forward where weights are trained. Adapters save the gradient of the weights, and cost six
        FLOPs a number and token. Checkpointing goes forward once more, but for the logits, and for
        a layer's last matrix where backward does not need what it gives.
        """
        engine, rl, model = self.recipe.engine, self.recipe.rl, self.model
        lengths = [self.tokens(looks) for looks in self.looks]
        tokens: int = sum(lengths)
        attended: float = sum(length**2 for length in lengths)
        if engine.share_prefixes:
            tokens = self.packed_tokens
            attended = pairs(0, self.shared)
            attended += sum(pairs(self.shared, length - self.shared) for length in lengths)
        sampled = sum(map(self.sampled, self.looks))
        forward = model.text_flops(tokens, attended, sampled)
        total = 3 * forward
        if engine.lora is not None:
            total -= model.text_flops(tokens, 0, sampled)
            total += 6 * engine.lora.rank * model.adapted * tokens
        if engine.checkpointing:
            total += model.text_flops(tokens, attended, 0)
            if engine.lora is None:
                total -= 2 * model.last_matrices * tokens
        if rl.kl_weight:
            total += forward / rl.epochs
        return total * rl.epochs

    def update_pictures(self, queries: int) -> int:
        """Return how often the vision tower runs in an update, in a process with so many queries.

        A frozen tower's features are kept, in 512 MiB. Where they do not fit, or the tower is
        trained, each picture is computed once if rollouts share what they begin with, since a
        query's then are in one micro-batch, or in two. If not, every rollout's overview is taken to
        be computed anew: micro-batches hold rollouts of similar length, of whatever query.
        """
        width = WIDTHS[self.recipe.engine.dtype]
        kept = queries * self.pictures * self.visual_tokens * self.model.hidden * width
        is_kept = not self.recipe.engine.train_vision and kept <= CACHE_BYTES
        if is_kept or self.recipe.engine.share_prefixes:
            return self.pictures
        return len(self.looks) + sum(self.looks)

    def update_vision_flops(self, queries: int) -> float:
        """Return those of the vision tower in an update, in a process with so many queries."""
        engine = self.recipe.engine
        passes = 3 + engine.checkpointing if engine.train_vision else 1
        once = self.model.vision_flops(self.visual_tokens)
        return passes * self.update_pictures(queries) * once * self.recipe.rl.epochs

    def micro_batches(self, queries: int) -> int:
        """Return the micro-batches of an update, in a process with so many queries, about."""
        tokens = self.packed_tokens
        if not self.recipe.engine.share_prefixes:
            tokens = sum(map(self.tokens, self.looks))
        return -(-queries * tokens // self.recipe.engine.micro_batch_tokens)

    def rollouts_bytes(self) -> int:
        """Return what its rollouts are as a worker sends them."""
        return len(pickle.dumps([self._rollout(looks) for looks in self.looks]))

    def requests_bytes(self) -> int:
        """Return what its rollouts are asked for with."""
        text = "?" * 4 * (self.lengths.text_tokens - SYSTEM_TOKENS)
        question = Question("0" * 32, Path("/data/images/" + "0" * 32 + ".jpg"), text, "answer")
        asked = [(question, mode) for mode in self.recipe.rl.modes]
        return len(pickle.dumps((asked, list(range(len(asked))), self.recipe.rl.limits, "0 0", 1)))

    def _rollout(self, looks: int) -> Rollout:
        """Return a rollout of the stated lengths; words are taken to have four letters."""
        prompt = self.shared + self.lengths.mode_tokens
        seen = [False] * self.visual_tokens + [True] * self.sampled(0)
        is_sampled = [False] * prompt + [True] * self.sampled(0) + seen * looks
        said = [Turn("model", " was" * self.sampled(0)) for _ in range(looks + 1)]
        return Rollout(
            question_id="0" * 32,
            mode=Mode.ADAPTIVE,
            token_ids=tuple(range(100_000, 100_000 + len(is_sampled))),
            is_sampled=tuple(is_sampled),
            logprobs=tuple(-1 / (k + 1) if own else 0.0 for k, own in enumerate(is_sampled)),
            views=tuple(View(Box(0, 0, k, k, Frame.SOURCE), k, k) for k in range(1, looks + 2)),
            looks=tuple(Look(LookOutcome.EXECUTED, 0, None, k + 1) for k in range(looks)),
            turns=(Turn("prompt", " was" * (prompt - self.visual_tokens)), *said),
            answer="A",
            stop=StopReason.ANSWERED,
            visual_tokens=(looks + 1) * self.visual_tokens,
        )


@dataclass(frozen=True)
class Shards:
    """What processes that train together hold and send, each of them."""

    recipe: Recipe
    model: Architecture
    world: int

    @property
    def width(self) -> int:
        """Return the bytes of a number in the computation."""
        return WIDTHS[self.recipe.engine.dtype]

    @property
    def _sent_share(self) -> float:
        """Return the share of whole weights that the other processes have."""
        return 1 - 1 / self.world

    @property
    def adapters(self) -> int:
        """Return the adapters' parameters."""
        lora = self.recipe.engine.lora
        return 0 if lora is None else lora.rank * self.model.adapted

    @property
    def whole(self) -> int:
        """Return the parameters that are not sharded: a frozen vision tower's."""
        return 0 if self.recipe.engine.train_vision else self.model.vision

    @property
    def trained(self) -> int:
        """Return the parameters that the optimiser changes."""
        if self.recipe.engine.lora is None:
            return self.model.parameters - self.whole
        return self.adapters + self.model.vision - self.whole

    @property
    def gathered_bytes(self) -> float:
        """Return what a micro-batch gathers: each layer forward and backward, the rest once."""
        model = self.model
        sharded = model.parameters - self.whole
        twice = model.layers + self.adapters + (model.vision_layers if not self.whole else 0)
        return self._sent_share * self.width * (sharded + self.adapters + twice)

    @property
    def reduced_bytes(self) -> float:
        """Return what a micro-batch sends of gradients."""
        return self._sent_share * FP32 * self.trained

    @property
    def weights_bytes(self) -> float:
        """Return what handing over the weights gathers: shards are float32, and cast as a whole."""
        return self._sent_share * FP32 * (self.model.sent - self.whole + self.adapters)

    @property
    def published_bytes(self) -> int:
        """Return what samplers are handed: all weights, adapters merged."""
        return self.width * self.model.sent

    @property
    def handing_bytes(self) -> int:
        """Return what handing over takes of a GPU: a tensor, gathered and cast; all adapters."""
        return (FP32 + self.width) * self.model.largest + FP32 * self.adapters

    @property
    def state_bytes(self) -> float:
        """Return weights, gradients and optimiser on each GPU, activations left out."""
        frozen = self.model.parameters + self.adapters - self.whole - self.trained
        return (STATE_BYTES * self.trained + FP32 * frozen) / self.world + self.width * self.whole


def query_of(recipe: Recipe, lengths: Lengths) -> Query:
    """Return what is counted of a query of a recipe.

    Raises:
        ConfigError: If the model is not known, or the recipe does not limit its pixels.
    """
    model = Architecture.of(config_of(recipe.model))
    limit = recipe.pixels.max_pixels
    if limit is None and Path(recipe.model).is_dir():
        limit = getattr(load_parts(Path(recipe.model)).chat.budget, "max_pixels", None)
    if limit is None:
        raise ConfigError(
            "pixels.max_pixels must be set to count a picture's tokens, got none; set it"
        )
    return Query(recipe, model, lengths, limit // model.factor**2)
