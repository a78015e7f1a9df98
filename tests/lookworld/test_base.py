import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from lookless.errors import RunError
from lookless.lookworld.base import MIN_VIEW_PX, base_folder, load_base, train_base
from lookless.lookworld.tiny import VIEW_PX
from lookless.runs import Progress, Step
from lookless.vlm import VLM


def test_new_base_speaks_the_tiny_dialect(vlm: VLM) -> None:
    assert vlm.model.config.lookless_family == "tiny"
    assert vlm.model.config.image_token_id == vlm.chat.image_pad_id
    assert vlm.model.config.get_text_config().eos_token_id == vlm.chat.end_id


def test_small_crops_are_enlarged_to_the_smallest_view(vlm: VLM) -> None:
    assert vlm.chat.budget.resized(20, 20) == (VIEW_PX, VIEW_PX)
    assert 128 < MIN_VIEW_PX < VIEW_PX


def test_views_reach_the_model_at_their_own_size(vlm: VLM) -> None:
    sizes = [(160, 160), (128, 128), (160, 96)]
    features = vlm.image_features([Image.new("RGB", size) for size in sizes])
    assert [f.grid for f in features] == [(1, 10, 10), (1, 8, 8), (1, 6, 10)]
    assert [len(f.tokens_ND) for f in features] == [25, 16, 15]


def test_shipped_weights_are_small_and_fit_the_code(vlm: VLM) -> None:
    assert sum(f.stat().st_size for f in base_folder().rglob("*") if f.is_file()) < 16e6
    shipped = load_base()
    assert shipped.chat.tokenizer.get_vocab() == vlm.chat.tokenizer.get_vocab()
    ours, theirs = vlm.model.state_dict(), shipped.model.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_shipped_weights_come_with_their_seed_command_and_log() -> None:
    log = base_folder() / "log"
    head = json.loads((log / "config.json").read_text())
    assert head["config"]["seed"] == 0
    assert "train-base" in head["argv"]
    for stage, steps in head["config"]["steps"].items():
        last = (log / f"{stage}.jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["step"] == steps


@pytest.mark.slow
def test_interrupted_base_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    def stopping_at(stage: str | None) -> Progress:
        @contextmanager
        def show(title: str, total: int) -> Iterator[Step]:
            def move(done: int, note: str) -> None:
                if title == stage:
                    raise KeyboardInterrupt

            yield move

        return show

    steps = (2, 1, 1)
    train_base(tmp_path / "whole", stopping_at(None), 0, *steps)
    with pytest.raises(KeyboardInterrupt):
        train_base(tmp_path / "cut", stopping_at("joint"), 0, *steps)
    with pytest.raises(RunError, match="must be new"):
        train_base(tmp_path / "cut", stopping_at(None), 0, *steps)
    with pytest.raises(RunError, match="another seed"):
        train_base(tmp_path / "cut", stopping_at(None), 1, *steps, resume=True)
    train_base(tmp_path / "cut", stopping_at(None), 0, *steps, resume=True)
    whole, cut = (load_file(tmp_path / r / "base" / "model.safetensors") for r in ("whole", "cut"))
    assert all(whole[name].equal(cut[name]) for name in whole)
    for name in ("vision.jsonl", "language.jsonl", "joint.jsonl"):
        rows = (tmp_path / "cut" / "base" / "log" / name).read_text().splitlines()
        assert len(rows) == 1
