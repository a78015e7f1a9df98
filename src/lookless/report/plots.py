"""Plots as inline SVG whose colours are CSS variables: they follow the page's light or dark."""

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.transforms import Bbox

from lookless.report.format import MINUS

INK, MUTED, GRID, PAPER = "#000001", "#000002", "#000003", "#000004"
SERIES = ("#000011", "#000012", "#000013", "#000014", "#000015", "#000016")
RAMP = ("#000021", "#000022", "#000023", "#000024", "#000025")
_VARIABLES = {
    **{INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", "#000000": "ink"},
    **{colour: f"s{k}" for k, colour in enumerate(SERIES, 1)},
    **{colour: f"r{k}" for k, colour in enumerate(RAMP, 1)},
}
"""Colours that matplotlib writes, and the names of the CSS variables that replace them."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lookless",
    "text.parse_math": False,
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.fontsize": 9,
}
SMOOTHED_OVER = 5
"""Steps of the centred running mean drawn over noisy curves."""
_LETTER_PT, _LINE_PT, _HANDLE_PT = 5.2, 11.0, 32.0
_WIDTH_IN = 5.6
_DPI = 72
"""So that pixels are typographic points, as in SVG."""

_SIDES = (
    *((9, -4), (9, 8), (9, -16), (-9, -4), (-9, 8), (-9, -16), (0, 11), (0, -19)),
    *((-9, 20), (-9, -28), (9, 20), (9, -28), (0, 23), (0, -31), (-9, -40), (9, -40)),
)
"""Where a name may stand relative to its point, the best places first."""

OURS = ("rgrl", "adaptive")
"""Policies and modes that decide: a plot is about them."""

Values = Sequence[float | None]
Point = tuple[float, float]
Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Line:
    """One curve of a plot."""

    label: str
    values: Values
    """One per step; None where nothing was measured."""
    colour: str
    dash: str = "-"
    is_smoothed: bool = True


@dataclass(frozen=True)
class Term:
    """A part of bars."""

    label: str
    colour: str
    is_gain: bool


def curves_svg(
    name: str,
    alt: str,
    steps: Sequence[float],
    lines: Sequence[Line],
    *,
    is_share: bool = False,
    top: float | None = None,
) -> str:
    """Return a plot of curves over training steps as SVG.

    Args:
        name: Unique on the page; starts all ids.
        alt: What the plot shows, for those who cannot see it.
        steps: The horizontal axis.
        lines: Drawn in order; smoothed ones with their raw values faintly behind.
        is_share: Whether the values are in 0..1 and shown as percentages.
        top: Upper end of the vertical axis; None fits it to the values.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, 3.1), dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        for line in lines:
            raw = [math.nan if value is None else value for value in line.values]
            if line.is_smoothed:
                axes.plot(steps, raw, color=line.colour, linewidth=0.8, alpha=0.3)
                raw = [math.nan if v is None else v for v in running_mean(line.values)]
            axes.plot(steps, raw, line.dash, color=line.colour, linewidth=1.8, label=line.label)
        if is_share:
            _percent(axes, "y")
        low, high = axes.get_ylim()
        high = high if top is None else 1.03 * top
        axes.set_ylim(min(low, -0.03 * high), high)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.01)
        width = sum(_HANDLE_PT + _LETTER_PT * len(line.label) for line in lines)
        ncols = len(lines) if width < _WIDTH_IN * _DPI else 3
        figure.legend(loc="outside upper left", ncols=ncols, labelcolor=INK, columnspacing=1.4)
        return _svg(figure, name, alt)


def running_mean(values: Values, over: int = SMOOTHED_OVER) -> list[float | None]:
    """Return the centred mean of each value and its neighbours; narrower gaps are bridged.

    Example:
        >>> running_mean([0.0, None, 1.0, 2.0], over=3)
        [0.0, 0.5, 1.5, 1.5]
    """
    half = over // 2
    means: list[float | None] = []
    for place in range(len(values)):
        near = [v for v in values[max(place - half, 0) : place + half + 1] if v is not None]
        means.append(sum(near) / len(near) if near else None)
    return means


