import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from data.layouts import converted, picture, silent, write_json, write_lines
from lookless.chat.remote import RemoteChat
from lookless.chat.toolcall import ToolCall, parse_tool_call
from lookless.data.export import export
from lookless.data.reader import Reading
from lookless.errors import DataError
from lookless.frames import Frame

CALL = '<tool_call>{"name": "zoom", "arguments": {"bbox_2d": [%s], "image": %d}}</tool_call>'


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return records with trajectories: a look and one inside it, none, and a mistake."""
    picture(tmp_path / "a.jpg")

    def talk(name: str, *turns: str) -> dict[str, Any]:
        said = [{"from": "human", "value": f"<image>What is {name}?"}]
        for k, turn in enumerate(turns):
            said += [{"from": "human", "value": "<image>"}] if k else []
            said.append({"from": "gpt", "value": turn})
        return {"id": name, "images": ["a.jpg"] * len(turns), "conversations": said}

    rows = [
        talk("deep", "So. " + CALL % ("0.1, 0.2, 0.6, 0.8", 0), CALL % ("0, 0.5, 0.5, 1", 1), "7"),
        talk("none", "<think>Large.</think>7"),
        talk("odd/name", CALL % ("0.1, 0.2, 0.6, 0.8", 0), "7"),
    ]
    converted("sharegpt", write_json(tmp_path / "q.json", rows), tmp_path / "out",
              Reading(Frame.UNIT))  # fmt: skip
    file = tmp_path / "out/demonstrations.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[2]["turns"][0]["look"]["is_mistake"] = True
    write_lines(file, lines)
    return tmp_path / "out"


def rows_of(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        return list(pq.read_table(file).to_pylist())
    return [json.loads(line) for line in file.read_text().splitlines()]


def size_of(image: dict[str, Any] | str) -> tuple[int, int]:
    content = Path(image) if isinstance(image, str) else io.BytesIO(image["bytes"])
    with Image.open(content) as opened:
        return opened.size


def test_verl(data: Path, tmp_path: Path) -> None:
    made = export(data, tmp_path / "verl", "verl", RemoteChat(), silent)
    assert made.trajectories == {"demonstrations.jsonl": 2}
    assert dict(made.left_out) == {"looks must all be learned in this form": 1}
    deep, none = rows_of(tmp_path / "verl/sft_demonstrations.parquet")
    for row in (deep, none):
        text = "".join(turn["content"] for turn in row["messages"])
        assert text.count("<image>") == len(row["images"])
        assert all(set(turn) == {"role", "content"} for turn in row["messages"])
        assert [set(image) for image in row["images"]] == [{"bytes"}] * len(row["images"])
    assert [turn["role"] for turn in deep["messages"]] == [
        "system", "user", "assistant", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    first = parse_tool_call(deep["messages"][2]["content"])
    second = parse_tool_call(deep["messages"][4]["content"])
    assert first == ToolCall("zoom_in", {"bbox_2d": [100, 200, 600, 800], "image": 0})
    assert second == ToolCall("zoom_in", {"bbox_2d": [0, 500, 500, 1000], "image": 1})
    # 0.5 x 0.6 of 400 x 200, and a half of that each way.
    assert [size_of(image) for image in deep["images"]] == [(400, 200), (200, 120), (100, 60)]
    question = rows_of(tmp_path / "verl/rl_questions.parquet")[0]
    assert question["agent_name"] == "tool_agent"
    assert question["reward_model"] == {"style": "rule", "ground_truth": "7"}
    assert question["prompt"][1]["content"].startswith("<image>What is deep?")
    kwargs = question["extra_info"]["tools_kwargs"]["zoom_in"]["create_kwargs"]
    assert Path(kwargs["image"]).is_file()


def test_trl(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(data, tmp_path / "trl", "trl", RemoteChat(), silent)
    deep, _ = rows_of(tmp_path / "trl/sft_demonstrations.parquet")
    parts = [part for turn in deep["messages"] for part in turn["content"]]
    assert sum(part["type"] == "image" for part in parts) == len(deep["images"]) == 3
    assert all(part["text"] is not None for part in parts)
    assert {turn["role"] for turn in deep["messages"]} == {"system", "user", "assistant"}
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "trl/rl_questions.parquet"), split="train",
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    assert loaded[0]["images"][0].size == (400, 200)
    assert loaded[0]["solution"] == "7"
    assert loaded[0]["prompt"][1]["content"][0]["type"] == "image"


def test_ms_swift(data: Path, tmp_path: Path) -> None:
    made = export(data, tmp_path / "swift", "ms-swift", RemoteChat(), silent)
    assert made.trajectories == {"demonstrations.jsonl": 3}
    rows = rows_of(tmp_path / "swift/sft_demonstrations.jsonl")
    for row in rows:
        text = "".join(turn["content"] for turn in row["messages"])
        assert text.count("<image>") == len(row["images"])
        assert all(Path(file).is_file() for file in row["images"])
        assert all(turn["content"] for turn in row["messages"])
    unlearned = [[turn.get("loss", True) for turn in row["messages"]] for row in rows]
    assert unlearned[0] == [True] * 7
    assert unlearned[2] == [True, True, False, True, True]
    question = rows_of(tmp_path / "swift/rl_questions.jsonl")[0]
    assert question["solution"] == "7"
    assert question["messages"][-1]["role"] == "user"


def test_turned_images_are_exported_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 200), "navy")
    exif = Image.Exif()
    exif[274] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    rows = [{"image": "a.jpg", "question": "Which?", "answer": ["1", "one"]}]
    converted("vqa", write_lines(tmp_path / "q.jsonl", rows), tmp_path / "out")
    export(tmp_path / "out", tmp_path / "verl", "verl", RemoteChat(), silent)
    [row] = rows_of(tmp_path / "verl/rl_questions.parquet")
    assert size_of(row["images"][0]) == (200, 400)
    assert row["extra_info"]["answers"] == ["1", "one"]


def test_a_question_that_speaks_of_an_image_tag_is_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    rows = [
        {"image": "a.jpg", "question": "What does <image> mean?", "answer": "1"},
        {"image": "a.jpg", "question": "Which?", "answer": "1"},
    ]
    converted("vqa", write_lines(tmp_path / "q.jsonl", rows), tmp_path / "out")
    made = export(tmp_path / "out", tmp_path / "verl", "verl", RemoteChat(), silent)
    assert made.questions == {"questions.jsonl": 1}
    assert made.left_out.total() == 1


def test_nothing_to_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="lookless convert"):
        export(tmp_path / "in", tmp_path / "out", "verl", RemoteChat(), silent)
