"""Prompts and observations as token ids, in the ChatML form that Qwen models are trained on.

Everything is made of *segments* that are tokenised once and concatenated; sampled tokens are never
tokenised again. The prompt has two segments, so that the trained modes share the first:
system + image + question | the mode's instruction + the opening of the assistant's turn.
"""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from lookless.episode import LookOutcome, Mode
from lookless.frames import Frame, View
from lookless.images import PixelBudget

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"

REFUSALS: dict[LookOutcome, str] = {
    LookOutcome.MALFORMED: "Error: not a valid call.",
    LookOutcome.UNKNOWN_OPERATION: "Error: unknown operation.",
    LookOutcome.BAD_ARGUMENTS: "Error: bad arguments.",
    LookOutcome.NOT_FINITE: "Error: not a number.",
    LookOutcome.SWAPPED_CORNERS: "Error: corners are swapped.",
    LookOutcome.OUTSIDE: "Error: outside the image.",
    LookOutcome.TOO_SMALL: "Error: too small.",
    LookOutcome.UNKNOWN_IMAGE: "Error: no such image.",
    LookOutcome.REPEATED: "Error: already seen.",
    LookOutcome.TOO_MANY: "Error: no look is left. Answer now.",
    LookOutcome.REFUSED: "Error: looking closer is not allowed. Answer now.",
}
"""What the model is told when a look is not executed."""


@dataclass(frozen=True)
class Wording:
    """The texts of a model family's prompts."""

    system: str
    modes: dict[Mode, str]
    """Of the modes that share `system`."""
    toolfree_system: str
    """Says nothing of looking; `Mode.TOOLFREE` adds no sentence to it."""


@dataclass(frozen=True)
class ChatML:
    """One model family's dialect: wording, coordinate frame, pixel budget, tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    wording: Wording
    frame: Frame
    budget: PixelBudget
    """For the overview and for crops alike; `factor` is the side of one visual token in pixels."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; special tokens in it are recognised, none is added."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _encode_literally(self, text: str) -> list[int]:
        """Return the ids of `text` from outside, in which special tokens are mere characters.

        Tokens that Qwen adds without making them special (`<tool_call>`, `</think>`) stay tokens:
        the loop reads calls and answers from the model's own turns only.
        """
        ids: list[int] = self.tokenizer.encode(
            text, add_special_tokens=False, split_special_tokens=True
        )
        return ids

    def decode(self, ids: list[int]) -> str:
        """Return the text of `ids` with special tokens left in, each run of image pads as one."""
        pad = self.image_pad_id
        kept = [t for k, t in enumerate(ids) if t != pad or k == 0 or ids[k - 1] != pad]
        return str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))

    @property
    def image_pad_id(self) -> int:
        """Id of the token that stands for one visual token."""
        return self._id(IMAGE_PAD)

    @property
    def end_id(self) -> int:
        """Id of the token that ends a turn."""
        return self._id(IM_END)

    @property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that a policy must never sample.

        They stand for or bracket pixels, or open a turn.
        """
        return tuple(
            self._id(t) for t in (IMAGE_PAD, VIDEO_PAD, VISION_START, VISION_END, IM_START)
        )

    def _id(self, token: str) -> int:
        index = self.tokenizer.convert_tokens_to_ids(token)
        assert isinstance(index, int)
        return index

    def visual_tokens(self, view: View) -> int:
        """Return how many tokens a view costs."""
        return (view.width_px // self.budget.factor) * (view.height_px // self.budget.factor)

    def image(self, view: View) -> list[int]:
        """Return the tokens of one image."""
        pads = [self.image_pad_id] * self.visual_tokens(view)
        return [self._id(VISION_START), *pads, self._id(VISION_END)]

    def prefix(self, view: View, question: str, mode: Mode) -> list[int]:
        """Return system + image + question, which all modes share but `TOOLFREE`."""
        is_toolfree = mode is Mode.TOOLFREE
        system = self.wording.toolfree_system if is_toolfree else self.wording.system
        return [
            *self.encode(f"{IM_START}system\n{system}{IM_END}\n{IM_START}user\n"),
            *self.image(view),
            *self._encode_literally(question),
        ]

    def instruction(self, mode: Mode) -> list[int]:
        """Return the mode's instruction, if it has one, and the opening of the assistant's turn."""
        said = "" if mode is Mode.TOOLFREE else f"\n{self.wording.modes[mode]}"
        return self.encode(f"{said}{IM_END}\n{IM_START}assistant\n")

    def observation(self, result: View | LookOutcome) -> list[int]:
        """Return what follows a turn that called the operation: a crop, or why there is none."""
        content = self.image(result) if isinstance(result, View) else self.encode(REFUSALS[result])
        return [
            *self.encode(f"\n{IM_START}user\n<tool_response>\n"),
            *content,
            *self.encode(f"\n</tool_response>{IM_END}\n{IM_START}assistant\n"),
        ]
