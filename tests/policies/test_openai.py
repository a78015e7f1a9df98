import base64
import io
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image, ImageChops

from lookless.chat.chatml import REFUSALS
from lookless.chat.remote import RemoteChat
from lookless.episode import LookOutcome, Mode, Question, Rollout, StopReason
from lookless.errors import ConfigError, PolicyError
from lookless.frames import Frame
from lookless.images import PixelBudget, SourceCache
from lookless.policies import openai as module
from lookless.policies.openai import OpenAIPolicy, data_uri
from lookless.rollout import Limits, check_faults, rollout
from served import ANSWER, Body, Reply, Server, said, wrong

MakeQuestion = Callable[..., Question]
LOOK = (
    'Let me see. <tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [250, 250, 500, 500]}}'
    "</tool_call>"
)
KEY = "sk-secret"
SMALL = RemoteChat(budget=PixelBudget(1, 320 * 320, 32))
LIMITS = Limits(max_turn_tokens=64, max_context=8192)


@pytest.fixture
def run(
    server: Server, sources: SourceCache, make_question: MakeQuestion
) -> Callable[..., list[Rollout]]:
    """Return what asks the server for one rollout of each named question."""

    def play(*names: str, mode: Mode = Mode.ADAPTIVE, **settings: Any) -> list[Rollout]:
        policy = OpenAIPolicy(server.url, "m", SMALL, **{"api_key": KEY} | settings)
        requests = [(make_question(name, text=f"What is {name}?"), mode) for name in names]
        return rollout(policy, requests, sources, LIMITS)

    return play


Run = Callable[..., list[Rollout]]


def name_of(body: Body) -> str:
    """Return which question a request is about."""
    text: str = body["messages"][1]["content"][-1]["text"]
    return text.removeprefix("What is ").partition("?")[0]


