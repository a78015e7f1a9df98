"""Count what a step of RL computes and sends, and estimate its seconds on 1 to 512 GPUs.

    python bench/scale.py recipes/paper --out results/scale.json --docs docs/scale.md

COUNTED are parameters (of the very model classes, built without memory), floating-point operations
and bytes, for rollouts of lengths that are ASSUMED. ESTIMATED are seconds, from ASSUMED numbers of
the machines. Nothing was measured on a GPU; every assumption is an option, and printed first.

Prints the tables of docs/scale.md; `--docs` writes them there.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from scale_counts import Lengths, Query, Shards, query_of
from scale_estimates import WHAT_IF, Machine, Step, digits

from lookless.cli import mistakes_in_one_line
from lookless.errors import ConfigError
from lookless.recipe import read_recipe
from lookless.runs import provenance, write_json

RECIPES = (Path("recipes/paper"), Path("recipes/qwen3-vl-8b"), Path("recipes/lora-3b"))
SIZES = (1, 8, 64, 512)
"""GPUs."""
DOUBLED = tuple(2**k for k in range(10))
COMPARED = (8, 64, 512)
"""GPUs for which what-ifs are estimated."""
WORLD = 8
"""Processes whose traffic is counted."""
UNSHOWN = (
    "queries",
    "of a shared prefix",
    "prefill without a prefix cache",
    "update with the prefix computed for each rollout",
    "vision in the update, each picture once",
    "vision in the update, each rollout's",
)
"""What is counted but not in the table of counts."""


def counted(query: Query) -> dict[str, Any]:
    """Return what is counted of a step, and of each process of a machine's that train together."""
    recipe, model = query.recipe, query.model
    queries, shards = recipe.rl.queries, Shards(recipe, model, WORLD)
    engine = recipe.engine.model_copy(update={"share_prefixes": False})
    padded = replace(query, recipe=recipe.model_copy(update={"engine": engine}))
    whole = model.vision_flops(query.visual_tokens) * queries * recipe.rl.epochs
    return {
        "parameters": model.parameters,
        "trained": shards.trained,
        "queries": queries,
        "rollouts": queries * len(query.looks),
        "tokens": round(queries * len(query.looks) * query.mean_tokens),
        "of them sampled": round(queries * len(query.looks) * query.mean_sampled),
        "of a shared prefix": queries * len(query.looks) * query.shared,
        "pictures": queries * query.pictures,
        "flops": {
            "prefill": queries * query.prefill_flops(shared=True),
            "prefill without a prefix cache": queries * query.prefill_flops(shared=False),
            "decode": queries * query.decode_flops(),
            "vision": queries * query.vision_flops(),
            "update": queries * query.update_flops(),
            "update with the prefix computed for each rollout": queries * padded.update_flops(),
            "vision in the update, each picture once": whole * query.pictures,
            "vision in the update, each rollout's": whole * sum(k + 1 for k in query.looks),
        },
        "bytes": {
            "weights published, and fetched by each machine": shards.published_bytes,
            "requests": queries * query.requests_bytes(),
            "rollouts": queries * query.rollouts_bytes(),
        },
        f"micro-batches of each of {WORLD} processes": query.micro_batches(-(-queries // WORLD)),
        "bytes_a_process": {
            "each gathers of weights to hand over": round(shards.weights_bytes),
            "each gathers of weights, a micro-batch": round(shards.gathered_bytes),
            "each sends of gradients, a micro-batch": round(shards.reduced_bytes),
        },
    }


def estimated(query: Query, machine: Machine) -> dict[str, Any]:
    """Return the estimates of a recipe: by size, as a fixed step is spread wider, and what-ifs."""
    step = Step(query, machine)
    fixed = query.recipe.rl.queries
    sizes = []
    for gpus in SIZES:
        for queries in sorted({fixed, max(fixed, gpus)}):
            sizes.append({"asked": gpus, **step.colocated(gpus, queries).record()})
            if gpus > 1:
                sizes.append({"asked": gpus, **step.fastest_beside(gpus, queries).record()})
    spread = {
        "colocated": [step.colocated(gpus, fixed) for gpus in DOUBLED],
        "workers": [step.fastest_beside(gpus, fixed) for gpus in DOUBLED[1:]],
    }
    what_if = {}
    for name, design in WHAT_IF.items():
        one = replace(step, design=design)
        what_if[name] = {
            "colocated": [one.colocated(gpus, max(fixed, gpus)).record() for gpus in COMPARED],
            "workers": [one.fastest_beside(gpus, max(fixed, gpus)).record() for gpus in COMPARED],
        }
    return {
        "sizes": sizes,
        "fixed_step": {name: [e.record() for e in found] for name, found in spread.items()},
        "what_if": what_if,
    }


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def block(text: str, name: str) -> tuple[str, str, str]:
    """Return what is before, in, and after a marked block of a page."""
    begin, end = f"<!-- {name}:begin -->\n", f"\n<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    inside, closed, after = rest.partition(end)
    if not (found and closed):
        raise ConfigError(f"page must have a block marked {name}, got none; mark it")
    return before + begin, inside, end + after


def write_block(page: Path, name: str, content: str) -> None:
    """Put something into a marked block of a page."""
    before, _, after = block(page.read_text(), name)
    page.write_text(before + content + after)


def assumptions(found: dict[str, Any]) -> str:
    """Return a table of what is assumed."""
    helps = {f.name: f.metadata["help"] for kind in (Lengths, Machine) for f in fields(kind)}
    rows = [
        [f"`--{name.replace('_', '-')}`", f"{value:g}", helps[name]]
        for part in ("rollouts", "machines")
        for name, value in found["assumed"][part].items()
    ]
    return table(["option", "assumed", "what it is"], rows)


def counts(found: dict[str, Any]) -> str:
    """Return a table of what is counted, a column for each recipe."""
    recipes = [one["counted"] for one in found["recipes"].values()]
    units = {"flops": ("TFLOP", 1e12), "bytes": ("MB", 1e6), "bytes_a_process": ("GB", 1e9)}
    rows: list[list[str]] = []
    for name, value in recipes[0].items():
        if name in UNSHOWN:
            continue
        if name not in units:
            rows.append([name, *(f"{one[name]:,}" for one in recipes)])
            continue
        unit, scale = units[name]
        for part in (part for part in value if part not in UNSHOWN):
            cells = [f"{digits(one[name][part] / scale):,g}" for one in recipes]
            rows.append([f"{part}, {unit}", *cells])
    return table(["a step", *found["recipes"]], rows)


def estimates(found: dict[str, Any]) -> str:
    """Return a table of estimates for each size, of steps that have a query for each GPU.

    A row has all of the step with an engine in each process, and a few words of that with workers.
    """
    head = ["recipe", "GPUs", "queries", "GB a GPU", "weights, s", "rollouts, s", "update, s"]
    head += ["step, s", "rollouts/s", "longest part"]
    head += ["with workers: GPUs", "GB a training GPU", "weights, s", "step, s"]
    rows = []
    for name, one in found["recipes"].items():
        sizes = [row for row in one["estimated"]["sizes"] if row["queries"] >= row["asked"]]
        beside = {row["asked"]: row for row in sizes if row["workers"]}
        for row in sizes:
            if not row["workers"]:
                cells = [name, row["asked"], row["queries"], *within(row)]
                rows.append([*cells, *apart(beside.get(row["asked"]))])
    return table(head, rows)


def within(row: dict[str, Any]) -> list[str]:
    """Return the cells of an estimate with an engine in each process."""
    memory = f"{sum(row['memory_gb'].values()):.0f}"
    if "problem" in row:
        return [memory, *["-"] * 5, row["problem"]]
    s = row["seconds"]
    made, learned = s["prefill"] + s["decode"] + s["vision"], s["update"] + s["update vision"]
    parts = [s["weights"], made, learned, row["step_s"], row["rollouts_per_s"]]
    return [memory, *map(short, parts), row["bottleneck"]]


def apart(row: dict[str, Any] | None) -> list[str]:
    """Return the cells of an estimate with workers, if there is one."""
    if row is None or "problem" in row:
        return ["-"] * 4
    memory = f"{sum(row['memory_gb'].values()):.0f}"
    parts = [short(row["seconds"]["weights"]), short(row["step_s"])]
    return [f"{row['trainers']} + {row['workers']}", memory, *parts]


def fixed_steps(found: dict[str, Any]) -> str:
    """Return a table of the seconds of a recipe's own step on more and more GPUs."""
    rows = []
    for name, one in found["recipes"].items():
        for placement, steps in one["estimated"]["fixed_step"].items():
            cells = [seconds(row) for row in steps]
            rows.append([name, placement, *["-"] * (len(DOUBLED) - len(cells)), *cells])
    return table(["seconds of a step, GPUs:", "placement", *DOUBLED], rows)


def what_ifs(found: dict[str, Any]) -> str:
    """Return a table of the seconds of the first recipe's step, were the package another one."""
    name, one = next(iter(found["recipes"].items()))
    rows = [
        [what, *(seconds(row) for placed in steps.values() for row in placed)]
        for what, steps in one["estimated"]["what_if"].items()
    ]
    placed = [f"{where}, {n}" for where in ("colocated", "workers") for n in COMPARED]
    return table([f"{name}, seconds of a step", *placed], rows)


def seconds(row: dict[str, Any]) -> str:
    """Return the seconds of an estimated step, if it can be."""
    return short(row["step_s"]) if "step_s" in row else "-"


def short(value: float) -> str:
    """Return a number with two digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 10 else f"{digits(value, 2):g}"


BLOCKS = {
    "assumptions": assumptions,
    "counts": counts,
    "estimates": estimates,
    "fixed steps": fixed_steps,
    "what-ifs": what_ifs,
}
"""Marked blocks of docs/scale.md, and the functions that write them."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", type=Path, nargs="*", default=RECIPES)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--docs", type=Path)
    for kind in (Lengths, Machine):
        for option in fields(kind):
            parser.add_argument(
                f"--{option.name.replace('_', '-')}",
                type=type(option.default),
                default=option.default,
                help=option.metadata["help"],
            )
    given = vars(parser.parse_args())
    lengths = Lengths(**{option.name: given[option.name] for option in fields(Lengths)})
    machine = Machine(**{option.name: given[option.name] for option in fields(Machine)})
    found: dict[str, Any] = {
        "assumed": {"rollouts": asdict(lengths), "machines": asdict(machine)},
        "recipes": {},
    }
    for folder in given["recipes"]:
        query = query_of(read_recipe(folder), lengths)
        found["recipes"][folder.name] = {
            "model": query.recipe.model,
            "counted": counted(query),
            "estimated": estimated(query, machine),
        }
    found |= provenance()
    if given["out"]:
        write_json(given["out"], found)
    for name, written in BLOCKS.items():
        print(f"{written(found)}\n")
        if given["docs"]:
            write_block(given["docs"], name, written(found))


if __name__ == "__main__":
    with mistakes_in_one_line():
        main()
