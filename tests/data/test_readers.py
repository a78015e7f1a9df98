"""Every reader on files in its own layout, good and broken."""

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.layouts import (
    HEIGHT,
    WIDTH,
    broken_in,
    converted,
    picture,
    records_in,
    shown_in,
    write_json,
    write_lines,
    write_parquet,
)
from lookless.data.reader import Reading
from lookless.data.readers.registry import READERS, reader
from lookless.errors import ConfigError, DataError
from lookless.frames import Frame
from lookless.images import PixelBudget

SOURCE = Reading(Frame.SOURCE)


def call(box: list[float], name: str = "zoom_in", **more: Any) -> str:
    arguments = {"bbox_2d": box, **more}
    return f"<tool_call>{write(name, arguments)}</tool_call>"


def write(name: str, arguments: Any) -> str:
    import json

    return json.dumps({"name": name, "arguments": arguments})


def test_plain_questions_of_a_table(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.jpg")
    rows = [
        {"image": "a.jpg", "question": "Which digit?", "answer": "0", "category": "reading"},
        {"image": "a.jpg", "question": "Which colour?", "answer": "(B) white",
         "options": ["(A) red", "(B) white"], "id": "colour"},
        {"image": "a.jpg", "question": "Where?", "answers": ["left", "on the left"],
         "bbox": [30, 20, 70, 50]},
    ]  # fmt: skip
    made = converted("vqa", write_lines(tmp_path / "in/q.jsonl", rows), tmp_path / "out", SOURCE)
    assert (made.questions, made.images, made.broken.total()) == (3, 1, 0)
    digit, colour, where = records_in(tmp_path / "out")
    assert (digit.answer, digit.options, digit.category) == (("0",), (), "reading")
    assert (colour.id, colour.answer, colour.options) == ("colour", ("white",), ("red", "white"))
    assert where.answer == ("left", "on the left")
    assert where.boxes == ((30, 20, 70, 50),)
    assert (where.width, where.height) == (WIDTH, HEIGHT)
    assert digit.image == colour.image
    assert (tmp_path / "out" / digit.image).read_bytes() == (tmp_path / "in/a.jpg").read_bytes()


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"image": "a.jpg", "question": "?"}, "answer or answers"),
        ({"image": "gone.jpg", "question": "?", "answer": "1"}, "must name a file"),
        ({"image": "text.jpg", "question": "?", "answer": "1"}, "image must be one of"),
        ({"question": "?", "answer": "1"}, "image or image_path"),
        ({"image": "a.jpg", "question": "?", "answer": "9", "options": ["1", "2"]}, "the letter"),
        ({"image": "a.jpg", "question": "?", "answer": "1", "options": ["1", "1"]}, "distinct"),
        ({"image": "a.jpg", "question": "?", "answer": "1", "boxes": [[5, 5, 5, 9]]}, "boxes must"),
        ({"image": "a.jpg", "question": "?", "answer": "1", "boxes": [[1, 2, 3]]}, "four numbers"),
        ({"image": "a.jpg", "question": "?", "answer": "1", "boxes": [[900, 2, 950, 9]]}, "boxes"),
        ({"image": "a.jpg", "question": "  ", "answer": "1"}, "question"),
    ],
)
def test_a_broken_row_is_listed_and_the_others_are_read(
    row: dict[str, Any], why: str, tmp_path: Path
) -> None:
    picture(tmp_path / "in/a.jpg")
    (tmp_path / "in/text.jpg").write_text("no image")
    rows = [{"image": "a.jpg", "question": "Which digit?", "answer": "0"}, row]
    made = converted("vqa", write_lines(tmp_path / "in/q.jsonl", rows), tmp_path / "out", SOURCE)
    assert (made.questions, made.broken.total()) == (1, 1)
    assert why in broken_in(tmp_path / "out")[0]


