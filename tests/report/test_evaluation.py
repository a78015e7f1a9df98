import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evaluation.asked import Interrupted, Watched
from lookless.report.evaluation import decisions, failures, mode_of_examples, scope
from lookless.report.format import number, percent, points, share
from lookless.report.html import write_report
from lookless.runs import read_jsonl, write_json
from report.conftest import HOSTILE
from report.evaluations import MODES, Row, change, play, results
from report.pages import Page, twin

DASH = "\N{EN DASH}"
SECTIONS = ("results", "looking", "decision", "evidence", "comparisons", "cases", "settings")


@pytest.fixture(scope="module")
def page(evaluation: Path) -> Page:
    return Page(write_report(evaluation))


def between(ends: list[float]) -> str:
    return f"{share(ends[0])} {DASH} {share(ends[1])}"


def report(run: Path) -> tuple[Page, dict[str, Any]]:
    return Page(write_report(run)), twin(run)


def test_the_page_has_every_section_and_nothing_twice(page: Page) -> None:
    ids = page.values("id")
    assert set(SECTIONS) <= set(ids)
    assert not {"missing", "judge", "failures"} & set(ids)
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert {link[1:] for link in page.values("href") if link.startswith("#")} <= set(ids)


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    assert all(source.startswith("data:image/") for source in page.values("src"))
    assert {link for link in page.values("href") if not link.startswith("#")} == {"report.json"}


def test_tables_scroll_by_keyboard_and_their_heads_have_a_scope(page: Page) -> None:
    regions = [a for _, a in page.attributes if a.get("role") == "region"]
    assert len(regions) == page.tags["table"] >= 9
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)
    assert all(a.get("scope") for tag, a in page.attributes if tag == "th")


def test_colours_follow_light_and_dark(page: Page) -> None:
    used = set(re.findall(r"var\(--([a-z0-9]+)\)", page.source)) - {"part"}
    defined = Counter(re.findall(r"--([a-z0-9]+): #", page.source))
    assert {name: defined[name] for name in used} == dict.fromkeys(used, 2)


def test_the_twin_holds_the_results_as_they_are(evaluation: Path, page: Page) -> None:
    found = twin(evaluation)
    assert {key: found[key] for key in results(evaluation)} == results(evaluation)
    assert (found["is_finished"], found["missing"]) == (True, [])


def test_modes_and_costs_are_those_of_the_results(evaluation: Path, page: Page) -> None:
    modes = results(evaluation)["modes"]
    assert list(modes) == list(MODES)
    stops = dict.fromkeys(stop for row in modes.values() for stop in row["stops"])
    for name, row in modes.items():
        assert [
            name, str(row["samples"]), share(row["accuracy"]), between(row["accuracy_ci"]),
            share(row["look_rate"]), share(row["attempted_look_rate"]),
            number(row["looks_per_sample"]), str(row["unparsed"]), "0", "0",
            number(row["necessity"]["mcc"]),
        ] in page.rows  # fmt: skip
        assert [
            name, number(row["visual_tokens_per_sample"], 1),
            number(row["generated_tokens_per_sample"], 1), number(row["seconds_per_sample"], 3),
            number(row["latency_s"]["median"]), number(row["latency_s"]["p90"]),
            *(str(row["stops"].get(stop, 0)) for stop in stops),
        ] in page.rows  # fmt: skip


def test_official_metrics_are_those_of_the_results(evaluation: Path, page: Page) -> None:
    modes = results(evaluation)["modes"]
    for k, first in enumerate(modes["toolfree"]["metrics"]):
        same = [row["metrics"][k] for row in modes.values()]
        cells = [share(m["value"]) + between([m["low"], m["high"]]) for m in same]
        assert [first["name"], *cells, str(first["n"])] in page.rows


def test_gain_and_harm_are_those_of_the_results_and_add_up(evaluation: Path, page: Page) -> None:
    pairs = results(evaluation)["looking"]["gain_and_harm"]
    assert list(pairs) == [
        f"{a} against {b}" for a in ("adaptive", "always") for b in ("toolfree", "never")
    ]
    for pair, found in pairs.items():
        start = page.rows.index([f"{pair}, n = {found['n']}"])
        rows = page.rows[start + 1 : start + 6]
        terms = ("call_gain", "schema_gain", "call_harm", "schema_harm")
        for key, sign, row in zip(terms, (1, 1, -1, -1), rows, strict=False):
            one = found[key]
            ends = f"{percent(one['ci'][0])} to {percent(one['ci'][1])}"
            factors = [share(one[name]) for name in ("mass", "policy", "quality")]
            assert row[1:] == [points(sign * one["value"]), ends, *factors]
        assert rows[4][:2] == ["sum", points(found["difference"])]
        assert "add up to the measured difference" in rows[4][2]


