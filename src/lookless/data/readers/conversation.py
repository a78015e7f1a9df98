"""Conversations with looks, whoever wrote them: messages become a question and how it is answered.

Crops that a conversation carries are not read: they are cut again from the image. So the frame of
the boxes decides what is seen, and it is never guessed from the size of the numbers.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lookless.benchmarks.stored import Embedded, Stored
from lookless.benchmarks.tables import Row
from lookless.chat.toolcall import OPEN, ToolCall, extract_boxed, parse_tool_call
from lookless.data.reader import Found, Reading, Shown, ShownLook, ShownTurn
from lookless.data.readers.vqa import option_of
from lookless.data.record import BEYOND
from lookless.errors import DataError
from lookless.frames import Box, Frame

Role = Literal["system", "user", "assistant"]
NAMES = frozenset("zoom_in zoom crop crop_image crop_image_normalized image_zoom_in_tool".split())
"""Operations that cut out a box."""
BOXES = ("bbox_2d", "bbox", "box")
LONGEST_ANSWER = 100
"""Characters of a last turn that is taken for the answer as a whole."""
_TAG = "<image>"
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_CHOICE = re.compile(r"^\(?([A-Z])[.:)]\s*(.+)$")


@dataclass(frozen=True)
class Media:
    """Where an image of a conversation is."""

    value: Any
    """A path, a `data:` address, or an object with bytes or path."""


@dataclass(frozen=True)
class Message:
    """What one side says: what an operation gave back counts as the user's."""

    role: Role
    parts: tuple[str | Media, ...]
    calls: tuple[ToolCall, ...] = ()
    """Calls that stand beside the text, not in it."""

    @property
    def text(self) -> str:
        """Return its texts, one after the other."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def media(self) -> list[Media]:
        """Return its images."""
        return [part for part in self.parts if isinstance(part, Media)]


@dataclass(frozen=True)
class Habits:
    """How the authors of a layout write looks."""

    frame: Frame | None = None
    """What numbers mean; None: that has to be said."""
    index: str = "image"
    """Name of the argument that says which image a box is of."""
    first: int = 0
    """Number of the whole image."""
    padding: float = 0.0
    """How much further than its box a crop reaches on each side, as a share of that image."""
    is_mistake: Callable[[str], bool] = field(default=lambda text: False)
    """Given how the next turn begins, whether the look before it was at the wrong place."""


def found_in(messages: Sequence[Message], row: Row, reading: Reading, habits: Habits) -> Found:
    """Return the question that a conversation begins with, and how it is answered.

    Args:
        messages: In their order.
        row: Where they come from.
        reading: What the user says of them.
        habits: How looks are written.

    Raises:
        DataError: If there is no such question, or the answer to it has a form that is not known.
        ConfigError: If boxes mean something that is not said.
    """
    talk = [message for message in messages if message.role != "system"]
    if len(talk) < 2 or talk[0].role != "user" or len(talk[0].media) != 1:
        shown = f"{len(talk[0].media)} images" if talk and talk[0].role == "user" else "none"
        raise row.wrong(("messages",), "a question about one image, then an answer", shown)
    turns: list[ShownTurn] = []
    rest = talk[1:]
    for place in range(0, len(rest), 2):
        said = rest[place]
        if said.role != "assistant":
            raise row.wrong(("messages",), "turns of both sides in turn", said.role)
        after = rest[place + 2].text if place + 2 < len(rest) else ""
        look = _look(said, after, row, reading, habits)
        if look is None:
            turns.append(ShownTurn(said.text))
            break
        if place + 2 >= len(rest) or not rest[place + 1].media:
            raise row.wrong(("messages",), "a crop and more words after each look", "none")
        turns.append(ShownTurn(_words(said), look))
    used = 2 * len(turns)
    later = sum(message.role == "user" for message in talk[used:])
    question, options = asked(talk[0].text)
    answer, last = _answered(turns[-1].say, row)
    turns[-1] = ShownTurn(last)
    return Found(
        where=row.where,
        image=stored_image(talk[0].media[0], row, reading),
        question=question,
        answers=(option_of(row, answer, options) if options else answer,),
        options=options,
        id=row.optional("id", "qid", "question_id"),
        shown=Shown(tuple(turns)),
        later=later,
    )


def talk_in(row: Row, field: str) -> list[dict[str, Any]]:
    """Return a conversation's turns as they stand in a row.

    Raises:
        DataError: If they are no list of objects.
    """
    talk = row.parsed(field)
    if not isinstance(talk, list) or not all(isinstance(one, dict) for one in talk):
        raise row.wrong((field,), "a list of objects, one for each turn", talk)
    return talk


def images_in(row: Row) -> list[Any]:
    """Return the images that stand beside a conversation, in the order of their tags."""
    value = row.values.get("images") or row.values.get("image") or []
    return list(value) if isinstance(value, list | tuple) else [value]


def asked(text: str) -> tuple[str, tuple[str, ...]]:
    r"""Return a question without instructions and options, and the options.

    Example:
        >>> asked("Which letter?\nchoices:\nA: X\nB: B\n\nGuidelines: Understand it.")
        ('Which letter?', ('X', 'B'))
        >>> asked("Which letter?")
        ('Which letter?', ())
    """
    text = text.partition("\n\nGuidelines:")[0].strip()
    question, mark, choices = text.partition("\nchoices:\n")
    lines = choices.strip().splitlines() if mark else text.splitlines()
    found = [(line, match) for line in lines if (match := _CHOICE.match(line.strip()))]
    letters = [match[1] for _, match in found]
    if len(found) < 2 or letters != [chr(ord("A") + k) for k in range(len(letters))]:
        return text, ()
    if not mark:
        if lines[-len(found) :] != [line for line, _ in found]:
            return text, ()
        question = "\n".join(lines[: -len(found)])
    return question.strip(), tuple(match[2].strip() for _, match in found)


def stored_image(media: Media, row: Row, reading: Reading) -> Stored:
    """Return where an image is.

    Raises:
        DataError: If it is nowhere, or on another machine.
    """
    value = media.value
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path") or value.get("url") or value.get("image")
    if isinstance(value, bytes):
        return Embedded(value, f"{row.where}: image")
    if isinstance(value, str) and value.startswith("data:"):
        return Embedded(value.partition("base64,")[2], f"{row.where}: image")
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        raise row.wrong(("image",), "a file or the image itself, nothing is fetched", value)
    if not isinstance(value, str) or not value:
        raise row.wrong(("image",), "a file or the image itself", value)
    return reading.image(row, "image", value.removeprefix("file://"))


def tagged(text: str, images: list[Any]) -> tuple[str | Media, ...]:
    """Return a text's parts: each `<image>` takes the next of the images.

    Raises:
        DataError: If there are more tags than images.
    """
    pieces = text.split(_TAG)
    if len(pieces) - 1 > len(images):
        raise DataError(f"images must be as many as {_TAG} tags, got one too few; add it")
    parts: list[str | Media] = [pieces[0]]
    for piece in pieces[1:]:
        parts += [Media(images.pop(0)), piece]
    return tuple(part for part in parts if part != "")


def call_of(value: Any, row: Row) -> ToolCall:
    """Return a call that is written as an object, or as JSON.

    Raises:
        DataError: If it is none.
    """
    loaded = _json(value, row)
    if isinstance(loaded, list) and len(loaded) == 1:
        loaded = loaded[0]
    inner = loaded.get("function", loaded) if isinstance(loaded, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise row.wrong(("tool call",), "one object with name and arguments", value)
    return ToolCall(inner["name"], _json(inner.get("arguments"), row))


def _json(value: Any, row: Row) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise row.wrong(("tool call",), "JSON", value) from None


def _words(message: Message) -> str:
    """Return what is said before a call."""
    return message.text.partition(OPEN)[0].rstrip()


def _look(
    said: Message, after: str, row: Row, reading: Reading, habits: Habits
) -> ShownLook | None:
    """Return the look that a turn ends with."""
    call = said.calls[0] if said.calls else parse_tool_call(said.text)
    if call is None:
        return None
    if not isinstance(call, ToolCall) or not isinstance(call.arguments, dict):
        raise row.wrong(("tool call",), "one object with name and arguments", said.text)
    if call.name not in NAMES or len(said.calls) > 1:
        raise row.wrong(("tool call",), f"one of {', '.join(sorted(NAMES))}, once", call.name)
    numbers = next((call.arguments[name] for name in BOXES if name in call.arguments), None)
    boxes = Row({"bbox_2d": numbers}, row.where, row.folder, advice=row.advice).boxes("bbox_2d")
    if len(boxes) != 1:
        raise row.wrong(("bbox_2d",), "one box", numbers)
    place = call.arguments.get(habits.index, habits.first)
    if isinstance(place, float) and place.is_integer():
        place = int(place)
    if isinstance(place, bool) or not isinstance(place, int):
        raise row.wrong((habits.index,), "a whole number", place)
    frame = reading.frame_or(habits.frame, row.where)
    box = Box(*boxes[0].coordinates, frame)
    if habits.padding:
        if frame is not Frame.UNIT:
            raise row.wrong(("bbox_2d",), f"shares, as this layout has them, not {frame}", numbers)
        if not all(-BEYOND <= v <= 1 + BEYOND for v in box.coordinates):
            raise row.wrong(("bbox_2d",), "shares of the image, 0 to 1", numbers)
        box = box.grown(habits.padding)
        clipped = [min(max(v, 0.0), 1.0) for v in box.coordinates]
        box = Box(clipped[0], clipped[1], clipped[2], clipped[3], frame)
    return ShownLook(box, place - habits.first, is_mistake=habits.is_mistake(after))


def _answered(text: str, row: Row) -> tuple[str, str]:
    """Return the answer of a last turn, and the turn with the answer in a box."""
    boxed = extract_boxed(text)
    if boxed is not None:
        return boxed, text
    marked = _ANSWER.findall(text)
    if marked:
        answer = marked[-1].strip()
        before = text.rpartition("<answer>")[0].rstrip()
        return answer, f"{before}\n\\boxed{{{answer}}}".lstrip()
    thought, end, spoken = text.rpartition("</think>")
    if 0 < len(spoken.strip()) <= LONGEST_ANSWER:
        return spoken.strip(), f"{thought}{end}\\boxed{{{spoken.strip()}}}"
    raise row.wrong(("answer",), "in \\boxed{}, in <answer>, or short", spoken.strip())
