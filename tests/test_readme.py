"""Every command in the README works, and every file that it points to exists."""

import json
import re
import runpy
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lookless.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

MEASURED = ROOT / "results" / "lookworld.json"
RUN_BY: dict[str, str] = {}
"""Commands that are neither `make` nor `lookless`, and the test that runs each: file::function."""


def commands(text: str) -> Iterator[str]:
    """Yield the commands in the fenced `console` and `sh` blocks, continued lines joined.

    In a `console` block a command begins with `$ `, and other lines are output.
    """
    for language, block in re.findall(r"^```(console|sh)\n(.*?)^```$", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if language == "sh" and line.strip() and not line.lstrip().startswith("#"):
                yield line.strip()
            if language == "console" and line.startswith("$ "):
                yield line.removeprefix("$ ").strip()


COMMANDS = list(commands(README))
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "recipes").glob("*/README.md")])
every_command = pytest.mark.parametrize("command", COMMANDS)


def program(command: str) -> str:
    """Return the name of the program that a command starts, without its folder."""
    return Path(shlex.split(command)[0]).name


def check(command: str) -> None:
    """Fail unless a command is known to work."""
    words = shlex.split(command)
    if program(command) == "make":
        make(*words[1:])
    elif program(command) == "lookless":
        check_lookless(*words[1:])
    else:
        assert command in RUN_BY, f"{command!r} needs a test that runs it: add both to RUN_BY"
        file, function = RUN_BY[command].split("::")
        assert f"def {function}(" in (ROOT / file).read_text()


def make(*words: str) -> None:
    """Fail unless the Makefile has all targets and could begin them."""
    done = subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def check_lookless(name: str, *arguments: str) -> None:
    """Fail unless the command takes these arguments and its help names every option."""
    subcommands = getattr(get_command(app), "commands", {})
    assert name in subcommands, f"lookless has no command {name!r}"
    path, command = [name], subcommands[name]
    while hasattr(command, "commands"):
        path.append(arguments[0])
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context(path[-1], list(arguments))
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    for option in (word.split("=")[0] for word in arguments if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", shown.output), option


def test_the_readme_shows_its_two_commands_and_how_to_ask() -> None:
    assert COMMANDS[:2] == ["make demo", "make test"]
    assert any(shlex.split(c)[1] == "ask" for c in COMMANDS if program(c) == "lookless")


@every_command
def test_a_command_of_the_readme_works(command: str) -> None:
    check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_commands_of_other_pages_are_known(page: Path) -> None:
    for command in commands(page.read_text()):
        words = shlex.split(command)
        if "lookless" in words and words[0] == "torchrun":
            check_lookless(*words[words.index("lookless") + 1 :])
        elif program(command) == "lookless":
            check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_link_of_other_pages_points_to_a_file(page: Path) -> None:
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in t]
    missing = [t for t in targets if not (page.parent / t.split("#")[0]).exists()]
    assert [t for t in missing if t.split("#")[0]] == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("make no-such-target", "No rule"),
        ("lookless no-such-command", "no command"),
        ("lookless ask picture.png", "missing .*question"),
        ("lookless ask picture.png 'What?' --no-such-option", "--no-such-option"),
        ("lookless ask picture.png 'What?' --max-looks many", "valid integer"),
        ("lookless lookworld --out samples --count 0", "greater than or equal to 1|range"),
        ("rm -rf runs", "RUN_BY"),
    ],
)
def test_a_command_that_cannot_work_is_found(command: str, said: str) -> None:
    with pytest.raises(Exception, match=f"(?is){said}"):
        check(command)


def test_commands_are_found_in_blocks_only() -> None:
    text = "`make a`\n```console\n$ make b \\\n    C=1\nprinted\n```\n```sh\n# why\nmake d\n```\n"
    assert [" ".join(c.split()) for c in commands(text)] == ["make b C=1", "make d"]


def test_every_link_of_the_readme_points_to_a_file() -> None:
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in t]
    assert targets
    assert [t for t in targets if not (ROOT / t.split("#")[0]).exists()] == []


def test_results_are_those_measured() -> None:
    short_table = runpy.run_path(str(ROOT / "bench" / "seeds.py"))["short_table"]
    table = short_table(json.loads(MEASURED.read_text())["results"])
    assert README.partition("<!-- results:begin -->")[2].strip().startswith(table)
