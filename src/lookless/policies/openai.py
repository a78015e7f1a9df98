"""A model behind any server that speaks OpenAI's chat completions.

Such a server takes texts and images, and gives text. It is sent the whole conversation for each
turn, and makes its tokens anew of it, so this policy serves evaluation, not training. Where the
tokenizer of the model is at hand, prompts are those of its family, word for word, tokens for pixels
are banned, and vLLM and SGLang are asked for log-probabilities and (vLLM) token ids.
"""

import base64
import copy
import io
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeGuard
from urllib.parse import urlsplit

from PIL import Image

from lookless.chat.chatml import ChatML
from lookless.chat.remote import RemoteChat
from lookless.errors import ConfigError, ImageError, PolicyError
from lookless.picture import Picture
from lookless.policies.policy import Failed, Observation, Prompt, Sampled

if TYPE_CHECKING:
    from openai import OpenAI

PNG_PIXELS = 512 * 512
"""Up to this size a picture is sent as PNG, without loss; a larger one as JPEG of quality 95 with
full colour resolution, about a quarter of the bytes."""
_SAID_CHARS = 300
_MOST_TOKENS = 10**9
"""A server that counts more in one turn is not believed."""


class OpenAIPolicy:
    """Asks a chat server; each rollout's requests are its own, several under way at once.

    A request that fails for good ends its own rollout: `Failed`.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        chat: RemoteChat | ChatML | None = None,
        *,
        temperature: float | None = 0.0,
        seed: int = 0,
        concurrency: int = 8,
        timeout_s: float = 120.0,
        retries: int = 5,
        api_key: str | None = None,
        limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
    ) -> None:
        """Get ready to ask; nothing is sent unless `model` is None.

        Args:
            base_url: Of the server, with its version: `http://host:8000/v1`.
            model: Name on the server; None for the only one that it has.
            chat: Wording, coordinate frame and size of the images: general ones, or those of the
                model's own checkpoint.
            temperature: None for the server's own; some models take no other.
            seed: Each turn of each rollout gets its own from it, which depends on the question, the
                mode and which sample it is, not on the batch. Not every server heeds it.
            concurrency: Requests at once. Images are encoded for the requests under way only.
            timeout_s: Longest silence of the server in seconds; then the request is tried again.
            retries: How often a request is repeated, with growing pauses, after a lost connection,
                a silence, or HTTP 408, 409, 429 and 5xx.
            api_key: Sent to the server, kept out of every message; None if it needs none.
            limit_name: What the server calls the limit on a turn's tokens; OpenAI's own newer
                models only know `max_completion_tokens`.

        Raises:
            ConfigError: If a setting is out of range, the `openai` package is missing, or the
                server has several models and none is named.
            PolicyError: If the server has to be asked for its model and does not say.
        """
        _check(concurrency >= 1, "concurrency", "at least 1", concurrency)
        _check(timeout_s > 0, "timeout_s", "above 0", timeout_s)
        _check(retries >= 0, "retries", "at least 0", retries)
        _check(temperature is None or temperature >= 0, "temperature", "at least 0", temperature)
        self.server = _server(base_url)
        self.chat = RemoteChat() if chat is None else chat
        self.temperature = temperature
        self.seed = seed
        self.concurrency = concurrency
        self.limit_name = limit_name
        self._key = api_key
        self._client = _client(base_url, api_key, timeout_s, retries)
        self.model, self.maker = model or "", ""
        """Name on the server, and what software it is where it says so."""
        if model is None or isinstance(self.chat, ChatML):
            self.model, self.maker = self._found(model)
        self._more = _more_settings(self.chat, self.maker)

    def seeded(self, seed: int) -> "OpenAIPolicy":
        """Return the same policy as if made with another seed; both share their connections."""
        other = copy.copy(self)
        other.seed = seed
        return other

    def reply(self, prompt: str, max_tokens: int = 1024) -> str:
        """Return the answer to a text alone, such as what a judge is asked.

        Raises:
            openai.OpenAIError: If the request fails for good.
            ValueError: If the answer is not JSON, or holds no text.
        """
        completion = self.complete([{"role": "user", "content": prompt}], max_tokens, self.seed)
        try:
            said = completion.choices[0].message.content
        except (AttributeError, LookupError, TypeError):
            said = None
        if not isinstance(said, str):
            raise ValueError(f"{self.server}: must answer with a text, got none")
        return said

    def start(self, prompts: Sequence[Prompt]) -> "OpenAISession":
        """Begin a batch of rollouts; nothing is sent yet."""
        return OpenAISession(self, prompts)

    def complete(self, messages: list[dict[str, Any]], max_tokens: int, seed: int) -> Any:
        """Return what the server makes of a conversation.

        Raises:
            openai.OpenAIError: If it fails for good.
            ValueError: If the answer is not JSON.
        """
        settings: dict[str, Any] = {self.limit_name: max_tokens, "seed": seed}
        if self.temperature is not None:
            settings["temperature"] = self.temperature
        return self._client.chat.completions.create(
            model=self.model,
            messages=messages,  # type: ignore[arg-type]
            **settings,
            **self._more,
        )

    def failure(self, error: Exception) -> str:
        """Return in one line what went wrong between here and the server, without the key."""
        status, body = getattr(error, "status_code", None), getattr(error, "body", None)
        said = str(body["message"]) if isinstance(body, dict) and "message" in body else str(error)
        if isinstance(error, json.JSONDecodeError):
            said = f"the answer is not JSON ({said})"
        elif status is None and error.__cause__ is not None:
            said += f" ({error.__cause__})"
        code = "" if status is None else f"HTTP {status}: "
        line = f"{self.server}: {code}{' '.join(said.split())}"
        return (line.replace(self._key, "***") if self._key else line)[:_SAID_CHARS]

    def _found(self, name: str | None) -> tuple[str, str]:
        """Return the name of a model on the server, of the only one if None, and its maker."""
        from openai import OpenAIError

        try:
            made = {str(model.id): str(model.owned_by) for model in self._client.models.list()}
        except (OpenAIError, ValueError, RecursionError, AttributeError, TypeError) as error:
            if name is not None:
                return name, ""
            raise PolicyError(
                f"model must be named unless the server lists it, got {self.failure(error)}; "
                "name it, or check address and key"
            ) from error
        if name is None and len(made) != 1:
            raise ConfigError(
                f"model must be one of {', '.join(made) or 'the server (it lists none)'}, "
                "got none; name one"
            )
        name = name or next(iter(made))
        return name, made.get(name, "")


def _more_settings(chat: RemoteChat | ChatML, maker: str) -> dict[str, Any]:
    """Return what a request asks for where the model's tokenizer is known."""
    if not isinstance(chat, ChatML):
        return {}
    if maker == "vllm":
        banned = [chat.decode([token]) for token in chat.banned_ids]
        more = {
            "bad_words": banned,
            "return_token_ids": True,
            "skip_special_tokens": False,
        }
        return {"logprobs": True, "extra_body": more}
    bias = {"logit_bias": {str(token): -100.0 for token in chat.banned_ids}}
    return {**bias, "logprobs": True} if maker == "sglang" else bias