def test_looks_against_need_are_those_of_the_results(evaluation: Path, page: Page) -> None:
    found = results(evaluation)["looking"]["decision"]
    rates = ("precision", "recall", "f1", "mcc")
    for name, one in {"known": found["known"], **found["estimated"]}.items():
        label = "known" if name == "known" else f"estimated, {name}"
        row = next(row for row in page.rows if row[0] == label)
        assert row[1] == str(one["n"])
        if one["n"]:
            assert row[3:8] == [share(one["base_rate"]), *(number(one[key]) for key in rates)]
            assert row[8:10] == [share(one["over_use"]), share(one["under_use"])]
    for row in twin(evaluation)["confusion"]["all"]:
        counts = [str(value) for key, value in row.items() if key not in ("class", "accuracy")]
        assert [row["class"], *counts, share(row["accuracy"])] in page.rows


def test_coverage_audit_and_other_gains_are_those_of_the_results(
    evaluation: Path, page: Page
) -> None:
    found = results(evaluation)
    looking = found["looking"]
    for name, row in looking["coverage"].items():
        assert [
            name, str(row["n"]), share(row["coverage"]), share(row["found"]), number(row["iou"]),
            str(row["wrong_and_missed"]), str(row["wrong_and_seen"]),
        ] in page.rows  # fmt: skip
    for crop in ("same", "blank", "shuffled"):
        row = found["audit"][crop]
        rates = [share(row[key]) for key in ("changed", "to_wrong", "to_right", "accuracy")]
        assert [crop, str(row["n"]), str(row["not_repeated"]), *rates] in page.rows
    looked = looking["selective_gain"]["looked"]
    gain = points(looked["with"] - looked["without"])
    assert [
        "looked", str(looked["n"]), share(looked["without"]), share(looked["with"]), gain,
    ] in page.rows  # fmt: skip
    for one in (looking["zooming_gap"], looking["above_mixture"]):
        low, high = one["ci"]
        assert f"{points(one['value'])} points" in page.text
        assert f"95 %: {points(low)} to {points(high)}" in page.text


def test_comparisons_are_those_of_the_results(evaluation: Path, page: Page) -> None:
    rows = results(evaluation)["comparisons"]
    assert len(rows) == 6
    for row in rows:
        first, second = row["modes"]
        shown = next(r for r in page.rows if r[0].startswith(f"{second} \N{MINUS SIGN} {first}"))
        assert shown[0].endswith(f"{share(row['second'])} \N{MINUS SIGN} {share(row['first'])}")
        ends = f"{points(row['low'])} to {points(row['high'])}"
        assert shown[2] == points(row["difference"]) + ends
        assert shown[3] == f"{row['only_second']}, {row['only_first']}"
        assert row["test"] in shown[4]
        is_shown = row["non_inferiority"]["is_shown"]
        assert shown[6].startswith("shown" if is_shown else "not shown")
        assert shown[8] == share(row["looks_saved"])
    assert "at most 1.0points worse" in page.text


def test_the_headline_says_what_is_not_official(evaluation: Path, page: Page) -> None:
    lead = page.text[: page.text.index("Results")]
    modes = results(evaluation)["modes"]
    for mode in ("adaptive", "always", "never"):
        assert share(modes[mode]["accuracy"]) in page.text
    assert "LookWorld" in lead
    assert "Not the full official set" not in page.text  # it has none of a fixed size
    assert "Not all questions" not in page.text


def test_parts_of_a_set_are_named(tmp_path: Path) -> None:
    run = play(tmp_path, 8, modes=["never"], limit=4)
    write_json(run / "results.json", results(run) | {"left_out": {"several images": 3}})
    page, _ = report(run)
    assert "Not all questions: only the first 4; 3 left out: several images." in page.text
    write_json(run / "results.json", results(run) | {"is_complete": False})
    page, _ = report(run)
    assert "Not the full official set: only the first 4; 3 left out" in page.text
    write_json(run / "results.json", results(run) | {"is_complete": True})
    page, found = report(run)
    assert "official set" not in page.text
    assert found["scope"] == []