def looks_svg(
    name: str, alt: str, policies: Mapping[str, Mapping[str, Any]], oracle: float | None
) -> str:
    """Return accuracy against look rate of each policy as SVG.

    Never and always looking are joined by a line: what answering a random share of the questions
    with a look would give. The intervals of the accuracy are vertical bars; `oracle` is a dashed
    line at the share of questions that need a look.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, 3.9), dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        points = {key: (row["look_rate"], row["accuracy"]) for key, row in policies.items()}
        segments: list[tuple[Point, Point]] = []
        if "never" in points and "always" in points:
            segments.append((points["never"], points["always"]))
            ends = zip(*segments[0], strict=True)
            axes.plot(*ends, color=MUTED, linewidth=1.2, zorder=1)
        colours = {key: colour_of(key, place) for place, key in enumerate(points)}
        for key, (x, y) in points.items():
            colour = colours[key]
            low, high = policies[key]["accuracy_ci"]
            segments.append(((x, low), (x, high)))
            axes.plot([x, x], [low, high], color=colour, linewidth=1.2, alpha=0.6, zorder=2)
            axes.plot(x, y, "o", color=colour, markersize=8, markeredgecolor=PAPER, zorder=3)
        lowest = min(policies[key]["accuracy_ci"][0] for key in points)
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylim(max(math.floor(lowest * 20 - 0.5) / 20, 0.0), 1.02)
        _percent(axes, "x")
        _percent(axes, "y")
        axes.set_xlabel("look rate")
        axes.set_ylabel("accuracy")
        if oracle is not None:
            axes.axvline(oracle, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        figure.draw_without_rendering()
        _label_points(axes, points, segments, colours, oracle)
        return _svg(figure, name, alt)


def gains_svg(
    name: str, alt: str, rows: Mapping[str, Sequence[float]], terms: Sequence[Term]
) -> str:
    """Return gains to the right of zero and harms to the left, one bar for each row, as SVG.

    Args:
        name: Unique on the page; starts all ids.
        alt: What the plot shows, for those who cannot see it.
        rows: Values in 0..1 by what they are of, one for each term.
        terms: What the values stand for. A mark shows gains minus harms.
    """
    with mpl.rc_context(_STYLE):
        height = 1.2 + 0.4 * len(rows)
        figure = Figure(figsize=(_WIDTH_IN, height), dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False, axis="y")
        axes.use_sticky_edges = False
        places = range(len(rows))
        ends = {True: [0.0] * len(rows), False: [0.0] * len(rows)}
        drawn: list[Artist] = []
        for k, term in enumerate(terms):
            widths = [values[k] if term.is_gain else -values[k] for values in rows.values()]
            left = ends[term.is_gain]
            drawn += axes.barh(places, widths, 0.62, left, color=term.colour, linewidth=0)[:1]
            ends[term.is_gain] = [a + b for a, b in zip(left, widths, strict=True)]
        net = [right + left for right, left in zip(ends[True], ends[False], strict=True)]
        drawn += axes.plot(net, places, "D", color=INK, markersize=6, markeredgecolor=PAPER)
        axes.axvline(0, color=MUTED, linewidth=1.2)
        axes.set_yticks(places, list(rows))
        axes.invert_yaxis()
        axes.margins(x=0.04)
        axes.xaxis.set_major_formatter(lambda value, _: _signed(100 * value))
        axes.set_xlabel("points of accuracy")
        labels = [*(term.label for term in terms), "sum"]
        figure.legend(
            drawn, labels, loc="outside upper left", ncols=3, labelcolor=INK, columnspacing=1.4
        )
        return _svg(figure, name, alt)


def bars_svg(name: str, alt: str, counts: Mapping[str, int], unit: str) -> str:
    """Return counts as one bar below the other, as SVG.

    Args:
        name: Unique on the page; starts all ids.
        alt: What the plot shows, for those who cannot see it.
        counts: By what is counted.
        unit: Of what they count.
    """
    with mpl.rc_context(_STYLE):
        height = 0.8 + 0.3 * len(counts)
        figure = Figure(figsize=(_WIDTH_IN, height), dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False, axis="y")
        drawn = axes.barh(range(len(counts)), list(counts.values()), 0.66, color=SERIES[0])
        axes.bar_label(drawn, [f"{count:,}" for count in counts.values()], padding=4, color=INK)
        axes.set_yticks(range(len(counts)), list(counts))
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel(unit)
        return _svg(figure, name, alt)


def colour_of(policy: str, place: int) -> str:
    """Return a policy's or mode's colour: fixed for the known ones, by place for the others."""
    ours = dict.fromkeys(OURS, SERIES[0])
    own = {"never": MUTED, "always": MUTED, "sft": SERIES[1], "toolfree": SERIES[1], **ours}
    return own.get(policy, SERIES[2 + place % (len(SERIES) - 2)])


def _label_points(
    axes: Axes,
    points: Mapping[str, Point],
    segments: Sequence[tuple[Point, Point]],
    colours: Mapping[str, str],
    oracle: float | None,
) -> None:
    """Write each point's name near it, where it covers no point, no line and no other name."""
    frame = axes.get_window_extent()
    at = {key: axes.transData.transform(point) for key, point in points.items()}
    taken: list[Rectangle] = [(x - 5, y - 5, x + 5, y + 5) for x, y in at.values()]
    for segment in segments:
        start, end = axes.transData.transform(segment)
        line = np.linspace(start, end, 100)
        taken += [(x - 1, y - 1, x + 1, y + 1) for x, y in line.tolist()]
    if oracle is not None:
        x, y = axes.transData.transform((oracle, 0))[0], frame.y0
        label = f"needed: {oracle:.0%}"
        axes.annotate(
            label,
            (oracle, 0),
            (5, 5),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=MUTED,
        )
        taken += [(x - 1, y, x + 1, frame.y1), (x, y, x + 5 + _LETTER_PT * len(label), y + 16)]
    for key, (x, y) in at.items():
        width = _LETTER_PT * len(key)
        best = min(_SIDES, key=lambda s: _overlap(_place(x, y, s, width), taken, frame))
        taken.append(_place(x, y, best, width))
        align = "left" if best[0] > 0 else "right" if best[0] < 0 else "center"
        weight = "bold" if key in OURS else "normal"
        axes.annotate(
            key,
            points[key],
            best,
            textcoords="offset points",
            ha=align,
            weight=weight,
            color=colours[key],
        )


