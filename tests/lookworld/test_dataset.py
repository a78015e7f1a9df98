import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookless.frames import Frame
from lookless.lookworld import questions as q
from lookless.lookworld.backgrounds import SHIFTED_BACKGROUNDS, TRAIN_BACKGROUNDS
from lookless.lookworld.dataset import (
    QUESTIONS_PER_SCENE,
    Split,
    WorldQuestion,
    export,
    questions,
    record_of,
    scene_questions,
    to_question,
)  # fmt: skip
from lookless.lookworld.pretrain_language import STREAM
from lookless.lookworld.pretrain_vision import sample_view
from lookless.lookworld.scene import SHIFTED_STYLE, VALUES, Kind, SceneStyle, sample_scene
from lookless.lookworld.tiny import VIEW_PX

TRAIN_LIKE = (Split.TRAIN, Split.VALIDATION, Split.TEST)


@pytest.fixture(scope="module")
def worlds() -> dict[Split, list[WorldQuestion]]:
    """Return 1500 questions of each split."""
    return {split: list(questions(split, 1500)) for split in Split}


def details(worlds: list[WorldQuestion]) -> np.ndarray:
    return np.array([w.question.detail * VIEW_PX for w in worlds if w.question.kind != "overview"])


def test_questions_depend_on_split_index_and_seed_alone() -> None:
    first = scene_questions(Split.TEST, 5, seed=1)
    assert scene_questions(Split.TEST, 5, seed=1) == first
    assert list(questions(Split.TEST, 30, seed=1)) == list(questions(Split.TEST, 30, seed=1))
    assert scene_questions(Split.TEST, 5, seed=2)[0].scene != first[0].scene
    assert scene_questions(Split.TEST, 6, seed=1)[0].scene != first[0].scene


def test_questions_come_scene_by_scene_from_the_first_asked_for() -> None:
    some = list(questions(Split.TRAIN, 20))
    later = list(questions(Split.TRAIN, 10, first_scene=3))
    assert len(some) == 20
    assert later[0].scene_id == "train-0-3"
    assert later[:5] == [w for w in list(questions(Split.TRAIN, 40)) if w in later][:5]


@pytest.mark.parametrize("index", range(10))
def test_splits_share_no_scene(index: int) -> None:
    scenes = [scene_questions(split, index)[0].scene for split in Split]
    assert len(set(scenes)) == len(Split)
    assert len({scene.seed for scene in scenes}) == len(Split)


def test_ids_are_unique(worlds: dict[Split, list[WorldQuestion]]) -> None:
    ids = [w.id for part in worlds.values() for w in part]
    assert len(set(ids)) == len(ids)


def test_shifted_has_backgrounds_and_phrasings_of_its_own(
    worlds: dict[Split, list[WorldQuestion]],
) -> None:
    assert {w.scene.background for w in worlds[Split.SHIFTED]} == set(SHIFTED_BACKGROUNDS)
    assert {w.scene.background for w in worlds[Split.TRAIN]} == set(TRAIN_BACKGROUNDS)
    seen = {w.question.text for w in worlds[Split.TRAIN]}
    assert not seen & {w.question.text for w in worlds[Split.SHIFTED]}


@pytest.mark.parametrize("split", [*TRAIN_LIKE, Split.SHIFTED])
def test_details_are_clearly_illegible_or_clearly_legible(
    worlds: dict[Split, list[WorldQuestion]], split: Split
) -> None:
    sizes = details(worlds[split])
    assert not ((sizes > 2.6) & (sizes < q.CLEAR_PX)).any()
    assert (sizes < 2.6).any()
    assert (sizes >= q.CLEAR_PX).any()


def test_shifted_has_sizes_and_shades_that_training_never_shows() -> None:
    for name in ("small", "large_share", "shade"):
        seen, unseen = getattr(SceneStyle(), name), getattr(SHIFTED_STYLE, name)
        assert unseen[1] < seen[0] or seen[1] < unseen[0]


@pytest.mark.parametrize("step", range(5))
def test_base_weights_see_no_scene_of_a_split(step: int) -> None:
    taught = [
        sample_view(np.random.default_rng([0, step]))[0],
        sample_scene(np.random.default_rng([0, STREAM, step]), SceneStyle(), TRAIN_BACKGROUNDS),
    ]
    for split in Split:
        held = {w.scene for index in range(30) for w in scene_questions(split, index)}
        assert not held & set(taught)
        assert list(Split).index(split) != STREAM


