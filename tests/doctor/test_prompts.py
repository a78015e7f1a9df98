import json
from pathlib import Path
from typing import Any

from doctor.conftest import MakeRecipe, messages, only_fault
from lookless.chat.tiny import TEMPLATE
from lookless.doctor.finding import Finding, Level
from lookless.doctor.model import open_subject
from lookless.doctor.prompts import check_prompts
from lookless.recipe import Recipe
from lookless.vlm.families import NO_LIMITS


def found(folder: Path, recipe: Recipe) -> list[Finding]:
    return check_prompts(open_subject(folder, NO_LIMITS), recipe, ("sft", "rl"))


def with_template(folder: Path, template: str = TEMPLATE) -> Path:
    (folder / "chat_template.jinja").write_text(template)
    return folder


def changed(folder: Path, **config: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))


def test_prompts_of_the_template(checkpoint: Path, recipe: MakeRecipe) -> None:
    [one] = found(with_template(checkpoint), recipe())
    assert one == Finding(
        "prompts", Level.OK, "prompts are token for token those of the chat template"
    )


def test_wrong_template(checkpoint: Path, recipe: MakeRecipe) -> None:
    with_template(checkpoint, TEMPLATE.replace("<|im_end|>\n", "<|im_end|>"))
    line = only_fault(found(checkpoint, recipe()))
    assert line.startswith(
        "prompts must be those of the checkpoint's chat template, got others: forced prompt: at "
        "token "
    )
    assert line.endswith("; use the template of the original checkpoint")


def test_no_template(checkpoint: Path, recipe: MakeRecipe) -> None:
    (checkpoint / "chat_template.jinja").unlink()
    [said] = messages(found(checkpoint, recipe()), Level.WARNING)
    assert said.startswith("checkpoint has no chat template, so nothing tells whether prompts are")


def test_tokenizer_that_is_too_large(checkpoint: Path, recipe: MakeRecipe) -> None:
    text = json.loads((checkpoint / "config.json").read_text())["text_config"]
    changed(with_template(checkpoint), text_config=text | {"vocab_size": 300})
    assert only_fault(found(checkpoint, recipe())).startswith(
        "tokenizer must have at most the 300 tokens that the model embeds, got "
    )


def test_tokenizer_with_other_ids(checkpoint: Path, recipe: MakeRecipe) -> None:
    changed(with_template(checkpoint), image_token_id=77)
    assert only_fault(found(checkpoint, recipe())) == (
        "<|image_pad|> must be token 77 as in config.json, got 5; use the tokenizer that belongs "
        "to the checkpoint"
    )


def test_call_that_is_no_single_token(checkpoint: Path, recipe: MakeRecipe) -> None:
    """The decision's credit needs to know where the call begins."""
    file = with_template(checkpoint) / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokens = tokenizer["added_tokens"]
    tokenizer["added_tokens"] = [one for one in tokens if one["content"] != "<tool_call>"]
    file.write_text(json.dumps(tokenizer).replace("<tool_call>", "<tool-call>"))
    line = only_fault(found(checkpoint, recipe()))
    assert line.startswith(
        "<tool_call> must be one token where rl.decision_weight is above 0, got "
    )
    assert messages(found(checkpoint, recipe(rl={"decision_weight": 0})), Level.FAULT) == []


def test_contexts_beyond_the_model(checkpoint: Path, recipe: MakeRecipe) -> None:
    made = recipe(
        sft={"max_context": 5000},
        rl={"max_context": 6000},
        rollouts={"engine": "vllm", "vllm": {"max_context": 7000}},
    )
    end = "must be at most the model's own context, 4096 tokens, got"
    assert messages(found(with_template(checkpoint), made), Level.FAULT) == [
        f"sft.max_context {end} 5000; lower it",
        f"rl.max_context {end} 6000; lower it",
        f"rollouts.vllm.max_context {end} 7000; lower it",
    ]
