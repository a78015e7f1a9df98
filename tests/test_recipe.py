import re
from pathlib import Path
from typing import Any

import pytest

from lookless.errors import ConfigError
from lookless.recipe import Recipe, read_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*/recipe.toml"))


def test_there_are_recipes() -> None:
    assert {file.parent.name for file in RECIPES} == {"paper", "qwen3-vl-8b", "lora-3b", "tiny"}


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.parent.name)
def test_every_recipe_is_read_and_explained(file: Path) -> None:
    recipe = read_recipe(file.parent)
    assert recipe == read_recipe(file)
    about = (file.parent / "README.md").read_text()
    name = file.parent.name
    assert f"lookless sft recipes/{name}" in about
    assert f"lookless rl recipes/{name}" in about
    for said in ("Hardware", "Time", "What to expect"):
        assert said in about, said
    assert not re.search(r"@[A-Z]+@", about)


def test_settings_have_the_defaults_that_the_documentation_says() -> None:
    page = (RECIPES[0].parents[2] / "docs" / "recipes.md").read_text()
    rows = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \| ([^|]*) \|", page, re.M)
    assert sum("." in names for names, _ in rows) > 8
    held = Recipe(model="x").model_dump(mode="json")
    for names, said in rows:
        for name in re.findall(r"`([\w.]+)`", names):
            value: Any = held
            if name.split(".")[0] not in ("engine", "data", "rollouts"):
                continue
            for part in name.split("."):
                value = value[part]
            shown = "none" if value is None else str(value).lower()
            assert said.strip() == shown, name


def test_paper_recipe_is_what_the_paper_states() -> None:
    recipe = read_recipe(next(file for file in RECIPES if file.parent.name == "paper"))
    assert "Qwen2.5-VL-7B" in recipe.model
    rl = recipe.rl
    assert (rl.forced, rl.prohibited, rl.adaptive) == (4, 4, 8)
    assert (rl.estimator, rl.decision_weight, rl.reward) == ("strict", 0.0, "rgrl")
    assert not rl.reward_config.scale_by_gain


def recipe(tmp_path: Path, text: str, *overrides: str) -> Recipe:
    (tmp_path / "recipe.toml").write_text(f'model = "here"\n{text}')
    return read_recipe(tmp_path, overrides)


def test_overrides_go_before_the_file(tmp_path: Path) -> None:
    found = recipe(
        tmp_path, "seed = 1\n[rl]\nlr = 1e-3", "rl.lr=1e-6", "engine.lora.rank=8",
        "model=runs/sft/checkpoint", "rollouts.workers.count=2", 'alarms.stop=["kl_blowup"]',
    )  # fmt: skip
    assert (found.seed, found.rl.lr, found.model) == (1, 1e-6, "runs/sft/checkpoint")
    assert found.engine.lora is not None
    assert found.engine.lora.rank == 8
    assert found.rollouts.workers is not None
    assert found.rollouts.workers.count == 2
    assert found.alarms.stop == ("kl_blowup",)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("foo=1", "foo is no setting; use one of model, seed, data"),
        ("rl.foo=1", "rl.foo is no setting; use one of steps, queries"),
        ("engine.lora.foo=1", "engine.lora.foo is no setting; use one of rank, alpha, dropout"),
        ("rollouts.vllm.foo=1", "rollouts.vllm.foo is no setting; use one of max_context"),
        ("rollouts.workers={count=1, foo=1}", "rollouts.workers.foo is no setting; use one of"),
        ("rollouts.workers.cont=1", "rollouts.workers.cont is no setting; use one of count"),
        ("rl.max-looks=1", "rl.max-looks is no setting; use one of steps, queries"),
        ("rl.loss_modes=['toolfree']", "loss_modes must be modes that rollouts are made in"),
        ("rl={reward='accuracy', forced=0, prohibited=0, loss_modes=['forced']}",
         "loss_modes must be modes that rollouts are made in, adaptive, got forced"),
        ("rollouts.vllm.settings.model=other", "further arguments of vllm.LLM, got model"),
        ("rl.lr=-1", "rl.lr: Input should be greater than 0, got -1"),
        ("rl.lr=fast", "rl.lr: Input should be a valid number"),
        ("rl.lr=nan", "rl.lr: Input should be a finite number"),
        ("sft.lr=inf", "sft.lr: Input should be a finite number"),
        ("engine.weight_decay=inf", "engine.weight_decay: Input should be a finite number"),
        ("rl.queries=0", "rl.queries: Input should be greater than or equal to 1"),
        ("engine.dtype=float8", "engine.dtype: Input should be 'float32' or 'bfloat16'"),
        ("alarms.stop=[\"measles\"]", "alarms.stop.0: Input should be 'look_collapse'"),
        ("data.reader=nothing", "data.reader must be one of"),
        ("rl.forced=0", "needs forced and prohibited rollouts"),
        ("rl.reward=hdpo", "hdpo compares all rollouts of a query"),
        ("rl.max_turn_tokens=4090", "rl.max_context must leave room for a prompt"),
        ("rollouts.vllm.memory=1.5", "rollouts.vllm.memory: Input should be less than or equal"),
        ("rollouts={engine=\"vllm\", vllm={max_context=99}}",
         "rollouts.vllm.max_context must be at least rl.max_context, got 99 and 4096"),
        ("rollouts={engine=\"vllm\", vllm={max_images=2}}",
         "rollouts.vllm.max_images must be above rl.max_looks, got 2 and 2"),
        ("pixels.max_pixels=0", "pixels.max_pixels: Input should be greater than or equal to 1"),
        ("pixels.foo=1", "pixels.foo is no setting; use one of min_pixels, max_pixels"),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_wrong_settings_are_one_clear_line(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        recipe(tmp_path, "", override)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_model_must_be_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("seed = 1")
    with pytest.raises(ConfigError, match="model: Field required"):
        read_recipe(tmp_path)