def test_graded_covers_the_gap(worlds: dict[Split, list[WorldQuestion]]) -> None:
    sizes = details(worlds[Split.GRADED])
    share, _ = np.histogram(sizes, [2, 3.2, 4, 5, 6.5, 8, 16])
    assert (share > 0.05 * len(sizes)).all()


@pytest.mark.parametrize("split", [*TRAIN_LIKE, Split.SHIFTED])
def test_about_a_quarter_need_a_look(
    worlds: dict[Split, list[WorldQuestion]], split: Split
) -> None:
    assert 0.20 < np.mean([w.question.needs_look(VIEW_PX) for w in worlds[split]]) < 0.30


def test_one_image_often_has_questions_of_both_sorts(
    worlds: dict[Split, list[WorldQuestion]],
) -> None:
    needs: dict[str, set[bool]] = {}
    for w in worlds[Split.TRAIN]:
        needs.setdefault(w.scene_id, set()).add(w.question.needs_look(VIEW_PX))
    assert np.mean([len(sorts) == 2 for sorts in needs.values()]) > 0.35


@pytest.mark.parametrize("split", list(Split))
def test_every_question_is_sound(worlds: dict[Split, list[WorldQuestion]], split: Split) -> None:
    per_scene = Counter(w.scene_id for w in worlds[split])
    assert max(per_scene.values()) <= QUESTIONS_PER_SCENE
    for w in worlds[split]:
        asked = w.question
        colours = [sign.colour for sign in w.scene.signs]
        assert set(asked.targets) <= set(colours)
        assert all(0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1 for box in asked.boxes)
        assert asked.boxes
        if asked.kind != "overview":
            [sign] = [s for s in w.scene.signs if s.colour == asked.targets[0]]
            assert asked.answer == sign.content.value
            assert asked.answer in VALUES[Kind(asked.kind)]
            assert asked.choices == len(VALUES[Kind(asked.kind)])
        elif asked.family is q.Family.COUNTING:
            assert asked.answer == str(len(colours))
        elif asked.family is q.Family.RELATION:
            assert asked.answer in ("left", "right", "above", "below")
        else:
            assert asked.answer in colours


def test_answers_are_not_given_away_by_necessity(
    worlds: dict[Split, list[WorldQuestion]],
) -> None:
    asked = [w.question for w in worlds[Split.TRAIN] if w.question.kind == Kind.DOTS]
    for needs in (True, False):
        answers = Counter(one.answer for one in asked if one.needs_look(VIEW_PX) is needs)
        assert set(answers) == set(VALUES[Kind.DOTS])


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, list[WorldQuestion]]:
    worlds = list(questions(Split.TEST, 5))
    export(tmp_path, worlds)
    return tmp_path, worlds


def test_questions_on_disk_are_those_asked(exported: tuple[Path, list[WorldQuestion]]) -> None:
    folder, worlds = exported
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [w.id for w in worlds]
    for row, world in zip(rows, worlds, strict=True):
        with Image.open(folder / row["image"]) as image:
            assert image.size == (1024, 1024)
        again = to_question(world, folder / row["image"], 1024)
        assert row == record_of(again, folder)
        assert row["answer"] == world.question.answer
        for box, units in zip(again.boxes, world.question.boxes, strict=True):
            assert box.frame is Frame.SOURCE
            assert box.coordinates == pytest.approx([1024 * v for v in units], abs=0.051)
        assert row["needs_look"] == (row["detail_px"] < q.LEGIBLE_PX)


def test_exporting_again_changes_nothing(exported: tuple[Path, list[WorldQuestion]]) -> None:
    folder, worlds = exported
    files = sorted(folder.rglob("*.*"))
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    steps: list[None] = []
    again = export(folder, worlds, progress=lambda: steps.append(None))
    assert len(steps) == len(again) == len(worlds)
    assert sorted(folder.rglob("*.*")) == files
    for file, (content, changed) in before.items():
        assert file.read_bytes() == content
        assert file.suffix == ".jsonl" or file.stat().st_mtime_ns == changed


def test_interrupted_export_is_completed(exported: tuple[Path, list[WorldQuestion]]) -> None:
    folder, worlds = exported
    image = next((folder / "images").iterdir())
    content = image.read_bytes()
    image.rename(image.with_suffix(".part"))
    export(folder, worlds)
    assert image.read_bytes() == content
    assert not list(folder.rglob("*.part"))
