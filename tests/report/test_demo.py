import json
import re
from collections import Counter
from pathlib import Path

import pytest

from lookless.report.demo import columns, gather, late_groups
from lookless.report.html import write_report
from lookless.report.page import located
from lookless.runs import append_jsonl, read_jsonl
from report.conftest import HOSTILE, WriteRun
from report.pages import Page, twin


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(write_report(run))


def test_the_page_has_every_section(page: Page) -> None:
    sections = {"results", "necessity", "cases", "sft", "rl", "groups", "settings"}
    assert sections <= set(page.values("id"))
    assert "missing" not in page.values("id")


def test_links_lead_to_something(page: Page) -> None:
    inside = {link[1:] for link in page.values("href") if link.startswith("#")}
    assert inside <= set(page.values("id"))


def test_ids_are_unique(page: Page) -> None:
    assert [name for name, count in Counter(page.values("id")).items() if count > 1] == []


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    assert all(source.startswith("data:image/") for source in page.values("src"))
    assert {link for link in page.values("href") if not link.startswith("#")} == {"report.json"}
    assert "@import" not in page.source
    assert len(page.source) < 5_000_000


def test_pictures_and_plots_say_what_they_show(page: Page) -> None:
    images = [attributes for tag, attributes in page.attributes if tag == "img"]
    plots = [attributes for tag, attributes in page.attributes if tag == "svg"]
    assert len(images) >= 14
    assert len(plots) >= 10
    assert all(image["alt"] for image in images)
    assert all(plot["aria-label"] for plot in plots)


def test_head_cells_have_a_scope(page: Page) -> None:
    heads = [attributes for tag, attributes in page.attributes if tag == "th"]
    assert heads
    assert all(head.get("scope") for head in heads)


def test_the_page_follows_light_and_dark(page: Page) -> None:
    assert "prefers-color-scheme: dark" in page.source
    used = set(re.findall(r"var\(--([a-z0-9]+)\)", page.source)) - {"part"}
    defined = Counter(re.findall(r"--([a-z0-9]+): #", page.source))
    assert {name: defined[name] for name in used} == dict.fromkeys(used, 2)


def test_the_table_shows_what_the_twin_holds(page: Page, run: Path) -> None:
    shown = {tuple(row) for row in page.rows}
    for table in twin(run)["tables"]:
        for row in table["rows"]:
            low, high = row["accuracy_ci"]
            need = row["necessity"]
            assert (
                row["policy"],
                f"{row['accuracy']:.1%}",
                f"{low:.1%} \N{EN DASH} {high:.1%}",
                f"{row['look_rate']:.1%}",
                f"{row['looks_per_sample']:.2f}",
                f"{row['visual_tokens_per_sample']:.1f}",
                f"{row['seconds_per_sample']:.3f}",
                *(f"{need[key]:.2f}" for key in ("precision", "recall", "f1", "mcc")),
            ) in shown


def test_the_confusion_shows_what_the_twin_holds(page: Page, run: Path) -> None:
    confusion = twin(run)["confusion"]
    for row in confusion["all"] + confusion["family"] + confusion["detail"]:
        counts = [str(value) for key, value in row.items() if key not in ("class", "accuracy")]
        assert [row["class"], *counts, f"{row['accuracy']:.1%}"] in page.rows


def test_every_reward_part_of_two_groups_is_shown(page: Page, run: Path) -> None:
    groups = twin(run)["groups"]
    assert [group["question"]["needs_look"] for group in groups] == [True, False]
    for part in ("accuracy", "instruction", "align", "agree"):
        assert sum(part in row for row in page.rows) >= 2
    assert [row[0] for row in page.rows if len(row) == 1] == [
        "forced",
        "prohibited",
        "adaptive",
    ] * 2
    paid = groups[0]["rollouts"][-1]
    total = f"{sum(paid['parts'].values()):.2f}"
    assert any(row[0] == paid["answer"] and total in row for row in page.rows)


def test_trajectories_show_their_turns_and_grades(page: Page, run: Path) -> None:
    for one in twin(run)["trajectories"]:
        assert one["verdict"] in page.text
        assert all(turn["text"].strip() in page.text for turn in one["rollout"]["turns"])
    assert "zoom_in" in page.text
    assert not re.search(r"Reward [^;]*\.[a-z]", page.text)


def test_hostile_text_stays_text(make_run: WriteRun) -> None:
    run = make_run(said=HOSTILE, steps=2, queries=3)
    rows = read_jsonl(run / "eval" / "rgrl.jsonl")
    (run / "eval" / "rgrl.jsonl").unlink()
    for row in rows:
        row["question"] |= {"text": HOSTILE, "answer": HOSTILE, "id": HOSTILE, "family": HOSTILE}
        row["rollout"]["answer"] = HOSTILE
        append_jsonl(run / "eval" / "rgrl.jsonl", row)
    page = Page(write_report(run))
    assert page.tags["script"] == page.tags["textarea"] == 0
    assert page.values("onerror") == []
    assert all(source.startswith("data:image/") for source in page.values("src"))
    assert '<script>alert("x")</script>' in page.text
    assert "$e^x$" in page.text


def test_a_run_stopped_before_evaluation_still_has_its_curves(make_run: WriteRun) -> None:
    run = make_run(is_finished=False)
    page = Page(write_report(run))
    assert {"results.json", "eval/rgrl.jsonl", "eval/never.shifted.jsonl"} <= set(
        twin(run)["missing"]
    )
    assert all(name in page.text for name in twin(run)["missing"])
    assert "rl-looks-figure_1" in page.values("id")
    assert "looks-test-figure_1" not in page.values("id")


