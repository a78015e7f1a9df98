"""Official files from the Hugging Face hub."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from lookless.benchmarks.benchmark import Benchmark
from lookless.errors import DataError

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def download(benchmark: Benchmark) -> Path:
    """Return a folder with a benchmark's official files, in the hub's own cache.

    What is there already is not fetched again.

    Raises:
        DataError: If the benchmark is not on the hub, or the hub cannot be reached.
    """
    if not _REPOSITORY.fullmatch(benchmark.home):
        raise DataError(
            f"data must be given for {benchmark.name}, got none, and it is not on the hub "
            f"({benchmark.home}); say --data PATH"
        )
    try:
        wanted = list(benchmark.on_hub or benchmark.files[:1])
        folder = snapshot_download(benchmark.home, repo_type="dataset", allow_patterns=wanted)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{benchmark.home} must be within reach, got {type(error).__name__}: {reason}; "
            "download it where there is a network, and say --data PATH"
        ) from None
    return Path(folder)
