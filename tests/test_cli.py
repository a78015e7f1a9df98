import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from typer.testing import CliRunner

from lookless import __version__, cli
from lookless.demo import COMPARED, DemoConfig
from lookless.errors import RunError
from lookless.lookworld.base import base_folder
from lookless.policies.scripted import ScriptedPolicy


def run_lookless(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does: in a process of its own."""
    code = "import sys; from lookless.cli import main; sys.argv[0] = 'lookless'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def run_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which saves the imports."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["lookless", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    code = int(ended.value.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def mistake(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a user's mistake costs, after checking that it is one."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.strip().splitlines()
    return line


def test_every_command_has_help_with_an_example() -> None:
    names = [
        command.name or command.callback.__name__
        for command in cli.app.registered_commands
        if command.callback
    ]
    assert {"demo", "lookworld", "ask", "report", "train-base"} <= set(names)
    for name in names:
        result = CliRunner().invoke(cli.app, [name, "--help"])
        assert result.exit_code == 0
        assert f"lookless {name}" in result.output


def test_lookworld_writes_questions_images_and_a_sheet(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli.app, ["lookworld", "--out", str(tmp_path / "w"), "--count", "4", "--split", "shifted"]
    )
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "w" / "questions.jsonl").open()]
    assert len(rows) == 4
    for row in rows:
        with Image.open(tmp_path / "w" / row["image"]) as image:
            assert image.size == (1024, 1024)
    assert (tmp_path / "w" / "sheet.png").exists()


def test_existing_output_folder_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    line = mistake(run_lookless("lookworld", "--out", str(tmp_path), "--count", "1"))
    assert "must be new" in line
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_unknown_setting_is_one_line_that_names_it(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[rl]\nstepz = 3\n")
    line = mistake(run_here("demo", "--out", str(tmp_path / "d"), "--config", str(config)))
    assert "rl.stepz" in line
    assert not (tmp_path / "d").exists()


def test_reward_in_which_wrong_beats_right_is_refused_with_the_example(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[rl]\nreward_settings = {gamma = 2.0}\n")
    line = mistake(run_here("demo", "--out", str(tmp_path / "d"), "--config", str(config)))
    assert "never score a wrong rollout above a right one" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("lookworld", "--out", "x", "--split", "trian"), "train, validation, test"),
        (("lookworld", "--out", "x", "--photos", "nowhere"), "folder with image files"),
        (("ask", "nowhere.jpg", "What?"), "nowhere.jpg"),
        (("ask", "nowhere.jpg", "What?", "--mode", "free"), "forced, prohibited, adaptive"),
        (("report", "nowhere"), "nowhere"),
        (("demo", "--out", "nowhere", "--resume"), "--resume"),
        (("demo", "--out", "x", "--config", "nowhere.toml"), "nowhere.toml"),
        (("ask", "nowhere.jpg", "What?", "--save-overlay", "looked"), "save-overlay must be"),
        (("ask", "nowhere.jpg", "What?", "--save-overlay", "no/l.png"), "a folder that can be"),
        (("ask", "nowhere.jpg", " "), "question must say something"),
        (("ask", "i.png", "What?"), "model must be a checkpoint folder (make demo leaves one"),
        (("ask", "i.png", "What?", "--checkpoint", "cut"), "checkpoint must be complete"),
        (("demo", "--out", "file.txt/x"), "file.txt/x"),
        (("demo", "--out", "x" * 300), "must be one that can be written"),
        (("demo", "--out", "junk", "--resume"), "must hold the settings of a run"),
        (("report", "file.txt"), "file.txt"),
        (("report", "junk"), "must be a folder that"),
        (("demo", "--out", "x", "--seed", "-1"), "greater than or equal to 0; see lookless demo"),
        (("demo",), "missing option '--out'; see lookless demo --help"),
        (("dmo",), "no such command 'dmo'"),
        (("demo", "--otu", "x"), "no such option: --otu"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("precious")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "config.json").write_text('{"config": [')
    Image.new("RGB", (64, 64)).save(tmp_path / "i.png")
    shutil.copytree(base_folder(), tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    monkeypatch.setattr("sys.argv", ["lookless", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2
    assert expected in line
    assert (tmp_path / "file.txt").read_text() == "precious"


def test_version_and_help_without_a_command() -> None:
    assert CliRunner().invoke(cli.app, ["--version"]).output == f"lookless {__version__}\n"
    shown = CliRunner().invoke(cli.app, [])
    assert shown.exit_code == 0
    assert "train-base" in shown.output


def test_settings_of_a_config_file_are_not_undone_by_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text('seed = 3\ncompare = ["hdpo"]\n')
    seen: list[DemoConfig] = []

    def stop(out: Path, config: DemoConfig, progress: object, *, resume: bool) -> None:
        seen.append(config)
        raise RunError("enough")

    monkeypatch.setattr("lookless.demo.run_demo", stop)
    arguments = ["demo", "--out", str(tmp_path / "d"), "--config", str(tmp_path / "c.toml")]
    for more in ([], ["--seed", "4", "--compare"]):
        CliRunner().invoke(cli.app, [*arguments, *more])
    assert [(c.seed, c.compare) for c in seen] == [(3, ("hdpo",)), (4, tuple(COMPARED))]


def test_ask_shows_what_was_looked_at_and_takes_any_answer_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (640, 480), "navy").save(tmp_path / "i.png")
    call = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [0, 0, 500, 500]}}</tool_call>'
    texts = (call, r"\boxed{[/b]}")
    monkeypatch.setattr(
        "lookless.workers.HfPolicy",
        lambda vlm, temperature: SimpleNamespace(
            seeded=lambda seed: ScriptedPolicy(vlm.chat, lambda prompt, turn: texts[turn])
        ),
    )
    overlay = tmp_path / "looked.png"
    arguments = ["ask", str(tmp_path / "i.png"), "What?", "--checkpoint", str(base_folder())]
    result = CliRunner().invoke(cli.app, [*arguments, "--save-overlay", str(overlay)])
    assert result.exit_code == 0, result.output
    assert "executed, source pixels [0, 0, 320, 240]" in " ".join(result.output.split())
    assert "answer [/b]" in result.output
    with Image.open(overlay) as drawn:
        assert drawn.size == (640, 480)


def test_image_too_elongated_for_the_model_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 3)).save(tmp_path / "line.png")
    asked = ("ask", str(tmp_path / "line.png"), "What?", "--checkpoint", str(base_folder()))
    assert "aspect ratio of at most" in mistake(run_lookless(*asked))


def test_run_folder_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    Image.new("RGB", (640, 480)).save(tmp_path / "i.png")
    line = mistake(
        run_here("ask", str(tmp_path / "i.png"), "?", "--checkpoint", str(tmp_path / "run"))
    )
    assert "model family must be one of" in line
