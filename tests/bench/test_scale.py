"""What is counted of scale is what runs; what the page says is what was found."""

import importlib
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig

from lookless.episode import Mode, Question, Rollout
from lookless.errors import ConfigError
from lookless.images import SourceCache
from lookless.lookworld.base import base_folder
from lookless.policies.scripted import ScriptedPolicy
from lookless.recipe import Recipe, read_recipe
from lookless.rollout import rollout
from lookless.training.collector import OnWorkers
from lookless.training.engine import DTYPES, Engine, EngineConfig
from lookless.training.lora import LoraSettings
from lookless.training.ranks import Ranks
from lookless.training.replay import rollout_keys
from lookless.training.rl_config import RlConfig
from lookless.vlm import VLM
from lookless.vlm.families import FAMILIES
from lookless.vlm.forest import shared
from lookless.workers import PolicySpec, Workers, WorkerSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text()
SCALE, WORKERS = (
    json.loads((ROOT / "results" / f"{name}.json").read_text()) for name in ("scale", "workers")
)
WORLD = 4
MakeQuestion = Callable[..., Question]


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("scale")


@pytest.fixture
def counts(scale: Any) -> Any:
    return importlib.import_module("scale_counts")


@pytest.fixture
def estimates(scale: Any) -> Any:
    return importlib.import_module("scale_estimates")


@pytest.fixture
def done(own_vlm: VLM, make_question: MakeQuestion, sources: SourceCache) -> Rollout:
    """Return a rollout without a look."""
    policy = ScriptedPolicy(own_vlm.chat, lambda prompt, turn: "a word or two")
    [made] = rollout(policy, [(make_question(), Mode.ADAPTIVE)], sources)
    return made


def query_like(counts: Any, done: Rollout, engine: EngineConfig | None = None) -> Any:
    """Return what is counted of a query with one rollout, of the lengths of this one."""
    rl = RlConfig(reward="accuracy", forced=0, prohibited=0, adaptive=1)
    recipe = Recipe(model=str(base_folder()), rl=rl, engine=engine or EngineConfig())
    rest = len(done.token_ids) - done.visual_tokens - done.sampled_tokens
    lengths = counts.Lengths(
        text_tokens=rest, mode_tokens=0, turn_tokens=done.sampled_tokens, look_share=0
    )
    model = counts.Architecture.of(counts.config_of(recipe.model))
    return counts.Query(recipe, model, lengths, done.visual_tokens)


def published_bytes(counts: Any) -> int:
    """Return what is counted of the base model's weights, where settings are the defaults."""
    model = counts.Architecture.of(counts.config_of(str(base_folder())))
    published: int = counts.Shards(Recipe(model=str(base_folder())), model, 1).published_bytes
    return published


