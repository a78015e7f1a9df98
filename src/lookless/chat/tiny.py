"""The dialect of the embedded tiny VLM: ChatML with a one-line system prompt, boxes in 0..1000."""

from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lookless.chat.chatml import ChatML, Wording
from lookless.episode import Mode
from lookless.frames import Frame
from lookless.images import PixelBudget

WORDING = Wording(
    system="Answer in \\boxed{}. To look closer, call zoom_in.",
    modes={
        Mode.ADAPTIVE: "Look closer if you must.",
        Mode.FORCED: "Look closer first.",
        Mode.PROHIBITED: "Do not look closer.",
    },
    toolfree_system="Answer in \\boxed{}.",
)


def dialect(tokenizer: PreTrainedTokenizerBase, processor: Qwen2VLImageProcessorPil) -> ChatML:
    """Return how to talk to the tiny VLM."""
    size = processor.size
    budget = PixelBudget(
        size["shortest_edge"], size["longest_edge"], processor.patch_size * processor.merge_size
    )
    return ChatML(tokenizer, WORDING, Frame.PERMILLE, budget)