def test_a_run_stopped_during_evaluation_shows_the_policies_that_are_done(
    make_run: WriteRun,
) -> None:
    run = make_run()
    (run / "results.json").unlink()
    for name in ("sft", "rgrl"):
        (run / "eval" / f"{name}.summary.json").unlink()
        (run / "eval" / f"{name}.jsonl").unlink()
    page = Page(write_report(run))
    test, shifted = twin(run)["tables"]
    assert [row["policy"] for row in test["rows"]] == ["never", "always"]
    assert [row["policy"] for row in shifted["rows"]] == ["never", "always", "sft", "rgrl"]
    assert (test["n"], test["oracle_look_rate"]) == (36, 1 / 3)
    assert "eval/sft.jsonl" in page.text


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "results.json",
        "sft/metrics.jsonl",
        "rgrl/metrics.jsonl",
        "pixel_reasoner/metrics.jsonl",
        "rgrl/rollouts.jsonl",
        "eval/rgrl.jsonl",
    ],
)
def test_any_one_missing_file_is_named(make_run: WriteRun, name: str) -> None:
    run = make_run(compare=("pixel_reasoner",), steps=2, queries=3)
    (run / name).unlink()
    page = Page(write_report(run))
    assert twin(run)["missing"] == [name]
    assert name in page.text


def test_a_broken_file_is_named_with_its_fault(make_run: WriteRun) -> None:
    run = make_run(steps=2, queries=3)
    (run / "results.json").write_text('{"n": 3')
    write_report(run)
    assert twin(run)["missing"] == ["results.json (not JSON)"]


def test_a_run_of_a_config_alone_can_be_reported(make_run: WriteRun) -> None:
    run = make_run(is_finished=False, steps=2, queries=3)
    for file in (*run.glob("*/*.jsonl"),):
        file.unlink()
    page = Page(write_report(run))
    assert page.tags["svg"] == page.tags["img"] == 0


def test_missing_images_leave_a_note(make_run: WriteRun) -> None:
    run = make_run(steps=2, queries=3)
    for file in (run / "data").rglob("*.png"):
        file.unlink()
    page = Page(write_report(run))
    assert page.tags["img"] == 0
    assert "cannot be opened" in page.text


def test_images_are_found_in_a_run_that_was_moved(make_run: WriteRun, tmp_path: Path) -> None:
    run = make_run(steps=2, queries=3).rename(tmp_path / "moved")
    page = Page(write_report(run))
    assert page.tags["img"] >= 12
    assert located(run, "elsewhere/data/test/images/0.png") == run / "data/test/images/0.png"


def test_numbers_that_json_does_not_know_become_gaps(make_run: WriteRun) -> None:
    run = make_run(steps=2, queries=3)
    append_jsonl(run / "rgrl" / "metrics.jsonl", {"step": 3, "loss/grad_norm": float("nan")})
    append_jsonl(run / "sft" / "metrics.jsonl", {"step": 99, "loss": float("inf")})
    write_report(run)
    assert twin(run)["curves"]["rgrl"]["loss/grad_norm"][-1] is None
    assert twin(run)["curves"]["sft"]["loss"][-1] is None


def test_undecidable_rollouts_and_empty_answers_are_shown_as_dashes(make_run: WriteRun) -> None:
    run = make_run(steps=1, queries=2)
    rows = read_jsonl(run / "rgrl" / "rollouts.jsonl")
    (run / "rgrl" / "rollouts.jsonl").unlink()
    for row in rows:
        row |= {"need": None, "p_look": None}
        for r in row["rollouts"]:
            r |= {"grade": None, "parts": None, "advantage": None, "answer": None}
        append_jsonl(run / "rgrl" / "rollouts.jsonl", row)
    page = Page(write_report(run))
    assert "undecided" in page.text
    dash = "\N{EN DASH}"
    assert [row for row in page.rows if row[0] == dash and set(row[2:]) == {dash}]


def test_the_bins_of_detail_size_are_in_order(run: Path) -> None:
    rows = gather(run)["confusion"]["detail"]
    assert [row["class"] for row in rows] == ["0 to 5 px", "from 30 px"]
    assert [row["n"] for row in rows] == [12, 24]


def test_columns_have_a_gap_where_a_step_lacks_a_metric() -> None:
    rows = [{"step": 1, "b": 0.5}, {"step": 2, "c": 1.0}]
    assert columns(rows) == {"step": [1, 2], "b": [0.5, None], "c": [None, 1.0]}


def test_the_late_groups_are_the_last_with_and_without_need() -> None:
    rows = [{"step": k, "question": {"needs_look": k in (2, 3)}} for k in range(7)]
    assert [group["step"] for group in late_groups(rows)] == [3, 6]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [0]), (5, [4, 3])])
def test_without_one_kind_the_last_groups_take_its_place(count: int, expected: list[int]) -> None:
    rows = [{"step": k, "question": {"needs_look": None}} for k in range(count)]
    assert [group["step"] for group in late_groups(rows)] == expected


def test_the_tables_are_those_of_the_results(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    test, shifted = gather(run)["tables"]
    for table, of in ((test, results), (shifted, results["shifted"])):
        assert {row["policy"]: {**row} for row in table["rows"]} == {
            name: {"policy": name} | row for name, row in of["policies"].items()
        }
        assert (table["n"], table["protocol"]) == (of["n"], of["protocol"])
        assert (table["oracle_look_rate"], table["seed"]) == (of["oracle_look_rate"], 3)


def test_a_complete_run_misses_nothing(run: Path) -> None:
    assert gather(run)["missing"] == []


def test_every_trained_reward_has_curves(run: Path) -> None:
    curves = gather(run)["curves"]
    assert list(curves) == ["sft", "rgrl", "pixel_reasoner"]
    assert curves["rgrl"]["step"] == [1, 2, 3, 4, 5, 6]
    assert len(curves["rgrl"]["look_rate/adaptive"]) == 6