def flops_of(run: Any) -> int:
    """Return those that torch counts while something runs."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3_754_622_976),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8_292_166_656),
        ("Qwen/Qwen3-VL-8B-Instruct", 8_767_123_696),
    ],
)
def test_models_have_the_parameters_that_their_checkpoints_state(
    counts: Any, name: str, parameters: int
) -> None:
    model = counts.Architecture.of(counts.config_of(name))
    assert model.parameters == parameters
    tied = counts.MODELS[name]["tie_word_embeddings"]
    assert model.sent == parameters + (model.head if tied else 0)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_flops_of_a_forward_pass_are_those_that_torch_counts(counts: Any, family: str) -> None:
    """With windows in one family, and features for the first text layers in the other."""
    text = {
        "hidden_size": 128, "num_hidden_layers": 3, "intermediate_size": 256, "head_dim": 64,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 512,
        "pad_token_id": 0, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0,
                                               "mrope_section": [12, 10, 10]},
    }  # fmt: skip
    vision: dict[str, Any] = {
        "depth": 4, "hidden_size": 128, "intermediate_size": 256, "num_heads": 2,
        "out_hidden_size": 128,
    } | {
        "qwen2_5_vl": {"patch_size": 14, "window_size": 112, "fullatt_block_indexes": [3]},
        "qwen3_vl": {"patch_size": 16, "deepstack_visual_indexes": [0, 1],
                     "num_position_embeddings": 64},
    }[family]  # fmt: skip
    config = AutoConfig.for_model(family, text_config=text, vision_config=vision)
    kind: Any = FAMILIES[family].model
    model = kind(config)
    model.set_attn_implementation("eager")
    found = counts.Architecture.of(config)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    side = 16
    pixels = torch.zeros(side**2, 3 * 2 * vision["patch_size"] ** 2)
    grid = torch.tensor([[1, side, side]])
    counted = flops_of(lambda: model.model.visual(pixels, grid))
    assert found.vision_flops(side**2 // 4) == pytest.approx(counted, rel=0.005)
    embeds = torch.zeros(1, 96, 128)

    def forward() -> None:
        hidden = model.model.language_model(inputs_embeds=embeds).last_hidden_state
        model.lm_head(hidden[:, :10])

    assert found.text_flops(96, 96**2, 10) == pytest.approx(flops_of(forward), rel=0.005)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lora", [None, LoraSettings(rank=4, alpha=4)])
def test_flops_of_an_update_are_those_that_torch_counts(
    counts: Any,
    own_vlm: VLM,
    done: Rollout,
    make_question: MakeQuestion,
    sources: SourceCache,
    lora: LoraSettings | None,
    checkpointing: bool,
) -> None:
    config = EngineConfig(lora=lora, checkpointing=checkpointing, share_prefixes=False)
    own_vlm.model.set_attn_implementation("eager")
    engine = Engine(own_vlm, config)
    source = sources.get(make_question().image)
    own_vlm.model.train()
    engine.replay([done], [source])  # the picture's features are kept from now on

    def update() -> None:
        logprobs = engine.replay([done], [source]).logprobs_BT
        logprobs.sum().backward()

    expected = query_like(counts, done, config).update_flops()
    # With adapters, the first layer's matrices need no gradient of what goes into them.
    assert expected == pytest.approx(flops_of(update), rel=0.05 if lora else 0.01)


def test_flops_of_rollouts_that_share_a_prefix_are_those_that_torch_counts(
    counts: Any, own_vlm: VLM, make_question: MakeQuestion, sources: SourceCache
) -> None:
    """But for attention, which torch does not count part by part."""
    said = " red", " blue"  # a token each
    policy = ScriptedPolicy(own_vlm.chat, lambda prompt, turn: said[prompt.sample] * 20)
    asked = [(make_question(text="Which is it? " * 9), Mode.ADAPTIVE)] * 2
    rollouts = rollout(policy, asked, sources)
    [length] = {len(r.token_ids) for r in rollouts}
    engine = Engine(own_vlm, EngineConfig())
    source = sources.get(asked[0][0].image)
    own_vlm.model.train()
    keys = rollout_keys(rollouts, [source] * 2, own_vlm.chat.image_pad_id)
    engine.replay(rollouts, [source] * 2)  # the picture's features are kept from now on
    first = rollouts[0]
    lengths = counts.Lengths(
        text_tokens=shared(*keys) - first.visual_tokens,
        mode_tokens=length - shared(*keys) - first.sampled_tokens,
        turn_tokens=first.sampled_tokens,
        look_share=0,
    )
    rl = RlConfig(reward="accuracy", forced=0, prohibited=0, adaptive=2, max_turn_tokens=99)
    recipe = Recipe(model=str(base_folder()), rl=rl)
    model = counts.Architecture.of(counts.config_of(recipe.model))
    query = counts.Query(recipe, model, lengths, first.visual_tokens)
    assert query.packed_tokens == shared(*keys) + 2 * (length - shared(*keys))

    def update() -> None:
        engine.replay(rollouts, [source] * 2).logprobs_BT.sum().backward()

    expected = 3 * model.text_flops(query.packed_tokens, 0, 2 * first.sampled_tokens)
    assert expected == pytest.approx(flops_of(update), rel=0.01)
    attended = counts.pairs(0, shared(*keys))
    attended += 2 * counts.pairs(shared(*keys), length - shared(*keys))
    whole = expected + 3 * model.text_flops(0, attended, 0)
    assert query.update_flops() == pytest.approx(whole)


class Sent(TorchDispatchMode):
    """Adds up what collectives give to a process, and what it gives to be summed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.gathered = 0
        self.reduced = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        if "_allgather_base_" in str(op):
            self.gathered += args[0].nbytes
        if "all_gather_into_tensor" in str(op):
            self.gathered += out.nbytes
        if "_reduce_scatter_base_" in str(op):
            self.reduced += args[1].nbytes
        return out


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    """Return the first of some processes, of which the others only seem to be there."""
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    dist.init_process_group("fake", store=fake.FakeStore(), rank=0, world_size=WORLD)
    yield Ranks(0, WORLD)
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "config",
    [
        EngineConfig(),
        EngineConfig(dtype="bfloat16", checkpointing=True),
        EngineConfig(dtype="bfloat16", train_vision=True),
        EngineConfig(dtype="bfloat16", lora=LoraSettings(rank=4, alpha=4)),
    ],
)
def test_bytes_of_sharded_training_are_those_that_are_sent(
    counts: Any,
    own_vlm: VLM,
    done: Rollout,
    make_question: MakeQuestion,
    sources: SourceCache,
    ranks: Ranks,
    config: EngineConfig,
) -> None:
    query = query_like(counts, done, config)
    shards = counts.Shards(query.recipe, query.model, WORLD)
    engine = Engine(own_vlm, config, ranks)
    others = 1 - 1 / WORLD
    with Sent() as sent:
        logprobs = engine.replay([done], [sources.get(make_question().image)]).logprobs_BT
        logprobs.sum().backward()
    assert shards.gathered_bytes == others * sent.gathered
    assert shards.reduced_bytes == others * sent.reduced
    with Sent() as sent:
        handed = [(weight.dtype, weight.nbytes) for _, weight in engine.sampling_weights()]
    assert shards.weights_bytes == others * sent.gathered
    assert shards.published_bytes == sum(nbytes for _, nbytes in handed)
    assert {dtype for dtype, _ in handed} == {DTYPES[config.dtype]}
    state = engine.vlm.model.state_dict().values()
    assert {one.dtype for one in state if isinstance(one, DTensor)} == {torch.float32}
    whole = [one for one in state if not isinstance(one, DTensor)]
    assert sum(one.nbytes for one in whole) == shards.width * shards.whole
    if engine.features is not None:
        [features] = engine.features._features.values()
        assert features.tokens_ND.dtype == DTYPES[config.dtype]
        assert features.nbytes == done.visual_tokens * query.model.hidden * shards.width


