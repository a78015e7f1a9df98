r"""Ask a checkpoint in process and behind a vLLM server: the tables must agree.

    python bench/served.py runs/rl/checkpoint runs/data/test --python .venv-vllm/bin/python \
        --work runs/served --out results/served.json

Starts vLLM's OpenAI-compatible server on the loopback with the given interpreter, answers
LookWorld questions greedily in some modes both ways, and prints both tables with intervals and the
paired differences.
"""

import argparse
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console

from lookless.cli import bar, mistakes_in_one_line
from lookless.evaluation.compare import compare
from lookless.evaluation.config import EvalConfig
from lookless.evaluation.run import run_eval
from lookless.report.terminal import comparisons_table, modes_tables
from lookless.runs import provenance, write_json
from lookless.vlm.families import load_parts

PATIENCE_S = 600


@contextmanager
def serving(python: Path, checkpoint: Path, log: Path) -> Iterator[str]:
    """Run a server until the block ends; give its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [
        str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint),
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager",
        "--max-model-len", "4096", "--max-num-seqs", "16", "--max-num-batched-tokens", "8192",
        "--no-enable-chunked-prefill", "--limit-mm-per-prompt", '{"image": 4, "video": 0}',
        "--mm-processor-kwargs", json.dumps(load_parts(checkpoint).chat.budget.keeping_settings()),
    ]  # fmt: skip
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not is_there(f"http://127.0.0.1:{port}/health"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the server must start, see {log}")
                time.sleep(1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def is_there(address: str) -> bool:
    """Return whether a server answers."""
    try:
        with urlopen(address, timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def measured(results: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of an evaluation."""
    return {name: results[name] for name in ("questions", "protocol", "modes", "looking")}


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--python", type=Path, required=True, help="an interpreter that has vLLM")
    parser.add_argument("--modes", nargs="+", default=["never", "always", "adaptive"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    console = Console()
    asked = {"benchmark": "lookworld", "data": args.data, "modes": tuple(args.modes)}
    runs = {"hf": args.work / "hf", "served": args.work / "served"}
    found: dict[str, Any] = {}

    def ask(name: str, **settings: Any) -> None:
        config = EvalConfig(**asked, **settings)
        is_begun = (runs[name] / "config.json").exists()
        found[name] = run_eval(runs[name], config, args.work / "cache", bar, resume=is_begun)
        for table in modes_tables(found[name]):
            console.print(table)

    ask("hf", model=str(args.checkpoint))
    with serving(args.python, args.checkpoint, args.work / "server.log") as address:
        ask("served", model=address, server_checkpoint=args.checkpoint, concurrency=8)
    rows = compare(runs["hf"], runs["served"], 0.01, ["precision"])
    title = "behind the server - in process"
    console.print(comparisons_table(title, [(row["mode"], row) for row in rows]))
    kept = {name: measured(one) for name, one in found.items()}
    write_json(args.out, {**kept, "differences": rows, **provenance()})


if __name__ == "__main__":
    with mistakes_in_one_line():
        main()
