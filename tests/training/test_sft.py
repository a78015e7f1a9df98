import copy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from lookless.demonstrations import Played
from lookless.episode import Question
from lookless.images import SourceCache
from lookless.lookworld.dataset import Split, questions, to_question
from lookless.lookworld.trajectories import demonstrations
from lookless.training.checkpoints import Checkpoints
from lookless.training.engine import Engine, EngineConfig
from lookless.training.sft import SftConfig, sft
from lookless.vlm import VLM


@pytest.fixture(scope="module")
def shown(vlm: VLM, make_question: Callable[..., Question]) -> Played:
    """Return 16 trajectories about one image."""
    worlds = list(questions(Split.TRAIN, 16))
    image = make_question("world", size=(1024, 1024)).image
    asked = [to_question(w, image, 1024) for w in worlds]
    return Played(vlm.chat, demonstrations(worlds, asked, 0), SourceCache())


def first(count: int, shown: Played) -> Played:
    return Played(shown.chat, shown.demonstrations[:count], shown.sources)


def train(
    vlm: VLM,
    shown: Played,
    config: SftConfig,
    seed: int = 0,
    settings: EngineConfig | None = None,
) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    with TemporaryDirectory() as folder:
        engine = Engine(vlm, settings or EngineConfig())
        checkpoints = Checkpoints(Path(folder))
        sft(engine, shown, shown.source, config, seed, checkpoints, rows.append)
    return rows


@pytest.mark.slow
def test_twenty_steps_lower_the_loss(own_vlm: VLM, shown: Played) -> None:
    config = SftConfig(epochs=20, batch=16, lr=3e-3, warmup_steps=2)
    rows = train(own_vlm, shown, config)
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert all(row["steps"] == 20 for row in rows)
    # An untrained model is about as good as chance over 640 tokens: ln 640 = 6.5 nats.
    assert 5.5 < rows[0]["loss"] < 7.5
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert not own_vlm.model.training


def test_seed_decides_the_order_and_so_the_weights(vlm: VLM, shown: Played) -> None:
    def trained(seed: int) -> torch.Tensor:
        own = type(vlm)(copy.deepcopy(vlm.model), vlm.processor, vlm.chat)
        train(own, first(4, shown), SftConfig(epochs=1, batch=2), seed)
        weights: torch.Tensor = own.model.lm_head.weight.detach()
        return weights

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


@pytest.mark.parametrize("train_vision", [False, True])
def test_vision_is_trained_only_if_asked(own_vlm: VLM, shown: Played, train_vision: bool) -> None:
    before = own_vlm.model.model.visual.patch_embed.proj.weight.clone()
    settings = EngineConfig(train_vision=train_vision)
    config = SftConfig(epochs=1, batch=2)
    train(own_vlm, first(2, shown), config, settings=settings)
    after = own_vlm.model.model.visual.patch_embed.proj.weight
    assert torch.equal(before, after) is not train_vision


def test_last_batch_of_an_epoch_may_be_smaller(own_vlm: VLM, shown: Played) -> None:
    rows = train(own_vlm, first(3, shown), SftConfig(epochs=2, batch=2))
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


@pytest.mark.parametrize("setting", [{"epochs": 0}, {"batch": 0}, {"lr": 0.0}, {"unknown": 1}])
def test_senseless_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SftConfig(**setting)
