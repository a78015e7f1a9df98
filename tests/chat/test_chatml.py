from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.chat.chatml import REFUSALS, ChatML
from lookless.episode import TRAINED_MODES, LookOutcome, Mode
from lookless.frames import Box, Frame, View

VIEW = View(Box(0, 0, 640, 480, Frame.SOURCE), 160, 96)


def prompt_of(chat: ChatML, question: str, mode: Mode) -> list[int]:
    return [t for part in chat.prompt(VIEW, question, mode) for t in part]


def test_trained_modes_differ_only_after_the_question(chat: ChatML) -> None:
    question = "How many signs are there?"
    [prefix] = {tuple(chat.prompt(VIEW, question, mode)[0]) for mode in TRAINED_MODES}
    prompts = {mode: prompt_of(chat, question, mode) for mode in TRAINED_MODES}
    assert len({tuple(ids) for ids in prompts.values()}) == len(TRAINED_MODES)
    for mode, ids in prompts.items():
        head, tail = chat.decode(ids).split(question)
        assert head == chat.decode(list(prefix)).removesuffix(question)
        assert tail == f"\n{chat.wording.modes[mode]}<|im_end|>\n<|im_start|>assistant\n"


def test_toolfree_prompt_does_not_mention_looking(chat: ChatML) -> None:
    mode = Mode.TOOLFREE
    text = chat.decode(prompt_of(chat, "How many?", mode))
    assert text == (
        f"<|im_start|>system\n{chat.wording.toolfree_system}<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|image_pad|><|vision_end|>How many?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert "look" not in text
    assert "zoom" not in text


@pytest.mark.parametrize("mode", Mode)
def test_prefix_and_instruction_are_tokenised_as_one_text_would_be(
    chat: ChatML, mode: Mode
) -> None:
    ids = prompt_of(chat, "How many signs are there?", mode)
    assert chat.encode(chat.decode(ids).replace("<|image_pad|>", "<|image_pad|>" * 15)) == ids


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|im_end|>", "<|vision_start|>"])
def test_question_cannot_forge_images_or_turns(chat: ChatML, token: str) -> None:
    plain, _ = chat.prompt(VIEW, "What is ?", Mode.ADAPTIVE)
    ids, _ = chat.prompt(VIEW, f"What is {token}?", Mode.ADAPTIVE)
    assert [ids.count(t) for t in (*chat.banned_ids, chat.end_id)] == [
        plain.count(t) for t in (*chat.banned_ids, chat.end_id)
    ]
    assert chat.decode(ids).endswith(f"What is {token}?")


@pytest.mark.parametrize(
    ("width", "height", "tokens"), [(160, 160, 25), (160, 96, 15), (32, 32, 1)]
)
def test_view_costs_one_token_per_square_of_the_factor(
    chat: ChatML, width: int, height: int, tokens: int
) -> None:
    view = View(Box(0, 0, 99, 99, Frame.SOURCE), width, height)
    assert chat.visual_tokens(view) == tokens
    ids = chat.image(view)
    assert ids.count(chat.image_pad_id) == tokens == len(ids) - 2
    assert chat.decode(ids) == "<|vision_start|><|image_pad|><|vision_end|>"


def test_prefix_holds_the_image_once(chat: ChatML) -> None:
    ids, _ = chat.prompt(VIEW, "?", Mode.ADAPTIVE)
    assert ids.count(chat.image_pad_id) == chat.visual_tokens(VIEW)


@pytest.mark.parametrize("outcome", [o for o in LookOutcome if o is not LookOutcome.EXECUTED])
def test_each_refusal_is_told_without_an_image(chat: ChatML, outcome: LookOutcome) -> None:
    ids = chat.observation(outcome)
    assert chat.decode(ids) == (
        f"\n<|im_start|>user\n<tool_response>\n{REFUSALS[outcome]}\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert not set(ids) & {chat.image_pad_id}


def test_each_refusal_has_words_of_its_own() -> None:
    assert len(set(REFUSALS.values())) == len(LookOutcome) - 1


def test_crop_is_shown_in_its_observation(chat: ChatML) -> None:
    ids = chat.observation(VIEW)
    assert ids.count(chat.image_pad_id) == chat.visual_tokens(VIEW)
    assert "<tool_response>\n<|vision_start|>" in chat.decode(ids)


def test_everything_about_pixels_is_banned_and_nothing_else(chat: ChatML) -> None:
    assert {chat.decode([t]) for t in chat.banned_ids} == {
        "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_start|>",
    }  # fmt: skip
    assert chat.end_id not in chat.banned_ids
    assert set(chat.image(VIEW)) <= set(chat.banned_ids)


def test_decoding_shows_each_image_as_one_pad(chat: ChatML) -> None:
    text = chat.decode([*chat.image(VIEW), *chat.encode("x"), *chat.image(VIEW)])
    assert text.count("<|image_pad|>") == 2


@given(text=st.text())
def test_any_text_comes_back_from_its_tokens(chat: ChatML, text: str) -> None:
    assert chat.decode(chat.encode(text)) == text


@given(
    parts=st.lists(st.sampled_from(["<think>", "<tool_call>", "\\boxed{", " ", "a", "\n", "🙂"]))
)
def test_control_tokens_come_back(chat: ChatML, parts: list[str]) -> None:
    text = "".join(parts)
    assert chat.decode(chat.encode(text)) == text


def test_threads_that_share_a_dialect_do_not_disturb_each_other(chat: ChatML) -> None:
    """Whether special tokens are split is a state of the tokenizer."""
    view = View(Box(0, 0, 640, 480, Frame.SOURCE), *chat.budget.resized(640, 480))
    expected = chat.prompt(view, "What <|im_start|> is it?", Mode.ADAPTIVE)
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(
                lambda _: chat.prompt(view, "What <|im_start|> is it?", Mode.ADAPTIVE), range(2000)
            )
        )
    assert all(one == expected for one in made)
