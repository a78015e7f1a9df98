"""What a browser makes of a page, and its JSON twin."""

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "img", "br", "link", "input", "path", "use", "rect", "circle"}


class Page(HTMLParser):
    """What a browser would make of a page: elements, ids, cells, text; checks the nesting."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.open: list[str] = []
        self.source = file.read_text()
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def values(self, attribute: str) -> list[str]:
        return [a[attribute] or "" for _, a in self.attributes if attribute in a]


def twin(run: Path) -> dict[str, Any]:
    """Return the JSON twin, refusing what is not JSON."""

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    loaded: dict[str, Any] = json.loads((run / "report.json").read_text(), parse_constant=refuse)
    return loaded
