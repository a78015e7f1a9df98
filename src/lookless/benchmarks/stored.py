"""Where a benchmark keeps an image: a file of its own, or inside a row of its table."""

import base64
import binascii
import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

from lookless.errors import DataError


@dataclass(frozen=True, slots=True)
class Embedded:
    """An image inside a row."""

    data: bytes | str
    """The file's content; as base64 if it is text."""
    where: str
    """File, row and field, for messages."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that another row of the same table carries."""

    index: str
    where: str


Stored = Path | Embedded | Reference


def decoded(embedded: Embedded) -> bytes:
    """Return the content of an embedded image's file.

    Raises:
        DataError: If base64 text is damaged.
    """
    if isinstance(embedded.data, bytes):
        return embedded.data
    try:
        return base64.b64decode(embedded.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(
            f"{embedded.where} must be an image as base64, got {error}; download the file again"
        ) from None


def unpack(embedded: Embedded, folder: Path) -> Path:
    """Write an embedded image into `folder`, named by its content; return its file.

    Equal images share one file, and a file that is there is not written again.

    Raises:
        DataError: If base64 text is damaged, or `folder` cannot be written.
    """
    data = decoded(embedded)
    file = folder / hashlib.sha256(data).hexdigest()[:32]
    try:
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            # Others may write the same image at the same time.
            part = file.with_suffix(f".{uuid.uuid4().hex}.part")
            part.write_bytes(data)
            part.replace(file)
    except OSError as error:
        raise DataError(
            f"cache must be a folder that can be written, got {str(folder)!r}: {error.strerror}; "
            "name another one with --cache"
        ) from None
    return file
