"""Checkpoints by their names: a folder, or a model on the Hugging Face hub."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from lookless.errors import CheckpointError

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_WANTED = ["*.json", "*.safetensors", "*.jinja", "merges.txt", "vocab.txt", "LICENSE*"]


def checkpoint_folder(name: str) -> Path:
    """Return the folder of a checkpoint, fetched into the hub's own cache if it is one's name.

    A folder goes before a name; what is in the cache already is not fetched again.

    Raises:
        CheckpointError: If it is neither a folder nor to be had.
    """
    folder = Path(name)
    if folder.is_dir() or not _REPOSITORY.fullmatch(name):
        return folder
    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"model must be a folder, or a model on the hub that can be fetched, got {name!r}: "
            f"{type(error).__name__}: {reason}; check the name, or fetch it where there is a "
            "network and name its folder"
        ) from None