def test_rollouts_are_pickled_to_about_what_is_counted(counts: Any, done: Rollout) -> None:
    real = replace(done, token_ids=tuple(100_000 + k for k in done.token_ids))
    counted = query_like(counts, done).rollouts_bytes()
    assert counted == pytest.approx(len(pickle.dumps([real])), rel=0.15)


def test_workers_were_sent_what_is_counted(counts: Any) -> None:
    expected = published_bytes(counts)
    ways = [steps for name, steps in WORKERS["ways"].items() if "process" not in name]
    published = {step["weights_bytes"] for steps in ways for step in steps}
    assert published == {expected}


def test_counts_in_the_results_are_those_of_the_recipes(scale: Any, counts: Any) -> None:
    lengths = counts.Lengths(**SCALE["assumed"]["rollouts"])
    assert SCALE["recipes"].keys() == {folder.name for folder in scale.RECIPES}
    for folder in scale.RECIPES:
        query = counts.query_of(read_recipe(ROOT / folder), lengths)
        assert SCALE["recipes"][folder.name]["counted"] == scale.counted(query)


def test_the_page_says_what_was_found(scale: Any) -> None:
    for name, written in scale.BLOCKS.items():
        assert scale.block(PAGE, name)[1] == written(SCALE)
    measured = importlib.import_module("workers")
    assert scale.block(PAGE, measured.BLOCK)[1] == measured.tables(WORKERS)


@pytest.fixture
def step(counts: Any, estimates: Any) -> Any:
    query = counts.query_of(read_recipe(ROOT / "recipes" / "paper"), counts.Lengths())
    return estimates.Step(query, estimates.Machine())


def test_weights_cross_the_network_once_a_machine(step: Any, counts: Any, estimates: Any) -> None:
    """By hand: 16 trainers and 16 workers are four machines, two of which fetch."""
    machine = estimates.Machine(network=1e9, put=2e9, ray=4e9)
    slow = replace(step, machine=machine)
    sent = counts.BF16 * step.query.model.sent
    gathered = counts.Shards(step.query.recipe, step.query.model, 16).weights_bytes
    by_hand = gathered / 1e9 + sent / 2e9 + 2 * sent / 4e9
    assert slow.beside(16, 16, 64).seconds["weights"] == pytest.approx(by_hand)
    assert slow.colocated(16, 64).seconds["weights"] == pytest.approx(gathered / 1e9)


def test_a_shared_worker_serves_all_that_share_it(step: Any) -> None:
    """By hand: of 64 queries 11 are the most of six processes, three of which share a worker."""
    shared, own = step.beside(6, 2, 64), step.beside(6, 6, 64)
    assert shared.seconds["prefill"] == pytest.approx(3 * own.seconds["prefill"])
    assert own.seconds["prefill"] == pytest.approx(11 * step.beside(64, 64, 64).seconds["prefill"])


