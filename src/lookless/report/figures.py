"""Which plots a report has, from its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lookless.episode import TRAINED_MODES
from lookless.report.data import Record, bin_name
from lookless.report.format import percent, share
from lookless.report.plots import (
    INK,
    MUTED,
    RAMP,
    SERIES,
    Line,
    Term,
    colour_of,
    curves_svg,
    gains_svg,
    looks_svg,
)
from lookless.training.rl_metrics import SIZE_BINS_PX


@dataclass(frozen=True)
class Figure:
    """A plot with what is said under it."""

    svg: Markup
    caption: str


_TERMS = {
    "call_gain": Term("gain, looked", SERIES[0], is_gain=True),
    "schema_gain": Term("gain, no look", SERIES[5], is_gain=True),
    "call_harm": Term("harm, looked", SERIES[1], is_gain=False),
    "schema_harm": Term("harm, no look", SERIES[4], is_gain=False),
}
"""How the terms of gain and harm are drawn."""


def demo_figures(twin: Record) -> dict[str, list[Figure]]:
    """Return the plots of each section of a demo's page."""
    result = [
        _looks_figure(
            f"looks-{table['split']}",
            f", {table['split']} split",
            by_policy(table),
            table["oracle_look_rate"],
        )
        for table in twin["tables"]
    ]
    curves = twin["curves"]
    trained = {name: one for name, one in curves.items() if name != "sft"}
    return {
        "result": result,
        "sft": _sft_figures(curves["sft"]) if "sft" in curves else [],
        "rgrl": _rl_figures(curves["rgrl"]) if "rgrl" in curves else [],
        "compare": _compare_figures(trained) if len(trained) > 1 else [],
    }


def evaluation_figures(twin: Record) -> dict[str, list[Figure]]:
    """Return the plots of each section of an evaluation's page."""
    points = {
        name: row
        for name, row in twin["modes"].items()
        if name != "oracle" and row["accuracy"] is not None
    }
    needs = [row["necessity"]["base_rate"] for row in points.values() if row["necessity"]]
    gains = twin["looking"] and twin["looking"]["gain_and_harm"]
    return {
        "result": [_looks_figure("looks", "", points, needs[0] if needs else None)]
        if twin["is_finished"] and len(points) > 1
        else [],
        "gains": [_gains_figure(gains)] if gains else [],
    }


def by_policy(table: Record) -> dict[str, Record]:
    """Return a result table's rows by their policies."""
    return {row["policy"]: row for row in table["rows"]}


def _looks_figure(
    name: str, where: str, rows: Mapping[str, Record], needed: float | None
) -> Figure:
    """Return accuracy against look rate; `where` is said of it, `needed` None if not known."""
    points = "; ".join(
        f"{key} {share(row['accuracy'])} right at {share(row['look_rate'])} looked"
        for key, row in rows.items()
    )
    alt = f"Accuracy against look rate: {points}."
    alt += "" if needed is None else f" A look is needed in {share(needed)}."
    caption = f"Accuracy against look rate{where}, with 95 % intervals."
    if {"never", "always"} <= rows.keys():
        caption += (
            " The line joins never and always looking; above it, looks are spent where they pay."
        )
    return Figure(Markup(looks_svg(name, alt, rows, needed)), caption)


def _gains_figure(gains: Mapping[str, Record]) -> Figure:
    """Return the four terms of gain and harm of each pair of modes."""
    rows = {pair: [terms[key]["value"] for key in _TERMS] for pair, terms in gains.items()}
    said = "; ".join(
        f"{pair}: "
        + ", ".join(
            f"{term.label} {percent(value)}"
            for term, value in zip(_TERMS.values(), values, strict=True)
        )
        for pair, values in rows.items()
    )
    caption = (
        "Points of accuracy gained and lost; the mark is their sum, the measured difference "
        "between the two modes."
    )
    svg = gains_svg("gains", f"{caption} {said}.", rows, list(_TERMS.values()))
    return Figure(Markup(svg), caption)


def _sft_figures(curves: Record) -> list[Figure]:
    loss = Line("loss", curves["loss"], SERIES[1], is_smoothed=False)
    return [
        _figure(
            "sft-loss",
            "Loss of supervised fine-tuning, per token the demonstrator chose.",
            curves,
            [loss],
        )
    ]


