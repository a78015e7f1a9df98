"""The rollout loop, the one place in which a model looks: RL, evaluation and `ask` share it."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from lookless.chat.toolcall import ToolCall, extract_boxed, parse_tool_call
from lookless.episode import (
    Look,
    LookOutcome,
    Mode,
    Question,
    Rollout,
    StopReason,
    Turn,
)  # fmt: skip
from lookless.errors import PolicyError
from lookless.frames import Frame, View
from lookless.images import Source, SourceCache
from lookless.ops import zoom_in
from lookless.picture import Picture
from lookless.policies.policy import Failed, Observation, Policy, Prompt, Sampled


@dataclass(frozen=True)
class Limits:
    """How long an episode may get."""

    max_looks: int = 3
    """Executed looks; a further call is answered by a refusal."""
    max_refusals: int = 2
    """Calls that were not executed; one more ends the rollout."""
    max_turn_tokens: int = 128
    max_context: int = 4096
    """Tokens of the whole episode, visual tokens included."""


@dataclass
class _Episode:
    """One rollout under way."""

    prompt: Prompt
    source: Source
    views: list[View]
    token_ids: list[int]
    is_sampled: list[bool]
    logprobs: list[float]
    turns: list[Turn]
    looks: list[Look] = field(default_factory=list)
    answer: str | None = None
    generated_tokens: int = 0
    request_seconds: float | None = None
    stop: StopReason | None = None
    stopped: float = 0.0
    """When, on the monotonic clock."""

    def end(self, reason: StopReason) -> None:
        """Note why and when the rollout stopped."""
        self.stop = reason
        self.stopped = time.monotonic()

    def fail(self, message: str) -> None:
        """End the rollout with what the infrastructure said."""
        self.turns.append(Turn("fault", message))
        self.end(StopReason.FAULT)

    def append(self, ids: Sequence[int], logprobs: Sequence[float] | None = None) -> None:
        """Add tokens; they are the policy's own if they come with log-probabilities."""
        self.token_ids += ids
        self.is_sampled += [logprobs is not None] * len(ids)
        self.logprobs += logprobs if logprobs is not None else [0.0] * len(ids)

    def count(self, sampled: Sampled) -> None:
        """Add what a turn cost."""
        own = sampled.generated_tokens
        self.generated_tokens += len(sampled.token_ids) if own is None else own
        if sampled.seconds is not None:
            self.request_seconds = (self.request_seconds or 0.0) + sampled.seconds


def rollout(
    policy: Policy,
    requests: Sequence[tuple[Question, Mode]],
    sources: SourceCache,
    limits: Limits | None = None,
    samples: Sequence[int] | None = None,
) -> list[Rollout]:
    """Return one finished rollout for each (question, mode), in order; all run as one batch.

    `samples` tells apart several rollouts of one request to a policy that draws each by itself; by
    default they are counted.

    A model's bad output never raises: it becomes an observation or a stop reason. A turn that
    `Failed` ends its rollout with `FAULT`; what the policy raises is a fault of the infrastructure
    too and ends all of the batch's unfinished rollouts so.

    Raises:
        ImageError: If a question's image cannot be opened.
    """
    if not requests:
        return []
    limits = limits or Limits()
    began = time.monotonic()
    samples = counted(requests) if samples is None else samples
    episodes = [
        _begin(policy, question, mode, sample, sources)
        for (question, mode), sample in zip(requests, samples, strict=True)
    ]
    for episode in episodes:
        if len(episode.token_ids) + limits.max_turn_tokens > limits.max_context:
            episode.end(StopReason.CONTEXT_LENGTH)
    fitting = [episode for episode in episodes if episode.stop is None]
    pending: dict[int, Observation | None] = dict.fromkeys(range(len(fitting)))
    under_way = set(pending)
    try:
        if fitting:
            session = policy.start([episode.prompt for episode in fitting])
        while under_way:
            turns = session.step(pending, limits.max_turn_tokens)
            results = {
                row: _advance(policy, fitting[row], turn, limits) for row, turn in turns.items()
            }
            pending = {row: seen for row, seen in results.items() if seen is not None}
            under_way -= results.keys() - pending.keys()
    except (RuntimeError, OSError) as error:
        for episode in fitting:
            if episode.stop is None:
                episode.fail(f"{type(error).__name__}: {error}")
    seconds = (time.monotonic() - began) / len(episodes)
    return [_finish(policy, episode, began, seconds) for episode in episodes]


def fault_of_all(rollouts: Sequence[Rollout]) -> str | None:
    """Return what the infrastructure said if it failed every rollout: going on would be in vain."""
    if not rollouts or any(r.stop is not StopReason.FAULT for r in rollouts):
        return None
    return (
        f"at least one of {len(rollouts)} rollouts must work, got only faults, the last: "
        f"{rollouts[-1].turns[-1].text}; if memory is short, ask for fewer at once"
    )


