"""Options that several commands share."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import typer

from lookless.errors import ConfigError

SET = typer.Option(
    "--set", metavar="NAME=VALUE", help="Another value of a setting; can be repeated."
)
RESUME = typer.Option("--resume", help="Continue an interrupted run in OUT.")
KEY = typer.Option(
    help="Environment variable with the server's key. OPENAI_API_KEY goes to api.openai.com "
    "without being asked for, and nowhere else."
)
IMAGES = Path("~/.cache/lookless/images")


def server_key(address: str, variable: str | None) -> str | None:
    """Return the key for a server; a key of OpenAI's is sent to nobody else unless asked for."""
    if variable is not None:
        if not os.environ.get(variable):
            raise ConfigError(f"key-env must be a variable that is set, got {variable!r}; set it")
        return os.environ[variable]
    is_openai = urlsplit(address).hostname == "api.openai.com"
    return os.environ.get("OPENAI_API_KEY") if is_openai else None
