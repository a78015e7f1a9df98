"""Settings from TOML files and overrides, as config objects."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lookless.errors import ConfigError, wrong_setting

Settings = TypeVar("Settings", bound=BaseModel)


def read_toml(what: str, file: Path) -> dict[str, Any]:
    """Return the settings in a TOML file.

    Args:
        what: What it is called in the error.
        file: The file.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{what} must be a readable TOML file, got {str(file)!r}: {error}; check it"
        ) from None


def validated(model: type[Settings], settings: dict[str, Any]) -> Settings:
    """Return a config object.

    Raises:
        ConfigError: If a setting is unknown or out of range; it names the first one.
    """
    try:
        return model(**settings)
    except ValidationError as error:
        raise wrong_setting(model, error) from None


def override(settings: dict[str, Any], text: str) -> None:
    """Change one of nested settings in place.

    Raises:
        ConfigError: If `text` is not of the form NAME.NAME=VALUE, or a name is a setting itself.

    Example:
        >>> settings = {"rl": {"lr": 1e-3}}
        >>> override(settings, "rl.lr=1e-6")
        >>> override(settings, "model=runs/sft/checkpoint")
        >>> settings
        {'rl': {'lr': 1e-06}, 'model': 'runs/sft/checkpoint'}
    """
    path, is_given, value = text.partition("=")
    names = [name.strip() for name in path.split(".")]
    if not is_given or not all(names):
        raise ConfigError(f"set must be like rl.lr=1e-6, got {text!r}; write it so")
    place = settings
    for name in names[:-1]:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise ConfigError(f"set must name a setting, got {path!r} within {name}, which is one")
    place[names[-1]] = _value(value.strip())


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except ValueError:
        return text
    return found["value"] if len(found) == 1 else text