def check_faults(rollouts: Sequence[Rollout]) -> None:
    """Raise if the infrastructure failed every rollout.

    Raises:
        PolicyError: If there are rollouts and all of them ended in a fault.
    """
    said = fault_of_all(rollouts)
    if said is not None:
        raise PolicyError(said)


def counted(requests: Sequence[tuple[Question, Mode]]) -> list[int]:
    """Return how many times each request was made before."""
    seen: Counter[tuple[str, Mode]] = Counter()
    samples = []
    for question, mode in requests:
        samples.append(seen[question.id, mode])
        seen[question.id, mode] += 1
    return samples


def _begin(
    policy: Policy, question: Question, mode: Mode, sample: int, sources: SourceCache
) -> _Episode:
    chat = policy.chat
    source = sources.get(question.image)
    region = question.region
    view = source.full_view(chat.budget) if region is None else source.view(region, chat.budget)
    prefix, rest = chat.prompt(view, question.text, mode)
    overview = Picture(source, view)
    prompt = Prompt(question, mode, tuple(prefix), overview, tuple(rest), sample)
    ids = [*prefix, *rest]
    return _Episode(
        prompt,
        source,
        [view],
        ids,
        [False] * len(ids),
        [0.0] * len(ids),
        [Turn("prompt", chat.decode(ids))],
    )


def _advance(
    policy: Policy, episode: _Episode, sampled: Sampled | Failed, limits: Limits
) -> Observation | None:
    """Take in one turn of the model; return what it sees next, or None if the rollout has ended."""
    if isinstance(sampled, Failed):
        episode.fail(sampled.message)
        return None
    episode.count(sampled)
    chat = policy.chat
    text = chat.decode([t for t in sampled.token_ids if t != chat.end_id])
    episode.append(sampled.token_ids, sampled.logprobs)
    episode.turns.append(Turn("model", text))
    if not sampled.is_ended:
        episode.end(StopReason.TURN_LENGTH)
        return None
    call = parse_tool_call(text)
    if call is None:
        episode.answer = extract_boxed(text)
        episode.end(StopReason.NO_ANSWER if episode.answer is None else StopReason.ANSWERED)
        return None
    look = _judge(call, episode, chat.frame, limits)
    result: View | LookOutcome = look.outcome
    if look.outcome is LookOutcome.EXECUTED:
        result = episode.source.view(zoom_in.region_of(look, tuple(episode.views)), chat.budget)
        look = Look(look.outcome, look.image, look.box, len(episode.views))
    ids = chat.observation(result)
    if len(episode.token_ids) + len(ids) + limits.max_turn_tokens > limits.max_context:
        # It was called for, but its crop was never seen.
        attempt = LookOutcome.TOO_MANY if look.outcome is LookOutcome.EXECUTED else look.outcome
        episode.looks.append(Look(attempt, look.image, look.box))
        episode.end(StopReason.CONTEXT_LENGTH)
        return None
    episode.looks.append(look)
    if (
        sum(past.outcome is not LookOutcome.EXECUTED for past in episode.looks)
        > limits.max_refusals
    ):
        episode.end(StopReason.TOO_MANY_LOOKS)
        return None
    picture = None
    if isinstance(result, View):
        episode.views.append(result)
        picture = Picture(episode.source, result)
    episode.append(ids)
    episode.turns.append(Turn("observation", chat.decode(ids)))
    return Observation(tuple(ids), picture)


def _judge(call: ToolCall | LookOutcome, episode: _Episode, frame: Frame, limits: Limits) -> Look:
    """Return what becomes of a call, without carrying it out."""
    if isinstance(call, LookOutcome):
        look = Look(call)
    elif call.name != zoom_in.NAME:
        look = Look(LookOutcome.UNKNOWN_OPERATION)
    else:
        look = zoom_in.validate(call.arguments, frame, tuple(episode.views))
    outcome = look.outcome
    if episode.prompt.mode is Mode.PROHIBITED:
        outcome = LookOutcome.REFUSED
    elif episode.prompt.mode is Mode.TOOLFREE:
        outcome = LookOutcome.UNKNOWN_OPERATION  # none was offered
    elif outcome is LookOutcome.EXECUTED and len(episode.views) - 1 >= limits.max_looks:
        outcome = LookOutcome.TOO_MANY
    return Look(outcome, look.image, look.box)


def _finish(policy: Policy, episode: _Episode, began: float, seconds: float) -> Rollout:
    assert episode.stop is not None
    own = episode.request_seconds
    return Rollout(
        question_id=episode.prompt.question.id,
        mode=episode.prompt.mode,
        token_ids=tuple(episode.token_ids),
        is_sampled=tuple(episode.is_sampled),
        logprobs=tuple(episode.logprobs),
        views=tuple(episode.views),
        looks=tuple(episode.looks),
        turns=tuple(episode.turns),
        answer=episode.answer,
        stop=episode.stop,
        visual_tokens=sum(policy.chat.visual_tokens(view) for view in episode.views),
        generated_tokens=episode.generated_tokens,
        seconds=seconds,
        latency=episode.stopped - began if own is None else own,
    )
