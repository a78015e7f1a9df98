import pytest

from lookless.chat.chatml import ChatML
from lookless.chat.toolcall import written_call
from lookless.lookworld.dataset import Split, questions
from lookless.lookworld.scene import COLOURS, VALUES
from lookless.lookworld.speech import SIZES, STEP
from lookless.lookworld.tokenizer import CONTROL, PHRASES, SPECIAL, VOCAB_SIZE, train_tokenizer


def test_training_is_deterministic(chat: ChatML) -> None:
    assert train_tokenizer().get_vocab() == chat.tokenizer.get_vocab()
    text = "Which code does the red sign show? [25, 1000]"
    assert train_tokenizer().encode(text) == chat.encode(text)


def test_vocabulary_fits_the_embedding(chat: ChatML) -> None:
    ids = chat.tokenizer.get_vocab().values()
    assert max(ids) < VOCAB_SIZE
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("number", sorted({*range(0, 1001, STEP), *SIZES}))
def test_every_spoken_number_is_one_token(chat: ChatML, number: int) -> None:
    assert len(chat.encode(str(number))) == 1
    assert len(chat.encode(f"[{number}, {number}]")) == 5


@pytest.mark.parametrize("token", [*SPECIAL, *CONTROL, *PHRASES])
def test_protocol_is_one_token_each(chat: ChatML, token: str) -> None:
    [one] = chat.encode(token)
    assert chat.decode([one]) == token


def test_every_colour_and_value_is_one_token_after_a_space(chat: ChatML) -> None:
    words = [*COLOURS, *(v for values in VALUES.values() for v in values if v.isalpha())]
    assert all(len(chat.encode(f" {word}")) == 1 for word in words)


def test_call_is_as_short_as_promised(chat: ChatML) -> None:
    assert (
        len(chat.encode(written_call("zoom_in", {"bbox_2d": [100, 200, 300, 400], "image": 0})))
        == 15
    )


def test_shifted_questions_cost_no_more_tokens_a_word(chat: ChatML) -> None:
    def tokens_per_word(split: Split) -> float:
        texts = [w.question.text for w in questions(split, 200)]
        return sum(len(chat.encode(t)) for t in texts) / sum(len(t.split()) for t in texts)

    assert tokens_per_word(Split.SHIFTED) < 1.2 * tokens_per_word(Split.TRAIN)