def test_memory_is_state_and_engine_and_a_tensor_that_is_handed_over(step: Any) -> None:
    """By hand, of sizes that the checkpoint states; its tower, half as wide, is on each GPU."""
    model, machine = step.query.model, step.machine
    trained = model.parameters - model.vision
    memory = {
        "state": 16 * trained / 8 + 2 * model.vision,
        "handing over": (4 + 2) * 152_064 * 3584,
        "engine": 0.35 * machine.memory,
    }
    assert step.colocated(8, 64).memory_bytes == pytest.approx(memory)
    assert step.beside(8, 8, 64).memory_bytes.keys() == memory.keys() - {"engine"}


def test_an_update_in_float32_has_the_peak_of_float32(step: Any) -> None:
    recipe = step.query.recipe
    engine = recipe.engine.model_copy(update={"dtype": "float32"})
    query = replace(step.query, recipe=recipe.model_copy(update={"engine": engine}))
    # A query, whose features are kept in either type.
    half, full = step.colocated(1, 1), replace(step, query=query).colocated(1, 1)
    slower = step.machine.peak / step.machine.peak_fp32
    for name in ("update", "update vision"):
        assert full.seconds[name] == pytest.approx(slower * half.seconds[name])


def test_what_cannot_be_is_no_estimate(step: Any) -> None:
    assert "refused: 64 queries for 65 processes" in step.colocated(65, 64).problem
    assert "GB a GPU" in step.colocated(1, 64).problem
    assert "step_s" not in step.colocated(1, 64).record()


def test_overlap_leaves_the_longer_of_rollouts_and_update(step: Any, estimates: Any) -> None:
    now = step.beside(32, 32, 64)
    overlapped = replace(step, design=estimates.Design(is_overlapped=True)).beside(32, 32, 64)
    s = now.seconds
    made, learned = s["prefill"] + s["decode"] + s["vision"], s["update"] + s["update vision"]
    assert now.step_s == pytest.approx(s["weights"] + made + learned)
    assert overlapped.step_s == pytest.approx(s["weights"] + max(made, learned))


def test_no_what_if_is_slower_but_padded_rows_are(step: Any, estimates: Any) -> None:
    for design in estimates.WHAT_IF.values():
        other = replace(step, design=design)
        if design.is_padded:
            assert other.colocated(64, 64).step_s > step.colocated(64, 64).step_s
            continue
        assert other.colocated(64, 64).step_s <= step.colocated(64, 64).step_s
        assert other.fastest_beside(64, 64).step_s <= step.fastest_beside(64, 64).step_s


def test_the_command_writes_what_it_counts_and_takes_other_assumptions(
    scale: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "scale.json", tmp_path / "page.md"
    page.write_text(PAGE)
    recipe = str(ROOT / "recipes" / "lora-3b")
    words = [recipe, "--look-share", "1", "--out", str(out), "--docs", str(page)]
    monkeypatch.setattr(sys, "argv", ["scale.py", *words])
    scale.main()
    found = json.loads(out.read_text())
    assert found["assumed"]["rollouts"]["look_share"] == 1
    assert found["recipes"]["lora-3b"]["counted"]["pictures"] == 16 * (1 + 4 + 8)
    printed = capsys.readouterr().out
    for name in scale.BLOCKS:
        assert scale.block(page.read_text(), name)[1] in printed


def test_models_and_pages_that_cannot_be_counted_are_refused(scale: Any, counts: Any) -> None:
    with pytest.raises(ConfigError, match="model must be a checkpoint folder or one of Qwen/"):
        counts.query_of(Recipe(model="No/Model"), counts.Lengths())
    with pytest.raises(ConfigError, match="max_pixels must be set"):
        counts.query_of(Recipe(model="Qwen/Qwen3-VL-8B-Instruct"), counts.Lengths())
    with pytest.raises(ConfigError, match="a block marked counts"):
        scale.block("<!-- counts:begin -->", "counts")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_workers_are_sent_what_is_counted(
    counts: Any, own_vlm: VLM, make_question: MakeQuestion, tmp_path: Path
) -> None:
    own_vlm.save(tmp_path / "checkpoint")
    engine = Engine(own_vlm, EngineConfig())
    build = PolicySpec(tmp_path / "checkpoint").build
    with Workers.start(build, WorkerSettings(count=1), "counted") as workers:
        collector = OnWorkers(workers, RlConfig(max_turn_tokens=9).limits)
        collector.synchronise(engine)
        made = collector.collect([(make_question(), Mode.ADAPTIVE)] * 4, "0")
        traffic = collector.traffic()
    assert traffic["workers/weights_bytes"] == published_bytes(counts)
    assert traffic["workers/rollouts_bytes"] == len(pickle.dumps(made))
