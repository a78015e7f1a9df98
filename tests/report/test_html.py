import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lookless.errors import RunError
from lookless.report.html import located, number, pieces, write_report
from lookless.runs import append_jsonl, read_jsonl, write_json
from report.conftest import HOSTILE, WriteRun

VOID = {"meta", "img", "br", "link", "input", "path", "use", "rect", "circle"}


class Page(HTMLParser):
    """What a browser would make of a page: elements, ids, cells, text; checks the nesting."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.open: list[str] = []
        self.source = file.read_text()
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def values(self, attribute: str) -> list[str]:
        return [a[attribute] or "" for _, a in self.attributes if attribute in a]


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(write_report(run))


def twin(run: Path) -> dict[str, Any]:
    """Return the JSON twin, refusing what is not JSON."""

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    loaded: dict[str, Any] = json.loads((run / "report.json").read_text(), parse_constant=refuse)
    return loaded


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


def test_writing_again_gives_the_same_bytes(run: Path) -> None:
    files = run / "report.html", run / "report.json"
    write_report(run)
    first = [file.read_bytes() for file in files]
    write_report(run)
    assert [file.read_bytes() for file in files] == first
    assert list(run.glob("*.part")) == []


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


@pytest.mark.parametrize("config", [None, {}, {"config": {"split": "test", "count": 12}}])
def test_a_folder_that_is_no_run_is_refused_in_one_line(
    tmp_path: Path, config: dict[str, object] | None
) -> None:
    folder = tmp_path / "other"
    if config is not None:
        folder.mkdir()
        write_json(folder / "config.json", config)
    with pytest.raises(RunError, match=r"^run must be a folder that .*check the path$"):
        write_report(folder)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("", []),
        ("plain", ["plain"]),
        ("<think>a</think>\n<tool_call>\n{}\n</tool_call>", ["think", "plain", "call"]),
        ("<tool_call>{never closed", ["call"]),
        ("so \\boxed{red}<|im_end|>", ["plain", "answer", "special"]),
        ("<tool_call>a</tool_call><tool_call>b</tool_call>", ["call", "call"]),
    ],
)
def test_text_is_cut_by_what_it_says_and_nothing_is_lost(text: str, kinds: list[str]) -> None:
    assert [kind for kind, _ in pieces(text)] == kinds
    assert "".join(part for _, part in pieces(text)) == text


def test_zero_has_no_sign() -> None:
    assert number(-0.0) == "0.00"
    assert number(-0.1, 1) == "-0.1"
