r"""Finding what a model's text gives as its answer, for all graders.

The answer is what the text marks as such, in `<answer>` tags, `\boxed{}` or an `"answer"` of JSON;
else the whole text. Thinking and tool calls never count. Nothing here takes more than linear time:
text is cut to `MAX_CHARS`, runs of equal characters are shortened, and repetition is bounded.
"""

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from lookless.chat.toolcall import extract_boxed, without_thinking
from lookless.episode import Question

MAX_CHARS = 20_000
"""So much of the end of what a text says aloud is read."""

_TOOL_CALL = re.compile(r"<tool_call>.*?(?:</tool_call>|(?=<answer>)|\Z)", re.DOTALL)
_SPECIAL = re.compile(r"<\|(?!begin_of_box|end_of_box)\w{1,30}\|>|</s>")
_EMPTY_MARK = re.compile(r"<answer>[\s.…]*</answer>|\\boxed\s*\{[\s.…]*\}", re.IGNORECASE)
_OPEN = re.compile(r"<answer>|<\|begin_of_box\|>", re.IGNORECASE)
_CLOSE = re.compile(r"</answer>|<\|end_of_box\|>", re.IGNORECASE)
_UNCLOSED_BOX = re.compile(r"\\boxed\s{0,3}\{([^{}]*)\Z")
_LATEX_IN_JSON = re.compile(r"(?<!\\)\\(?=(?:text|math|boxed|frac)[a-z]{0,3}\{)")
_ESCAPED = re.compile(r"\\([%$&#_])")
_JSON = re.compile(
    r"""["'](?:(?:final|correct|predicted|best)[ _]?)?(?:answer|choice|option|letter)["']\s{0,9}:
    \s{0,9}(?:("(?:[^"\\]|\\.){0,500}")|'([^'\\]{0,500})'|(-?[\w.%$]{1,40}))""",
    re.IGNORECASE | re.VERBOSE,
)


def final_answer(text: str) -> str:
    r"""Return the answer of a model's text, stripped; "" if there is none.

    Of several marked answers the one that begins last counts, so that the inner one of two nested
    ones does; one that is empty or dots does not count; one that ends with the text need not be
    closed. What is marked is peeled; a text without marks is returned as it is.

    Example:
        >>> final_answer("<think>A?</think>So <answer>**B**</answer>")
        'B'
        >>> final_answer(r"\boxed{A}, no: <answer>it is \boxed{\text{B}}</answer>")
        'B'
        >>> final_answer(" It is blue. ")
        'It is blue.'
    """
    spoken = _SPECIAL.sub("", _TOOL_CALL.sub(" ", without_thinking(text)))[-MAX_CHARS:]
    spoken = _EMPTY_MARK.sub(" ", spoken)
    marked = _marked(spoken)
    if marked is None:
        answer = _in_json(spoken)
        return _CLOSE.sub(" ", spoken).strip() if answer is None else answer
    answer = _in_json(marked)
    return peel(marked) if answer is None else answer


def _marked(spoken: str) -> str | None:
    rest, is_tagged = spoken, False
    for tag in _OPEN.finditer(spoken):
        rest, is_tagged = spoken[tag.end() :], True
    boxed = extract_boxed(rest)
    if boxed is None and (unclosed := _UNCLOSED_BOX.search(rest)):
        boxed = unclosed[1]
    if boxed is not None:
        return _ESCAPED.sub(r"\1", boxed)
    return _CLOSE.split(rest, maxsplit=1)[0] if is_tagged else None


def _in_json(text: str) -> str | None:
    found = next(reversed(list(_JSON.finditer(text))), None)
    if found is None:
        return None
    if not found[1]:
        return peel(found[2] or found[3] or "")
    try:
        return peel(str(json.loads(_LATEX_IN_JSON.sub(r"\\\\", found[1]), strict=False)))
    except ValueError:
        return peel(found[1])


_FENCE = re.compile(r"```\w{0,20}\n(.*?)\n?```", re.DOTALL)
_COMMAND = re.compile(r"\\(?:text|math)[a-z]{0,10}\s{0,3}\{([^{}]*)\}")
_WRAPPERS = (
    *((mark, mark) for mark in ("**", "*", "__", "_", "`", "$$", "$", '"', "'")),
    *(("\\(", "\\)"), ("\\[", "\\]"), ("“", "”"), ("‘", "’"), ("„", "“"), ("«", "»"), ("<", ">")),  # noqa: RUF001
)


def peel(text: str) -> str:
    r"""Return a text without what wraps all of it: emphasis, code, quotes, `$...$`, `\text{}`.

    Example:
        >>> peel(r" **$\text{blue}$** "), peel('"a" or "b"'), peel("$5")
        ('blue', '"a" or "b"', '$5')
    """
    text = text.strip()
    while True:
        inner = _peeled_once(text)
        if not inner or inner == text:
            return text
        text = inner


