"""How much memory training takes, from shapes and settings: estimates with stated assumptions.

Weights, their gradients and AdamW's two moments are float32; what is computed is in `engine.dtype`,
a frozen vision tower too. With several processes, or in bfloat16, the text tower is sharded over
the processes and gathered layer by layer; a frozen vision tower stays whole on each. Rollouts are
taken to be as long as their limits allow.

What autograd keeps of a layer for each token is taken as twice what its matrices give, and six
times the hidden size: within a third of what was counted for the layers of Qwen2.5-VL, Qwen3-VL and
InternVL. The loss holds four copies of the sampled tokens' logits in float32 at its peak.
"""

from dataclasses import dataclass
from re import fullmatch
from typing import Literal

from torch import nn

from lookless.doctor.machine import GIB, Machine
from lookless.doctor.model import Subject
from lookless.recipe import Recipe
from lookless.training.lora import TARGETS
from lookless.training.replay import MAX_LOGITS

Stage = Literal["sft", "rl"]
Phase = Literal[
    "start", "rollouts", "hand-over", "update", "end of backward", "optimiser's step", "export"
]
LEARNING: tuple[Phase, ...] = ("update", "end of backward", "optimiser's step")
TRAINING: tuple[Phase, ...] = ("rollouts", "hand-over", *LEARNING, "export")
FLOAT = 4
_WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}
LIBRARIES = 0.6 * GIB
"""Python with torch and transformers, without a GPU."""
CONTEXT = 1.5 * GIB
"""Of CUDA on each GPU, and what its allocator cannot use."""
CACHE = 2**29
"""Bound of the caches of decoded images and of image features."""
PICTURES = 64
"""Images that go through the vision tower at once at most."""
LARGE = 4096, 4096
"""Pixels of an image that is shown as large as the model may see it."""
UNKNOWN = 10**9
"""More pictures than any cache holds."""
TEXT = 256
"""Tokens of a prompt besides its image, about."""
VLLM_REST = 2 * GIB
COPIES = 2.25
"""Times that keys and values are held while rows step aside: as they were, and with room."""
"""What vLLM takes besides weights, keys and values: activations, CUDA graphs."""


@dataclass(frozen=True)
class Sizes:
    """Shapes of a model; counts of numbers, not of bytes."""

    weights: int
    """All parameters."""
    vision: int
    """Those of the vision tower and the projection behind it."""
    root: int
    """Those of the text tower that belong to no layer: embeddings and output."""
    largest: int
    """Of one matrix."""
    adapters: int
    """Of adapters of rank 1."""
    layers: int
    hidden: int
    outputs: int
    """What the matrices of a layer give for a token."""
    vocabulary: int
    kept: int
    """Keys and values of a token in all layers."""
    vision_layers: int
    vision_hidden: int
    vision_outputs: int
    """What the matrices of a vision layer give for a patch."""
    patches: int
    """Of a visual token."""
    stored: int
    """Bytes of a weight in the checkpoint."""

    @property
    def text(self) -> int:
        """Return the parameters of the text tower."""
        return self.weights - self.vision

    @property
    def layer(self) -> int:
        """Return the parameters of a layer of the text tower."""
        return (self.text - self.root) // self.layers


