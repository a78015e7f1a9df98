r"""Prompts and observations for a model whose tokenizer is out of reach, behind a chat server.

An id is a Unicode code point, so that any text has ids and they have one text again. Two ids lie
above Unicode: one for a visual token and one for the end of a turn. Text from outside consists of
characters only and so can forge neither images nor turns.

An episode is a sequence of turns, each closed by the end: system, user, assistant, user, ...
Its length is counted in characters and visual tokens, nearly always more than the server counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from lookless.chat.chatml import REFUSALS, Wording
from lookless.episode import LookOutcome, Mode
from lookless.errors import ConfigError
from lookless.frames import Frame, View
from lookless.images import PixelBudget
from lookless.ops import zoom_in

IMAGE_ID, END_ID = 0x110000, 0x110001
IMAGE_MARK, END_MARK = "<|image|>", "<|end|>"
"""How the two are written in a record; in a question they are mere characters."""

BUDGET = PixelBudget(32 * 32 * 4, 32 * 32 * 1024, 32)
"""Of a server whose model is not known: images of up to a megapixel."""
_ANSWER = "Answer the question about the image. Give the final answer in \\boxed{}."
_LOOKING = f"""{_ANSWER}

To look closer at a part of an image, call {zoom_in.NAME}. You then get that part at a higher \
resolution. Write nothing but the call, and wait for its result:
<tool_call>{{"name": "{zoom_in.NAME}", "arguments": {{"bbox_2d": [x1, y1, x2, y2], "image": 0}}}}\
</tool_call>
bbox_2d: left, top, right and bottom of the part, %s.
image: which image; 0 is the first one, k is the result of the k-th call that gave one."""
_MODES = {
    Mode.ADAPTIVE: "Look closer only if you must.",
    Mode.FORCED: "Look closer at least once before you answer.",
    Mode.PROHIBITED: "Do not look closer. Answer from the image as it is.",
}


@dataclass(frozen=True)
class RemoteChat:
    """How to talk to any chat model that follows instructions.

    Raises:
        ConfigError: If `frame` is none that the prompt can explain.
    """

    frame: Frame = Frame.PERMILLE
    """What a model writes boxes in depends on its training: thousandths by Qwen3-VL, pixels of the
    image as it was sent by Qwen2.5-VL."""
    budget: PixelBudget = BUDGET
    """Images are sent at this size. Within the server's own limits and in multiples of its factor
    they stay as they are, and boxes in pixels mean what the model saw."""

    def __post_init__(self) -> None:
        if self.frame not in zoom_in.UNITS:
            raise ConfigError(
                f"frame must be one of {', '.join(zoom_in.UNITS)}, got {self.frame}; use one"
            )

    @property
    def wording(self) -> Wording:
        """Return the texts of the prompts."""
        return Wording(_LOOKING % zoom_in.UNITS[self.frame], _MODES, toolfree_system=_ANSWER)

    @property
    def end_id(self) -> int:
        """Return the id that ends a turn."""
        return END_ID

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, its characters; a lone surrogate, which is none, becomes `?`.

        Example:
            >>> RemoteChat().encode("K7")
            [75, 55]
        """
        return list(map(ord, text.encode(errors="replace").decode()))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, each run of visual tokens as one mark."""
        runs = groupby(ids, IMAGE_ID.__eq__)
        return "".join(IMAGE_MARK if is_image else _text(run) for is_image, run in runs)

    def turns(self, ids: Sequence[int]) -> Iterator[list[str | None]]:
        """Yield the turns that `ids` hold, empty ones left out: texts and, as None, images.

        Example:
            >>> chat = RemoteChat()
            >>> ids = [*chat.encode("a"), END_ID, IMAGE_ID, IMAGE_ID, *chat.encode("b"), END_ID]
            >>> list(chat.turns(ids))
            [['a'], [None, 'b']]
        """
        for is_end, turn in groupby(ids, END_ID.__eq__):
            if not is_end:
                runs = groupby(turn, IMAGE_ID.__eq__)
                yield [None if is_image else "".join(map(chr, run)) for is_image, run in runs]

    def visual_tokens(self, view: View) -> int:
        """Return how many tokens a view costs: an estimate, one for each square of the factor."""
        return self.budget.visual_tokens(view.width_px, view.height_px)

    def image(self, view: View) -> list[int]:
        """Return the ids of one image."""
        return [IMAGE_ID] * self.visual_tokens(view)

    def prompt(self, view: View, question: str, mode: Mode) -> tuple[list[int], list[int]]:
        """Return system + image + question, shared by all modes but `TOOLFREE`, and the rest."""
        is_toolfree = mode is Mode.TOOLFREE
        system = self.wording.toolfree_system if is_toolfree else self.wording.system
        said = "" if is_toolfree else f"\n{self.wording.modes[mode]}"
        shared = [*self.encode(system), END_ID, *self.image(view), *self.encode(question)]
        return shared, [*self.encode(said), END_ID]

    def observation(self, result: View | LookOutcome) -> list[int]:
        """Return what follows a turn that called the operation: a crop, or why there is none."""
        content = self.image(result) if isinstance(result, View) else self.encode(REFUSALS[result])
        return [
            *self.encode("<tool_response>\n"),
            *content,
            *self.encode("\n</tool_response>"),
            END_ID,
        ]


def _text(ids: Iterable[int]) -> str:
    return "".join(END_MARK if t == END_ID else chr(t) for t in ids)