def test_each_way_of_choosing_questions_is_named() -> None:
    config = {"limit": 5, "ids": ["a", "b"], "categories": ["x", "y"], "partial": True}
    assert scope(config, {}) == [
        "only the first 5",
        "only 2 chosen by their ids",
        "only of x, y",
        "from files that may lack rows",
    ]
    assert scope({"limit": None, "ids": [], "categories": [], "partial": False}, {}) == []


def test_protocol_prompts_and_command_are_given(evaluation: Path, page: Page) -> None:
    protocol = results(evaluation)["protocol"]
    assert protocol["hash"] in page.text
    assert all(prompt in page.text for prompt in protocol["prompts"].values())
    head = json.loads((evaluation / "config.json").read_text())
    assert " ".join(head["argv"]) in page.text


def test_trajectories_are_of_the_mode_that_decides(evaluation: Path, page: Page) -> None:
    found = twin(evaluation)
    assert len(found["trajectories"]) == 12
    assert {one["mode"] for one in found["trajectories"]} == {"adaptive"}
    assert page.tags["img"] >= 12
    assert all(one["verdict"] in page.text for one in found["trajectories"])
    assert "call malformed" in page.text


@pytest.mark.parametrize("mode", MODES)
def test_one_mode_alone_has_a_page(tmp_path: Path, mode: str) -> None:
    audit = 3 if mode in ("adaptive", "always") else 0
    page, found = report(play(tmp_path, 6, modes=[mode], audit=audit))
    assert set(SECTIONS) <= set(page.values("id"))
    assert "looks-figure_1" not in page.values("id")
    assert found["examples_of"] == mode
    assert "Not measured: differences between modes" in page.text
    assert share(found["modes"][mode]["accuracy"]) in page.text
    assert bool(found["decisions"]) is (mode == "adaptive")


def forget(row: Row) -> None:
    row["question"] |= {"needs_look": None, "boxes": [], "detail_px": None, "family": ""}


def test_without_boxes_and_known_need_nothing_is_said_of_them(own_evaluation: Path) -> None:
    change(own_evaluation, forget)
    page, found = report(own_evaluation)
    assert found["confusion"] == {"all": [], "family": [], "detail": []}
    assert [row["need"] for row in found["decisions"]] == ["posterior", "strict"]
    assert "needed:" not in page.source
    assert not re.search(r"need it\b|it needed|was needed|not needed|was enough", page.text)
    assert "need of a look unknown" in page.text
    assert "Not measured: coverage" in page.text
    assert "green box" not in page.source
    assert page.tags["img"] > 12


