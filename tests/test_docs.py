"""What the documentation says of settings is what the code does, and its examples run."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookless.demo import DemoConfig
from lookless.settings import validated

DOCS = Path(__file__).parents[1] / "docs"
METHOD, RUNS = ((DOCS / name).read_text() for name in ("method.md", "runs.md"))


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
        shown = str(value).lower() if isinstance(value, bool) or value is None else value
        assert said == str(shown) or float(said) == shown, name


def test_config_in_the_documentation_is_taken() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", METHOD, re.M | re.S)
    config = validated(DemoConfig, tomllib.loads(text))
    assert (config.rl.estimator, config.rl.reward_config.lambda_align) == ("strict", 0.3)


def test_python_in_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", RUNS, re.M | re.S)
    Image.new("RGB", (640, 480), "navy").save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert capsys.readouterr().out.split()[-1].isdigit()
