"""A judge behind a server, and how far it agrees with the rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookless.errors import LooklessError, PolicyError
from lookless.grading.judge import Compared, Judge, disagreements
from lookless.policies.openai import OpenAIPolicy


def open_judge(url: str, model: str | None, cache: Path, key: str | None = None) -> Judge:
    """Return the judge at an address; its verdicts are kept in `cache`.

    Raises:
        ConfigError: If the address does not fit, or several models are there and none is named.
        DataError: If the cache is not one of a judge.
        PolicyError: If the server has to be asked for its model and does not say.
    """
    try:
        policy = OpenAIPolicy(url, model, api_key=key)
    except LooklessError as error:
        raise type(error)(f"judge: {error}") from None
    return Judge(policy.reply, f"{policy.model} at {policy.server}", cache)


def check(judge: Judge, has_verdict: bool) -> None:
    """Raise what the judge's server said if the judge could grade nothing.

    Raises:
        PolicyError: If it failed, and there is no verdict at all.
    """
    if judge.failed and not has_verdict:
        raise PolicyError(
            f"judge must answer, got only faults, the last: {judge.failure}; see to it, then try "
            "again (an evaluation with --resume)"
        )


def agreement(compared: Sequence[Compared]) -> dict[str, Any]:
    """Return how often judge and rules agree, beyond chance too, and every answer where not."""
    found = disagreements(compared)
    counts = ("both_right", "only_rules", "only_judge", "both_wrong", "undecided", "n")
    return {
        **{name: getattr(found, name) for name in counts},
        "rate": found.rate,
        "kappa": found.kappa,
        "rows": [
            {
                "id": row.question.id,
                "said": row.text,
                "reference": row.question.answer,
                "rules_read": row.rule.answer,
                "rules": row.rule.grade,
                "judge": row.is_right,
            }
            for row in found.rows
        ],
    }