def test_boxes_without_a_frame_are_refused_and_not_guessed(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    rows = [{"image": "a.jpg", "question": "?", "answer": "0", "boxes": [[0.1, 0.1, 0.2, 0.2]]}]
    file = write_lines(tmp_path / "q.jsonl", rows)
    with pytest.raises(ConfigError, match="say --frame"):
        converted("vqa", file, tmp_path / "out")
    assert not (tmp_path / "out/questions.jsonl").exists()


@pytest.mark.parametrize(
    ("reading", "box"),
    [
        (Reading(Frame.SOURCE), [40, 50, 80, 100]),
        (Reading(Frame.UNIT), [0.1, 0.25, 0.2, 0.5]),
        (Reading(Frame.PERMILLE), [100, 250, 200, 500]),
        (Reading(Frame.RESIZED, PixelBudget(1, 200 * 100, 1)), [20, 25, 40, 50]),
    ],
)
def test_boxes_become_pixels_of_the_file(
    reading: Reading, box: list[float], tmp_path: Path
) -> None:
    picture(tmp_path / "a.jpg")
    rows = [{"image": "a.jpg", "question": "?", "answer": "0", "boxes": [box]}]
    converted("vqa", write_lines(tmp_path / "q.jsonl", rows), tmp_path / "out", reading)
    [record] = records_in(tmp_path / "out")
    assert record.boxes[0] == pytest.approx((40, 50, 80, 100))


def test_resized_pixels_need_the_model_that_they_are_of(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    rows = [{"image": "a.jpg", "question": "?", "answer": "0", "boxes": [[1, 1, 9, 9]]}]
    file = write_lines(tmp_path / "q.jsonl", rows)
    with pytest.raises(DataError, match=r"got none in .*, 1 times: .*resized pixels"):
        converted("vqa", file, tmp_path / "out", Reading(Frame.RESIZED))
    assert not (tmp_path / "out").exists()


def test_images_inside_rows_are_kept_once(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.jpg").read_bytes()
    rows = [
        {"image": {"bytes": data, "path": None}, "question": "?", "answer": "0"},
        {"image": {"bytes": data, "path": None}, "question": "??", "answer": "0"},
    ]
    made = converted("vqa", write_parquet(tmp_path / "q.parquet", rows), tmp_path / "out")
    assert (made.questions, made.images) == (2, 1)


def test_vstar_annotations(tmp_path: Path) -> None:
    picture(tmp_path / "in/direct_attributes/sa_1.jpg")
    question = {
        "target_object": ["glove"], "bbox": [[30, 20, 40, 30]], "question": "What material?",
        "options": ["rubber", "cotton", "leather", "kevlar"],
    }  # fmt: skip
    write_json(tmp_path / "in/direct_attributes/sa_1.json", question)
    picture(tmp_path / "in/relative_position/sa_2.jpg", 2)
    write_json(tmp_path / "in/relative_position/sa_2.json", {"question": "Where?"})
    made = converted("vstar", tmp_path / "in", tmp_path / "out")
    [record] = records_in(tmp_path / "out")
    assert record.answer == ("rubber",)
    assert record.options == ("cotton", "kevlar", "leather", "rubber")
    assert record.boxes == ((30, 20, 70, 50),)
    assert (record.id, record.category) == ("direct_attributes/sa_1", "direct_attributes")
    assert made.broken.total() == 1


COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
    "annotations": [
        {"id": 7, "image_id": 1, "category_id": 18, "bbox": [30, 20, 40, 30], "iscrowd": 0},
        {"id": 8, "image_id": 1, "category_id": 18, "bbox": [90, 20, 40, 30], "iscrowd": 0},
        {"id": 9, "image_id": 1, "category_id": 3, "bbox": [0, 0, 90, 90], "iscrowd": 1},
    ],
    "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
}


def test_coco_counts_of_categories_but_not_of_crowds(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    reading = Reading(options={"ask": "count", "images": str(tmp_path / "images")})
    converted("coco", write_json(tmp_path / "instances.json", COCO), tmp_path / "out", reading)
    [record] = records_in(tmp_path / "out")
    assert record.question == "How many of these are in the image: dog?"
    assert record.answer == ("2",)
    assert record.boxes == ((30, 20, 70, 50), (90, 20, 130, 50))


def test_coco_questions_of_annotations(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    asked = {**COCO["annotations"][0], "question": "What animal?", "answer": "dog"}
    bad = {**asked, "image_id": 5, "id": 10}
    file = write_json(tmp_path / "instances.json", {**COCO, "annotations": [asked, bad]})
    made = converted("coco", file, tmp_path / "out")
    [record] = records_in(tmp_path / "out")
    assert (record.id, record.boxes) == ("7", ((30, 20, 70, 50),))
    assert made.broken.total() == 1


def test_coco_without_questions_must_be_told_what_to_ask(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ask=count"):
        converted("coco", write_json(tmp_path / "c.json", COCO), tmp_path / "out")
    with pytest.raises(DataError, match="list of objects"):
        converted("coco", write_json(tmp_path / "d.json", {"images": 3}), tmp_path / "out2")


def trajectory(*turns: Any) -> dict[str, Any]:
    """Return a row of Pixel-Reasoner's SFT data: assistant turns and the crops between them."""
    first = {"text": "Which digit?\nchoices:\nA: 0\nB: 8\n\nGuidelines: Understand it."}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": [{"text": "You are helpful."}]},
        {"role": "user", "content": [first, {"image": "images/2-0.jpg", "video": None}]},
    ]
    for k, text in enumerate(turns):
        if k:
            content = [{"text": "\nHere is the cropped image:"}, {"image": f"images/2-{k}.jpg"}]
            messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": [{"text": text}]})
    return {"qid": "2", "message_list": messages}


def test_pixel_reasoners_trajectories(tmp_path: Path) -> None:
    picture(tmp_path / "in/images/2-0.jpg")
    look = call([0.5, 0.4, 0.6, 0.6], "crop_image_normalized", target_image=1)
    again = call([0.25, 0.5, 0.5, 0.75], "crop_image_normalized", target_image=2)
    other = call([0.1, 0.1, 0.2, 0.3], "crop_image_normalized", target_image=1)
    rows = [
        trajectory(f"I zoom in.\n{look}", f"Closer.{again}", "It is **0**.\n\\boxed{A}"),
        {**trajectory(look, f"The cropped part doesn't contain the target object, I will zoom in "
                      f"again.{other}", "\\boxed{A}"), "qid": "3"},
        {**trajectory("Plain.\n\\boxed{A}"), "qid": "4"},
        {**trajectory("I do not know."), "qid": "5"},
        {"qid": "6", "message_list": [
            {"role": "user", "content": [{"text": "?"}, {"video": ["videos/1.jpg"]}]},
            {"role": "assistant", "content": [{"text": "\\boxed{1}"}]}]},
    ]  # fmt: skip
    made = converted("pixel-reasoner-sft", write_json(tmp_path / "in/release.json", rows).parent,
                     tmp_path / "out")  # fmt: skip
    assert (made.questions, made.demonstrations, made.broken.total()) == (3, 3, 2)
    closer, corrected, plain = shown_in(tmp_path / "out")
    assert closer.question == "Which digit?\nA. 0\nB. 8\nAnswer with the option's letter."
    assert [turn.say for turn in closer.turns] == [
        "I zoom in.",
        "Closer.",
        "It is **0**.\n\\boxed{A}",
    ]
    first, second = (turn.look for turn in closer.turns[:2])
    assert first is not None
    assert second is not None
    # A crop reaches 0.1 further than its box on each side: x 0.4 to 0.7 of 400 pixels.
    assert first.box == pytest.approx((160, 60, 280, 140))
    # 0.15 to 0.6 of the first crop, 120 x 80 pixels at (160, 60).
    assert second.box == pytest.approx((178, 92, 232, 128))
    assert (first.is_mistake, second.image) == (False, 1)
    assert corrected.turns[0].look is not None
    assert corrected.turns[0].look.is_mistake
    assert len(plain.turns) == 1
    assert records_in(tmp_path / "out")[0].answer == ("0",)


def test_pixel_reasoners_questions(tmp_path: Path) -> None:
    picture(tmp_path / "in/images/a-0.jpg")
    row = {"question": "Which?\nchoices:\nA: one\nB: two", "answer": ["\\boxed{B}"],
           "image": ["images/a-0.jpg"], "is_video": False, "qid": "a"}  # fmt: skip
    rows = [
        row,
        {**row, "qid": "b", "is_video": True},
        {**row, "qid": "c", "image": ["images/a-0.jpg", "images/a-0.jpg"]},
        {**row, "qid": "d", "question": "Free?", "answer": ["4", "four"]},
    ]
    write_parquet(tmp_path / "in/release.parquet", rows)
    made = converted("pixel-reasoner-rl", tmp_path / "in", tmp_path / "out")
    chosen, free = records_in(tmp_path / "out")
    assert (chosen.answer, chosen.options) == (("two",), ("one", "two"))
    assert free.answer == ("4", "four")
    assert made.broken.total() == 2


def test_deepeyes_questions(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.jpg").read_bytes()
    said = "<image>\nIs it left?\nThink first, call **image_zoom_in_tool** if needed, then answer."
    row: dict[str, Any] = {
        "data_source": "vstar",
        "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": said}],
        "images": [{"bytes": data, "path": None}],
        "env_name": "visual_toolbox_v2",
        "reward_model": {"ground_truth": "It is on the left.", "style": "model"},
        "extra_info": {"question": "Is it left?", "answer": "left", "index": "17", "split": "t"},
    }
    other = {**row, "extra_info": {"question": None, "answer": "", "index": "18", "split": "t"}}
    broken = {**row, "images": []}
    write_parquet(tmp_path / "in.parquet", [row, other, broken])
    made = converted("deepeyes", tmp_path / "in.parquet", tmp_path / "out")
    first, second = records_in(tmp_path / "out")
    assert (first.id, first.answer) == ("vstar-17", ("It is on the left.",))
    assert second.question == "Is it left?"
    assert made.broken.total() == 1


def test_sharegpt_conversations(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    rows = [
        {"id": "calls", "images": ["a.jpg", "crop.jpg"], "conversations": [
            {"from": "human", "value": "<image>What is on the sign?"},
            {"from": "function_call", "value": f"I zoom in. {call([100, 250, 200, 500])}"},
            {"from": "observation", "value": "<image>"},
            {"from": "gpt", "value": "STOP"}]},
        {"id": "json", "images": ["a.jpg", "crop.jpg"], "conversations": [
            {"from": "human", "value": "<image>What is it?"},
            {"from": "function_call", "value": write("zoom", {"bbox_2d": [100, 250, 200, 500]})},
            {"from": "observation", "value": "<image>"},
            {"from": "gpt", "value": "<think>It says so.</think><answer>GO</answer>"}]},
        {"id": "llava", "image": "a.jpg", "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": "A cat."}]},
        {"id": "long", "image": "a.jpg", "conversations": [
            {"from": "human", "value": "<image>\nTell."}, {"from": "gpt", "value": "So " * 90}]},
        {"id": "none", "image": "a.jpg", "conversations": [{"from": "gpt", "value": "Hello."}]},
        {"id": "tags", "images": ["a.jpg"], "conversations": [
            {"from": "human", "value": "<image><image>?"}, {"from": "gpt", "value": "A cat."}]},
        {"id": "role", "images": ["a.jpg"], "conversations": [
            {"from": "robot", "value": "<image>?"}, {"from": "gpt", "value": "A cat."}]},
    ]  # fmt: skip
    file = write_json(tmp_path / "q.json", rows)
    made = converted("sharegpt", file, tmp_path / "out", Reading(Frame.PERMILLE))
    assert (made.demonstrations, made.broken.total()) == (3, 4)
    calls, bare, llava = shown_in(tmp_path / "out")
    assert [turn.say for turn in calls.turns] == ["I zoom in.", "\\boxed{STOP}"]
    assert calls.turns[0].look is not None
    assert calls.turns[0].look.box == pytest.approx((40, 50, 80, 100))
    assert bare.turns[1].say == "<think>It says so.</think>\n\\boxed{GO}"
    assert llava.turns[0].say == "\\boxed{A cat.}"


def test_looks_without_a_frame_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    rows = [{"images": ["a.jpg", "b.jpg"], "conversations": [
        {"from": "human", "value": "<image>?"}, {"from": "gpt", "value": call([1, 2, 3, 4])},
        {"from": "human", "value": "<image>"}, {"from": "gpt", "value": "STOP"}]}]  # fmt: skip
    with pytest.raises(ConfigError, match="say --frame"):
        converted("sharegpt", write_json(tmp_path / "q.json", rows), tmp_path / "out")


def test_openai_messages(tmp_path: Path) -> None:
    content = base64.b64encode(picture(tmp_path / "a.jpg").read_bytes()).decode()
    function = {"name": "zoom", "arguments": '{"bbox_2d": [0.1, 0.25, 0.2, 0.5]}'}
    asked = {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is on the sign?"},
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{content}"}},
        ],
    }
    look = {
        "role": "assistant",
        "content": "I zoom in.",
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    crop = {
        "role": "tool",
        "tool_call_id": "c",
        "content": [{"type": "image_url", "image_url": {"url": "crop.jpg"}}],
    }
    answer = {"role": "assistant", "content": "STOP"}
    split = [
        {"role": "tool", "content": "Done."},
        {"role": "user", "content": [{"type": "image", "image": "crop.jpg"}]},
    ]
    hf = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}
    remote = {
        "role": "user",
        "content": [
            {"type": "text", "text": "?"},
            {"type": "image_url", "image_url": {"url": "http://169.254.169.254/a.jpg"}},
        ],
    }
    rows = [
        {"id": "tool", "messages": [asked, look, crop, answer]},
        {"id": "user", "messages": [asked, look, *split, answer]},
        {"id": "hf", "messages": [hf, answer], "images": ["a.jpg"]},
        {"id": "remote", "messages": [remote, answer]},
        {"id": "no crop", "messages": [asked, look, answer]},
        {"id": "cut", "messages": [asked, look]},
        {"id": "other", "messages": [asked, {**look, "tool_calls": [
            {"function": {"name": "rotate", "arguments": {}}}]}, crop, answer]},
    ]  # fmt: skip
    file = write_lines(tmp_path / "q.jsonl", rows)
    made = converted("openai", file, tmp_path / "out", Reading(Frame.UNIT))
    assert (made.demonstrations, made.broken.total()) == (3, 4)
    assert "nothing is fetched" in "\n".join(broken_in(tmp_path / "out"))
    for shown in shown_in(tmp_path / "out")[:2]:
        assert shown.turns[0].look is not None
        assert shown.turns[0].look.box == pytest.approx((40, 50, 80, 100))


def test_an_unknown_reader_is_refused() -> None:
    assert reader("vqa") is READERS["vqa"]
    with pytest.raises(ConfigError, match="reader must be one of vqa, coco"):
        reader("vqb")


def test_files_elsewhere_on_this_machine_are_not_taken(tmp_path: Path) -> None:
    picture(tmp_path / "private/passport.jpg")
    picture(tmp_path / "in/a.jpg")
    names = ["../private/passport.jpg", str(tmp_path / "private/passport.jpg"), "a.jpg"]
    rows = [{"image": name, "question": "?", "answer": "1"} for name in names]
    made = converted("vqa", write_lines(tmp_path / "in/q.jsonl", rows), tmp_path / "out")
    assert (made.questions, made.images) == (1, 1)
    talk = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "GO"}]
    shared = [{"image": name, "conversations": talk} for name in names]
    made = converted("sharegpt", write_json(tmp_path / "in/s.json", shared), tmp_path / "out2")
    assert (made.questions, made.images) == (1, 1)
    wide = Reading(options={"images": str(tmp_path)})
    made = converted("vqa", tmp_path / "in/q.jsonl", tmp_path / "out3", wide)
    assert made.questions == 1  # names are below the folder that was named, not beside the table