def test_an_interrupted_run_shows_the_answers_so_far(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        play(tmp_path, 8, modes=["never", "adaptive"], progress=Watched(5), audit=4)
    page, found = report(tmp_path / "run")
    assert found["missing"] == ["audit.jsonl", "results.json"]
    assert all(name in page.text for name in found["missing"])
    assert (found["is_finished"], found["comparisons"], found["looking"]) == (False, [], None)
    rows = read_jsonl(tmp_path / "run" / "samples.jsonl")
    counted = Counter(row["mode"] for row in rows)
    assert 0 < len(rows) < 16
    assert {mode: row["samples"] for mode, row in found["modes"].items()} == counted
    assert any(row[:2] == ["never", str(counted["never"])] for row in page.rows)
    assert "Interrupted." in page.text
    assert "official set" not in page.text
    assert page.tags["svg"] == 0


def test_a_run_of_a_config_alone_has_a_page(own_evaluation: Path) -> None:
    for name in ("samples.jsonl", "results.json"):
        (own_evaluation / name).unlink()
    page, found = report(own_evaluation)
    assert found["missing"] == ["results.json", "samples.jsonl"]
    assert "has answered nothing yet" in page.text
    assert page.tags["img"] == page.tags["svg"] == 0


@pytest.mark.parametrize("name", ["config.json", "samples.jsonl"])
def test_any_other_missing_file_is_named_and_the_results_are_shown(
    own_evaluation: Path, name: str
) -> None:
    (own_evaluation / name).unlink()
    page, found = report(own_evaluation)
    assert found["missing"] == [name]
    assert name in page.text
    assert share(results(own_evaluation)["modes"]["always"]["accuracy"]) in page.text


def test_results_of_another_kind_are_not_shown(own_evaluation: Path) -> None:
    write_json(own_evaluation / "results.json", {"modes": {}})
    _, found = report(own_evaluation)
    assert found["missing"] == ["results.json (not of an evaluation)"]
    assert found["modes"]["never"]["samples"] == 24


def test_answers_that_a_judge_left_undecided_have_no_accuracy(own_evaluation: Path) -> None:
    change(own_evaluation, lambda row: row.update(grade=None, answer=None))
    page, found = report(own_evaluation)
    assert {row["accuracy"] for row in found["modes"].values()} == {None}
    assert found["trajectories"] == []
    for mode in MODES:
        row = next(row for row in page.rows if row[0] == mode)
        assert (row[2], row[3], row[8]) == (DASH, DASH, "24")
    assert "has no answer that could be graded" in page.text


def fail(row: Row) -> None:
    row.update(grade=None, answer=None, prediction=None)
    turns = [*row["rollout"]["turns"][:1], {"role": "fault", "text": f"HTTP 500 {HOSTILE}"}]
    row["rollout"] |= {"stop": "fault", "turns": turns, "looks": []}


def test_where_everything_failed_the_messages_are_counted(own_evaluation: Path) -> None:
    change(own_evaluation, fail)
    (own_evaluation / "results.json").unlink()
    page, found = report(own_evaluation)
    assert [(row["mode"], row["count"]) for row in found["failures"]] == [
        (mode, 24) for mode in MODES
    ]
    assert any(row[:2] == ["never", "24"] and "HTTP 500" in row[2] for row in page.rows)
    assert page.tags["script"] == 0


def test_answers_that_do_not_count_are_named_beside_the_accuracy(own_evaluation: Path) -> None:
    def fail_some(row: Row) -> None:
        if row["mode"] == "adaptive" and row["question"]["id"].startswith("test-0-0-"):
            fail(row)

    change(own_evaluation, fail_some)
    page, found = report(own_evaluation)
    failed = found["modes"]["adaptive"]["failed"]
    assert failed > 0
    assert f"{failed} of its 24 answers have no grade and do not count." in page.text
    assert [row["count"] for row in found["failures"]] == [failed]


def test_failures_are_counted_by_their_message() -> None:
    rows = [
        {"mode": "never", "rollout": {"stop": stop, "turns": [{"text": text}]}}
        for stop, text in [("fault", "a"), ("fault", "b"), ("answered", "c"), ("fault", "b")]
    ]
    assert [(row["message"], row["count"]) for row in failures(rows)] == [("b", 2), ("a", 1)]


def test_hostile_text_stays_text(own_evaluation: Path) -> None:
    def spoil(row: Row) -> None:
        hostile = {"text": HOSTILE, "answer": HOSTILE, "family": HOSTILE, "kind": HOSTILE}
        row["question"] |= hostile | {"id": f"{row['question']['id']} {HOSTILE}"}
        row["answer"] = HOSTILE
        for turn in row["rollout"]["turns"]:
            turn["text"] += HOSTILE
        if row["question"]["id"].startswith("test-0-0-"):
            row["question"]["image"] = f"/nowhere/{HOSTILE}"
        if row["question"]["id"].startswith("test-0-1-"):
            fail(row)

    change(own_evaluation, spoil)
    found = results(own_evaluation)
    said = {"id": HOSTILE, "said": HOSTILE, "reference": HOSTILE, "rules_read": HOSTILE,
            "rules": 1.0, "judge": False}  # fmt: skip
    found["judge"] = {
        "both_right": 3, "only_rules": 1, "only_judge": 0, "both_wrong": 4, "undecided": 2,
        "n": 8, "rate": 0.875, "kappa": 0.75, "rows": [said],
    }  # fmt: skip
    found |= {"title": HOSTILE, "left_out": {HOSTILE: 3}}
    found["model"] = {"name": HOSTILE, "identity": HOSTILE}
    found["protocol"]["prompts"]["never"] = found["protocol"]["grader"] = HOSTILE
    write_json(own_evaluation / "results.json", found)
    head = json.loads((own_evaluation / "config.json").read_text())
    head["config"] |= {"categories": [HOSTILE]}
    write_json(own_evaluation / "config.json", head | {"argv": [HOSTILE], "machine": HOSTILE})
    page, _ = report(own_evaluation)
    assert page.tags["script"] == page.tags["textarea"] == 0
    assert page.values("onerror") == []
    assert all(source.startswith("data:image/") for source in page.values("src"))
    assert page.text.count('<script>alert("x")</script>') > 30
    assert {"judge", "failures"} <= set(page.values("id"))


def test_the_judge_and_what_it_says_otherwise_are_shown(own_evaluation: Path) -> None:
    row = {"id": "q7", "said": "a cat", "reference": "cats", "rules_read": None,
           "rules": 0.0, "judge": True}  # fmt: skip
    judge = {
        "both_right": 5, "only_rules": 0, "only_judge": 50, "both_wrong": 4, "undecided": 2,
        "n": 59, "rate": 9 / 59, "kappa": 0.125, "rows": [row] * 50,
    }  # fmt: skip
    write_json(own_evaluation / "results.json", results(own_evaluation) | {"judge": judge})
    page, found = report(own_evaluation)
    assert ["judge: right", "5", "50"] in page.rows
    assert page.rows.count(["q7", "a cat", "cats", DASH, "0.00", "right"]) == 40
    assert "the first 40 of 50" in page.text
    assert len(found["judge"]["rows"]) == 50


def test_several_samples_show_each_question_once(tmp_path: Path) -> None:
    run = play(tmp_path, 5, modes=["never", "always", "adaptive"], samples=2, temperature=1.0)
    page, found = report(run)
    ids = [one["question"]["id"] for one in found["trajectories"]]
    assert len(set(ids)) == len(ids) == 5
    assert "(split half)" in page.text
    assert any(row[0] == "estimated, strict" and row[-1] == "2.0 + 2.0" for row in page.rows)


def test_grades_between_right_and_wrong_have_terms_without_factors(own_evaluation: Path) -> None:
    def soften(row: Row) -> None:
        row["grade"] = 0.75 * row["grade"] if row["grade"] is not None else None

    change(own_evaluation, soften)
    page, _ = report(own_evaluation)
    start = next(k for k, row in enumerate(page.rows) if "adaptive against never" in row[0])
    assert page.rows[start + 1][3:] == [DASH, DASH, DASH]
    assert any(row[3] == DASH for row in page.rows if row[0].startswith("adaptive \N{MINUS SIGN}"))


def test_numbers_that_json_does_not_know_become_gaps(own_evaluation: Path) -> None:
    found = results(own_evaluation)
    found["modes"]["never"]["seconds_per_sample"] = float("nan")
    (own_evaluation / "results.json").write_text(json.dumps(found))
    _, read = report(own_evaluation)
    assert read["modes"]["never"]["seconds_per_sample"] is None


def test_missing_images_leave_a_note(own_evaluation: Path) -> None:
    change(own_evaluation, lambda row: row["question"].update(image="/nowhere/at all.png"))
    page, _ = report(own_evaluation)
    assert page.tags["img"] == 0
    assert "/nowhere/at all.png cannot be opened" in page.text


def test_images_are_found_in_a_run_that_was_moved(tmp_path: Path) -> None:
    run = play(tmp_path / "first", 5, modes=["adaptive"])
    (tmp_path / "first" / "data").rename(run / "data")
    page, _ = report(run.rename(tmp_path / "second"))
    assert page.tags["img"] >= 5


def test_examples_are_of_the_first_mode_that_looked() -> None:
    looked = [{"rollout": {"looks": [{"outcome": "executed"}]}}]
    refused = [{"rollout": {"looks": [{"outcome": "refused"}]}}]
    assert mode_of_examples({"never": refused, "always": looked}) == "always"
    assert mode_of_examples({"never": refused, "oracle": refused}) == "never"
    assert mode_of_examples({"always": looked, "adaptive": refused}) == "adaptive"
    assert mode_of_examples({}) is None


def test_qualities_of_no_decision_are_unknown() -> None:
    estimate = {"n": 0, "precision": 0.0, "mcc": 0.0, "abstained": 9, "rollouts_per_side": {}}
    looking = {"decision": {"estimated": {"posterior": estimate}}}
    (row,) = decisions({"modes": {}, "looking": looking})
    assert (row["precision"], row["mcc"], row["abstained"]) == (None, None, 9)
