from pathlib import Path
from typing import Any

import pytest

from lookless.demo import DemoConfig
from lookless.errors import ConfigError
from lookless.settings import override, read_toml, validated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("foo = 1", "foo is no setting; use one of seed, sft_questions"),
        ("[rl]\nsteps = 0", "rl.steps: Input should be greater than or equal to 1, got 0"),
        ("[rl]\nreward = 'nope'", "rl: reward must be one of rgrl, accuracy"),
        ("[rl]\nreward_settings = {zz = 1}", "reward_settings: zz is no setting; use one of"),
        ("[rl]\nlook_price = -1", "rl.look_price: Input should be greater than"),
        ("[mixture]\nforced = 0.9\nprohibited = 0.9", "at most 1 together"),
    ],
)
def test_wrong_settings_are_named_as_they_are_written(
    text: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(text)
    settings = read_toml("config", tmp_path / "c.toml")
    with pytest.raises(ConfigError) as raised:
        validated(DemoConfig, settings)
    assert expected in str(raised.value)
    assert "Value error" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", 1),
        ("a=1e-6", 1e-6),
        ("a=true", True),
        ("a=[1, 2]", [1, 2]),
        ('a="1"', "1"),
        ("a=runs/x", "runs/x"),
        ("a=", ""),
        ("a=x=y", "x=y"),
        ("a = 2 ", 2),
        ("a='", "'"),
        ("a=1\nb = 2", "1\nb = 2"),
    ],
)
def test_override_takes_toml_or_else_text(text: str, expected: object) -> None:
    settings: dict[str, Any] = {}
    override(settings, text)
    assert settings == {"a": expected}


def test_override_reaches_into_tables_and_makes_them() -> None:
    settings: dict[str, Any] = {"rl": {"lr": 1, "steps": 2}}
    override(settings, "rl.lr=3")
    override(settings, "engine.lora.rank=8")
    assert settings == {"rl": {"lr": 3, "steps": 2}, "engine": {"lora": {"rank": 8}}}


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", ".a=1", "a.=1", ""])
def test_override_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"must be like rl\.lr=1e-6"):
        override({}, text)


def test_override_within_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="within lr, which is one"):
        override({"lr": 1}, "lr.x=1")


def test_unreadable_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("a = ")
    for file in (tmp_path / "c.toml", tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match="recipe must be a readable TOML file") as raised:
            read_toml("recipe", file)
        assert "\n" not in str(raised.value)
