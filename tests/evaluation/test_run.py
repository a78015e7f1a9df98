import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evaluation.asked import Interrupted, Watched, evaluated, lines, untimed, world
from lookless.errors import ConfigError, DataError, LooklessError, PolicyError, RunError
from lookless.evaluation.config import EvalConfig
from lookless.evaluation.run import Keys, run_eval
from lookless.runs import read_config
from lookless.settings import validated
from served import Body, Reply, Server, said, wrong

MODES = ("toolfree", "never", "always", "adaptive", "oracle")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Return the folder of an uninterrupted run; tests must not change it."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    evaluated(out, data, modes=MODES, audit=5)
    return out


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def test_a_model_that_knows_everything_gets_everything_right(whole: Path, data: Path) -> None:
    found = results(whole)
    needs = [row["needs_look"] for row in lines(data / "questions.jsonl")]
    rates = {"toolfree": 0, "never": 0, "always": 1, "adaptive": sum(needs) / 8, "oracle": 0}
    for mode, row in found["modes"].items():
        assert row["accuracy"] == 1.0
        assert row["look_rate"] == rates[mode]
        assert (row["unparsed"], row["failed"], row["undecided"]) == (0, 0, 0)
        assert row["metrics"][0]["name"] == "accuracy"
        assert row["metrics"][0]["value"] == 1.0
    assert 0 < rates["adaptive"] < 1
    assert found["looking"]["decision"]["known"]["mcc"] == 1.0
    assert found["questions"] == 8
    assert found["is_complete"] is None  # LookWorld has no fixed size


def test_every_answer_is_a_line_with_all_that_the_tables_need(whole: Path) -> None:
    rows = lines(whole / "samples.jsonl")
    assert len(rows) == 5 * 8
    keys = {(row["mode"], row["question"]["id"], row["sample"]) for row in rows}
    assert len(keys) == len(rows)
    oracle = next(row for row in rows if row["mode"] == "oracle")
    left, top, right, bottom = oracle["question"]["boxes"][0]
    shown = oracle["rollout"]["views"][0]["region"]
    assert shown[0] <= left < right <= shown[2]
    assert shown[1] <= top < bottom <= shown[3]