@dataclass
class _Talk:
    """One rollout's conversation so far."""

    prompt: Prompt
    messages: list[tuple[str, list[str | Picture]]] = field(default_factory=list)
    """Role and content; roles follow from the place: system, user, assistant, user, ..."""

    def add(self, turn: Sequence[str | None], picture: Picture | None) -> None:
        """Add a turn; `picture` is its image, if it has one."""
        role = ("assistant", "user")[len(self.messages) % 2] if self.messages else "system"
        content = [part if part is not None else picture for part in turn]
        self.messages.append((role, [part for part in content if part is not None]))

    def lost_pixels(self, chat: ChatML, shown: Sequence[int]) -> str | None:
        """Return what is wrong if a model was not shown each picture as it was sent."""
        sent = [part for _, parts in self.messages for part in parts if isinstance(part, Picture)]
        wanted = sum(chat.visual_tokens(picture.view) for picture in sent)
        found = sum(token == chat.image_pad_id for token in shown)
        if found == wanted:
            return None
        return (
            f"must show {wanted} visual tokens of {len(sent)} images, got {found}; "
            "its pixel budget differs from that of the checkpoint named here"
        )

    def encoded(self) -> list[dict[str, Any]]:
        """Return it in the form of the interface, with pixels."""
        return [{"role": role, "content": _content(parts)} for role, parts in self.messages]


