import math
import re
from xml.etree import ElementTree

import pytest

from lookless.report.plots import (
    INK,
    SERIES,
    Line,
    Term,
    curves_svg,
    gains_svg,
    looks_svg,
    running_mean,
)

POLICIES = {
    name: {"accuracy": right, "look_rate": rate, "accuracy_ci": [right - 0.02, right + 0.02]}
    for name, right, rate in [
        ("never", 0.7, 0.0), ("always", 0.95, 1.0), ("sft", 0.9, 0.7), ("rgrl", 0.94, 0.25),
        ("deepeyes", 0.95, 0.99),
    ]
}  # fmt: skip


def curves(name: str = "a", label: str = "loss") -> str:
    line = Line(label, [1.0, None, 0.5, 0.25], SERIES[0])
    return curves_svg(name, 'the "loss" <falls>', [1, 2, 3, 4], [line])


def test_a_plot_is_well_formed_and_says_what_it_shows() -> None:
    root = ElementTree.fromstring(curves())
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == 'the "loss" <falls>'
    assert "viewBox" in root.attrib
    assert "width" not in root.attrib


TERMS = [Term("gain", SERIES[0], is_gain=True), Term("harm", SERIES[1], is_gain=False)]


def gains(rows: dict[str, list[float]]) -> str:
    return gains_svg("g", "", rows, TERMS)


@pytest.mark.parametrize(
    "svg", [curves(), looks_svg("b", "", POLICIES, 0.25), gains({"a": [0.2, 0.1]})]
)
def test_all_colours_follow_the_page(svg: str) -> None:
    assert "var(--" in svg
    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []


def test_ids_of_two_plots_never_meet() -> None:
    one, other = (set(re.findall(r'\bid="([^"]+)"', curves(name))) for name in ("a", "b"))
    assert one
    assert not one & other
    svg = curves("a")
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
    assert used
    assert {first or second for first, second in used} <= one


def test_the_same_values_give_the_same_plot() -> None:
    assert curves() == curves()


def test_labels_are_text_and_no_mathematics() -> None:
    root = ElementTree.fromstring(curves(label="a <b> & $x^2$"))
    assert "a <b> & $x^2$" in {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}


def test_nothing_is_loaded_from_elsewhere() -> None:
    outside = re.findall(r'(?:href|src)="(?!#)[^"]*"|@import|url\((?!#)', curves())
    assert outside == []


def test_every_policy_and_the_need_are_named_beside_the_points() -> None:
    svg = looks_svg("a", "", POLICIES, 0.25)
    texts = {t.text for t in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {*POLICIES, "needed: 25%"} <= texts


def test_one_policy_alone_is_enough() -> None:
    svg = looks_svg("a", "", {"sft": POLICIES["sft"]}, None)
    assert "sft" in svg
    assert "needed" not in svg


def test_a_curve_without_any_value_leaves_an_empty_plot() -> None:
    svg = curves_svg("a", "", [1, 2], [Line("x", [None, None], INK)], is_share=True, top=1.0)
    assert "100%" in svg


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([2.0], [2.0]),
        ([0.0, 3.0, 6.0], [1.5, 3.0, 4.5]),
        ([None, None, None], [None, None, None]),
        ([1.0, None, None, None, 2.0], [1.0, 1.0, None, 2.0, 2.0]),
    ],
)
def test_the_running_mean_takes_what_there_is(
    values: list[float | None], expected: list[float | None]
) -> None:
    assert running_mean(values, over=3) == expected


def test_the_running_mean_stays_within_the_values() -> None:
    values: list[float | None] = [math.sin(k) for k in range(40)]
    known = [v for v in running_mean(values) if v is not None]
    assert len(known) == 40
    assert max(known) < 1


def test_gains_name_their_rows_and_terms_as_text() -> None:
    root = ElementTree.fromstring(gains({"a <b> $x$": [0.2, 0.1], "c": [0.0, 0.0]}))
    texts = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"a <b> $x$", "c", "gain", "harm", "sum"} <= texts


def test_gains_lie_right_of_zero_and_harms_left() -> None:
    svg = gains({"a": [0.3, 0.1]})
    bars: dict[str, list[float]] = {}
    for path, colour in re.findall(r'<path d="([^"]*)"[^>]*style="fill: var\(--(s\d)\)', svg):
        bars.setdefault(colour, [float(x) for x in re.findall(r"[ML] (-?[\d.]+)", path)])
    gain, harm = bars["s1"], bars["s2"]
    assert max(harm) == pytest.approx(min(gain))
    assert max(gain) - min(gain) == pytest.approx(3 * (max(harm) - min(harm)), rel=1e-3)