def test_lines_that_are_no_rows_are_listed(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    good = b'{"image": "a.jpg", "question": "Which?", "answer": "1"}'
    odd = [
        b"{",
        b"[1]",
        b"9" * 5000,
        b"[" * 3000,
        b'{"image": "a.jpg", "question": "\xff", "answer": "1"}',
        b'{"image": "a.jpg", "question": "Which?", "answer": "\\ud800"}',
    ]
    (tmp_path / "q.jsonl").write_bytes(b"\n".join([good, *odd, good.replace(b"Which", b"Why")]))
    made = converted("vqa", tmp_path / "q.jsonl", tmp_path / "out")
    assert (made.questions, made.broken.total()) == (2, len(odd))
    (tmp_path / "q.csv").write_bytes(b"image,question,answer\na.jpg,Which?,1\na.jpg,Why?,1,2\n")
    made = converted("vqa", tmp_path / "q.csv", tmp_path / "out2")
    assert (made.questions, made.broken.total()) == (1, 1)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "text", "image", "type",
                                       "image_url", "tool_calls", "bytes", "path", "id"]), inner,
                      max_size=4),
    max_leaves=12,
)  # fmt: skip
FIELDS = ("image", "images", "question", "answer", "options", "boxes", "messages", "conversations",
          "message_list", "prompt", "reward_model", "extra_info", "qid", "is_video", "id",
          "data_source", "category")  # fmt: skip


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(
    name=st.sampled_from(["vqa", "sharegpt", "openai", "pixel-reasoner-sft", "pixel-reasoner-rl"]),
    odd=st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=6),
)
def test_an_odd_row_never_ends_the_conversion(
    name: str, odd: dict[str, Any], tmp_path: Path
) -> None:
    talk = [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "GO"}]
    good = {
        "image": ["a.jpg"] if name == "pixel-reasoner-rl" else "a.jpg",
        "question": "Which?",
        "answer": "1",
        "conversations": [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "GO"}],
        "messages": talk,
        "message_list": [
            {"role": "user", "content": [{"text": "?"}, {"image": "a.jpg"}]},
            {"role": "assistant", "content": [{"text": "\\boxed{1}"}]},
        ],
    }
    rows = [good, odd, {**good, **odd}]
    picture(tmp_path / "a.jpg")
    file = write_json(tmp_path / "q.json", rows)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    made = converted(name, file, tmp_path / "out", Reading(Frame.UNIT))
    assert made.questions + made.repeated + made.broken.total() == 3


@pytest.mark.parametrize(
    "change",
    [
        {"images": [{"id": [1]}]},
        {"annotations": [{"image_id": {}, "question": "?", "answer": "1", "bbox": [1, 2, 3, 4]}]},
        {"annotations": [{**COCO["annotations"][0], "question": "?", "answer": "1",
                          "bbox": [1, 2, float("inf"), 4]}]},
        {"images": [{**COCO["images"][0], "width": 40}],
         "annotations": [{**COCO["annotations"][0], "question": "?", "answer": "1"}]},
    ],
)  # fmt: skip
def test_odd_coco_files_are_no_crash(change: dict[str, Any], tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    file = write_json(tmp_path / "c.json", {**COCO, **change})
    with pytest.raises(DataError, match="must hold questions that can be read"):
        converted("coco", file, tmp_path / "out", Reading(options={"ask": "count"}))