def _place(x: float, y: float, side: tuple[int, int], width: float) -> Rectangle:
    """Return the rectangle of a name beside a point, in typographic points."""
    left = x + side[0] - (width if side[0] < 0 else width / 2 if side[0] == 0 else 0)
    return left, y + side[1] - 2, left + width, y + side[1] + _LINE_PT - 2


def _overlap(box: Rectangle, taken: Sequence[Rectangle], frame: Bbox) -> float:
    """Return the area that a name would cover of others; more where it leaves the axes."""
    total = 0.0
    for other in taken:
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        total += max(width, 0.0) * max(height, 0.0)
    is_out = box[0] < frame.x0 or box[2] > frame.x1 + 2 or box[1] < frame.y0 or box[3] > frame.y1
    return total + (1e6 if is_out else 0.0)


def _signed(value: float) -> str:
    """Return a tick's number with its sign; zero, which rounding can miss, has none."""
    return "0" if abs(value) < 1e-9 else f"{value:+.3g}".replace("-", MINUS)


def _percent(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _svg(figure: Figure, name: str, alt: str) -> str:
    """Return a figure as an SVG element without background, with ids of its own."""
    file = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(
        r"#0000[0-2][0-9]\b",
        lambda m: f"var(--{_VARIABLES[m[0]]})" if m[0] in _VARIABLES else m[0],
        text,
    )
    # The size is the page's business: only viewBox stays.
    text = re.sub(r'^(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1, flags=re.S)
    text = re.sub(r'^(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1, flags=re.S)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)
