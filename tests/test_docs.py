"""What the documentation says of settings is what the code does."""

import re
import tomllib
from pathlib import Path
from typing import Any

from lookless.cli import validated
from lookless.demo import DemoConfig

METHOD = (Path(__file__).parents[1] / "docs" / "method.md").read_text()


def test_settings_have_the_defaults_that_the_documentation_says() -> None:
    config = DemoConfig()
    held: dict[str, Any] = config.model_dump()
    held["rl"]["reward_settings"] = config.rl.reward_config.model_dump()
    held["mixture"] = vars(config.mixture)
    rows = re.findall(r"^\| `([\w.]+)` \| ([^|]+) \|", METHOD, re.M)
    assert len(rows) > 30
    for name, said in rows:
        value: Any = held
        for part in name.split("."):
            value = value[part]
        shown = str(value).lower() if isinstance(value, bool) else value
        assert said == str(shown) or float(said) == shown, name


def test_config_in_the_documentation_is_taken() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", METHOD, re.M | re.S)
    config = validated(DemoConfig, tomllib.loads(text))
    assert (config.rl.estimator, config.rl.reward_config.lambda_align) == ("strict", 0.3)