def images_in(messages: list[Body]) -> list[Image.Image]:
    urls = [
        part["image_url"]["url"]
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def looks_then_answers(body: Body) -> Reply:
    return said(ANSWER if len(body["messages"]) > 2 else LOOK)


def test_answer_comes_back_with_what_it_cost(run: Run, server: Server) -> None:
    [played] = run("a")
    assert (played.stop, played.answer, played.looks) == (StopReason.ANSWERED, "K7", ())
    assert (played.generated_tokens, played.visual_tokens) == (5, 100)
    assert played.sampled_tokens == len(ANSWER) + 1
    assert 0 < played.latency <= played.seconds
    [asked] = server.asked
    assert (asked["model"], asked["max_tokens"], asked["temperature"]) == ("m", 64, 0.0)
    assert not asked.get("stream")


@pytest.mark.parametrize("mode", Mode)
def test_prompt_is_system_then_image_and_question(run: Run, server: Server, mode: Mode) -> None:
    run("a", mode=mode)
    system, user = server.asked[0]["messages"]
    is_toolfree = mode is Mode.TOOLFREE
    wording = SMALL.wording
    assert system == {
        "role": "system",
        "content": wording.toolfree_system if is_toolfree else wording.system,
    }
    image, text = user["content"]
    assert (user["role"], image["type"]) == ("user", "image_url")
    said = "What is a?" + ("" if is_toolfree else f"\n{wording.modes[mode]}")
    assert text == {"type": "text", "text": said}


def test_look_is_answered_by_its_crop_and_the_conversation_goes_on(
    run: Run, server: Server
) -> None:
    server.play = looks_then_answers
    [played] = run("a")
    assert (played.stop, played.executed_looks) == (StopReason.ANSWERED, 1)
    assert [turn.role for turn in played.turns] == ["prompt", "model", "observation", "model"]
    assert played.generated_tokens == 10
    messages = server.asked[1]["messages"]
    assert messages[:2] == server.asked[0]["messages"]
    assert messages[2] == {"role": "assistant", "content": LOOK}
    assert messages[3]["role"] == "user"
    assert [part["type"] for part in messages[3]["content"]] == ["text", "image_url", "text"]
    assert len(messages) == 4


def test_images_arrive_as_the_views_are(
    run: Run, server: Server, sources: SourceCache, make_question: MakeQuestion
) -> None:
    server.play = looks_then_answers
    [played] = run("a")
    source = sources.get(make_question("a").image)
    sent = images_in(server.asked[1]["messages"])
    assert len(sent) == len(played.views) == 2
    for image, view in zip(sent, played.views, strict=True):
        assert image.size == (view.width_px, view.height_px)
        assert image.format == "PNG"
        assert ImageChops.difference(image, source.pixels(view)).getbbox() is None


def test_refusal_is_told_as_text(run: Run, server: Server) -> None:
    server.play = looks_then_answers
    [played] = run("a", mode=Mode.PROHIBITED)
    assert [look.outcome for look in played.looks] == [LookOutcome.REFUSED]
    told = server.asked[1]["messages"][3]
    assert told["content"] == (
        f"<tool_response>\n{REFUSALS[LookOutcome.REFUSED]}\n</tool_response>"
    )


def test_frame_of_the_dialect_decides_where_a_look_goes(
    server: Server, sources: SourceCache, make_question: MakeQuestion
) -> None:
    server.play = looks_then_answers
    chat = replace(SMALL, frame=Frame.RESIZED)
    requests = [(make_question("a"), Mode.ADAPTIVE)]
    [played] = rollout(OpenAIPolicy(server.url, "m", chat), requests, sources, LIMITS)
    assert played.views[1].region.coordinates == (500, 500, 640, 640)  # of 640, shown at 320


def test_large_image_is_sent_as_jpeg_of_its_size() -> None:
    sizes = (512, 512), (544, 512)
    kinds = [data_uri(Image.new("RGB", size, "red")).partition(";")[0] for size in sizes]
    assert kinds == ["data:image/png", "data:image/jpeg"]
    drawn = Image.merge("RGB", [Image.linear_gradient("L").resize((544, 512))] * 3)
    part = {"type": "image_url", "image_url": {"url": data_uri(drawn)}}
    [sent] = images_in([{"content": [part]}])
    assert (sent.format, sent.size) == ("JPEG", (544, 512))
    off = ImageChops.difference(sent, drawn).convert("L").histogram()
    assert sum(off[8:]) == 0


@pytest.mark.parametrize(
    "reply",
    [said(None), said(None, refusal="I cannot help."), said(""), said([])],
)
def test_answer_without_text_is_an_empty_turn(run: Run, server: Server, reply: Reply) -> None:
    server.play = lambda body: reply
    [played] = run("a")
    assert (played.stop, played.turns[-1].text) == (StopReason.NO_ANSWER, "")


def test_texts_in_parts_are_joined(run: Run, server: Server) -> None:
    parts = [{"type": "text", "text": part} for part in (ANSWER[:4], ANSWER[4:])]
    server.play = lambda body: said(parts)
    [played] = run("a")
    assert (played.stop, played.turns[-1].text) == (StopReason.ANSWERED, ANSWER)


@pytest.mark.parametrize(
    "reply",
    [said([{"type": "text"}]), said([{"type": "image_url"}]), said(3),
     said(None, tool_calls=[{"id": "1", "type": "function",
                             "function": {"name": "zoom_in", "arguments": "{}"}}])],
)  # fmt: skip
def test_what_is_no_text_is_a_failed_request_and_no_answer(
    run: Run, server: Server, reply: Reply
) -> None:
    server.play = lambda body: reply
    [played] = run("a")
    assert played.stop is StopReason.FAULT
    assert "must answer with a text (and leave tool calls in it), got" in played.turns[-1].text


def test_turn_that_hit_the_servers_limit_is_not_whole(run: Run, server: Server) -> None:
    server.play = lambda body: said(ANSWER, finish="length", tokens=64)
    [played] = run("a")
    assert (played.stop, played.answer) == (StopReason.TURN_LENGTH, None)
    assert played.generated_tokens == 64


def test_characters_count_where_the_server_does_not(run: Run, server: Server) -> None:
    server.play = lambda body: said(ANSWER, tokens=None)
    [played] = run("a")
    assert played.generated_tokens == len(ANSWER) + 1


def test_special_marks_in_an_answer_are_text(run: Run, server: Server) -> None:
    text = f"<|end|><|image|> \ud83d {ANSWER}"
    server.play = lambda body: said(text)
    [played] = run("a")
    assert played.answer == "K7"
    assert played.turns[-1].text == text.replace("\ud83d", "?")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_passing_trouble_is_tried_again(run: Run, server: Server, status: int) -> None:
    server.play = lambda body: wrong(status) if len(server.asked) <= 2 else said(ANSWER)
    [played] = run("a", retries=2)
    assert played.answer == "K7"
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_lasting_trouble_is_not_tried_again(run: Run, server: Server, status: int) -> None:
    server.play = lambda body: wrong(status, f"wrong\nkey {KEY}")
    rollouts = run("a", "b", retries=5)
    assert len(server.asked) == 2
    for played in rollouts:
        assert played.stop is StopReason.FAULT
        [host] = {server.url.removeprefix("http://").removesuffix("/v1")}
        assert played.turns[-1].text == f"{host}: HTTP {status}: wrong key ***"
    with pytest.raises(PolicyError, match=f"HTTP {status}: wrong key") as raised:
        check_faults(rollouts)
    assert KEY not in str(raised.value)


def test_row_that_fails_for_good_spares_the_others(run: Run, server: Server) -> None:
    def play(body: Body) -> Reply:
        return wrong(500, "out of memory") if name_of(body) == "b" else looks_then_answers(body)

    server.play = play
    rollouts = run("a", "b", "c", retries=1)
    assert [r.stop for r in rollouts] == [
        StopReason.ANSWERED,
        StopReason.FAULT,
        StopReason.ANSWERED,
    ]
    assert rollouts[1].turns[-1].text.endswith("HTTP 500: out of memory")
    assert [name_of(body) for body in server.asked].count("b") == 2
    check_faults(rollouts)


def test_later_turn_that_fails_keeps_what_was_seen(run: Run, server: Server) -> None:
    server.play = lambda body: wrong(500) if len(body["messages"]) > 2 else said(LOOK)
    [played] = run("a", retries=0)
    assert (played.stop, played.executed_looks) == (StopReason.FAULT, 1)
    assert played.generated_tokens == 5


def test_silent_server_is_given_up(run: Run, server: Server) -> None:
    done = threading.Event()

    def play(body: Body) -> Reply:
        if name_of(body) == "b":
            done.wait(5)
        return said(ANSWER)

    server.play = play
    good, silent = run("a", "b", timeout_s=0.5, retries=0)
    done.set()
    assert good.answer == "K7"
    assert silent.stop is StopReason.FAULT
    assert "timed out" in silent.turns[-1].text


def test_server_that_is_not_there_is_a_fault(
    sources: SourceCache, make_question: MakeQuestion
) -> None:
    policy = OpenAIPolicy("http://127.0.0.1:9/v1", "m", SMALL, retries=0)
    [played] = rollout(policy, [(make_question("a"), Mode.ADAPTIVE)], sources, LIMITS)
    assert played.stop is StopReason.FAULT
    assert played.turns[-1].text.startswith("127.0.0.1:9: Connection error. (")


@pytest.mark.parametrize(
    "reply",
    [
        Reply('{"choices": ['),
        Reply("<html>proxy</html>", kind="text/html"),
        Reply("null"),
        Reply("{}"),
        Reply('{"choices": []}'),
        Reply('{"choices": {}}'),
        Reply('{"choices": [{"message": null}]}'),
        Reply('{"choices": [1]}'),
        Reply("[]"),
        Reply(""),
        Reply(b"\xff\xfe"),
    ],
    ids=lambda reply: repr(reply.body),
)
def test_answer_that_is_no_completion_is_a_fault_of_its_row(
    run: Run, server: Server, reply: Reply
) -> None:
    server.play = lambda body: reply if name_of(body) == "b" else said(ANSWER)
    good, bad = run("a", "b", retries=0)
    assert good.answer == "K7"
    assert bad.stop is StopReason.FAULT
    assert "\n" not in bad.turns[-1].text
    assert len(bad.turns[-1].text) <= 300


def test_picture_that_is_lost_on_the_way_is_a_fault_of_its_row(
    run: Run, server: Server, make_question: MakeQuestion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lookless.errors import ImageError
    from lookless.images import Source

    cut = Source.pixels

    def pixels(self: Source, view: Any) -> Image.Image:
        if self.path == make_question("b").image:
            raise ImageError("image must not change while in use")
        return cut(self, view)

    monkeypatch.setattr(Source, "pixels", pixels)
    good, lost = run("a", "b")
    assert (good.answer, lost.stop) == ("K7", StopReason.FAULT)
    assert lost.turns[-1].text == "image must not change while in use"


def test_requests_run_at_once_and_no_more_than_allowed(run: Run, server: Server) -> None:
    meeting = threading.Barrier(3)

    def play(body: Body) -> Reply:
        meeting.wait(10)  # breaks unless three requests are under way together
        return said(ANSWER)

    server.play = play
    rollouts = run(*"abcdef", concurrency=3, retries=0)
    assert [r.answer for r in rollouts] == ["K7"] * 6
    assert server.most == 3


def test_no_more_pictures_are_encoded_than_requests_are_under_way(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead = []
    encode = module.data_uri

    def spy(image: Image.Image) -> str:
        encoded.append(image)
        lead.append(len(encoded) - len(server.asked))
        return encode(image)

    encoded: list[Image.Image] = []
    monkeypatch.setattr(module, "data_uri", spy)
    run(*"abcdef", concurrency=2)
    assert len(encoded) == 6
    assert max(lead) <= 2


def test_latency_is_that_of_the_rollouts_own_requests(run: Run, server: Server) -> None:
    def play(body: Body) -> Reply:
        time.sleep(0.3 if name_of(body) == "slow" else 0.0)
        return looks_then_answers(body)

    server.play = play
    slow, quick = run("slow", "quick")
    assert slow.latency >= 0.6
    assert quick.latency < 0.6
    assert [r.question_id for r in (slow, quick)] == ["slow", "quick"]


def test_key_goes_into_the_header_and_nowhere_else(run: Run, server: Server) -> None:
    server.play = looks_then_answers
    [played] = run("a")
    assert server.keys == [f"Bearer {KEY}"] * 2
    assert not any(KEY in raw for raw in server.raw)
    assert KEY not in repr(played)


def test_key_of_the_environment_is_not_sent(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    run("a", api_key=None)
    assert server.keys == ["Bearer none"]


def seeds(server: Server) -> dict[tuple[str, int], list[int]]:
    found: dict[tuple[str, int], list[int]] = {}
    for body in server.asked:
        found.setdefault((name_of(body), len(body["messages"])), []).append(body["seed"])
    return found


def test_every_sample_and_turn_has_a_seed_of_its_own_whatever_the_batch(
    server: Server, run: Run
) -> None:
    server.play = looks_then_answers
    run("a", "a", "b")
    first = seeds(server)
    drawn = [seed for part in first.values() for seed in part]
    assert len(set(drawn)) == len(drawn) == 6
    assert all(0 <= seed < 2**31 for seed in drawn)
    server.asked.clear()
    run("b", "a", "a", concurrency=1)
    again = seeds(server)
    assert {key: sorted(part) for key, part in again.items()} == {
        key: sorted(part) for key, part in first.items()
    }
    server.asked.clear()
    run("b", "a", "a", seed=1)
    assert not {seed for part in seeds(server).values() for seed in part} & set(drawn)


def test_names_of_settings_follow_the_server(run: Run, server: Server) -> None:
    run("a", limit_name="max_completion_tokens", temperature=None)
    [asked] = server.asked
    assert asked["max_completion_tokens"] == 64
    assert not {"max_tokens", "temperature"} & set(asked)


def test_only_model_of_the_server_is_taken(server: Server) -> None:
    assert OpenAIPolicy(server.url).model == "m"


@pytest.mark.parametrize(("names", "told"), [(["m", "n"], "one of m, n"), ([], "lists none")])
def test_model_must_be_named_among_several(server: Server, names: list[str], told: str) -> None:
    server.models = Reply(json.dumps({"data": [{"id": name} for name in names]}))
    with pytest.raises(ConfigError, match=told):
        OpenAIPolicy(server.url)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (wrong(401, f"bad key {KEY}"), r"HTTP 401: bad key \*\*\*"),
        (Reply("{"), "not JSON"),
        (Reply("hello", kind="text/plain"), "127.0.0.1"),
    ],
)
def test_server_that_does_not_say_its_model_is_one_clear_line(
    server: Server, reply: Reply, told: str
) -> None:
    server.models = reply
    with pytest.raises(PolicyError, match=told) as raised:
        OpenAIPolicy(server.url, api_key=KEY, retries=0)
    assert "\n" not in str(raised.value)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"base_url": "host:8000/v1"}, "base_url must be like http://host:8000/v1"),
        ({"base_url": "ftp://host/v1"}, "base_url"),
        ({"base_url": "http://host:port/v1"}, "base_url"),
        ({"base_url": "http:///v1"}, "base_url"),
        ({"base_url": ""}, "base_url"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"timeout_s": 0.0}, "timeout_s must be above 0"),
        ({"retries": -1}, "retries must be at least 0"),
        ({"temperature": -0.1}, "temperature must be at least 0"),
        ({"api_key": "sk\n"}, "API key must be printable ASCII"),
    ],
)
def test_wrong_setting_is_one_line(settings: Body, told: str) -> None:
    right: Body = {"base_url": "http://host/v1", "model": "m"}
    with pytest.raises(ConfigError, match=told) as raised:
        OpenAIPolicy(**(right | settings))
    assert "\n" not in str(raised.value)


def test_missing_client_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'lookless\[openai\]'"):
        OpenAIPolicy("http://host/v1", "m")


def test_context_that_is_full_ends_the_rollout(
    server: Server, sources: SourceCache, make_question: MakeQuestion
) -> None:
    policy = OpenAIPolicy(server.url, "m", SMALL)
    limits = Limits(max_turn_tokens=64, max_context=512)
    [played] = rollout(policy, [(make_question("a"), Mode.ADAPTIVE)], sources, limits)
    assert played.stop is StopReason.CONTEXT_LENGTH
    assert server.asked == []
