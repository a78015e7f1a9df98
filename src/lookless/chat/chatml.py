"""Prompts and observations as token ids, in the ChatML form that Qwen models are trained on.

Everything is made of *segments* that are tokenised once and concatenated; sampled tokens are never
tokenised again. The prompt has two segments, so that the trained modes share the first:
system + image + question | the mode's instruction + the opening of the assistant's turn.
The segments are cut so that together they are the tokens of the whole text, as a checkpoint's own
chat template gives it; see `template`.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from transformers import PreTrainedTokenizerBase

from lookless.episode import LookOutcome, Mode
from lookless.frames import Frame, View
from lookless.images import Budget

_TOKENIZING = threading.Lock()
"""Whether special tokens are split is a state of the tokenizer, which threads share."""
IM_START, IM_END = "<|im_start|>", "<|im_end|>"

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
class ImageMarks:
    """The special tokens around an image."""

    start: str
    pad: str
    """Stands for one visual token."""
    end: str
    written: str
    """What the chat template writes for an image, for the processor to expand."""
    after: str = ""
    """Text that the template puts behind it."""
    others: tuple[str, ...] = ()
    """Further tokens that stand for pixels."""


QWEN_MARKS = ImageMarks(
    "<|vision_start|>",
    "<|image_pad|>",
    "<|vision_end|>",
    written="<|vision_start|><|image_pad|><|vision_end|>",
    others=("<|video_pad|>",),
)


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
    budget: Budget
    """For the overview and for crops alike."""
    marks: ImageMarks = QWEN_MARKS
    opening: str = ""
    """What the template opens the model's turn with; `<think>` and a new line where models that
    always think have it there."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; special tokens in it are recognised, none is added."""
        with _TOKENIZING:
            ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _encode_literally(self, text: str) -> list[int]:
        """Return the ids of `text` from outside, in which special tokens are mere characters.

        Tokens that Qwen adds without making them special (`<tool_call>`, `</think>`) stay tokens:
        the loop reads calls and answers from the model's own turns only.
        """
        with _TOKENIZING:
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
        return self._id(self.marks.pad)

    @property
    def end_id(self) -> int:
        """Id of the token that ends a turn."""
        return self._id(IM_END)

    @property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that a policy must never sample.

        They stand for or bracket pixels, or open a turn.
        """
        marks = self.marks
        banned = (marks.pad, *marks.others, marks.start, marks.end, IM_START)
        return tuple(self._id(token) for token in banned)

    def _id(self, token: str) -> int:
        index = self.tokenizer.convert_tokens_to_ids(token)
        assert isinstance(index, int)
        return index

    def visual_tokens(self, view: View) -> int:
        """Return how many tokens a view costs."""
        return self.budget.visual_tokens(view.width_px, view.height_px)

    def image(self, view: View) -> list[int]:
        """Return the tokens of one image."""
        pads = [self.image_pad_id] * self.visual_tokens(view)
        return [self._id(self.marks.start), *pads, self._id(self.marks.end)]

    def prompt(self, view: View, question: str, mode: Mode) -> tuple[list[int], list[int]]:
        """Return a prompt in two parts: what the trained modes share, and the rest.

        The first is system + image + question, but for the last token of a question whose end is
        one token together with the line break behind it. White space around a question is left out.
        """
        is_toolfree = mode is Mode.TOOLFREE
        system = self.wording.toolfree_system if is_toolfree else self.wording.system
        before = [
            *self.encode(f"{IM_START}system\n{system}{IM_END}\n{IM_START}user\n"),
            *self.image(view),
        ]
        asked = f"{self.marks.after}{question.strip()}"
        alone = self._encode_literally(asked)
        said = "" if is_toolfree else f"\n{self.wording.modes[mode]}"
        whole = self._encode_literally(f"{asked}{said}")
        shared = 0
        while shared < min(len(alone), len(whole)) and alone[shared] == whole[shared]:
            shared += 1
        return [*before, *whole[:shared]], [*whole[shared:], *self._handover()]

    def instruction(self, mode: Mode) -> list[int]:
        """Return the mode's instruction, if it has one, and the opening of the assistant's turn."""
        said = "" if mode is Mode.TOOLFREE else f"\n{self.wording.modes[mode]}"
        return [*self.encode(said), *self._handover()]

    def _handover(self) -> list[int]:
        """Return the end of the user's turn and the opening of the assistant's."""
        return self.encode(f"{IM_END}\n{IM_START}assistant\n{self.opening}")

    def observation(self, result: View | LookOutcome) -> list[int]:
        """Return what follows a turn that called the operation: a crop, or why there is none."""
        opening, closing = f"\n{IM_START}user\n<tool_response>\n", "\n</tool_response>"
        if isinstance(result, LookOutcome):
            return [*self.encode(f"{opening}{REFUSALS[result]}{closing}"), *self._handover()]
        after = self.encode(f"{self.marks.after}{closing}")
        return [*self.encode(opening), *self.image(result), *after, *self._handover()]

    def with_images_as_written(self, ids: Sequence[int]) -> list[int]:
        """Return ids with each image as the chat template writes it, before it is expanded."""
        first, last = self._id(self.marks.start), self._id(self.marks.end)
        written = self.encode(self.marks.written)
        kept: list[int] = []
        is_inside = False
        for token in ids:
            if token == first:
                is_inside = True
                kept += written
            elif not is_inside:
                kept.append(token)
            is_inside = is_inside and token != last
        return kept

    def turns(self, ids: Sequence[int]) -> Iterator[list[str | None]]:
        """Yield what the turns in `ids` say: texts and, as None, images.

        Only turns of the system and of the user: the opening of the model's turn is left out.
        """
        start, end = self._id(IM_START), self.end_id
        for is_end, turn in groupby(ids, end.__eq__):
            said = list(turn)
            if is_end or start not in said:
                continue
            parts = self._parts(said[said.index(start) + 1 :])
            role, _, first = (parts[0] or "").partition("\n")
            if role != "assistant":
                yield [part for part in (first, *parts[1:]) if part is None or part]

    def _parts(self, ids: Sequence[int]) -> list[str | None]:
        """Return the texts and images in `ids`."""
        marks = {self._id(self.marks.start), self._id(self.marks.end)}
        parts: list[str | None] = []
        for is_image, run in groupby((t for t in ids if t not in marks), self.image_pad_id.__eq__):
            text = None if is_image else self.decode(list(run))
            if parts and parts[-1] is None and text is not None:
                text = text.removeprefix(self.marks.after)
            parts.append(text)
        return parts
