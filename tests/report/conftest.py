"""A run folder like the demo's, made without a model: drawn images, invented looks and answers."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lookless.demo import DemoConfig
from lookless.episode import Group, Look, LookOutcome, Mode, Question, Rollout, StopReason, Turn
from lookless.evaluation.answered import Answered, verdict_on
from lookless.evaluation.protocol import protocol_hash
from lookless.evaluation.records import answered_record
from lookless.evaluation.summary import summary
from lookless.frames import Box, Frame, View
from lookless.grading import grade
from lookless.grading.exact import boxed_exact
from lookless.necessity import NecessityPool, necessity_grades
from lookless.runs import append_jsonl, open_run, write_json
from lookless.training.records import group_record
from lookless.training.rl_metrics import of_step
from lookless.training.scoring import reward_alone, score
from report import evaluations

SIDE_PX = 320
COLOURS = ("red", "green", "blue", "yellow")
HOSTILE = (
    "</textarea></div><script>alert(\"x\")</script><img src=x onerror='y()'> & $e^x$ \x00\u202e"
)

WriteRun = Callable[..., Path]


def draw_question(folder: Path, k: int, rng: random.Random) -> Question:
    """Return a question about a dot on a square, with its image on disk; one in three is small."""
    folder.mkdir(parents=True, exist_ok=True)
    is_small = k % 3 == 0
    side, x, y = (6 if is_small else 60), rng.randrange(40, 220), rng.randrange(40, 220)
    answer = rng.choice(COLOURS)
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), (90, 110 + k % 40, 120))
    ImageDraw.Draw(image).rectangle((x, y, x + side - 1, y + side - 1), fill=answer)
    file = folder / f"{k}.png"
    image.save(file)
    return Question(
        id=f"q-{k}",
        image=file,
        text="What colour is the square?",
        answer=answer,
        family=("attribute", "reading", "counting")[k // 3 % 3],
        kind="mark",
        needs_look=is_small,
        detail_px=side / 2,
        boxes=(Box(x, y, x + side, y + side, Frame.SOURCE),),
    )


def play(
    question: Question, mode: Mode, rng: random.Random, look_rate: float, said: str = "I see it."
) -> Rollout:
    """Return an invented rollout that looks at its evidence or, now and then, outside the image."""
    overview = View(Box(0, 0, SIDE_PX, SIDE_PX, Frame.SOURCE), 160, 160)
    wants = {Mode.FORCED: True, Mode.PROHIBITED: False, Mode.ADAPTIVE: rng.random() < look_rate}
    views, looks, turns = [overview], [], [Turn("prompt", f"<|im_start|>user\n{question.text}")]
    if wants[mode]:
        if rng.random() < 0.2:
            looks.append(Look(LookOutcome.OUTSIDE, 0, Box(1100, 0, 1200, 90, Frame.PERMILLE)))
            turns += [Turn("model", "<tool_call>\n{}\n</tool_call>"), Turn("observation", "Error")]
        box = question.boxes[0]
        region = Box(
            max(box.left - 30, 0), max(box.top - 30, 0),
            min(box.right + 30, SIDE_PX), min(box.bottom + 30, SIDE_PX), Frame.SOURCE,
        )  # fmt: skip
        looks.append(
            Look(LookOutcome.EXECUTED, 0, overview.from_source(region, Frame.PERMILLE), len(views))
        )
        views.append(View(region, 160, 160))
        call = (
            '<tool_call>\n{"name": "zoom_in", "arguments": {"bbox_2d": [1, 2, 3, 4]}}\n</tool_call>'
        )
        turns += [
            Turn("model", f"<think>{said}</think>\n{call}"),
            Turn("observation", "<tool_response>\n<|image_pad|>\n</tool_response>"),
        ]
    is_right = rng.random() < (0.95 if len(views) > 1 or not question.needs_look else 0.3)
    answer = question.answer if is_right else next(c for c in COLOURS if c != question.answer)
    turns.append(Turn("model", f"{said} \\boxed{{{answer}}}"))
    return Rollout(
        question_id=question.id,
        mode=mode,
        token_ids=(1, 2),
        is_sampled=(False, True),
        logprobs=(0.0, -0.5),
        views=tuple(views),
        looks=tuple(looks),
        turns=tuple(turns),
        answer=answer,
        stop=StopReason.ANSWERED,
        visual_tokens=25 * len(views),
        seconds=0.02,
    )


def write_run(
    folder: Path,
    *,
    compare: tuple[str, ...] = (),
    steps: int = 6,
    queries: int = 6,
    said: str = "I see it.",
    is_finished: bool = True,
    draw: Callable[[Path, int, random.Random], Question] = draw_question,
    answers: int = 36,
) -> Path:
    """Write a run folder as the demo does, its evaluation only if it is finished."""
    rng = random.Random(0)
    demo = DemoConfig.model_validate({"seed": 3, "compare": compare})
    open_run(folder, demo.model_dump(mode="json"))
    asked = [draw(folder / "data" / "test" / "images", k, rng) for k in range(answers)]
    (folder / "sft").mkdir()
    for step in range(1, 5 * steps):
        row = {
            "step": step,
            "steps": 5 * steps,
            "loss": 2.5 / step + 0.1 * rng.random(),
            "lr": 1e-3,
        }
        append_jsonl(folder / "sft" / "metrics.jsonl", row)
    for name in ("rgrl", *compare):
        pool = NecessityPool()
        (folder / name).mkdir()
        for step in range(1, steps + 1):
            groups = []
            for question in rng.sample(asked, queries):
                rate = 0.75 + (0.2 if question.needs_look else -0.7) * step / steps
                played = tuple(play(question, mode, rng, rate, said) for mode in demo.rl.modes)
                grades = tuple(grade(question, r) for r in played)
                group = Group(question, played, grades)
                pool.add(question.id, *necessity_grades(group))
                groups.append(score(group, pool, demo.rl))
            row = of_step(groups) | {"step": step, "steps": steps}
            row |= {"loss/grad_norm": 1 + rng.random(), "loss/clip_fraction": 0.1 * rng.random()}
            append_jsonl(folder / name / "metrics.jsonl", row | {"loss/kl": 0.01 * step})
            for one in groups[:2]:
                append_jsonl(folder / name / "rollouts.jsonl", {"step": step} | group_record(one))
    if is_finished:
        _evaluate(folder, asked, compare, rng, said)
    return folder


def _evaluate(
    folder: Path, asked: list[Question], compare: tuple[str, ...], rng: random.Random, said: str
) -> None:
    (folder / "eval").mkdir()
    rates = {"never": 0.0, "always": 1.0, "sft": 0.75, "rgrl": 0.4} | dict.fromkeys(compare, 0.9)
    tables: dict[str, dict[str, object]] = {"": {}, ".shifted": {}}
    for name, rate in rates.items():
        for suffix, table in tables.items():
            mode = {"never": Mode.PROHIBITED, "always": Mode.FORCED}.get(name, Mode.ADAPTIVE)
            played = []
            for question in asked:
                own = min(0.85, rate) if question.needs_look else rate / 3
                chosen = own if name == "rgrl" else rate
                r = play(question, mode, rng, chosen, said)
                played.append(Answered(question, r, verdict_on(question, r, boxed_exact)))
            for one in played:
                parts = reward_alone(one.question, one.rollout, one.grade, DemoConfig().rl)
                file = folder / "eval" / f"{name}{suffix}.jsonl"
                append_jsonl(file, answered_record(one) | {"parts": parts and parts.parts})
            table[name] = summary(played)
            write_json(folder / "eval" / f"{name}{suffix}.summary.json", table[name])
    facts = {
        "n": len(asked),
        "oracle_look_rate": sum(bool(q.needs_look) for q in asked) / len(asked),
        "protocol": protocol_hash(asked, {}),
    }
    results = facts | {
        "seed": 3,
        "seconds": {"sft": 61.0, "rgrl": 300.0, "eval": 40.0, "total": 401.0},
        "peak_memory_mb": 1500.0,
        "policies": tables[""],
        "shifted": facts | {"policies": tables[".shifted"]},
    }
    write_json(folder / "results.json", results)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run; tests must not change it, apart from its report."""
    return write_run(tmp_path_factory.mktemp("runs") / "demo", compare=("pixel_reasoner",))


@pytest.fixture
def make_run(tmp_path: Path) -> WriteRun:
    """Return a maker of runs under the test's folder, which takes the settings of `write_run`."""

    def make(**settings: object) -> Path:
        return write_run(tmp_path / "run", **settings)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished evaluation; tests must not change it, apart from its report."""
    folder = tmp_path_factory.mktemp("evaluations")
    return evaluations.play(folder, modes=evaluations.MODES, audit=8)


@pytest.fixture
def own_evaluation(evaluation: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished evaluation that a test may change."""
    return Path(shutil.copytree(evaluation, tmp_path / "copy"))
