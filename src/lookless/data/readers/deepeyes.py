"""DeepEyes' RL data (ChenShawn/DeepEyes-Datasets-47k), and other data in verl's form for RL.

Parquet with `prompt`, `images` inside the rows, `reward_model` and `extra_info`; there are no boxes
and no trajectories. The question is that of `extra_info`, or else what the user says in the prompt,
without `<image>` and DeepEyes' instructions.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lookless.benchmarks.tables import Row
from lookless.data.reader import Broken, Found, Reader, Reading, rows_of
from lookless.data.readers.conversation import Media, asked, stored_image
from lookless.data.readers.vqa import option_of

_INSTRUCTIONS = "\nThink first, call "
_ADVICE = "is it DeepEyes' Parquet file?"


def load(path: Path, reading: Reading) -> Iterator[Found | Broken]:
    """Yield the questions."""
    return rows_of(path, reading, _ADVICE, ("*.parquet",), _question)


def _question(row: Row, reading: Reading) -> Found:
    images = row.values.get("images")
    images = images if isinstance(images, list | tuple) else []
    if len(images) != 1:
        raise row.wrong(("images",), "one image", f"{len(images)} images")
    more = _struct(row, "extra_info")
    truth = _struct(row, "reward_model").get("ground_truth")
    listed = truth if isinstance(truth, list) else [truth]
    if not listed or not all(isinstance(one, str | int | float) for one in listed):
        raise row.wrong(("ground_truth",), "a text, or a list of texts", truth)
    answers = tuple(map(str, listed))
    text = more.get("question") or _asked(row)
    question, options = asked(str(text).replace("<image>", "").partition(_INSTRUCTIONS)[0])
    kind = row.optional("data_source") or ""
    index = more.get("index")
    return Found(
        where=row.where,
        image=stored_image(Media(images[0]), row, reading),
        question=question,
        answers=(option_of(row, answers[0], options),) if options else answers,
        options=options,
        category=kind,
        id=None if index is None else "-".join(filter(None, [kind, str(index)])),
    )


def _struct(row: Row, name: str) -> Mapping[str, Any]:
    value = row.values.get(name)
    if not isinstance(value, Mapping):
        raise row.wrong((name,), "an object", value)
    return value


def _asked(row: Row) -> str:
    prompt = row.values.get("prompt")
    said = [
        turn.get("content")
        for turn in (prompt if isinstance(prompt, list) else [])
        if isinstance(turn, Mapping) and turn.get("role") == "user"
    ]
    if len(said) != 1 or not isinstance(said[0], str):
        raise row.wrong(("prompt",), "a list with one turn of the user, a text", prompt)
    return said[0]


READER = Reader("deepeyes", "DeepEyes' Parquet files, and others in verl's form for RL", load)
