"""Demonstrations and necessity out of a server's answers: killed, resumed, failing."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.layouts import records_in, shown_in, silent
from evaluation.asked import Interrupted, Watched
from lookless.data.store import record_files
from lookless.data.validate import validate
from lookless.demonstrations import Demonstration
from lookless.episode import Mode
from lookless.errors import ConfigError, RunError
from lookless.evaluation.config import EvalConfig
from lookless.evaluation.run import Keys
from lookless.mixture import Mixture
from lookless.synthesis.boxes import BoxesConfig
from lookless.synthesis.phrases import Phrases
from lookless.synthesis.probe import Probed, filtered
from lookless.synthesis.run import (
    Written,
    probe,
    synth_answers,
    synth_boxes,
    synth_corrections,
)
from served import serving
from synthesis.model import Flaky, play, questions

HALF = Mixture(0.2, 0.2, 0.5)


def config(data: Path, url: str, **settings: Any) -> EvalConfig:
    usual = {
        "benchmark": "own", "data": record_files(data)[0], "model": url, "samples": 3,
        "modes": ("never", "always"), "temperature": 0.7, "concurrency": 4, "batch": 6,
    }  # fmt: skip
    return EvalConfig.model_validate(usual | settings)


def answers(out: Path, data: Path, url: str, progress: Any = silent, **settings: Any) -> Written:
    resume = settings.pop("resume", False)
    asked = config(data, url, **settings)
    return synth_answers(out, asked, HALF, out.parent / "cache", progress, resume=resume)


def sampled(out: Path) -> list[tuple[str, str, int]]:
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    return [(row["mode"], row["question"]["id"], row["sample"]) for row in rows]


def test_right_answers_become_demonstrations(tmp_path: Path) -> None:
    data = questions(tmp_path, 30)
    with serving() as server:
        server.play = play
        written = answers(tmp_path / "out", data, server.url)
    shown = shown_in(tmp_path / "out")
    assert written.demonstrations == len(shown) > 10
    assert validate(data, silent).count == 0
    rows = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    numbers = {record.id: int(record.answer[0]) for record in records_in(data)}
    for one in shown:
        k = numbers[one.id]
        assert f"\\boxed{{{k}}}" in one.turns[-1].say
        is_look = len(one.turns) > 1
        # It is never right without a look where one is needed.
        assert is_look or k % 3 != 0
        assert one.mode is not Mode.FORCED or is_look
        assert one.mode is not Mode.PROHIBITED or not is_look
        same = [row["prediction"] for row in rows if row["question"]["id"] == one.id
                and bool(row["rollout"]["looks"]) == is_look and row["grade"] == 1]  # fmt: skip
        assert one.turns[-1].say == min(same, key=len)
        assert "tool_call" not in "".join(turn.say for turn in one.turns)
    adaptive = [len(one.turns) > 1 for one in shown if one.mode is Mode.ADAPTIVE]
    assert sum(adaptive) / len(adaptive) == pytest.approx(0.5, abs=0.1)
    assert written.costs["answers"] == 30 * 2 * 3
    assert written.costs["requests"] == 30 * 3 * 3


@pytest.mark.parametrize("steps", [0, 3, 9])
def test_killed_and_resumed_it_ends_like_any_other(steps: int, tmp_path: Path) -> None:
    data = questions(tmp_path)
    with serving() as server:
        server.play = play
        answers(tmp_path / "whole", data, server.url)
        with pytest.raises(Interrupted):
            answers(tmp_path / "cut", data, server.url, Watched(steps))
        assert not (tmp_path / "cut/demonstrations.jsonl").exists()
        answers(tmp_path / "cut", data, server.url, resume=True)
    assert sampled(tmp_path / "cut") == sampled(tmp_path / "whole")
    assert len(set(sampled(tmp_path / "cut"))) == len(sampled(tmp_path / "cut")) == 12 * 2 * 3
    assert shown_in(tmp_path / "cut") == [
        one.model_copy(
            update={"image": tmp_path / "cut" / one.image.relative_to(tmp_path / "whole")}
        )
        for one in shown_in(tmp_path / "whole")
    ]


@pytest.mark.slow
def test_a_server_that_fails_and_hangs_costs_time_and_nothing_else(tmp_path: Path) -> None:
    data = questions(tmp_path)

    def both(url: str, name: str) -> list[Demonstration]:
        settings = {"timeout_s": 0.5, "retries": 12, "concurrency": 8}
        answers(tmp_path / name, data, url, **settings)
        asked = config(data, url, **settings)
        more = tmp_path / f"{name}-corrected"
        synth_corrections(more, asked, None, silent)
        assert len(set(sampled(tmp_path / name))) == 72
        assert len(set(sampled(more))) == 36
        plain = [one.model_copy(update={"image": Path(one.image.name)}) for one in
                 (*shown_in(tmp_path / name), *shown_in(more))]  # fmt: skip
        return plain

    with serving() as server:
        server.play = play
        good = both(server.url, "good")
        flaky = Flaky(play, silence_s=1.0)
        server.play = flaky
        bad = both(server.url, "bad")
    assert flaky.failed > 10
    assert flaky.silent > 3
    assert bad == good


@pytest.mark.parametrize("boxes", [True, False])
def test_corrections_notice_a_wrong_look_and_look_again(boxes: bool, tmp_path: Path) -> None:
    data = questions(tmp_path, boxes=boxes)
    with serving() as server:
        server.play = play
        earlier = None
        if not boxes:
            earlier = tmp_path / "answers"
            answers(earlier, data, server.url)
        asked = config(data, server.url, samples=2)
        written = synth_corrections(tmp_path / "out", asked, earlier, silent)
        with pytest.raises(RunError, match="--resume"):
            synth_corrections(tmp_path / "out", asked, earlier, silent)
    shown = shown_in(tmp_path / "out")
    assert written.demonstrations == len(shown) > 8
    for one in shown:
        first, second = (turn.look for turn in one.turns[:2])
        assert first is not None
        assert second is not None
        assert first.is_mistake
        assert not second.is_mistake
        assert one.mode is Mode.ADAPTIVE
    # What the server was told begins with the wrong look, as its own turn.
    talk = [body["messages"] for body in server.asked if len(body["messages"]) == 4]
    assert talk
    assert all(messages[2]["role"] == "assistant" for messages in talk)
    assert all("tool_call" in str(messages[2]["content"]) for messages in talk)


def test_corrections_without_any_evidence_are_refused(tmp_path: Path) -> None:
    data = questions(tmp_path, 3, boxes=False)
    with serving() as server, pytest.raises(ConfigError, match="--answers"):
        synth_corrections(tmp_path / "out", config(data, server.url), None, silent)
    assert not (tmp_path / "out").exists()


def test_a_probe_finds_which_questions_need_a_look(tmp_path: Path) -> None:
    data = questions(tmp_path, 24)
    with serving() as server:
        server.play = play
        asked = config(data, server.url, samples=4)
        found = probe(tmp_path / "out", asked, tmp_path / "cache", silent, Keys())
        with pytest.raises(RunError, match="share"):
            probe(tmp_path / "out", asked, tmp_path / "cache", silent, share=0.5, resume=True)
    every = records_in(tmp_path / "out", "all.jsonl")
    assert len(every) == 24
    for record in every:
        assert record.need is not None
        is_small = record.category == "small"
        assert record.need.label is is_small
        assert (record.need.p_look, record.need.p_no_look) == (1.0, 0.0 if is_small else 1.0)
        assert record.need.gain_low is not None
        assert record.need.gain_high is not None
        assert (record.need.gain_low > 0) is is_small
    rates = {row["category"]: row["need_rate"] for row in found.kinds}
    assert rates == {"all": pytest.approx(1 / 3), "small": 1.0, "large": 0.0}
    assert (found.kept, found.dropped) == (24, {})
    assert validate(tmp_path / "out", silent).count == 0


def test_easy_questions_can_be_dropped(tmp_path: Path) -> None:
    data = questions(tmp_path)
    with serving() as server:
        server.play = play
        asked = config(data, server.url, samples=4)
        found = probe(tmp_path / "out", asked, tmp_path / "cache", silent, drop_easy=True)
        half = probe(tmp_path / "half", asked, tmp_path / "cache", silent, share=0.5)
    assert (found.kept, found.dropped, found.is_balanced) == (4, {"always right": 8}, True)
    assert (half.kept, half.dropped) == (8, {"balance": 4})
    kept = records_in(tmp_path / "half")
    assert sum(record.category == "small" for record in kept) == 4
    lone = {name: Probed(name, "", name, (1.0,) * 4, (1.0,) * 4) for name in "abc"}
    assert not filtered(lone, share=0.5).is_balanced


def test_a_key_is_sent_and_written_nowhere(tmp_path: Path) -> None:
    data = questions(tmp_path, 2)
    with serving() as server:
        server.play = play
        keys = Keys("sk-secret-of-mine")
        cache = tmp_path / "cache"
        synth_answers(tmp_path / "out", config(data, server.url), HALF, cache, silent, keys)
        assert set(server.keys) == {"Bearer sk-secret-of-mine"}
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"sk-secret-of-mine" not in file.read_bytes()


def test_boxes_of_validation_are_held_out(tmp_path: Path) -> None:
    data = questions(tmp_path, 6)
    lines = (data / "questions.jsonl").read_text().splitlines()
    (data / "questions.jsonl").write_text("\n".join(lines[2:]) + "\n")
    (data / "validation.jsonl").write_text("\n".join(lines[:2]) + "\n")
    synth_boxes(data, tmp_path / "out", BoxesConfig(), Phrases(), silent)
    held = (tmp_path / "out/held_out.jsonl").read_text().splitlines()
    assert len(held) == 2
    assert len(shown_in(tmp_path / "out")) == 4
