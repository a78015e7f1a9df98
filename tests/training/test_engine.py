"""Precision and weights of a model in training, on one process."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from lookless.demonstrations import Played
from lookless.episode import Question
from lookless.images import SourceCache
from lookless.lookworld.dataset import Split, questions, to_question
from lookless.lookworld.trajectories import demonstrations
from lookless.losses import sft_loss
from lookless.training.engine import Engine, EngineConfig
from lookless.training.lora import LoraSettings
from lookless.training.replay import Replay
from lookless.vlm import VLM, load_vlm


@pytest.fixture
def shown(vlm: VLM, make_question: Callable[..., Question]) -> Played:
    worlds = list(questions(Split.TRAIN, 3))
    image = make_question("world", size=(1024, 1024)).image
    asked = [to_question(world, image, 1024) for world in worlds]
    return Played(vlm.chat, demonstrations(worlds, asked, 0), SourceCache())


@pytest.fixture
def alone() -> Iterator[None]:
    """End the group that a sharded model needs even on one process."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def copy_of(vlm: VLM) -> VLM:
    return type(vlm)(copy.deepcopy(vlm.model), vlm.processor, vlm.chat)


def step(engine: Engine, shown: Played, lr: float = 1e-3) -> tuple[float, float]:
    """Take one step; return the loss and the gradient's norm."""
    rollouts, seen = list(shown), [shown.source(k) for k in range(len(shown))]
    total = sum(r.sampled_tokens for r in rollouts)
    losses = []

    def loss(rows: list[int], part: list, images: list) -> torch.Tensor:  # type: ignore[type-arg]
        logprobs_BT, mask_BT, *_ = engine.replay(part, images)
        losses.append(sft_loss(logprobs_BT, mask_BT, total))
        return losses[-1]

    engine.backward(rollouts, seen, (rollouts[0], seen[0]), loss)
    return sum(one.item() for one in losses), engine.step(lr)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("train_vision", [False, True])
@pytest.mark.parametrize("lora", [None, LoraSettings(rank=4, alpha=4)])
def test_half_precision_learns_what_full_precision_does(
    vlm: VLM, shown: Played, train_vision: bool, lora: LoraSettings | None
) -> None:
    settings = EngineConfig(train_vision=train_vision, lora=lora)
    torch.manual_seed(0)  # adapters begin alike
    whole = step(Engine(copy_of(vlm), settings), shown)
    torch.manual_seed(0)
    half = Engine(copy_of(vlm), settings.model_copy(update={"dtype": "bfloat16"}))
    assert step(half, shown) == pytest.approx(whole, rel=0.05)
    weights = dict(half.weights())
    names = vlm.model.state_dict().keys()
    assert weights.keys() == names
    # What the optimiser changes stays float32, what it leaves alone need not.
    trained = [name for name in names if train_vision or "visual" not in name]
    assert all(weights[name].dtype == torch.float32 for name in trained)
    assert all(one.dtype == torch.bfloat16 for _, one in half.sampling_weights())


def test_gradients_that_are_not_finite_are_thrown_away(own_vlm: VLM, shown: Played) -> None:
    engine = Engine(own_vlm, EngineConfig())
    before = copy.deepcopy(own_vlm.model.state_dict())
    next(p for p in own_vlm.model.parameters() if p.requires_grad).grad = torch.full_like(
        next(p for p in own_vlm.model.parameters() if p.requires_grad), torch.nan
    )
    assert not torch.isfinite(torch.tensor(engine.step(1e-3)))
    assert all(torch.equal(one, before[name]) for name, one in own_vlm.model.state_dict().items())
    _, norm = step(engine, shown)
    assert norm > 0
    assert any(not torch.equal(one, before[n]) for n, one in own_vlm.model.state_dict().items())


def test_merged_export_gives_the_logits_of_the_adapters(
    own_vlm: VLM, shown: Played, tmp_path: Path
) -> None:
    before = copy.deepcopy(own_vlm.model.state_dict())
    engine = Engine(own_vlm, EngineConfig(lora=LoraSettings(rank=4, alpha=8)))
    adapters = {n for n, p in own_vlm.model.named_parameters() if p.requires_grad}
    assert adapters
    assert all(".lora_" in name for name in adapters)
    for _ in range(3):
        step(engine, shown, lr=1e-2)
    rollouts, seen = list(shown), [shown.source(k) for k in range(len(shown))]
    with torch.no_grad():
        ours = engine.replay(rollouts, seen).logprobs_BT
        engine.export(tmp_path / "merged")
        merged = load_vlm(tmp_path / "merged")
        theirs = Replay(merged, None)(rollouts, seen).logprobs_BT
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    # Only the matrices that have adapters moved, and what was below them is as it was.
    moved = {n for n, w in merged.model.state_dict().items() if not torch.equal(w, before[n])}
    assert moved
    assert all(name.endswith("_proj.weight") for name in moved)
    kept = own_vlm.model.state_dict()
    assert all(
        torch.equal(kept[n.replace("_proj.weight", "_proj.base_layer.weight")], before[n])
        for n in moved
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train_vision": True},
        {"checkpointing": True, "train_vision": True},
        {"lora": LoraSettings(rank=4, alpha=4)},
        {"micro_batch_tokens": 200},
    ],
)
def test_sharing_prefixes_changes_no_step(
    vlm: VLM, shown: Played, settings: dict[str, object]
) -> None:
    took = []
    for share in (True, False):
        torch.manual_seed(0)
        engine = Engine(copy_of(vlm), EngineConfig(**settings, share_prefixes=share))
        took.append([step(engine, shown) for _ in range(3)])
    assert took[0] == [pytest.approx(one, rel=1e-4) for one in took[1]]


def test_that_prefixes_are_not_shared_is_said(
    own_vlm: VLM, shown: Played, caplog: pytest.LogCaptureFixture
) -> None:
    own_vlm.model.model.language_model.config.layer_types = ["sliding_attention"] * 4
    engine = Engine(own_vlm, EngineConfig())
    assert "prefixes are not shared" in caplog.text
    assert not engine.replay.share_prefixes
    caplog.clear()
    Engine(own_vlm, EngineConfig(share_prefixes=False))
    assert not caplog.text


def test_how_attention_is_computed_is_not_saved(own_vlm: VLM, tmp_path: Path) -> None:
    assert own_vlm.packs
    Engine(own_vlm, EngineConfig()).export(tmp_path / "saved")
    assert "lookless_forest" not in (tmp_path / "saved" / "config.json").read_text()
