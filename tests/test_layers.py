"""Imports go downwards only, and importing costs nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import lookless

PACKAGE = Path(lookless.__file__).parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("cli_data",),
    ("cli_options",),
    ("report",),
    ("doctor",),
    ("demo", "train"),
    ("recipe",),
    ("training",),
    ("synthesis",),
    ("evaluation",),
    ("data",),
    ("benchmarks",),
    ("lookworld",),
    ("rewards",),
    ("advantages", "losses", "necessity"),
    ("grading", "statistics"),
    ("demonstrations", "mixture", "workers"),
    ("rollout",),
    ("policies",),
    ("vlm",),
    ("chat",),
    ("ops",),
    ("episode",),
    ("picture",),
    ("images",),
    ("frames",),
    ("console", "runs", "settings"),
    ("errors",),
    ("__init__",),
)
"""Modules and packages of lookless from top to bottom; those in one row may import each other."""

RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}


class Import(NamedTuple):
    """An import of something in lookless."""

    line: int
    module: str
    """Full name: `lookless.frames`."""


def module_name(file: Path, package: Path) -> str:
    """Return the full name of a file's module; that of `__init__.py` is its package's."""
    parts = ("lookless", *file.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    """Return the name that stands in LAYERS for a module."""
    return [*module.split("."), "__init__"][1]


def imports_in(file: Path, package: Path) -> Iterator[Import]:
    """Yield every import of lookless in a file, also inside functions and `if TYPE_CHECKING`."""
    here = ["lookless", *file.relative_to(package).parent.parts]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) + 1 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            is_root = source == "lookless"
            # `from lookless import chat` names a module, `from lookless import __version__` none.
            names = [
                f"{source}.{alias.name}" if is_root and is_module(alias.name, package) else source
                for alias in node.names
            ]
        else:
            continue
        for name in dict.fromkeys(names):
            if name.split(".")[0] == "lookless":
                yield Import(node.lineno, name)


def is_module(name: str, package: Path) -> bool:
    return (package / name).is_dir() or (package / f"{name}.py").is_file()


def faults(package: Path) -> list[str]:
    """Return a line for each module without a layer and each import that does not go downwards."""
    found = []
    for file in sorted(package.rglob("*.py")):
        where = f"src/lookless/{file.relative_to(package)}"
        layer = layer_of(module_name(file, package))
        if layer not in RANK:
            found.append(
                f"{where}: {layer!r} has no layer; add it to LAYERS in tests/test_layers.py"
            )
            continue
        for line, module in imports_in(file, package):
            other = layer_of(module)
            if RANK.get(other, -1) < RANK[layer]:
                found.append(f"{where}:{line}: {layer} may not import {module}")
    return found


def in_fresh_python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a Python of its own, with lookless importable from this tree."""
    path = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
    return subprocess.run(
        [sys.executable, *options, "-c", path + code],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )


def test_imports_go_downwards_only() -> None:
    found = faults(PACKAGE)
    assert not found, "\n" + "\n".join(found)


def test_each_layer_is_a_module_that_exists() -> None:
    assert [name for name in RANK if not is_module(name, PACKAGE)] == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("frames.py", "import os\nfrom lookless.cli import app", ":2: frames may not import look"),
        ("frames.py", "import lookless.images as i", ":1: frames may not import lookless.images"),
        ("frames.py", "from lookless import vlm", ":1: frames may not import lookless.vlm"),
        ("frames.py", "def f():\n    from lookless import vlm", ":2: frames may not import lookl"),
        ("chat/tiny.py", "from ..rollout import Limits", ":1: chat may not import lookless.rollo"),
        ("chat/tiny.py", "from .. import vlm", ":1: chat may not import lookless.vlm"),
        ("chat/__init__.py", "from ..vlm import VLM", ":1: chat may not import lookless.vlm"),
        ("chat/__init__.py", "import lookless.unheard", ":1: chat may not import lookless.unhear"),
        ("__init__.py", "from .errors import E", ":1: __init__ may not import lookless.errors"),
        ("unheard.py", "", "'unheard' has no layer; add it to LAYERS in tests/test_layers.py"),
    ],
)
def test_an_import_upwards_is_named(tmp_path: Path, file: str, text: str, said: str) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "vlm.py").touch()
    (tmp_path / file).write_text(text)
    (found,) = faults(tmp_path)
    assert found.startswith(f"src/lookless/{file}:")
    assert said in found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("images.py", "from lookless.frames import Box\nfrom lookless import __version__"),
        ("chat/tiny.py", "from .chatml import ChatML\nfrom . import families\nfrom ..ops import x"),
        ("necessity.py", "from lookless.losses import kl_penalty\nimport torch, lookless_other"),
    ],
)
def test_an_import_downwards_or_beside_is_allowed(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / file).write_text(text)
    assert faults(tmp_path) == []


@pytest.mark.parametrize("module", ["lookless", "lookless.cli"])
def test_importing_does_not_pull_in_the_heavy_libraries(module: str) -> None:
    lines = in_fresh_python(f"import {module}", "-X", "importtime").stderr.splitlines()
    loaded = {line.rsplit("|", 1)[-1].strip() for line in lines}
    assert module in loaded
    assert loaded.isdisjoint({"torch", "transformers", "matplotlib", "skimage", "scipy", "numpy"})


def test_no_module_reads_the_environment_at_import() -> None:
    reads = {file: environment_reads(file.read_text()) for file in PACKAGE.rglob("*.py")}
    assert {file: lines for file, lines in reads.items() if lines} == {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import os\nHOME = os.environ['HOME']", [2]),
        ("from os import getenv\nclass A:\n    home = getenv('HOME')", [3]),
        ("import os\ndef f(home=os.environ): ...", [2]),
        ("import os\ndef f():\n    return os.environ['HOME']", []),
        ("import os\nf = lambda: os.getenv('HOME')", []),
    ],
)
def test_only_a_read_outside_functions_counts(text: str, lines: list[int]) -> None:
    assert environment_reads(text) == lines


def environment_reads(text: str) -> list[int]:
    """Return the lines that use the process's environment when the module is imported."""
    return [
        node.lineno
        for node in executed_at_import(ast.parse(text))
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"})
        or (isinstance(node, ast.Name) and node.id in {"environ", "getenv"})
    ]


def executed_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run at import: of a function the decorators and defaults only."""
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            parts: list[ast.AST] = [child.args, *child.decorator_list]
        else:
            parts = [child.args if isinstance(child, ast.Lambda) else child]
        for part in parts:
            yield from executed_at_import(part)


@pytest.mark.slow
def test_importing_every_module_never_connects() -> None:
    modules = sorted({module_name(file, PACKAGE) for file in PACKAGE.rglob("*.py")})
    code = f"""
import importlib
calls = []
events = ("socket.connect", "socket.getaddrinfo", "socket.sendto")
sys.addaudithook(lambda event, args: calls.append((event, args)) if event in events else None)
for module in {modules!r}:
    importlib.import_module(module)
print(calls)
"""
    assert in_fresh_python(code).stdout.splitlines()[-1] == "[]"
