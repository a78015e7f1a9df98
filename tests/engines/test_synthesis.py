"""Training data out of a real server's answers: killed, resumed, failing, hanging."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from data.layouts import shown_in, silent, write_lines
from engines import pipeline
from engines.serving import as_said, free_port, serving, transformers_command
from lookless.data.convert import ConvertConfig, convert
from lookless.data.reader import Reading
from lookless.data.readers.registry import READERS
from lookless.demonstrations import Demonstration
from lookless.frames import Frame
from lookless.lookworld.base import base_folder
from served import Body, Reply
from served import serving as proxying
from synthesis.model import Flaky

pytestmark = pytest.mark.engine
FIELDS = ("id", "image", "question", "answer", "boxes")


def records(folder: Path, out: Path) -> Path:
    """Write LookWorld's questions as records, from plain files."""
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    plain = [
        {name: row[name] for name in FIELDS} | {"image": str(folder / row["image"])} for row in rows
    ]
    file = write_lines(folder / "plain.jsonl", plain)
    config = ConvertConfig(instruction="")
    convert(READERS["vqa"], file, out, Reading(Frame.SOURCE), config, silent)
    return out


def command(kind: str, data: Path, url: str, checkpoint: Path, out: Path) -> list[str]:
    return [
        sys.executable, "-m", "lookless", "synth", kind, str(data), "--model", url, "--samples",
        "1", "--temperature", "0.01", "--set", f"server_checkpoint={checkpoint}",
        "--set", "timeout_s=20", "--set", "retries=12", "--set", "concurrency=2",
        "--set", "batch=2", "--out", str(out), "--yes",
    ]  # fmt: skip


def plain(out: Path) -> list[Demonstration]:
    """Return what was made, without where."""
    return [one.model_copy(update={"image": Path(one.image.name)}) for one in shown_in(out)]


def sampled(out: Path) -> list[tuple[str, str, int]]:
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert all(row["rollout"]["stop"] != "fault" for row in rows)
    return [(row["mode"], row["question"]["id"], row["sample"]) for row in rows]


def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    drawn = pipeline.data(tmp_path / "drawn")
    tuned = pipeline.train("sft", pipeline.recipe(tmp_path, base_folder(), drawn), tmp_path / "sft")
    data = records(drawn, tmp_path / "data")
    checkpoint, port = as_said(tuned, tmp_path / "as-said"), free_port()
    log = tmp_path / "server.log"
    with serving(transformers_command(checkpoint, port), port, log) as address, proxying() as proxy:
        # Its own list is that of the hub's cache.
        served = {"id": str(checkpoint), "object": "model", "created": 0, "owned_by": "here"}
        proxy.models = Reply(json.dumps({"object": "list", "data": [served]}))

        def forward(body: Body) -> Reply:
            head = {"Content-Type": "application/json"}
            request = Request(f"{address}/chat/completions", json.dumps(body).encode(), head)
            with urlopen(request) as reply:
                return Reply(reply.read(), reply.status)

        proxy.play = forward
        for kind in ("model", "corrections"):
            words = command(kind, data, proxy.url, checkpoint, tmp_path / f"{kind}-good")
            subprocess.run(words, check=True, capture_output=True)
        flaky = Flaky(forward, silence_s=25)
        proxy.play = flaky
        for kind in ("model", "corrections"):
            out = tmp_path / f"{kind}-bad"
            words = command(kind, data, proxy.url, checkpoint, out)
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            deadline = time.monotonic() + 300
            while process.poll() is None and time.monotonic() < deadline:
                file = out / "samples.jsonl"
                if file.exists() and file.read_bytes().count(b"\n") >= 2:
                    os.kill(process.pid, signal.SIGKILL)
                time.sleep(0.05)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            assert not (out / "demonstrations.jsonl").exists()
            subprocess.run([*words, "--resume"], check=True, capture_output=True)
    assert flaky.failed > 0
    for kind, modes in (("model", 2), ("corrections", 1)):
        good, bad = tmp_path / f"{kind}-good", tmp_path / f"{kind}-bad"
        assert sampled(bad) == sampled(good)
        assert len(set(sampled(bad))) == len(sampled(bad)) == modes * pipeline.QUESTIONS
        assert (bad / "demonstrations.jsonl").exists()
    assert plain(tmp_path / "model-bad") == plain(tmp_path / "model-good")
    assert plain(tmp_path / "model-good")
