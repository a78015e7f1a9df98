"""The dialect of the embedded tiny VLM: ChatML with a one-line system prompt, boxes in 0..1000."""

from lookless.chat.chatml import Wording
from lookless.episode import Mode

WORDING = Wording(
    system="Answer in \\boxed{}. To look closer, call zoom_in.",
    modes={
        Mode.ADAPTIVE: "Look closer if you must.",
        Mode.FORCED: "Look closer first.",
        Mode.PROHIBITED: "Do not look closer.",
    },
    toolfree_system="Answer in \\boxed{}.",
)

TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}"
    "{%- for part in message.content -%}"
    "{%- if part.type == 'text' -%}{{ part.text }}"
    "{%- else -%}<|vision_start|><|image_pad|><|vision_end|>{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
"""The chat template of its checkpoints, for servers."""
