"""The commands that measure: eval, score, compare, benchmarks."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.asked import untimed, world
from lookless import cli
from lookless.benchmarks.registry import BENCHMARKS
from lookless.cli_options import server_key
from lookless.errors import ConfigError, LooklessError
from lookless.lookworld.base import base_folder
from served import Server, wrong
from served import said as answer
from test_cli import mistake, run_here, run_lookless


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world(tmp_path_factory.mktemp("world"), 6)


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(
        cli.app, [str(a) for a in arguments], env={"COLUMNS": "120"}, catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def evaluate(out: Path, data: Path, *more: object) -> str:
    return invoke(
        "eval", "lookworld", "--data", data, "--model", "scripted:gold", "--out", out,
        "--cache", out.parent / "cache", *more,
    )  # fmt: skip


def test_eval_prints_tables_and_writes_samples_results_and_report(
    tmp_path: Path, data: Path
) -> None:
    shown = evaluate(tmp_path / "run", data, "--modes", "toolfree,never,always,adaptive")
    for words in ("LookWorld, 6 questions", "Official metrics", "Costs per sample",
                  "adaptive - never", "not shown", "latency"):  # fmt: skip
        assert words in shown
    written = {file.name for file in (tmp_path / "run").iterdir()}
    assert {"config.json", "samples.jsonl", "results.json", "report.html"} <= written
    assert str(tmp_path / "run" / "report.html") in shown.replace("\n", "")
    again = invoke("report", tmp_path / "run")
    assert "report.html" in again


def test_eval_fits_into_80_columns(tmp_path: Path, data: Path) -> None:
    result = CliRunner().invoke(
        cli.app,
        ["eval", "lookworld", "--data", str(data), "--model", "scripted:gold",
         "--out", str(tmp_path / "run"), "--modes", "toolfree,never,always,adaptive,oracle"],
        env={"COLUMNS": "80"},
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    tables = [line for line in result.output.splitlines() if "%" in line or "adaptive" in line]
    assert tables
    assert not any("…" in line for line in tables if "━" not in line)


def test_score_prints_one_json_object(tmp_path: Path, data: Path) -> None:
    rows = [json.loads(line) for line in (data / "questions.jsonl").open()]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(
        json.dumps({"id": row["id"], "prediction": rf"\boxed{{{row['answer']}}}"}) + "\n"
        for row in rows
    ))  # fmt: skip
    found = json.loads(invoke("score", "lookworld", "--data", data, "--predictions", file))
    assert found["benchmark"] == "lookworld"
    assert found["unparsed"] == 0
    assert found["metrics"][0] | {"low": 0, "clusters": 0} == {
        "name": "accuracy", "value": 1.0, "low": 0, "high": 1.0, "n": 6, "clusters": 0
    }  # fmt: skip


def test_score_takes_a_judge_and_says_if_it_is_away(
    tmp_path: Path, data: Path, server: Server
) -> None:
    rows = [json.loads(line) for line in (data / "questions.jsonl").open()]
    file = tmp_path / "answers.jsonl"
    said = [json.dumps({"id": row["id"], "prediction": "so it seems"}) for row in rows]
    file.write_text("\n".join(said))
    judge = ("--judge", server.url, "--judge-model", "m")
    server.play = lambda body: wrong(401, "who are you")
    arguments = ["score", "lookworld", "--data", str(data), "--predictions", str(file), *judge]
    assert "judge must answer, got only faults" in mistake(run_here(*arguments))
    server.play = lambda body: answer("correct")
    found = json.loads(invoke(*arguments))
    assert (found["metrics"][0]["value"], found["unparsed"]) == (1.0, 0)
    assert (found["judge"]["only_judge"], found["judge"]["failed"]) == (6, 0)


def test_compare_prints_a_table_or_json(tmp_path: Path, data: Path) -> None:
    for name in ("a", "b"):
        evaluate(tmp_path / name, data)
    shown = invoke("compare", tmp_path / "a", tmp_path / "b")
    assert "lookworld, adaptive" in shown
    rows = json.loads(invoke("compare", tmp_path / "a", tmp_path / "b", "--json"))
    assert [row["mode"] for row in rows] == ["never", "always", "adaptive"]
    assert {row["difference"] for row in rows} == {0.0}


def test_benchmarks_are_listed_with_size_place_and_licence() -> None:
    shown = invoke("benchmarks")
    for name, one in BENCHMARKS.items():
        assert name in shown
        assert one.licence.split()[0] in shown
    told = invoke("benchmarks", "hrbench_8k")
    for words in ("DreamMr/HR-Bench", "hr_bench_8k.tsv", "single 400, cross 400"):
        assert words in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval", "vstr", "--model", "scripted:gold", "--out", "x"], "did you mean vstar?"),
        (["eval", "vstar", "--data", "nowhere", "--model", "scripted:gold", "--out", "x"],
         "data must be a folder or a table, got"),
        (["eval", "own", "--model", "scripted:gold", "--out", "x"], "say --data PATH"),
        (["eval", "lookworld", "--data", ".", "--model", "scripted:gold", "--out", "x",
          "--modes", "never,sometimes"], "modes"),
        (["score", "vstar", "--data", ".", "--predictions", "nowhere.jsonl"], "data must hold"),
        (["compare", "nowhere", "elsewhere"], "that `lookless eval` finished"),
        (["benchmarks", "imagenet"], "benchmark must be one of vstar"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in mistake(run_here(*arguments))
    assert not (tmp_path / "x").exists()


def test_a_key_is_sent_only_where_it_is_meant_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("OTHER", "other")
    assert server_key("https://api.openai.com/v1", None) == "sk-mine"
    for address in ("http://localhost:8000/v1", "http://api.openai.com.evil.net/v1", "folder"):
        assert server_key(address, None) is None
    assert server_key("http://localhost:8000/v1", "OTHER") == "other"
    assert server_key("http://localhost:8000/v1", "OPENAI_API_KEY") == "sk-mine"
    with pytest.raises(ConfigError, match="key-env must be a variable that is set, got 'NONE'"):
        server_key("http://localhost:8000/v1", "NONE")


@pytest.mark.slow
def test_a_checkpoint_killed_in_the_middle_and_resumed_gives_the_same_table(
    tmp_path: Path,
) -> None:
    data = world(tmp_path / "world", 24)
    arguments = [
        "eval", "lookworld", "--data", str(data), "--model", str(base_folder()), "--batch", "4",
        "--modes", "never,always,adaptive", "--samples", "2", "--temperature", "0.8",
    ]  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_lookless(*arguments, "--out", str(whole)).returncode == 0
    code = "import sys; from lookless.cli import main; sys.argv[0] = 'lookless'; main()"
    command = [sys.executable, "-c", code, *arguments, "--out", str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    samples = killed / "samples.jsonl"
    while not samples.exists() or samples.read_bytes().count(b"\n") < 60:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = samples.read_bytes().count(b"\n")
    assert 60 <= done < 3 * 48
    with samples.open("a") as stream:  # as if the kill had cut a line
        stream.write('{"mode": "adaptive", "question": {"id": ')
    resumed = run_lookless(*arguments, "--out", str(killed), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    results = [json.loads((run / "results.json").read_text()) for run in (whole, killed)]
    assert untimed(results[0]) == untimed(results[1])
    assert samples.read_bytes().count(b"\n") == 3 * 48


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("eval", "--model", "scripted:gold", "--modes", "nevr", "--out", "run"),
            "modes must be of",
        ),
        (("score", "--predictions", "p", "--judge-model", "m"), "judge-model must come with judge"),
        (("eval", "--model", "scripted:gold", "--judge", "foo", "--out", "run"), "judge: base_url"),
    ],
)
def test_a_wrong_option_is_named(data: Path, arguments: tuple[str, ...], said: str) -> None:
    command, *rest = arguments
    with pytest.raises(LooklessError, match=said):
        invoke(command, "lookworld", "--data", data, *rest)


def test_what_is_ignored_must_be_of_the_protocol(tmp_path: Path, data: Path) -> None:
    for name in ("a", "b"):
        evaluate(tmp_path / name, data)
    invoke("compare", tmp_path / "a", tmp_path / "b", "--ignore", "limits.max_looks")
    with pytest.raises(LooklessError, match="ignored parts must be of the protocol, got 'sed'"):
        invoke("compare", tmp_path / "a", tmp_path / "b", "--ignore", "sed")
