"""A checkpoint's own chat template: what its prompts must be equal to, token for token."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from lookless.chat.chatml import IM_START, ChatML
from lookless.chat.qwen import with_tools
from lookless.episode import Mode
from lookless.frames import Box, Frame, View
from lookless.ops import zoom_in

QUESTION = "Which sign is red, and what does it say?"
CALL = '<tool_call>\n{"name": "zoom_in", "arguments": {"bbox_2d": [1, 2, 30, 40]}}\n</tool_call>'
ANSWER = "It says A. \\boxed{A}"
_ASSISTANT = f"{IM_START}assistant\n"


def template_of(folder: Path, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the chat template of a checkpoint folder: the tokenizer's, or the processor's."""
    found = tokenizer.chat_template
    if isinstance(found, str):
        return found
    for name in ("chat_template.json", "processor_config.json"):
        file = folder / name
        if file.is_file():
            found = json.loads(file.read_text()).get("chat_template")
            if isinstance(found, str):
                return found
    return None


def opening_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return what the template opens the model's turn with, behind its role.

    Empty for most; `<think>` and a new line for models that always think. Empty too without a
    template, or with one of another form.
    """
    if not isinstance(tokenizer.chat_template, str):
        return ""
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    try:
        text = _rendered(tokenizer, messages, is_open=True)
    except (TemplateError, TypeError, ValueError):
        return ""
    return text.rpartition(_ASSISTANT)[2] if _ASSISTANT in text else ""


def template_mismatch(chat: ChatML) -> str | None:
    """Return where prompts differ from what the checkpoint's own chat template makes of them.

    Each mode's prompt, and a conversation with a look, are rendered by the template from messages
    and, if it takes them, `tools`; the tokens must be the same.

    Returns:
        None if all agree; else what differs, in one line.
    """
    if not isinstance(chat.tokenizer.chat_template, str):
        return "the checkpoint has no chat template"
    view = View(Box(0, 0, 99, 80, Frame.SOURCE), *chat.budget.resized(99, 80))
    for mode in Mode:
        ours = [t for part in chat.prompt(view, QUESTION, mode) for t in part]
        messages = _asked(chat, mode)
        try:
            text = _rendered(chat.tokenizer, messages, is_open=True)
            found = _difference(chat, ours, text, [view])
            if found is None and mode is not Mode.TOOLFREE:
                found = _of_a_look(chat, ours, messages, view)
        except (TemplateError, TypeError, ValueError) as error:
            found = f"the template fails: {' '.join(str(error).split())}"
        if found is not None:
            return f"{mode} prompt: {found}"
    return None


def _of_a_look(
    chat: ChatML, prompt: Sequence[int], messages: Sequence[dict[str, Any]], view: View
) -> str | None:
    """Return where a conversation that goes on with a look differs."""
    thought = "I see a sign.\n</think>\n\n" if "<think>" in chat.opening else ""
    ours = [*prompt, *chat.encode(thought + CALL), chat.end_id, *chat.observation(view)]
    seen = [
        {"type": "text", "text": "<tool_response>\n"},
        {"type": "image"},
        {"type": "text", "text": "\n</tool_response>"},
    ]
    said = f"{chat.opening}{thought}{CALL}"
    longer = [
        *messages,
        {"role": "assistant", "content": said},
        {"role": "user", "content": seen},
    ]
    return _difference(chat, ours, _rendered(chat.tokenizer, longer, is_open=True), [view, view])


def _asked(chat: ChatML, mode: Mode) -> list[dict[str, Any]]:
    is_toolfree = mode is Mode.TOOLFREE
    system = chat.wording.toolfree_system if is_toolfree else chat.wording.system
    said = "" if is_toolfree else f"\n{chat.wording.modes[mode]}"
    content = [{"type": "image"}, {"type": "text", "text": f"{QUESTION}{said}"}]
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, Any]], *, is_open: bool
) -> str:
    """Return the text of a conversation; a system text that declares tools is given as tools."""
    messages, tools = list(messages), None
    declared = next((f for f in zoom_in.UNITS if _declares(messages[0]["content"], f)), None)
    if declared is not None and "if tools" in str(tokenizer.chat_template):
        tools = [zoom_in.declaration(declared)]
        system = messages[0]["content"].partition("\n\n# Tools")[0]
        messages[0] = {"role": "system", "content": system}
    text = tokenizer.apply_chat_template(
        messages,
        tools=tools,  # type: ignore[arg-type]
        tokenize=False,
        add_generation_prompt=is_open,
    )
    return str(text)


def _declares(system: str, frame: Frame) -> bool:
    """Return whether a system text declares the operation as Qwen's template would."""
    return system.endswith(with_tools("", [zoom_in.declaration(frame)]))


def _difference(chat: ChatML, ours: list[int], text: str, views: Sequence[View]) -> str | None:
    """Return where tokens differ from those of a rendered text whose images are one pad each."""
    parts = text.split(chat.marks.written)
    if len(parts) != len(views) + 1:
        return f"the template writes {len(parts) - 1} images for {len(views)}"
    theirs = chat.encode(parts[0])
    for view, part in zip(views, parts[1:], strict=True):
        theirs += [*chat.image(view), *chat.encode(part)]
    if ours == theirs:
        return None
    place = next(
        (k for k, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    got, wanted = (chat.decode(list(ids[place : place + 8])) for ids in (ours, theirs))
    return f"at token {place} we say {got!r}, the template {wanted!r}"
