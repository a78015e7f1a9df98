"""The tiny VLM's tokenizer: byte-level BPE over LookWorld's speech, Qwen's special tokens."""

from collections.abc import Iterator

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lookless.chat.chatml import REFUSALS
from lookless.chat.tiny import WORDING
from lookless.lookworld import questions as q
from lookless.lookworld.backgrounds import TRAIN_BACKGROUNDS
from lookless.lookworld.scene import COLOURS, VALUES, SceneStyle, sample_scene
from lookless.lookworld.speech import SIZES, STEP, thought

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
CONTROL = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
PHRASES = ('{"name": "zoom_in", "arguments": {"bbox_2d": [', '], "image": ', "\\boxed{")
"""Fixed strings of the protocol, one token each: a call is 15 tokens long."""
VOCAB_SIZE = 704
PATTERN = r" ?\p{N}+|, | ?\p{L}+|[^\s\p{L}\p{N}]+|\s+"


def corpus() -> Iterator[str]:
    """Yield all that is said in LookWorld, often enough for words and numbers to be one token."""
    rng = np.random.default_rng(0)
    fixed = [
        WORDING.system,
        *WORDING.modes.values(),
        *REFUSALS.values(),
        "system\n",
        "user\n",
        "assistant\n",
    ]
    fixed += (
        [f"{space}{n}" for n in (*range(0, 1001, STEP), *SIZES) for space in ("", " ")]
        + [f" {c}" for c in COLOURS]
        + list(COLOURS)
    )
    fixed += ["left", "right", "above", "below"]
    fixed += [
        "Not there.",
        "What is it?",
        "}}",
        "}",
        "].",
        "[",
        " px.",
        "Detail",
        "\n",
        "?",
    ]
    for values in VALUES.values():
        fixed += [v for v in values] + [f" {v}" for v in values]
    for phrases in (*q.DETAIL_PHRASES.values(), *q.OVERVIEW_PHRASES.values()):
        fixed += [p.format(a="red", b="blue") for p in phrases]
    for _ in range(20):
        yield from fixed
    for _ in range(2000):
        scene = sample_scene(rng, SceneStyle(), TRAIN_BACKGROUNDS)
        yield thought(scene, q.overview_question(scene, rng), 160)


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer, trained again; the same every time."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(CONTROL) - len(PHRASES),
        min_frequency=20,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(corpus(), trainer)
    core.add_tokens([AddedToken(t, normalized=False, special=False) for t in (*CONTROL, *PHRASES)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[t for t in SPECIAL if t not in ("<|im_end|>", "<|endoftext|>")],
        clean_up_tokenization_spaces=False,
    )
