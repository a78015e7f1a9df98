from pathlib import Path

import pytest

from lookless.episode import Question
from lookless.errors import PolicyError
from lookless.evaluation.judging import agreement, check, open_judge
from lookless.grading.judge import Compared
from lookless.grading.verdict import Verdict
from served import Server, said, wrong

ASKED = Question("q", Path(), "Which?", "red")


def test_a_judge_behind_a_server_is_asked_once_for_the_same_answer(
    tmp_path: Path, server: Server
) -> None:
    server.play = lambda body: said("correct")
    for _ in range(2):
        judge = open_judge(server.url, None, tmp_path / "judge.jsonl")
        assert judge(ASKED, "It is crimson.") is True
    assert len(server.asked) == 1
    assert judge.name.startswith("m at 127.0.0.1")


def test_a_judge_that_could_grade_nothing_is_an_error(tmp_path: Path, server: Server) -> None:
    server.play = lambda body: wrong(401, "who are you")
    judge = open_judge(server.url, "m", tmp_path / "judge.jsonl")
    check(judge, has_verdict=False)  # nothing was asked yet
    assert judge(ASKED, "It is crimson.") is None
    check(judge, has_verdict=True)
    with pytest.raises(PolicyError, match=r"judge must answer, got only faults.*who are you"):
        check(judge, has_verdict=False)


def test_agreement_lists_what_rules_and_judge_see_differently() -> None:
    right, wrong_ = Verdict("red", 1.0), Verdict("crimson", 0.0)
    rows = [Compared(ASKED, "red", right, True), Compared(ASKED, "crimson", wrong_, True),
            Compared(ASKED, "blue", wrong_, False), Compared(ASKED, "?", wrong_, None)]  # fmt: skip
    found = agreement(rows)
    assert (found["n"], found["both_right"], found["only_judge"], found["undecided"]) == (
        3,
        1,
        1,
        1,
    )
    assert found["rate"] == pytest.approx(2 / 3)
    (row,) = found["rows"]
    assert (row["said"], row["rules"], row["judge"]) == ("crimson", 0.0, True)
