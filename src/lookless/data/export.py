"""Records and demonstrations in the training forms of verl, TRL and ms-swift.

Conversations are those that a server is asked in: the operation is described in the system's turn,
a look is a `<tool_call>` in the text of the assistant's turn, and its crop comes back in the
user's. That is the form that all three read alike; what each is known to stumble over is left out
(docs/data.md). Crops are cut from the full image.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lookless.chat.remote import RemoteChat
from lookless.chat.toolcall import written_call
from lookless.data.questions import read_questions
from lookless.data.record import Record
from lookless.data.store import DEMONSTRATIONS, HELD_OUT, record_files
from lookless.demonstrations import Demonstration, read_demonstrations
from lookless.episode import Mode, Question
from lookless.errors import DataError, ImageError
from lookless.frames import Box, View
from lookless.images import PixelBudget, Source, SourceCache, open_image
from lookless.ops import zoom_in
from lookless.runs import Progress, open_run, whole_file

Target = Literal["verl", "trl", "ms-swift"]
TAG = "<image>"
CROPS = "crops"
_JPEG_QUALITY = 95
_BATCH, _BATCH_BYTES = 200, 2**26


@dataclass(frozen=True)
class Said:
    """A turn of a conversation."""

    role: str
    text: str
    image: int | None = None
    """Which of the conversation's images it begins with."""
    is_learned: bool = True


@dataclass
class Exported:
    """What was written."""

    trajectories: Counter[str] = field(default_factory=Counter)
    """By file."""
    questions: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    """By the reason."""


def export(
    data: Path,
    out: Path,
    target: Target,
    chat: RemoteChat,
    progress: Progress,
    *,
    crop_pixels: int = 1_000_000,
    resume: bool = False,
) -> Exported:
    """Write all records and demonstrations of a folder in the form of another trainer.

    Args:
        data: A folder of records, of demonstrations, or of both.
        out: A new folder.
        target: Whose form.
        chat: The words of the prompts, and the frame that boxes are written in.
        progress: Shows how far it has come.
        crop_pixels: Of a crop, at most.
        resume: Whether to continue.

    Raises:
        DataError: If there is neither, or a row is wrong.
        RunError: If `out` exists and may not be continued.
    """
    settings = {"data": str(data.resolve()), "target": target, "frame": chat.frame}
    shown = [name for name in (DEMONSTRATIONS, HELD_OUT) if (data / name).is_file()]
    record_names = record_files(data, is_needed=not shown)
    open_run(out, settings | {"crop_pixels": crop_pixels}, resume=resume)
    (out / CROPS).mkdir(exist_ok=True)
    done = Exported()
    sources = SourceCache()
    for name in shown:
        demonstrations = read_demonstrations(data / name)
        calls: list[Callable[[], Talk]] = [
            partial(trajectory, one, chat, sources, out / CROPS, crop_pixels, target)
            for one in demonstrations
        ]
        with progress(name, len(calls)) as step:
            talks = _counted(calls, done.left_out, step)
            done.trajectories[name] = WRITERS[target](out / f"sft_{Path(name).stem}", talks)
    for file in record_names:
        records, asked = read_questions(file)
        calls = [
            partial(prompt, record, question, chat, out / CROPS, file.stem, k)
            for k, (record, question) in enumerate(zip(records, asked, strict=True))
        ]
        with progress(file.stem, len(calls)) as step:
            talks = _counted(calls, done.left_out, step)
            done.questions[file.name] = WRITERS[target](out / f"rl_{file.stem}", talks)
    return done


@dataclass(frozen=True)
class Talk:
    """A conversation with its images, and what belongs to it."""

    turns: tuple[Said, ...]
    images: tuple[Path, ...]
    more: dict[str, Any]
    """Further columns."""

    @property
    def is_question(self) -> bool:
        """Whether it is a question that RL asks, not a trajectory."""
        return "answer" in self.more


def prompt(
    record: Record, question: Question, chat: RemoteChat, folder: Path, split: str, index: int
) -> Talk:
    """Return a question as RL asks it, in adaptive mode; `folder` takes images made anew.

    Raises:
        DataError: If the question holds what would be taken for an image.
        ImageError: If its image cannot be opened.
    """
    turns = _opening(question.text, chat, Mode.ADAPTIVE)
    more = {
        "id": record.id,
        "split": split,
        "index": index,
        "question": question.text,
        "answer": question.answer,
        "answers": list(question.references or (question.answer,)),
        "category": record.category,
        "need": None if record.need is None else record.need.label,
    }
    return Talk(turns, (_plain(Source(question.image), folder),), more)