def _peeled_once(text: str) -> str:
    for pattern in (_FENCE, _COMMAND):
        if whole := pattern.fullmatch(text):
            return str(whole[1]).strip()
    for left, right in _WRAPPERS:
        if text.startswith(left) and text.endswith(right) and len(text) > len(left + right):
            inner = text[len(left) : -len(right)]
            if left not in inner and right not in inner:
                return inner.strip()
    return text


_BREAK = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|h[1-6])(?:\s[^<>]{0,200})?/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]{0,15}(?:\s[^<>]{0,200})?/?>")
_STRUCK = re.compile(r"~~[^~\n]{1,200}~~|<(s|del|strike)>[^<>]{0,200}</\1>")
_LATEX = re.compile(
    r"\\(?:(?:text|math)[a-z]{0,10}|f?box(?:ed)?|emph|bm|bf|rm|left|right|quad|displaystyle)(?![a-z])"
    r"|\\[,;!()\[\] ]|(?<!\\)[{}]"
)
_EMPHASIS = re.compile(
    r"(?<!\d)\*{2,}|\*{2,}(?!\d)|(?<![\d\s*])\*|\*(?![\d\s*])|(?<![^\W_])_+|_+(?![^\W_])|`+"
    r"|^(?:#+|\*) |\$+(?![\d.])",
    re.MULTILINE,
)
_STRAIGHT = str.maketrans("‘’‚“”„«»−‐‑⁄", '\'\'\'"""""---/')  # noqa: RUF001
_RAISED = str.maketrans(dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", (f"^{digit}" for digit in range(10)), strict=True)))
_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")


def plain(text: str) -> str:
    r"""Return a text as one reads it: Unicode unified, without markup; white space is " " or "\n".

    What is struck through is left out.

    Example:
        >>> plain("The <b>answer</b> is\n\n  **[B]**, $\\text{blue}$")
        'The answer is\n[B], blue'
    """
    text = _TAG.sub("", _BREAK.sub("\n", _STRUCK.sub(" ", html.unescape(text))))
    text = _FRACTION.sub(" ", text.translate(_RAISED))
    text = unicodedata.normalize("NFKC", text).translate(_STRAIGHT)
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cf", "Cc"))
    text = _EMPHASIS.sub("", _LATEX.sub("", text))
    text = re.sub(r"([^\w\s])\1{3,}", r"\1\1\1", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r"\n+", "\n", re.sub(r" ?\n ?", "\n", text)).strip()


def without_question(said: str, question: Question) -> str:
    """Return a plain text without the question, where the model repeated it."""
    asked = plain(question.text)
    return said.replace(asked, "\n").strip() if len(asked.split()) > 2 else said


def accepted(question: Question) -> tuple[str, ...]:
    """Return all accepted answers, both as they are and peeled, in the order of the data."""
    references = question.references or (question.answer,)
    return tuple(dict.fromkeys(form for r in references for form in (r, peel(r))))


def _taking_back(words: str) -> re.Pattern[str]:
    """Return the pattern of words at the beginning of a clause that take back what was said."""
    return re.compile(
        r"(?:^|[.!?;,\n]|--|[—\u2013])[\s\"'(]{0,4}"
        r"(?:(?:but|oh|hmm+|ah|well|and|no)\b[\s,.!-]{0,4}){0,2}"
        rf"(?:(?:{words})[\s,.;:!—\u2013-]{{0,5}}){{1,4}}",
        re.IGNORECASE,
    )


_TAKING_BACK = (
    r"(?:wait|actually|correction|scratch that|sorry|oops|on second thoughts?|hold on|i mean"
    r"|let me correct(?: myself)?|my mistake|i made a mistake)\b"
)
_CORRECTION = _taking_back(_TAKING_BACK)
_CORRECTION_OR_NO = _taking_back(rf"{_TAKING_BACK}|(?:no|nope)(?=\s?[,.;:!—\u2013-])")


def corrections(said: str, is_no_an_answer: bool = False) -> Iterator[str]:
    """Yield what a plain text says after it takes something back, the last first, then all of it.

    Example:
        >>> list(corrections("It is A. Wait, no: it is B"))
        ['it is B', 'It is A. Wait, no: it is B']
    """
    pattern = _CORRECTION if is_no_an_answer else _CORRECTION_OR_NO
    ends = [found.end() for found in pattern.finditer(said)]
    for end in ends[:-4:-1]:
        if said[end:].strip():
            yield said[end:]
    yield said


@dataclass(frozen=True, slots=True)
class Statement:
    """A place where a text says what the answer is, or is not."""

    cue: int
    start: int
    """Where what it says begins, behind the cue."""
    is_negated: bool
    is_hedged: bool
    """The answer only could be so, or is asked whether it is."""
    is_choice: bool
    """It says what is chosen (`I pick`), and not what is so (`the answer is`)."""


_WORD = r"(?:(?-i:a)|[^\W\d_]{2,25}(?:'[a-z]{1,2})?)"
_CUE = re.compile(
    rf"""(?<![A-Za-zÀ-ɏ])(?:
    (?:
      (?:answer|ans|option|choice|letter|solution|selection|prediction|conclusion|response|guess|pick
        |number|count|(?<!in\ )total|sum|result|final|verdict
        |antwort|lösung|réponse|respuesta|resposta|risposta|ответ)(?P<plural>s)?(?![^\W\d_])
      (?P<gap>(?:,?\ {_WORD},?){{0,8}}?)
      \ ?(?:
        (?P<hedge>(?:could|might|may|can)(?:\ (?:also|only|well|not))?\ be\b)
        |(?P<no>(?:isn't|wasn't|aren't|can't\ be|cannot\ be|won't\ be|wouldn't\ be)\b)
        |(?:is|are|was|be|appears\ to\ be|seems\ to\ be|ist|lautet|est|es|sería|será|é|è)(?!\w)
        |(?(plural)(?!))(?:[:=→—\u2013]|=>|->|-(?=\ ))
      )
      |(?:答案|正解|答え|正确选项|正確選項|정답)[应應該该]{{0,2}}(?:[是为為選选はが은는]{{1,2}}|:)
      |(?:الإجابة|الجواب)(?:\ الصحيحة?)?\ (?:هي|هو)
    )
    |(?P<verb>
      (?:choose|chose|choosing|pick(?:ed|ing)?|select(?:ed|ing)?|go(?:ing)?\ (?:with|for)
        |opt(?:ing|ed)?\ for|settle\ on|vote\ for|(?:answer|respond|reply)\ with
        |i(?:'d|\ would)?\ (?:say|guess)|i\ (?:count|counted)|total\ of)\b
      |选择?(?!项)|選擇?(?!項)
    ))""",
    re.IGNORECASE | re.VERBOSE,
)
_NOT = re.compile(
    r"\b(?:not|never|neither|nor|cannot|no|hardly|nicht|pas)\b|n't|不|非", re.IGNORECASE
)
_NOT_A_CLAIM = re.compile(
    r"\b(?:if|whether|thought|initially|suppose|supposing|assum\w{1,6}|wrong|incorrect|false|unless"
    r"|doubt|each|every|not|never|cannot|without|instead of|rather than|eliminated?|rejected)\b"
    r"|n't|不",
    re.IGNORECASE,
)


MAX_CONDITION = 150
"""So far before `the answer would be` an `if` makes it a supposition."""


def statements(said: str) -> Iterator[Statement]:
    """Yield the places of a plain text that say what the answer is, in order.

    Example:
        >>> [said[s.start :] for said in ["So the best answer is B"] for s in statements(said)]
        [' B']
    """
    for cue in _CUE.finditer(said):
        gap = cue["gap"] or ""
        clause = re.split(r"[.,;:!?\n]", said[max(0, cue.start() - 40) : cue.start()])[-1]
        before = re.split(r"[.!?\n]", said[max(0, cue.start() - MAX_CONDITION) : cue.start()])[-1]
        is_supposed = "would" in gap and bool(re.search(r"\bif\b", before, re.IGNORECASE))
        is_negated = bool(cue["no"] or _NOT.search(gap) or _NOT_A_CLAIM.search(clause))
        is_negated |= is_supposed
        is_asked = sentence(said, cue.end()).endswith("?")
        is_hedged = bool(cue["hedge"]) or is_asked
        is_negated |= bool(cue["hedge"] and "not" in cue["hedge"].lower())
        yield Statement(cue.start(), cue.end(), is_negated, is_hedged, bool(cue["verb"]))


_SENTENCE_END = re.compile(r"[.!?](?=\s|$|[\"')])|[。！？\n]")  # noqa: RUF001
MAX_SENTENCE = 300


def sentence(said: str, start: int) -> str:
    """Return a plain text from `start` to the end of the sentence, of at most `MAX_SENTENCE`."""
    rest = said[start : start + MAX_SENTENCE]
    end = _SENTENCE_END.search(rest.lstrip("\n :"))
    skipped = len(rest) - len(rest.lstrip("\n :"))
    return rest if end is None else rest[: skipped + end.end()]


_BOUNDARY = re.compile(r"(?<=[?!])\s|(?<=[^\W\d_]{2}[.)])\s|(?<=[\d)%][.])\s|[。！？\n]")  # noqa: RUF001


def sentences(said: str) -> list[str]:
    r"""Return the sentences of a plain text, stripped; a lone letter's full stop ends none.

    Example:
        >>> sentences("It is blue. So B. blue\nDone.")
        ['It is blue.', 'So B. blue', 'Done.']
    """
    return [part.strip() for part in _BOUNDARY.split(said) if part.strip()]