def test_audit_asks_again_with_other_crops(whole: Path) -> None:
    audited = results(whole)["audit"]
    rows = lines(whole / "audit.jsonl")
    assert audited["mode"] == "adaptive"
    assert {row["mode"] for row in rows} == {"same", "blank", "shuffled"}
    for crop in ("same", "blank", "shuffled"):  # a script sees nothing, so nothing changes
        assert audited[crop]["n"] == len(rows) / 3
        assert (audited[crop]["changed"], audited[crop]["not_repeated"]) == (0.0, 0)


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 9, 14, 20])
def test_killed_anywhere_and_resumed_it_ends_the_same(
    tmp_path: Path, data: Path, whole: Path, steps: int
) -> None:
    out = tmp_path / "run"
    settings: dict[str, Any] = {"modes": MODES, "audit": 5}
    with pytest.raises(Interrupted):
        evaluated(out, data, Watched(steps), **settings)
    samples = out / "samples.jsonl"
    if samples.exists():  # the kill fell into the writing of a line
        samples.write_text(samples.read_text()[:-40])
    before = samples.read_text().splitlines()[:-1] if samples.exists() else []
    evaluated(out, data, resume=True, **settings)
    assert untimed(results(out)) == untimed(results(whole))
    after = samples.read_text().splitlines()
    assert len(after) == 5 * 8
    whole_batches = before[: len(before) // 3 * 3] if len(before) < 8 else before[:6]
    assert after[: len(whole_batches)] == whole_batches  # nothing that was whole was asked again


def test_a_finished_run_asks_nothing_more(tmp_path: Path, data: Path, whole: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    before = (out / "samples.jsonl").read_bytes()
    (out / "results.json").unlink()
    progress = Watched()
    evaluated(out, data, progress, modes=MODES, audit=5, resume=True)
    assert (out / "samples.jsonl").read_bytes() == before
    assert untimed(results(out)) == untimed(results(whole))
    assert {done for _, done, _ in progress.notes} <= {8, len(lines(out / "audit.jsonl")) // 3}


def test_resuming_with_other_settings_is_refused(tmp_path: Path, data: Path) -> None:
    evaluated(tmp_path / "run", data, modes=("never",))
    with pytest.raises(RunError, match="keep its config, got another seed"):
        evaluated(tmp_path / "run", data, modes=("never",), seed=1, resume=True)
    with pytest.raises(RunError, match="must be new"):
        evaluated(tmp_path / "run", data, modes=("never",))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"samples": 2}, "temperature must be above 0 for several samples, got 0 and 2 samples"),
        ({"modes": ("never", "never")}, "modes must be distinct, got never, never"),
        ({"modes": ("never",), "audit": 3}, "audit must have a mode that looks"),
        ({"judge_model": "m"}, "judge_model must come with judge"),
        (
            {"server_model": "m"},
            "server_model, server_checkpoint and frame must come with a server",
        ),
        ({"frame": "resized"}, "frame must come with a server"),
        ({"temperature": float("inf")}, "finite"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    data: Path, settings: dict[str, Any], said: str
) -> None:
    facts = {"benchmark": "lookworld", "data": data, "model": "scripted:gold"}
    with pytest.raises(ConfigError, match=said):
        validated(EvalConfig, facts | settings)


def test_a_missing_image_fails_its_own_questions_and_is_asked_for_again(tmp_path: Path) -> None:
    data = world(tmp_path / "world")
    first = data / lines(data / "questions.jsonl")[0]["image"]
    lost = sum(row["image"] == lines(data / "questions.jsonl")[0]["image"]
               for row in lines(data / "questions.jsonl"))  # fmt: skip
    good = first.read_bytes()
    first.write_bytes(good[:200])  # it is there, and damaged
    found = evaluated(tmp_path / "run", data, modes=("never",))
    row = found["modes"]["never"]
    assert (row["failed"], row["undecided"], row["samples"]) == (lost, 0, 8)
    assert row["accuracy"] == 1.0
    first.write_bytes(good)
    row = evaluated(tmp_path / "run", data, modes=("never",), resume=True)["modes"]["never"]
    assert (row["failed"], row["samples"], row["accuracy"]) == (0, 8, 1.0)
    assert len(lines(tmp_path / "run" / "samples.jsonl")) == 8


def test_a_run_does_not_go_on_with_another_image(tmp_path: Path) -> None:
    data = world(tmp_path / "world")
    evaluated(tmp_path / "run", data, modes=("never",))
    first = data / lines(data / "questions.jsonl")[0]["image"]
    good = first.read_bytes()
    Image.new("RGB", (1024, 1024), "red").save(first, "JPEG")
    with pytest.raises(RunError, match=f"must keep its images, got another .*{first.name}"):
        evaluated(tmp_path / "run", data, modes=("never",), resume=True)
    first.write_bytes(good)
    evaluated(tmp_path / "run", data, modes=("never",), resume=True)


def test_a_run_goes_on_with_other_settings_that_change_no_answer(tmp_path: Path) -> None:
    data = world(tmp_path / "world")
    evaluated(tmp_path / "run", data, modes=("never",))
    others: dict[str, Any] = {"retries": 9, "concurrency": 2, "timeout_s": 5.0, "margin": 0.05}
    evaluated(tmp_path / "run", data, modes=("never",), resume=True, **others)
    saved = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert {name: saved[name] for name in others} == others
    with pytest.raises(RunError, match="another seed"):
        evaluated(tmp_path / "run", data, modes=("never",), resume=True, seed=5)


def test_evidence_outside_its_image_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100)).save(tmp_path / "i.png")
    row = {"id": "7", "image": "i.png", "question": "?", "answer": "x", "boxes": [300, 0, 400, 50]}
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps(row) + "\n")
    config = EvalConfig(benchmark="own", data=file, model="scripted:gold")
    with pytest.raises(DataError, match="question '7': boxes must lie in the image of 200x100"):
        run_eval(tmp_path / "run", config, tmp_path / "cache", Watched())


