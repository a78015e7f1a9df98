"""What a user can do wrong.

Three kinds of trouble are kept apart. A user's mistake is a `LooklessError`: the command line
prints its one line and exits with code 2. A model's bad output is data: an observation or a
`StopReason`, never an exception. A fault of the infrastructure is recorded on the rollout
(`StopReason.FAULT`) and kept out of means and losses. Every message says what was got, what was
expected, and what to do.
"""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_SHOWN_CHARS = 200
"""Of a value in a message."""


class LooklessError(Exception):
    """Something that the user can put right; the message is one line."""


class ConfigError(LooklessError, ValueError):
    """A setting is unknown, out of range, or contradicts another one."""


class ImageError(LooklessError, ValueError):
    """An image cannot be opened safely."""


class DataError(LooklessError, ValueError):
    """A file of questions or records is not what its format says."""


class RunError(LooklessError):
    """A run folder would be overwritten, or cannot be resumed."""


class PolicyError(LooklessError):
    """A policy failed on everything that it was asked."""


class CheckpointError(LooklessError):
    """A checkpoint folder is missing, incomplete, or of an unknown model family."""


class AlarmError(LooklessError):
    """Training went wrong in a way that was said to end it; what was done is saved."""


class StoppedError(Exception):
    """Training was asked to stop between two steps; its checkpoint is on disk."""

    def __init__(self, step: int, signal: int) -> None:
        """Say where it stopped.

        Args:
            step: Steps done and saved.
            signal: What asked for it.
        """
        super().__init__(f"stopped after step {step}; give the same command with --resume to go on")
        self.step = step
        self.signal = signal


def encodable(text: str) -> str:
    """Return a text that UTF-8 can hold, which half of a surrogate pair is not.

    Raises:
        ConfigError: If it cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode(errors="backslashreplace").decode()[:80]
        raise ConfigError(f"text must be Unicode, got {shown!r}; mend it") from None
    return text


def wrong_setting(model: type[BaseModel], error: ValidationError) -> ConfigError:
    """Return the first complaint about a model's settings as one line that names the setting.

    Example:
        >>> from pydantic import Field
        >>> class Training(BaseModel, extra="forbid"):
        ...     steps: int = Field(36, ge=1)
        >>> try:
        ...     Training(step=1)
        ... except ValidationError as error:
        ...     print(wrong_setting(Training, error))
        step is no setting; use one of steps
    """
    found = error.errors()
    # What is unknown is most often a slip of the pen, which others follow from.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    is_unknown = first["type"] == "extra_forbidden"
    *above, last = (*map(str, first["loc"]),) or ("",)
    path = [part for part in above if part.isidentifier() or part.isdigit()]
    path += [last] if is_unknown or last.isidentifier() or last.isdigit() else []
    name = ".".join(path) or "config"
    if is_unknown:
        for part in path[:-1]:
            if part in model.model_fields:
                model = next(_models_in(model.model_fields[part].annotation), model)
        return ConfigError(f"{name} is no setting; use one of {', '.join(model.model_fields)}")
    raised = first.get("ctx", {}).get("error")
    if isinstance(raised, ConfigError):
        return ConfigError(f"{name}: {raised}")
    shown = repr(first["input"])
    shown = shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."
    return ConfigError(f"{name}: {first['msg']}, got {shown}")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a field's type is made of: of `X | None`, `tuple[X, ...]` it is X."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