def trajectory(
    shown: Demonstration,
    chat: RemoteChat,
    sources: SourceCache,
    crops: Path,
    crop_pixels: int,
    target: Target,
) -> Talk:
    """Return a demonstration as a conversation; its crops are written as files.

    Raises:
        DataError: If it holds a look that must not be learned and the form cannot say that, or
            the question holds what would be taken for an image.
        ImageError: If an image cannot be opened.
    """
    mistakes = any(turn.look is not None and turn.look.is_mistake for turn in shown.turns)
    if mistakes and target != "ms-swift":
        raise DataError("looks must all be learned in this form, got a mistake")
    source = sources.get(shown.image)
    views = [source.full_view(chat.budget)]
    images = [_plain(source, crops)]
    turns = list(_opening(shown.question, chat, Mode(shown.mode)))
    for k, turn in enumerate(shown.turns):
        if turn.look is None:
            turns.append(Said("assistant", turn.say))
            continue
        view = views[turn.look.image]
        region = view.to_source(Box(*turn.look.box, turn.look.frame))
        box = view.from_source(region, chat.frame)
        call = {"bbox_2d": [round(v) for v in box.coordinates], "image": turn.look.image}
        text = "\n".join(filter(None, [turn.say.rstrip(), written_call(zoom_in.NAME, call)]))
        turns.append(Said("assistant", text, is_learned=not turn.look.is_mistake))
        views.append(source.view(region, chat.budget))
        file = crops / f"{_file_name(shown.id)}-{k + 1}.jpg"
        _save_crop(source, views[-1].region, file, crop_pixels)
        images.append(file.resolve())
        turns.append(Said("user", "", len(images) - 1))
    if any(TAG in said.text for said in turns):
        raise DataError(f"turns must not hold {TAG}, which would stand for an image, got it")
    return Talk(tuple(turns), tuple(images), {"id": shown.id})


def _opening(text: str, chat: RemoteChat, mode: Mode) -> tuple[Said, Said]:
    if TAG in text:
        raise DataError(f"question must not hold {TAG}, which would stand for an image, got it")
    said = f"{text}\n{chat.wording.modes[mode]}"
    return Said("system", chat.wording.system), Said("user", said, 0)


