"""Run folders as `lookless eval` writes them, of a script that gets some things wrong."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from evaluation.asked import evaluated, world
from lookless.benchmarks.lookworld import BENCHMARK
from lookless.chat.dialect import Dialect
from lookless.episode import Mode
from lookless.evaluation.journal import read_answers
from lookless.evaluation.results import results_of
from lookless.policies.policy import Prompt
from lookless.policies.scripted import SCRIPTS, Script, gold
from lookless.runs import read_config, read_jsonl, write_json

MODES = ("toolfree", "never", "always", "adaptive", "oracle")
Row = dict[str, Any]
Record = dict[str, Any]


def clumsy(chat: Dialect, seed: int = 0) -> Script:
    """Return a script that knows most answers; what it does not know depends on the mode."""
    knows = gold(chat)

    def script(prompt: Prompt, turn: int) -> str:
        luck = zlib.crc32(f"{prompt.question.id} {prompt.mode}".encode()) % 6
        said = knows(prompt, turn)
        if luck == 0 and prompt.mode is Mode.ADAPTIVE and turn == 0:
            return "<tool_call>{}</tool_call>"
        if luck == 1 and prompt.mode in (Mode.TOOLFREE, Mode.PROHIBITED):
            return "I cannot tell."
        return r"\boxed{nothing}" if luck == 2 and "boxed" in said else said

    return script


def play(folder: Path, count: int = 24, **settings: Any) -> Path:
    """Write the run of an evaluation of the clumsy script, its questions beside it."""
    data = folder / "data"
    if not data.exists():
        world(data, count)
    with patch.dict(SCRIPTS, {"clumsy": clumsy}):
        evaluated(folder / "run", data, **{"model": "scripted:clumsy"} | settings)
    return folder / "run"


def results(run: Path) -> Record:
    found: Record = json.loads((run / "results.json").read_text())
    return found


def change(run: Path, alter: Callable[[Row], object]) -> None:
    """Change the lines of a run's answers in place; compute the results from them again."""
    rows = read_jsonl(run / "samples.jsonl")
    for row in rows:
        alter(row)
    (run / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = read_config(run / "config.json")
    answered = read_answers(run / "samples.jsonl", config["modes"])
    found = json.loads(json.dumps(results_of(BENCHMARK, answered, config["margin"])))
    write_json(run / "results.json", results(run) | found)
