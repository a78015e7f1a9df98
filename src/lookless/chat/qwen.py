"""The dialects of Qwen2.5-VL and Qwen3-VL, as their chat templates write them."""

import json
from typing import Any

from lookless.chat.chatml import Wording
from lookless.episode import Mode
from lookless.frames import Frame
from lookless.ops import zoom_in

SYSTEM = (
    "You are a helpful assistant. Think about the image step by step, then give the final answer "
    "in \\boxed{}."
)
MODES = {
    Mode.ADAPTIVE: "Zoom in only if you need to see more detail.",
    Mode.FORCED: "Zoom in at least once before you answer.",
    Mode.PROHIBITED: "Do not zoom in. Answer from the image as it is.",
}


def wording(frame: Frame) -> Wording:
    """Return the texts of a model that writes boxes in `frame`."""
    return Wording(with_tools(SYSTEM, [zoom_in.declaration(frame)]), MODES, toolfree_system=SYSTEM)


def with_tools(system: str, tools: list[dict[str, Any]]) -> str:
    """Return a system text that declares tools in the form that Qwen models are trained on.

    Qwen3-VL's template writes it from its `tools`; Qwen2.5-VL's knows no tools, and is given the
    form of Qwen2.5's.
    """
    listed = "".join(f"\n{json.dumps(tool, ensure_ascii=False)}" for tool in tools)
    return (
        f"{system}\n\n# Tools\n\nYou may call one or more functions to assist with the user query."
        "\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>"
        f"{listed}\n</tools>\n\nFor each function call, return a json object with function name "
        "and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )
