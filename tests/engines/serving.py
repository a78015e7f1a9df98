"""Real servers of checkpoints, as processes."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE_S = 300


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def vllm_command(folder: Path, port: int) -> list[str]:
    """Return how vLLM serves a checkpoint on a CPU."""
    return [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(folder), "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--enforce-eager", "--max-model-len", "4096",
        "--max-num-seqs", "8", "--max-num-batched-tokens", "8192", "--no-enable-chunked-prefill",
        "--limit-mm-per-prompt", '{"image": 4, "video": 0}',
    ]  # fmt: skip


def as_said(folder: Path, place: Path) -> Path:
    """Return a copy of a checkpoint whose turns `transformers serve` hands out as they were said.

    Left to itself, it takes calls and thoughts of Qwen's models out of the text.
    """
    shutil.copytree(folder, place)
    file = place / "tokenizer_config.json"
    config = json.loads(file.read_text())
    config["response_template"] = {
        "defaults": {"role": "assistant"},
        "start_anchor": "<|im_start|>assistant\n",
        "fields": {"content": {"close": "<|im_end|>", "content": "text"}},
    }
    file.write_text(json.dumps(config))
    return place


def transformers_command(folder: Path, port: int) -> list[str]:
    """Return how transformers serves a checkpoint."""
    script = Path(__file__).parent / "serve_transformers.py"
    return [
        sys.executable, str(script), str(folder), "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--device", "cpu",
    ]  # fmt: skip


@contextmanager
def serving(command: list[str], port: int, log: Path) -> Iterator[str]:
    """Run a server until the block ends; give its address."""
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1",
    }
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not _answers(f"http://127.0.0.1:{port}/health"):
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False
