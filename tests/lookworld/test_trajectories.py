from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lookless.chat.chatml import ChatML
from lookless.demonstrations import Played
from lookless.episode import LookOutcome, Mode, Question, Rollout, StopReason
from lookless.grading import grade
from lookless.images import SourceCache
from lookless.lookworld.dataset import Split, WorldQuestion, questions, to_question
from lookless.lookworld.speech import NOT_THERE
from lookless.lookworld.trajectories import TrajectoryKind, demonstrations, kind_of
from lookless.mixture import Mixture

Shown = list[tuple[TrajectoryKind, Rollout]]
COUNT = 600


def demonstrate(
    chat: ChatML,
    worlds: list[WorldQuestion],
    asked: list[Question],
    seed: int,
    mixture: Mixture | None = None,
) -> Shown:
    shown = demonstrations(worlds, asked, seed, mixture)
    kinds = map(kind_of, shown)
    return list(zip(kinds, Played(chat, shown, SourceCache()), strict=True))


@pytest.fixture(scope="module")
def asked(make_question: Callable[..., Question]) -> tuple[list[WorldQuestion], list[Question]]:
    """Return questions that all name one image, since a demonstrator does not look at pixels."""
    worlds = list(questions(Split.TRAIN, COUNT))
    image = make_question("world", size=(1024, 1024)).image
    return worlds, [to_question(w, image, 1024) for w in worlds]


@pytest.fixture(scope="module")
def shown(chat: ChatML, asked: tuple[list[WorldQuestion], list[Question]]) -> Shown:
    return demonstrate(chat, *asked, seed=0)


def test_modes_have_their_shares(shown: Shown) -> None:
    modes = [r.mode for _, r in shown]
    assert modes.count(Mode.FORCED) / COUNT == pytest.approx(Mixture.forced, abs=0.05)
    assert modes.count(Mode.PROHIBITED) / COUNT == pytest.approx(Mixture.prohibited, abs=0.05)


def test_looks_and_their_kinds_have_their_shares(shown: Shown) -> None:
    adaptive = [r.is_used for _, r in shown if r.mode is Mode.ADAPTIVE]
    assert np.mean(adaptive) == pytest.approx(Mixture.look, abs=0.06)


@pytest.mark.parametrize("kind", [TrajectoryKind.CORRECTED, TrajectoryKind.CLOSER])
def test_only_looks_at_details_take_a_second_one(
    chat: ChatML, asked: tuple[list[WorldQuestion], list[Question]], kind: TrajectoryKind
) -> None:
    mixture = replace(Mixture(1.0, 0.0, corrected=0.0, closer=0.0), **{kind.value: 0.5})
    shown = demonstrate(chat, *asked, 0, mixture)
    second: dict[bool, list[bool]] = {True: [], False: []}
    for world, (shown_kind, _) in zip(asked[0], shown, strict=True):
        second[world.question.kind == "overview"].append(shown_kind is kind)
    assert np.mean(second[False]) == pytest.approx(0.5, abs=0.08)
    assert not any(second[True])


def test_every_mode_is_obeyed(shown: Shown) -> None:
    assert all(r.is_obedient for _, r in shown)
    for kind, r in shown:
        assert r.is_used is (kind is not TrajectoryKind.OVERVIEW)
        assert all(look.outcome is LookOutcome.EXECUTED for look in r.looks)


def test_looking_does_not_depend_on_necessity(
    chat: ChatML, asked: tuple[list[WorldQuestion], list[Question]]
) -> None:
    # All adaptive, so that the rates are precise: 1200 draws, about 300 of them need a look.
    looked: dict[bool, list[bool]] = {True: [], False: []}
    for seed in (0, 1):
        mixture = Mixture(forced=0.0, prohibited=0.0, look=0.5)
        shown = demonstrate(chat, *asked, seed, mixture)
        for question, (_, r) in zip(asked[1], shown, strict=True):
            looked[bool(question.needs_look)].append(r.is_used)
    assert abs(np.mean(looked[True]) - np.mean(looked[False])) < 0.08


def test_every_trajectory_ends_with_the_right_answer(
    shown: Shown, asked: tuple[list[WorldQuestion], list[Question]]
) -> None:
    for question, (_, r) in zip(asked[1], shown, strict=True):
        assert r.question_id == question.id
        assert r.stop is StopReason.ANSWERED
        assert grade(question, r) == 1.0


def test_every_trajectory_first_thinks_of_its_target(
    shown: Shown, asked: tuple[list[WorldQuestion], list[Question]]
) -> None:
    for world, (_, r) in zip(asked[0], shown, strict=True):
        first = r.turns[1].text
        assert first.startswith("<think>")
        thought = first.split("</think>")[0]
        assert all(colour in thought for colour in world.question.targets)
        assert "<tool_call>" not in thought
        assert "boxed" not in thought


def test_thought_says_nothing_of_what_follows(
    chat: ChatML, asked: tuple[list[WorldQuestion], list[Question]]
) -> None:
    worlds, questions_ = asked[0][:40], asked[1][:40]

    def thoughts(mixture: Mixture) -> list[str]:
        shown = demonstrate(chat, worlds, questions_, 0, mixture)
        return [r.turns[1].text.split("</think>")[0] for _, r in shown]

    assert thoughts(Mixture(1.0, 0.0)) == thoughts(Mixture(0.0, 1.0))


def test_mistake_is_not_learned_but_its_correction_is(shown: Shown, chat: ChatML) -> None:
    corrected = [r for kind, r in shown if kind is TrajectoryKind.CORRECTED]
    assert corrected
    for r in corrected:
        learned = chat.decode([t for t, own in zip(r.token_ids, r.is_sampled, strict=True) if own])
        wrong, right = r.turns[1].text, r.turns[3].text
        thought, call = wrong.split("<tool_call>")
        assert right.startswith(NOT_THERE)
        assert learned == f"{thought}{right}<|im_end|>{r.turns[5].text}<|im_end|>"
        assert call not in learned


def test_nothing_else_is_masked(shown: Shown, chat: ChatML) -> None:
    for kind, r in shown:
        if kind is not TrajectoryKind.CORRECTED:
            said = [t.text for t in r.turns if t.role == "model"]
            assert r.sampled_tokens == sum(len(chat.encode(text)) + 1 for text in said)


def test_last_look_shows_the_evidence(
    shown: Shown, asked: tuple[list[WorldQuestion], list[Question]]
) -> None:
    for question, (_, r) in zip(asked[1], shown, strict=True):
        if r.is_used:
            region = r.views[-1].region
            for box in question.boxes:
                assert region.intersection(box).area > 0.7 * box.area


def test_closer_look_goes_from_wide_to_narrow(shown: Shown) -> None:
    closer = [r for kind, r in shown if kind is TrajectoryKind.CLOSER]
    assert closer
    for r in closer:
        assert [look.image for look in r.looks] == [0, 1]
        assert r.views[2].region.area < 0.7 * r.views[1].region.area


def test_seed_decides_the_trajectories(
    chat: ChatML, asked: tuple[list[WorldQuestion], list[Question]]
) -> None:
    def some(seed: int) -> list[Rollout]:
        played = demonstrate(chat, asked[0][:30], asked[1][:30], seed)
        return [replace(r, seconds=0.0, latency=0.0) for _, r in played]

    assert some(0) == some(0)
    assert some(0) != some(1)