def _rl_figures(curves: Record) -> list[Figure]:
    parts = [name for name in curves if name.startswith("reward/part/")]
    plots = [
        _Plot(
            "accuracy",
            "Accuracy of the rollouts of each mode.",
            [
                (mode, f"accuracy/{mode}", colour, "-")
                for mode, colour in zip(TRAINED_MODES, SERIES, strict=False)
            ],
            is_share=True,
            top=1.0,
        ),
        _Plot(
            "looks",
            "Look rate of adaptive rollouts: overall, where a look is needed, and where it is not.",
            [
                ("all", "look_rate/adaptive", INK, "-"),
                ("look needed", "look_rate/adaptive/needed", SERIES[1], "-"),
                ("not needed", "look_rate/adaptive/not_needed", SERIES[0], "-"),
                ("share that needs one", "necessity/truth", MUTED, ":"),
            ],
            is_share=True,
            top=1.0,
        ),
        _Plot(
            "sizes",
            "Look rate of adaptive rollouts by size of the needed detail in the overview; under "
            f"{SIZE_BINS_PX[1]:g} px it is illegible there.",
            [
                (bin_name(low), f"look_rate/size/{low:g}", colour, "-")
                for low, colour in zip(SIZE_BINS_PX[:-1], (SERIES[1], *RAMP), strict=True)
            ],
            is_share=True,
            top=1.0,
        ),
        _Plot(
            "parts",
            "Parts of the reward of adaptive rollouts, weighted, and their sum.",
            [
                ("sum", "reward/adaptive", INK, "-"),
                *(
                    (name.rsplit("/", 1)[1], name, SERIES[k % len(SERIES)], "-")
                    for k, name in enumerate(parts)
                ),
            ],
        ),
        _Plot(
            "necessity",
            "How often estimated necessity is wrong where it decides, and how often it abstains.",
            [
                ("strict, wrong", "necessity/strict/wrong", SERIES[1], "-"),
                ("posterior, wrong", "necessity/posterior/wrong", SERIES[0], "-"),
                ("posterior, abstained", "necessity/posterior/abstained", SERIES[0], ":"),
            ],
            is_share=True,
        ),
        _Plot(
            "clip",
            "Clipped tokens, and groups without any advantage, which teach nothing.",
            [
                ("clipped tokens", "loss/clip_fraction", SERIES[0], "-"),
                ("degenerate groups", "groups/degenerate", SERIES[3], "-"),
            ],
            is_share=True,
        ),
        _Plot(
            "norm",
            "Norm of the gradient before clipping.",
            [("gradient norm", "loss/grad_norm", SERIES[5], "-")],
        ),
        _Plot(
            "kl",
            "KL divergence from the policy that RL started from.",
            [("KL", "loss/kl", SERIES[4], "-")],
        ),
    ]
    found = []
    for plot in plots:
        lines = [
            Line(label, curves[key], colour, dash)
            for label, key, colour, dash in plot.lines
            if key in curves
        ]
        if any(any(line.values) for line in lines):
            found.append(
                _figure(
                    f"rl-{plot.name}",
                    plot.caption,
                    curves,
                    lines,
                    is_share=plot.is_share,
                    top=plot.top,
                )
            )
    return found


@dataclass(frozen=True)
class _Plot:
    """Which metrics are drawn together; a plot with nothing but zeros is left out."""

    name: str
    caption: str
    lines: list[tuple[str, str, str, str]]
    """Label, metric, colour, dash."""
    is_share: bool = False
    top: float | None = None


def _compare_figures(trained: Mapping[str, Record]) -> list[Figure]:
    wanted = (
        ("accuracy/adaptive", "Accuracy of adaptive rollouts under each reward."),
        ("look_rate/adaptive", "Look rate of adaptive rollouts under each reward."),
    )
    found = []
    for key, caption in wanted:
        longest = max(trained.values(), key=lambda curves: len(curves["step"]))
        lines = [
            Line(
                name,
                curves[key] + [None] * (len(longest["step"]) - len(curves[key])),
                colour_of(name, k),
            )
            for k, (name, curves) in enumerate(trained.items())
            if key in curves
        ]
        found.append(
            _figure(
                f"compare-{key.replace('/', '-')}", caption, longest, lines, is_share=True, top=1.0
            )
        )
    return found


def _figure(
    name: str,
    caption: str,
    curves: Record,
    lines: Sequence[Line],
    *,
    is_share: bool = False,
    top: float | None = None,
) -> Figure:
    """Return curves with a caption; the text for those who cannot see them tells their ends."""
    ends = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        if known:
            ends.append(f"{line.label} from {known[0]:.3g} to {known[-1]:.3g}")
    alt = f"{caption} {'; '.join(ends)}."
    return Figure(
        Markup(curves_svg(name, alt, curves["step"], lines, is_share=is_share, top=top)), caption
    )