def test_limit_ids_and_categories_choose_questions(tmp_path: Path, data: Path) -> None:
    rows = lines(data / "questions.jsonl")
    found = evaluated(tmp_path / "a", data, modes=("never",), limit=3)
    assert found["questions"] == 3
    found = evaluated(tmp_path / "b", data, modes=("never",), ids=(rows[5]["id"],))
    assert lines(tmp_path / "b" / "samples.jsonl")[0]["question"]["id"] == rows[5]["id"]
    family = rows[0]["family"]
    found = evaluated(tmp_path / "c", data, modes=("never",), categories=(family,))
    assert found["questions"] == sum(row["family"] == family for row in rows)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"benchmark": "lookwrld"}, "did you mean lookworld"),
        ({"model": "nowhere"}, "model must be a checkpoint folder"),
        ({"judge": "ftp://host"}, "base_url must be like http://host:8000/v1"),
        ({"model": "scripted:gould"}, "script must be one of gold, chance"),
        ({"ids": ("nobody",)}, "ids must be of the benchmark, got 'nobody'"),
        ({"categories": ("sports",)}, "categories must be of the benchmark, got 'sports'"),
        ({"data": Path("nowhere")}, "data must be a folder or a table"),
    ],
)
def test_a_wrong_setting_is_said_before_anything_is_written(
    tmp_path: Path, data: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(LooklessError, match=said):
        evaluated(tmp_path / "run", **({"data": data} | settings))
    assert not (tmp_path / "run").exists()


def test_oracle_needs_evidence(tmp_path: Path) -> None:
    data = world(tmp_path / "world", 3)
    rows = [row | {"boxes": []} for row in lines(data / "questions.jsonl")]
    (data / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ConfigError, match="mode oracle must have evidence"):
        evaluated(tmp_path / "run", data, modes=("never", "oracle"))


def test_several_samples_are_all_kept_and_count_as_one_question(tmp_path: Path, data: Path) -> None:
    found = evaluated(tmp_path / "run", data, modes=("never",), samples=3, temperature=0.7)
    row = found["modes"]["never"]
    assert (row["n"], row["samples"]) == (8, 24)
    assert row["metrics"][0]["n"] == 8
    rows = lines(tmp_path / "run" / "samples.jsonl")
    assert [row["sample"] for row in rows[:6]] == [0, 1, 2, 0, 1, 2]


def served_answer(body: Body) -> Reply:
    """Look if told to, then answer `red`."""
    asked = json.dumps(body["messages"])
    if "at least once" in asked and len(body["messages"]) < 4:
        return said('<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [0, 0, 500, 500]}}'
                    "</tool_call>")  # fmt: skip
    return said(r"\boxed{red}", tokens=7)


def test_a_server_is_asked_in_all_modes_and_its_costs_counted(
    tmp_path: Path, data: Path, server: Server
) -> None:
    server.play = served_answer
    found = evaluated(
        tmp_path / "run", data, model=server.url, modes=MODES[:4], limit=4, keys=Keys("sk-secret")
    )
    assert found["model"]["name"].startswith("m at 127.0.0.1")
    rates = {mode: row["look_rate"] for mode, row in found["modes"].items()}
    assert rates == {"toolfree": 0.0, "never": 0.0, "always": 1.0, "adaptive": 0.0}
    assert found["modes"]["never"]["generated_tokens_per_sample"] == 7
    assert found["modes"]["always"]["latency_s"]["median"] > 0
    toolfree = found["protocol"]["prompts"]["toolfree"]
    assert "zoom" not in toolfree
    assert "closer" not in toolfree
    everything = "".join(f.read_text() for f in (tmp_path / "run").iterdir() if f.is_file())
    assert "sk-secret" not in everything


def test_failed_requests_are_failed_samples_apart_from_wrong_answers(
    tmp_path: Path, data: Path, server: Server
) -> None:
    victim = lines(data / "questions.jsonl")[1]["question"]

    def play(body: Body) -> Reply:
        asked = json.dumps(body["messages"])
        return wrong(400, "too hot") if json.dumps(victim)[1:-1] in asked else served_answer(body)

    server.play = play
    found = evaluated(tmp_path / "run", data, model=server.url, modes=("never",))
    row = found["modes"]["never"]
    failed = row["failed"]
    assert failed >= 1
    assert row["stops"]["fault"] == failed
    right = sum(r["grade"] or 0 for r in lines(tmp_path / "run" / "samples.jsonl"))
    assert row["accuracy"] == right / (8 - failed)
    said_why = [r for r in lines(tmp_path / "run" / "samples.jsonl") if r["grade"] is None]
    assert "too hot" in said_why[0]["rollout"]["turns"][-1]["text"]
    server.play = served_answer
    row = evaluated(tmp_path / "run", data, model=server.url, modes=("never",), resume=True)[
        "modes"
    ]["never"]
    assert (row["failed"], row["samples"]) == (0, 8)


def test_a_dead_server_ends_the_run_with_what_it_said(
    tmp_path: Path, data: Path, server: Server
) -> None:
    server.play = lambda body: wrong(401, "who are you")
    with pytest.raises(PolicyError, match=r"only faults.*who are you.*--resume"):
        evaluated(tmp_path / "run", data, model=server.url, modes=("never", "adaptive"))
    server.play = served_answer
    found = evaluated(
        tmp_path / "run", data, model=server.url, modes=("never", "adaptive"), resume=True
    )
    assert found["modes"]["adaptive"]["samples"] == 8


def test_a_judge_decides_and_its_differences_from_the_rules_are_listed(
    tmp_path: Path, data: Path, server: Server
) -> None:
    def play(body: Body) -> Reply:
        if "You grade an answer" in json.dumps(body["messages"]):
            return said("correct")
        return said(r"\boxed{surely not this}")

    server.play = play
    settings: dict[str, Any] = {"model": server.url, "modes": ("never",), "judge": server.url}
    found = evaluated(tmp_path / "run", data, **settings)
    assert found["modes"]["never"]["accuracy"] == 1.0
    assert found["judge"]["only_judge"] == found["judge"]["n"] == 8
    assert found["judge"]["rows"][0]["rules_read"] == "surely not this"
    assert found["protocol"]["grader"].startswith("judge m at")
    asked = len(server.asked)
    shutil.copy(tmp_path / "run" / "judge.jsonl", tmp_path / "judge.jsonl")
    (tmp_path / "run" / "samples.jsonl").unlink()
    evaluated(tmp_path / "run", data, resume=True, **settings)
    assert len(server.asked) == asked + 8  # answers anew, verdicts from the cache
    assert (tmp_path / "run" / "judge.jsonl").read_text() == (tmp_path / "judge.jsonl").read_text()


def test_progress_shows_a_running_score(tmp_path: Path, data: Path) -> None:
    progress = Watched()
    evaluated(tmp_path / "run", data, progress, modes=("never", "adaptive"))
    titles = dict.fromkeys(title for title, _, _ in progress.notes)
    assert list(titles) == ["never", "adaptive"]
    assert progress.notes[-1][1] == 8
    assert progress.notes[-1][2].startswith("acc 1.000 look 0.")


def test_the_settings_are_kept(whole: Path) -> None:
    config = read_config(whole / "config.json")
    assert config["modes"] == list(MODES)
    assert config["model_identity"] == "scripted:gold"


def failing_for(victims: set[str]) -> Callable[[Body], Reply]:
    """Refuse what is asked about some questions; look and answer the others."""

    def play(body: Body) -> Reply:
        asked = json.dumps(body["messages"])
        is_hit = any(json.dumps(text)[1:-1] in asked for text in victims)
        return wrong(400, "not now") if is_hit else served_answer(body)

    return play


def texts(data: Path) -> list[str]:
    return [row["question"] for row in lines(data / "questions.jsonl")]


def test_an_interrupted_resume_loses_nothing_and_asks_for_the_failed_ones_only(
    tmp_path: Path, data: Path, server: Server
) -> None:
    settings: dict[str, Any] = {"model": server.url, "modes": ("never", "adaptive"), "batch": 4}
    victims = {texts(data)[1], texts(data)[6]}
    server.play = failing_for(victims)
    first = evaluated(tmp_path / "run", data, **settings)
    failed = sum(row["failed"] for row in first["modes"].values())
    server.play = served_answer
    server.asked.clear()
    with pytest.raises(Interrupted):
        evaluated(tmp_path / "run", data, Watched(1), resume=True, **settings)
    evaluated(tmp_path / "run", data, resume=True, **settings)
    assert len(server.asked) == failed
    whole = evaluated(tmp_path / "other", data, **settings)
    assert untimed(results(tmp_path / "run")) == untimed(whole)


def test_audited_answers_meet_their_own_repetition_after_a_failure(
    tmp_path: Path, data: Path, server: Server
) -> None:
    settings: dict[str, Any] = {"model": server.url, "modes": ("always",), "audit": 8}
    server.play = served_answer
    whole = evaluated(tmp_path / "whole", data, **settings)
    victim, seen = texts(data)[0], 0

    def play(body: Body) -> Reply:
        nonlocal seen
        if json.dumps(victim)[1:-1] in json.dumps(body["messages"]):
            seen += 1
            if seen > 2:  # its own answer takes two requests; what comes then is the audit
                return wrong(400, "not now")
        return served_answer(body)

    server.play = play
    evaluated(tmp_path / "run", data, **settings)
    assert results(tmp_path / "run")["audit"]["same"]["n"] < whole["audit"]["same"]["n"]
    server.play = served_answer
    evaluated(tmp_path / "run", data, resume=True, **settings)
    assert results(tmp_path / "run")["audit"] == whole["audit"]


def test_seeds_of_a_server_depend_on_neither_batch_nor_failures(
    tmp_path: Path, data: Path, server: Server
) -> None:
    settings: dict[str, Any] = {
        "model": server.url, "modes": ("never",), "samples": 2, "temperature": 0.5, "limit": 4
    }  # fmt: skip

    def seeds() -> list[int]:
        found = sorted(body["seed"] for body in server.asked)
        server.asked.clear()
        return found

    server.play = served_answer
    one = evaluated(tmp_path / "one", data, batch=1, **settings)
    expected = seeds()
    assert len(set(expected)) == 8
    other = evaluated(tmp_path / "other", data, batch=8, concurrency=3, **settings)
    assert seeds() == expected
    assert one["protocol"]["hash"] == other["protocol"]["hash"]
    server.play = failing_for({texts(data)[2]})
    evaluated(tmp_path / "failed", data, batch=8, **settings)
    server.asked.clear()
    server.play = served_answer
    evaluated(tmp_path / "failed", data, batch=8, resume=True, **settings)
    again = seeds()
    assert len(set(again)) == len(again) == 2
    assert set(again) <= set(expected)


def test_questions_that_were_changed_stop_a_resume(tmp_path: Path) -> None:
    data = world(tmp_path / "world", 4)
    evaluated(tmp_path / "run", data, modes=("never",))
    rows = lines(data / "questions.jsonl")
    rows[0]["answer"] = "something else"
    (data / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(RunError, match="another questions_hash"):
        evaluated(tmp_path / "run", data, modes=("never",), resume=True)


def test_a_judge_that_was_away_decides_on_resume(
    tmp_path: Path, data: Path, server: Server
) -> None:
    is_there = False

    def play(body: Body) -> Reply:
        if "You grade an answer" in json.dumps(body["messages"]):
            return said("incorrect") if is_there else wrong(401, "who are you")
        return served_answer(body)

    server.play = play
    settings: dict[str, Any] = {"model": server.url, "modes": ("never",), "judge": server.url}
    with pytest.raises(PolicyError, match=r"judge must answer.*who are you.*--resume"):
        evaluated(tmp_path / "run", data, **settings)
    is_there = True
    server.asked.clear()
    found = evaluated(tmp_path / "run", data, resume=True, **settings)
    assert (found["modes"]["never"]["accuracy"], found["modes"]["never"]["undecided"]) == (0.0, 0)
    assert all("You grade" in json.dumps(body) for body in server.asked)  # no answer is asked again


def test_one_broken_image_does_not_slow_the_others(tmp_path: Path, server: Server) -> None:
    data = world(tmp_path / "world", 12)
    (data / lines(data / "questions.jsonl")[0]["image"]).write_bytes(b"junk")

    def play(body: Body) -> Reply:
        time.sleep(0.05)
        return served_answer(body)

    server.play = play
    found = evaluated(tmp_path / "run", data, model=server.url, modes=("never",), concurrency=4)
    assert found["modes"]["never"]["failed"] >= 1
    assert server.most > 1


def test_a_password_in_an_address_is_refused_and_nowhere_written(
    tmp_path: Path, data: Path
) -> None:
    with pytest.raises(ConfigError, match="no user or password") as caught:
        evaluated(tmp_path / "run", data, model="http://me:secret@127.0.0.1:9/v1")
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_asked_leaves_no_folder_behind(tmp_path: Path) -> None:
    data = world(tmp_path / "world", 3)
    rows = [row | {"boxes": []} for row in lines(data / "questions.jsonl")]
    (data / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ConfigError, match="mode oracle"):
        evaluated(tmp_path / "run", data, modes=("never", "oracle"))
    (data / rows[0]["image"]).unlink()
    with pytest.raises(LooklessError, match="image must name a file"):
        evaluated(tmp_path / "run", data)
    assert not (tmp_path / "run").exists()