def sizes_of(subject: Subject) -> Sizes:
    """Return the shapes of a checkpoint's architecture."""
    vlm, text = subject.vlm, subject.text_config
    model = vlm.model
    tower = model.model.language_model
    blocks = _blocks(vlm.vision)
    weights, vision = _count(model), sum(map(_count, vlm.vision))
    view = subject.chat.budget.resized(1, 1)
    patch = model.config.vision_config.patch_size
    side = patch if isinstance(patch, int) else patch[0]
    return Sizes(
        weights=weights,
        vision=vision,
        root=weights - vision - _count(tower.layers),
        largest=max(p.numel() for p in model.parameters()),
        adapters=sum(
            module.in_features + module.out_features
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and fullmatch(TARGETS, name)
        ),
        layers=len(tower.layers),
        hidden=text.hidden_size,
        outputs=_outputs(tower.layers[0]),
        vocabulary=text.vocab_size,
        kept=2 * len(tower.layers) * text.num_key_value_heads * subject.head_dim,
        vision_layers=len(blocks),
        vision_hidden=model.config.vision_config.hidden_size,
        vision_outputs=_outputs(blocks[0]),
        patches=view[0] * view[1] // (side**2 * subject.chat.budget.visual_tokens(*view)),
        stored=_WIDTHS.get(str(model.config.dtype or text.dtype).removeprefix("torch."), FLOAT),
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _blocks(vision: tuple[nn.Module, ...]) -> nn.ModuleList:
    """Return the layers of a vision tower: its longest list."""
    lists = [m for part in vision for m in part.modules() if isinstance(m, nn.ModuleList)]
    return max(lists, key=len)


def _outputs(layer: nn.Module) -> int:
    return sum(m.out_features for m in layer.modules() if isinstance(m, nn.Linear))


@dataclass(frozen=True)
class Load:
    """What a training step brings with it, on each process."""

    rows: int
    """Sequences of a step."""
    longest: int
    """Tokens of the longest one."""
    learned: float
    """Share of the tokens that were sampled, and are learned."""
    seen: float
    """Share of the tokens that stand for pixels."""
    pictures: int
    """Views that are shown in all, each of them once."""
    view: int
    """Tokens of the largest view."""
    decoded: float = CACHE
    """Bytes of all images, decoded."""
    largest: float = 0
    """Bytes of the largest image, decoded."""

    def tokens(self, most: int) -> int:
        """Return the tokens of a micro-batch; the longest sequence is one by itself at least."""
        return min(max(most, self.longest), self.rows * self.longest)


def largest_load(stage: Stage, subject: Subject, recipe: Recipe, processes: int) -> Load:
    """Return the load of data that is not known: rows as long as they may be, of large images."""
    chat, rl, sft = subject.chat, recipe.rl, recipe.sft
    view = chat.budget.visual_tokens(*chat.budget.resized(*LARGE))
    if stage == "sft":
        rows, longest, learned = sft.batch, sft.max_context, 0.5
    else:
        rows, longest = rl.queries * len(rl.modes), rl.max_context
        learned = rl.max_turn_tokens / (view + TEXT + rl.max_turn_tokens)
    return Load(-(-rows // processes), longest, learned, 1 - learned, UNKNOWN, view)


@dataclass(frozen=True)
class Part:
    """Something that takes memory."""

    name: str
    bytes: float
    phases: tuple[Phase, ...]
    """When it is there."""
    remedy: str
    """What makes it smaller."""


@dataclass(frozen=True)
class Plan:
    """What takes the memory of one device, or of the machine itself."""

    parts: tuple[Part, ...]

    def at(self, phase: Phase) -> list[Part]:
        """Return what is there in a phase, the largest first."""
        there = [part for part in self.parts if phase in part.phases and part.bytes]
        return sorted(there, key=lambda part: -part.bytes)

    @property
    def fullest(self) -> Phase:
        """Return the phase that takes most."""
        phases = dict.fromkeys(phase for part in self.parts for phase in part.phases)
        return max(phases, key=lambda phase: sum(part.bytes for part in self.at(phase)))

    @property
    def bytes(self) -> float:
        """Return what the fullest phase takes."""
        return sum(part.bytes for part in self.at(self.fullest))


def device_plan(stage: Stage, sizes: Sizes, recipe: Recipe, load: Load, machine: Machine) -> Plan:
    """Return what a training process takes on its GPU, or without one in all.

    Args:
        stage: SFT or RL.
        sizes: Of the model.
        recipe: The settings.
        load: Of a step.
        machine: Where it runs.
    """
    parts = [
        *_weights(stage, sizes, recipe, machine),
        *_activations(sizes, recipe, load),
        *(_rollouts(sizes, recipe, load, machine) if stage == "rl" else ()),
    ]
    if machine.gpus:
        parts.append(Part("CUDA", CONTEXT, ("start", *TRAINING), _SMALLER))
    else:
        libraries = Part("Python and its libraries", LIBRARIES, ("start", *TRAINING), _SMALLER)
        parts += [libraries, *_images(load, 1), _exported(sizes)]
    return Plan(tuple(parts))


def host_plan(sizes: Sizes, recipe: Recipe, load: Load, machine: Machine) -> Plan:
    """Return what training on GPUs takes of the machine's own memory, all processes together.

    Each process reads the whole model in float32 before it goes to its GPU; Python with CUDA's
    libraries takes 2 GiB. Workers are handed the whole weights through Ray's object store.
    """
    processes = machine.processes
    libraries = Part("Python and its libraries", processes * 2 * GIB, ("start", *TRAINING), _FEWER)
    read = Part("the model as it is read", processes * FLOAT * sizes.weights, ("start",), _FEWER)
    parts = [libraries, read, *_images(load, processes), _exported(sizes)]
    if recipe.rollouts.workers is not None:
        sent = _width(recipe) * sizes.weights
        parts.append(Part("weights for the workers", sent, ("rollouts", "hand-over"), _FEWER))
    return Plan(tuple(parts))


_SMALLER = "take a smaller model"
_FEWER = "run fewer processes on this machine, or one with more memory"


def _is_sharded(recipe: Recipe, machine: Machine) -> bool:
    return machine.processes > 1 or recipe.engine.dtype != "float32"


def _width(recipe: Recipe) -> int:
    """Return the bytes of a number in the computation."""
    return 2 if recipe.engine.dtype == "bfloat16" else FLOAT


def _served(sizes: Sizes, recipe: Recipe) -> int:
    """Return the bytes of a weight in vLLM."""
    return _WIDTHS.get(recipe.rollouts.vllm.dtype, sizes.stored)


def _weights(stage: Stage, sizes: Sizes, recipe: Recipe, machine: Machine) -> list[Part]:
    """Return weights, gradients, the optimiser's state, and the model that KL refers to."""
    engine, world, width = recipe.engine, machine.processes, _width(recipe)
    lora = engine.lora
    adapters = sizes.adapters * lora.rank if lora else 0
    seen = sizes.vision if engine.train_vision else 0
    trained = (adapters if lora else sizes.text) + seen
    held = FLOAT * (sizes.text + adapters + seen) / world + width * (sizes.vision - seen)
    has_copy = stage == "rl" and recipe.rl.kl_weight > 0 and (lora is None or engine.train_vision)
    spread = "train on more GPUs" if lora else "train adapters ([engine.lora]) or on more GPUs"
    parts = [
        Part("weights", held, TRAINING, spread),
        Part("gradients", FLOAT * trained / world, LEARNING, spread),
        Part("AdamW's moments", 2 * FLOAT * trained / world, TRAINING, spread),
    ]
    if machine.gpus:  # computed for all weights at once there
        step = Part("AdamW's step", FLOAT * trained / world, ("optimiser's step",), spread)
        parts.append(step)
    if has_copy:
        copy = FLOAT * (sizes.text / world + sizes.vision)
        parts.append(Part("the model that KL refers to", copy, TRAINING, "set rl.kl_weight to 0"))
    if _is_sharded(recipe, machine):
        copies = 2 if has_copy else 1
        whole = Part("the whole model before it is sharded", copies * FLOAT * sizes.weights,
                     ("start",), _SMALLER)  # fmt: skip
        # One layer is used while the next one comes; what belongs to no layer stays to the end.
        gathered = width * (copies * sizes.root + 2 * sizes.layer)
        if lora is None:
            gathered += width * sizes.root + (width + FLOAT) * sizes.layer
            summed = Part("gradients to be summed", FLOAT * sizes.root, ("end of backward",),
                          _SMALLER)  # fmt: skip
            parts.append(summed)
        both: tuple[Phase, ...] = ("update", "end of backward")
        parts += [whole, Part("gathered layers", gathered, both, _SMALLER)]
    return parts


def _activations(sizes: Sizes, recipe: Recipe, load: Load) -> list[Part]:
    """Return what a micro-batch takes from forward to backward."""
    engine, width = recipe.engine, _width(recipe)
    tokens = load.tokens(engine.micro_batch_tokens)
    learned = load.learned * tokens
    fewer = "lower engine.micro_batch_tokens"
    if load.longest >= engine.micro_batch_tokens:
        fewer = "lower max_context or pixels.max_pixels"
    less = fewer if engine.checkpointing else "set engine.checkpointing to true"
    text = _kept(sizes.layers, sizes.hidden, sizes.outputs, is_short=engine.checkpointing)
    mask = 0 if engine.share_prefixes else tokens * load.longest * (1 + width)
    seen = sizes.patches * load.seen * tokens
    if engine.train_vision:
        deep = _kept(
            sizes.vision_layers, sizes.vision_hidden, sizes.vision_outputs,
            is_short=engine.checkpointing,
        )  # fmt: skip
        vision = width * seen * deep
    else:
        vision = (
            width
            * min(seen, sizes.patches * PICTURES * load.view)
            * _passing(sizes.vision_hidden, sizes.vision_outputs)
        )
    features = width * load.pictures * load.view * sizes.hidden
    return [
        Part("activations", width * tokens * (text + 10 * sizes.hidden) + mask, ("update",), less),
        Part("logits", 4 * FLOAT * min(learned * sizes.vocabulary, MAX_LOGITS), ("update",), fewer),
        Part("vision tower", vision, ("update",), less if engine.train_vision else fewer),
        Part("features of images", 0 if engine.train_vision else min(features, CACHE),
             ("rollouts", "update"), _SMALLER),
    ]  # fmt: skip


def _kept(layers: int, hidden: int, outputs: int, *, is_short: bool) -> float:
    """Return the numbers that autograd keeps of a token in a tower.

    With checkpointing it keeps what goes into each layer, and of one layer what is computed again.
    On the way back, gradients add half a layer.
    """
    layer = 2 * outputs + 6 * hidden
    return layers * hidden + 1.5 * layer if is_short else (layers + 0.5) * layer


def _passing(hidden: int, outputs: int) -> float:
    """Return the numbers of a token that are there at once without gradients."""
    return outputs + 3 * hidden


def _rollouts(sizes: Sizes, recipe: Recipe, load: Load, machine: Machine) -> list[Part]:
    """Return what makes rollouts in this process; workers take memory of their own."""
    rollouts, width = recipe.rollouts, _width(recipe)
    parts = []
    if _is_sharded(recipe, machine):
        passed = (FLOAT + width) * sizes.largest
        if rollouts.engine == "vllm" and rollouts.workers is None and rollouts.vllm.gpus > 1:
            passed = width * sizes.weights  # its processes are sent all of them at once
        parts.append(Part("weights that are handed over", passed, ("hand-over",), _SMALLER))
    if rollouts.workers is not None:
        return parts
    if rollouts.engine == "vllm":
        takes = rollouts.vllm.memory * machine.gpu_bytes
        if not machine.gpus:
            weights = _served(sizes, recipe) * sizes.weights
            takes = weights + rollouts.vllm.cache_gib * GIB + VLLM_REST
        return [*parts, Part("vLLM", takes, TRAINING, "lower rollouts.vllm.memory")]
    fewer = 'lower rl.queries, or set rollouts.engine to "vllm"'
    prompts = load.rows * min(load.longest, load.view + TEXT)
    # Rows that step aside are copied, with room to grow, before the others are let go.
    cached = COPIES * load.rows * load.longest * sizes.kept
    passing = prompts * _passing(sizes.hidden, sizes.outputs)
    parts += [
        Part("keys and values", width * cached, ("rollouts",), fewer),
        Part("prompts", width * passing, ("rollouts",), fewer),
        Part("sampling", 8 * FLOAT * load.rows * sizes.vocabulary, ("rollouts",), fewer),
    ]
    if _is_sharded(recipe, machine):
        parts.append(Part("a copy for rollouts", width * sizes.weights, TRAINING, _SMALLER))
    return parts


def _images(load: Load, processes: int) -> list[Part]:
    """Return decoded images: those kept, and three copies of the largest while it is decoded."""
    size = processes * (min(load.decoded, CACHE) + 3 * load.largest)
    return [Part("decoded images", size, ("rollouts", "update"), "shrink the images")]


def _exported(sizes: Sizes) -> Part:
    return Part("the model as it is exported", FLOAT * sizes.weights, ("export",), _SMALLER)


def vllm_rollouts(sizes: Sizes, recipe: Recipe, machine: Machine) -> tuple[float, float]:
    """Return the bytes that vLLM has for keys and values, and how many whole rollouts they hold.

    Keys and values have the width of the weights; both are spread over `vllm.gpus`.
    """
    vllm, width = recipe.rollouts.vllm, _served(sizes, recipe)
    room = vllm.cache_gib * GIB
    if machine.gpus:
        room = vllm.gpus * (vllm.memory * machine.gpu_bytes - VLLM_REST) - width * sizes.weights
    return room, max(room, 0) / (width * sizes.kept * vllm.max_context)