def _plain(source: Source, folder: Path) -> Path:
    """Return an image's file, or a new one that every reader shows alike."""
    if source.is_plain:
        return source.path.resolve()
    name = hashlib.blake2b(source.key.encode(), digest_size=12).hexdigest()
    file = folder / f"image-{name}.jpg"
    if not file.exists():
        part = file.with_suffix(".part")
        open_image(source.path).save(part, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        part.replace(file)
    return file.resolve()


def _save_crop(source: Source, region: Box, file: Path, most: int) -> None:
    width, height = PixelBudget(1, most, 1).resized(round(region.width), round(region.height))
    pixels = source.pixels(View(region, width, height))
    part = file.with_suffix(".part")
    pixels.save(part, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    part.replace(file)


def _file_name(name: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[:100]
    if kept == name:
        return kept
    return f"{kept}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def _counted(
    calls: Iterable[Callable[[], Talk]], left_out: Counter[str], step: Callable[[int, str], None]
) -> Iterator[Talk]:
    """Yield conversations; those that cannot be made are counted by why."""
    for number, call in enumerate(calls, 1):
        try:
            yield call()
        except (DataError, ImageError) as error:
            left_out[str(error).split(",")[0]] += 1
        step(number, "")


def write_verl(file: Path, talks: Iterable[Talk]) -> int:
    """Write conversations as verl reads them: texts with `<image>`, image files inside the rows."""
    return _parquet(file.with_suffix(".parquet"), map(_verl_row, talks), None)


def write_trl(file: Path, talks: Iterable[Talk]) -> int:
    """Write conversations as TRL reads them: lists of parts, image files inside the rows."""
    features = {"images": {"feature": {"_type": "Image"}, "_type": "List"}}
    return _parquet(file.with_suffix(".parquet"), map(_trl_row, talks), features)


def write_swift(file: Path, talks: Iterable[Talk]) -> int:
    """Write conversations as ms-swift reads them: texts with `<image>`, images by their paths."""
    file = file.with_suffix(".jsonl")
    count = 0
    with whole_file(file) as stream:
        for talk in talks:
            stream.write(json.dumps(_swift_row(talk), ensure_ascii=False) + "\n")
            count += 1
    return count


WRITERS: dict[Target, Callable[[Path, Iterable[Talk]], int]] = {
    "verl": write_verl,
    "trl": write_trl,
    "ms-swift": write_swift,
}
"""Each writes a file, its kind added to the name, and returns how many rows it has."""


def _tagged(said: Said) -> str:
    return said.text if said.image is None else f"{TAG}{said.text}"


def _verl_row(talk: Talk) -> dict[str, Any]:
    messages = [{"role": said.role, "content": _tagged(said)} for said in talk.turns]
    images = [{"bytes": file.read_bytes()} for file in talk.images]
    if not talk.is_question:
        return {"messages": messages, "images": images, "extra_info": talk.more}
    tools = {zoom_in.NAME: {"create_kwargs": {"image": str(talk.images[0])}}}
    return {
        "data_source": talk.more["category"] or "lookless",
        "agent_name": "tool_agent",
        "prompt": messages,
        "images": images,
        "ability": "visual_search",
        "reward_model": {"style": "rule", "ground_truth": talk.more["answer"]},
        "extra_info": {**talk.more, "need_tools_kwargs": True, "tools_kwargs": tools},
    }


def _trl_row(talk: Talk) -> dict[str, Any]:
    messages = []
    for said in talk.turns:
        # A part has the keys of its type only where none is stored as null: text is always there.
        parts = [] if said.image is None else [{"type": "image", "text": ""}]
        parts += [{"type": "text", "text": said.text}] if said.text else []
        messages.append({"role": said.role, "content": parts})
    images = [{"bytes": file.read_bytes(), "path": None} for file in talk.images]
    if not talk.is_question:
        return {"messages": messages, "images": images, **talk.more}
    more = {name: value for name, value in talk.more.items() if name not in ("split", "index")}
    return {"prompt": messages, "images": images, "solution": talk.more["answer"], **more}


def _swift_row(talk: Talk) -> dict[str, Any]:
    messages = [
        {"role": said.role, "content": _tagged(said)} | ({} if said.is_learned else {"loss": False})
        for said in talk.turns
    ]
    row = {"messages": messages, "images": [str(file) for file in talk.images]}
    return row | ({"solution": talk.more["answer"], **talk.more} if talk.is_question else {})


def _parquet(file: Path, rows: Iterator[dict[str, Any]], features: dict[str, Any] | None) -> int:
    """Write rows some at a time; the first ones say what the columns are."""
    part = file.with_name(file.name + ".part")
    writer: pq.ParquetWriter | None = None
    count = 0
    for held in _batches(rows):
        count += len(held)
        if writer is None:
            schema = _typed(pa.Table.from_pylist(held).schema)
            if features is not None:
                info = json.dumps({"info": {"features": features}})
                schema = schema.with_metadata({"huggingface": info})
            writer = pq.ParquetWriter(part, schema, compression="zstd")
        writer.write_table(pa.Table.from_pylist(held, writer.schema))
    if writer is not None:
        writer.close()
        part.replace(file)
    return count


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield some rows at a time: so many, or as many images as fit into memory easily."""
    held: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        held.append(row)
        size += sum(len(image["bytes"]) for image in row["images"])
        if len(held) >= _BATCH or size >= _BATCH_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def _typed(schema: pa.Schema) -> pa.Schema:
    """Return a schema in which what was null so far has the type that it would have."""

    def typed(one: pa.Field) -> pa.Field:
        kind = one.type
        if pa.types.is_null(kind):
            return one.with_type(pa.bool_() if one.name == "need" else pa.string())
        if pa.types.is_struct(kind):
            return one.with_type(pa.struct([typed(kind.field(k)) for k in range(len(kind))]))
        if pa.types.is_list(kind):
            return one.with_type(pa.list_(typed(kind.value_field)))
        return one

    return pa.schema([typed(one) for one in schema])