class OpenAISession:
    """A batch of conversations with the server."""

    def __init__(self, policy: OpenAIPolicy, prompts: Sequence[Prompt]) -> None:
        self.policy = policy
        self._talks = []
        for prompt in prompts:
            talk = _Talk(prompt)
            for turn in policy.chat.turns([*prompt.prefix, *prompt.rest]):
                talk.add(turn, prompt.overview)
            self._talks.append(talk)

    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> dict[int, Sampled | Failed]:
        """Return the next turn of each rollout that goes on, once the last of them has come."""
        for row, seen in appended.items():
            if seen is not None:
                if seen.said:
                    said = list(seen.said[:-1])  # without the end of the turn
                    self._talks[row].add([self.policy.chat.decode(said)], None)
                for turn in self.policy.chat.turns(seen.token_ids):
                    self._talks[row].add(turn, seen.picture)
        talks = [self._talks[row] for row in appended]
        with ThreadPoolExecutor(self.policy.concurrency) as pool:
            turns = pool.map(lambda talk: self._ask(talk, max_tokens), talks)
            return dict(zip(appended, turns, strict=True))

    def _ask(self, talk: _Talk, max_tokens: int) -> Sampled | Failed:
        from openai import OpenAIError

        policy, prompt = self.policy, talk.prompt
        place = (policy.seed, prompt.question.id, prompt.mode, prompt.sample, len(talk.messages))
        seed = zlib.crc32(repr(place).encode()) >> 1  # 31 bits: some servers take no more
        began = time.monotonic()
        try:
            completion = policy.complete(talk.encoded(), max_tokens, seed)
        except ImageError as error:
            return Failed(str(error))
        except (OpenAIError, ValueError, RecursionError) as error:
            return Failed(policy.failure(error))
        seconds = time.monotonic() - began
        try:
            choice = completion.choices[0]
            said, reason = choice.message, choice.finish_reason
            text = _text_of(said)
        except (AttributeError, LookupError, TypeError):  # the client does not check what it gets
            got = " ".join(str(completion).split())
            return Failed(
                f"{policy.server}: must answer with a chat completion, got {got}"[:_SAID_CHARS]
            )
        if text is None:
            got = " ".join(repr(said).split())
            return Failed(
                f"{policy.server}: must answer with a text (and leave tool calls in it), got {got}"[
                    :_SAID_CHARS
                ]
            )
        is_ended = reason != "length"
        ids = policy.chat.encode(text)
        known = getattr(choice, "token_ids", None)
        if isinstance(policy.chat, ChatML):
            shown = getattr(completion, "prompt_token_ids", None)
            if _is_ids(shown) and (fault := talk.lost_pixels(policy.chat, shown)):
                return Failed(f"{policy.server}: {fault}")
            if _is_ids(known):
                ids = [token for token in known if token != policy.chat.end_id]
                text = policy.chat.decode(ids)
        talk.add([text], None)
        ids = [*ids, *[policy.chat.end_id] * is_ended]
        count = getattr(getattr(completion, "usage", None), "completion_tokens", None)
        return Sampled(
            tuple(ids),
            _logprobs(choice, len(ids)),
            is_ended,
            count if type(count) is int and 0 <= count < _MOST_TOKENS else None,
            seconds,
        )


def _text_of(message: Any) -> str | None:
    """Return what a message says: a text, or its parts' texts together; None if it is none.

    Nothing at all is the empty text, unless the server has made a tool call of what was said.
    """
    said = message.content
    if said is None:
        return None if getattr(message, "tool_calls", None) else ""
    if not isinstance(said, list):
        return said if isinstance(said, str) else None
    parts = [part.get("text") if isinstance(part, dict) else None for part in said]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(parts) else None


def _is_ids(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(token) is int for token in value)


def _logprobs(choice: Any, count: int) -> tuple[float, ...]:
    """Return the log-probabilities that came with a turn, 0 where none came for every token."""
    try:
        found = tuple(float(token.logprob) for token in choice.logprobs.content)
    except (AttributeError, TypeError, ValueError):
        found = ()
    return found if len(found) == count else (0.0,) * count


def _content(parts: Sequence[str | Picture]) -> str | list[dict[str, Any]]:
    """Return a message's content: plain text where it has no image, as every server takes it."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": data_uri(part.pixels)}}
        for part in parts
    ]


def data_uri(image: Image.Image) -> str:
    """Return an image as a `data:` address; see `PNG_PIXELS`."""
    form = "png" if image.width * image.height <= PNG_PIXELS else "jpeg"
    buffer = io.BytesIO()
    image.save(buffer, form, quality=95, subsampling=0)  # PNG has neither and ignores both
    return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _client(base_url: str, api_key: str | None, timeout_s: float, retries: int) -> "OpenAI":
    try:
        from openai import OpenAI
    except ImportError as error:
        raise ConfigError(
            "a model behind a server needs the package openai, got none; "
            "run pip install 'lookless[openai]'"
        ) from error
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise ConfigError("API key must be printable ASCII, got other characters; copy it again")
    # Without a key the client would take one from the environment, whoever the server is.
    return OpenAI(
        base_url=base_url, api_key=api_key or "none", timeout=timeout_s, max_retries=retries
    )


def _server(base_url: str) -> str:
    """Return host and port of a server's address, which may hold a password beside them."""
    try:
        parts = urlsplit(base_url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        parts, port = urlsplit(""), ""
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"base_url must hold no user or password, got both or one for {parts.hostname}; "
            "give the key apart, so that it is not recorded"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"base_url must be like http://host:8000/v1, got {base_url!r}; put it right"
        )
    return f"{parts.hostname}{port}"


def _check(is_right: bool, name: str, rule: str, value: object) -> None:
    if not is_right:
        raise ConfigError(f"{name} must be {rule}, got {value}; change it")
