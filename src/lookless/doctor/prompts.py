"""Whether the tokenizer is the checkpoint's own, and prompts are those that it was trained on."""

from collections.abc import Iterator

from lookless.chat.template import template_mismatch
from lookless.chat.toolcall import OPEN
from lookless.doctor.finding import Finding, fault, ok, warning
from lookless.doctor.model import Subject
from lookless.recipe import Recipe

CHECK = "prompts"


def check_prompts(subject: Subject, recipe: Recipe, stages: tuple[str, ...]) -> list[Finding]:
    """Return where tokenizer, chat template and contexts do not fit the model."""
    found = [
        *_tokenizer(subject),
        *_template(subject),
        *_decision(subject, recipe, stages),
        *_contexts(subject, recipe, stages),
    ]
    return found or [ok(CHECK, "prompts are token for token those of the chat template")]


def _tokenizer(subject: Subject) -> Iterator[Finding]:
    chat = subject.chat
    rows = int(subject.text_config.vocab_size)
    if len(chat.tokenizer) > rows:
        yield fault(
            CHECK,
            f"tokenizer must have at most the {rows} tokens that the model embeds, got "
            f"{len(chat.tokenizer)}; use the tokenizer that belongs to the checkpoint",
        )
    wanted = subject.config.get("image_token_id", chat.image_pad_id)
    if wanted != chat.image_pad_id:
        yield fault(
            CHECK,
            f"{chat.marks.pad} must be token {wanted} as in config.json, got {chat.image_pad_id}; "
            "use the tokenizer that belongs to the checkpoint",
        )


def _template(subject: Subject) -> Iterator[Finding]:
    chat = subject.chat
    if not isinstance(chat.tokenizer.chat_template, str):
        yield warning(
            CHECK,
            "checkpoint has no chat template, so nothing tells whether prompts are as it was "
            "trained; copy chat_template.jinja or the tokenizer's files again",
        )
    elif (differs := template_mismatch(chat)) is not None:
        yield fault(
            CHECK,
            f"prompts must be those of the checkpoint's chat template, got others: {differs}; "
            "use the template of the original checkpoint",
        )


def _decision(subject: Subject, recipe: Recipe, stages: tuple[str, ...]) -> Iterator[Finding]:
    pieces = len(subject.chat.encode(OPEN))
    if "rl" in stages and recipe.rl.decision_weight and pieces != 1:
        yield fault(
            CHECK,
            f"{OPEN} must be one token where rl.decision_weight is above 0, got {pieces}; "
            "set it to 0",
        )


def _contexts(subject: Subject, recipe: Recipe, stages: tuple[str, ...]) -> Iterator[Finding]:
    most = subject.parts.context
    asked = {"sft.max_context": recipe.sft.max_context} if "sft" in stages else {}
    if "rl" in stages:
        asked["rl.max_context"] = recipe.rl.max_context
        if recipe.rollouts.engine == "vllm":
            asked["rollouts.vllm.max_context"] = recipe.rollouts.vllm.max_context
    for name, tokens in asked.items():
        if most is not None and tokens > most:
            yield fault(
                CHECK,
                f"{name} must be at most the model's own context, {most} tokens, got {tokens}; "
                "lower it",
            )
