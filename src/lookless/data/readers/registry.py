"""The readers, by the names that the command line knows."""

from lookless.data.reader import Reader
from lookless.data.readers import (
    coco,
    deepeyes,
    openai_messages,
    pixel_reasoner,
    sharegpt,
    vqa,
    vstar,
)
from lookless.errors import ConfigError

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        vqa.READER,
        coco.READER,
        vstar.READER,
        sharegpt.READER,
        openai_messages.READER,
        pixel_reasoner.SFT,
        pixel_reasoner.RL,
        deepeyes.READER,
    )
}


def reader(name: str) -> Reader:
    """Return a reader by its name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in READERS:
        raise ConfigError(f"reader must be one of {', '.join(READERS)}, got {name!r}")
    return READERS[name]
