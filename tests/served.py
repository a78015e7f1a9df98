"""An OpenAI-compatible server that plays a script on this machine."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
ANSWER = r"\boxed{K7}"


@dataclass(frozen=True)
class Reply:
    """What the server sends back."""

    body: str | bytes
    status: int = 200
    kind: str = "application/json"


def said(text: Any, finish: str = "stop", tokens: int | None = 5, **message: Any) -> Reply:
    body: Body = {
        "id": "1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{
            "index": 0, "finish_reason": finish,
            "message": {"role": "assistant", "content": text} | message,
        }],
    }  # fmt: skip
    if tokens is not None:
        body["usage"] = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 0}
    return Reply(json.dumps(body))


def wrong(status: int, message: str = "no") -> Reply:
    return Reply(json.dumps({"error": {"message": message}}), status)


@dataclass
class Server:
    """Plays an OpenAI-compatible server on this machine."""

    play: Callable[[Body], Reply] = lambda body: said(ANSWER)
    models: Reply = Reply(json.dumps({"object": "list", "data": [{"id": "m"}]}))
    asked: list[Body] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def answer(self, raw: str, key: str | None) -> Reply:
        with self.lock:
            self.raw.append(raw)
            self.keys.append(key)
            body = json.loads(raw)
            self.asked.append(body)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            return self.play(body)
        finally:
            with self.lock:
                self.under_way -= 1


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server for the length of the `with` block."""
    played = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send(played.models if self.path == "/v1/models" else wrong(404))

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            is_chat = self.path == "/v1/chat/completions"
            key = self.headers["Authorization"]
            self.send(played.answer(raw, key) if is_chat else wrong(404))

        def send(self, reply: Reply) -> None:
            body = reply.body if isinstance(reply.body, bytes) else reply.body.encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After-Ms", "1")
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:  # a client that gave up
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that gave up."""

    http = Quiet(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    played.url = f"http://127.0.0.1:{http.server_port}/v1"
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield played
    http.shutdown()
    http.server_close()
