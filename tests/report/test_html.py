from pathlib import Path

import pytest

from lookless.errors import RunError
from lookless.report.html import DEMO, EVALUATION, report_of, write_report
from lookless.runs import write_json


@pytest.mark.parametrize("name", ["run", "evaluation"])
def test_writing_again_gives_the_same_bytes(name: str, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(name)
    files = run / "report.html", run / "report.json"
    write_report(run)
    first = [file.read_bytes() for file in files]
    write_report(run)
    assert [file.read_bytes() for file in files] == first
    assert list(run.glob("*.part")) == []


@pytest.mark.parametrize(
    "config",
    [
        None,
        {},
        {"config": 3},
        {"config": ["sft"]},
        {"config": {"split": "test", "count": 12}},
        {"config": {"benchmark": "lookworld"}},
    ],
)
def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path: Path, config: object) -> None:
    folder = tmp_path / "other"
    if config is not None:
        folder.mkdir()
        write_json(folder / "config.json", config)
    said = r"^run must be a folder .*demo.*eval.* or .*convert.*the path$"
    with pytest.raises(RunError, match=said):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_the_settings_say_which_report_it_is_or_else_the_results(
    run: Path, evaluation: Path, tmp_path: Path
) -> None:
    for folder, report in ((run, DEMO), (evaluation, EVALUATION)):
        assert report_of(folder) is report
        for name in ("config.json", "results.json"):
            alone = tmp_path / folder.name / name
            alone.mkdir(parents=True)
            (alone / name).write_bytes((folder / name).read_bytes())
            assert report_of(alone) is report


def test_text_that_utf_8_cannot_hold_does_not_stop_the_report(own_evaluation: Path) -> None:
    results = own_evaluation / "results.json"
    results.write_text(results.read_text().replace('"LookWorld"', r'"Look\ud800World"'))
    assert "Look?World" in write_report(own_evaluation).read_text(encoding="utf-8")
