"""The chosen letter of a multiple-choice question, read from free text and never guessed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from string import ascii_uppercase

from lookless.episode import Question
from lookless.grading.exact import exact_match
from lookless.grading.extraction import (
    corrections,
    final_answer,
    plain,
    sentence,
    sentences,
    statements,
    without_question,
)
from lookless.grading.verdict import UNPARSED, Verdict


def multiple_choice(question: Question, text: str) -> Verdict:
    r"""Return 1 if a model's text chooses the right letter; `read_letter` says how it is read.

    Example:
        >>> from pathlib import Path
        >>> question = Question("q", Path(), "Colour?", "B", options=("red", "blue"))
        >>> multiple_choice(question, "<think>A?</think>A blue one, so the answer is B.")
        Verdict(answer='B', grade=1.0)
    """
    said = without_question(plain(final_answer(text)), question)
    letter = read_letter(said, question.options)
    if letter is None:
        return UNPARSED
    return Verdict(letter, float(letter == question.answer.strip().upper()))


def read_letter(answer: str, options: Sequence[str]) -> str | None:
    """Return which option an answer chooses, or None if it chooses none or several.

    The answer is read as a careful person would. The first of these that says anything decides:

    1. all of it is a letter, or exactly an option's text;
    2. what it says to be the answer (`the answer is B`, `I choose blue`, `C is correct`, or a
       letter alone at the end): the last counts;
    3. the letter that it begins with (`B. blue`, `(B) because ...`);
    4. another letter that it asserts (`it is B`), then one that it mentions (`blue (B)`), if it is
       only one letter;
    5. the option whose text alone is on a line or before the first comma, or is the only one in a
       single short sentence without a negation.

    What is denied (`not A`), asked or only supposed counts for nothing, and words of correction
    (`wait`, `no,`) make what follows count first. An `A` or `I` before another word is a word. A
    letter beyond the options is none of them. A letter counts more than the text beside it.

    Args:
        answer: Without thinking and tags; markup does not matter.
        options: Texts of the options, lettered from A.

    Example:
        >>> colours = ["red", "blue", "dark red"]
        >>> read_letter("A blue bag, so the answer is not A, it is B", colours)
        'B'
        >>> read_letter("The bag is dark red.", colours), read_letter("It is not red", colours)
        ('C', None)
    """
    choice = _choice(tuple(options))
    said = choice.listing.sub("\n", plain(answer)).strip()
    letters, words = _LETTER.findall(said), re.findall(r"\w+", said)
    if len(words) == 1 and letters == words:
        return choice.valid(words[0]) or choice.is_text(said)
    if whole := choice.is_text(said):
        return whole
    if words and letters == words and all(word in ascii_uppercase for word in words):
        return choice.one(words)
    for part in corrections(said):
        claims = list(_claims(part, choice))
        if letter := _decide(claims):
            return letter
    return None if claims else _by_text(said, choice)


class _Strength(IntEnum):
    MENTIONED = 1
    ASSERTED = 2
    LEADING = 3
    STATED = 4


@dataclass(frozen=True, slots=True)
class _Claim:
    letter: str | None
    """None if it is several, or none of the options."""
    start: int
    strength: _Strength
    is_negated: bool = False


def _decide(claims: Sequence[_Claim]) -> str | None:
    made = [claim for claim in claims if not claim.is_negated]
    if not made:
        return None
    strength = max(claim.strength for claim in made)
    strongest = [claim for claim in made if claim.strength == strength]
    if strength < _Strength.STATED and len({claim.letter for claim in strongest}) > 1:
        return None
    last = max(strongest, key=lambda claim: claim.start)
    is_taken_back = any(
        claim.is_negated and claim.letter == last.letter and claim.start > last.start
        for claim in claims
    )
    return None if is_taken_back else last.letter


@dataclass(frozen=True)
class _Choice:
    """What can be chosen."""

    letters: str
    texts: tuple[str, ...]
    order: tuple[int, ...]
    """Which option each group of `anywhere` is."""
    anywhere: re.Pattern[str]
    """Any option's text as whole words, the longest first."""
    listing: re.Pattern[str]
    """The list of all options, as a prompt shows it."""

    def valid(self, letter: str) -> str | None:
        """Return a letter in upper case if it is one of the options."""
        return letter.upper() if letter.upper() in self.letters else None

    def one(self, letters: Sequence[str]) -> str | None:
        """Return the letter that all are, if it is one of the options."""
        return self.valid(letters[0]) if len(set(letters)) == 1 else None

    def is_all(self, letters: Sequence[str]) -> bool:
        """Return whether letters are an enumeration of the options, as in an instruction."""
        return len(self.letters) > 2 and set(letters) >= set(self.letters)

    def is_text(self, said: str) -> str | None:
        """Return the letter of the one option whose text this exactly is."""
        bare = said.strip(" \"'")
        found = [k for k, text in enumerate(self.texts) if text and exact_match(bare, text)]
        return self.letters[found[0]] if len(found) == 1 else None

    def of(self, match: re.Match[str]) -> str | None:
        """Return the letter of what `anywhere` found; None if two options have the same text."""
        return self.is_text(self.texts[self.order[(match.lastindex or 1) - 1]])


@lru_cache(maxsize=64)
def _choice(options: tuple[str, ...]) -> _Choice:
    texts = tuple(plain(option).rstrip(". ") for option in options)
    order = sorted(range(len(texts)), key=lambda k: -len(texts[k]))
    order = [k for k in order if len(texts[k]) > 1 or texts[k].isdigit()]  # else it is a letter
    patterns = ("[- ]".join(map(re.escape, re.split("[- ]", texts[k]))) for k in order)
    groups = "|".join(f"({pattern})" for pattern in patterns) or r"(?!)"
    anywhere = rf"(?<![\w-])(?<!\d[.,])(?:{groups})(?![\w%-]|[.,]\d)"
    lines = (
        rf"[-•\s(\[]{{0,4}}{letter}[)\].:]{{0,2}}\s?{re.escape(text)}[\s.,;|]{{0,5}}"
        for letter, text in zip(ascii_uppercase, texts, strict=False)
    )
    return _Choice(
        ascii_uppercase[: len(texts)],
        texts,
        tuple(order),
        re.compile(anywhere, re.IGNORECASE),
        re.compile("".join(lines) or r"(?!)", re.IGNORECASE),
    )


_LATIN = "A-Za-z0-9À-ɏ"
_LETTER = re.compile(
    rf"(?<![{_LATIN}°$])(?<!\w[-/&.'])([A-Za-z])(?![{_LATIN}+°]|'[A-Za-z]|[-&/]\w|\.[A-Za-z]\b)"
)
_STANDS_ALONE = re.compile(
    r"\s?(?:$|\n|[^\w\s'-]|'(?!\w)|[-'] )|\s?[^\x00-\x7f]|\s(?:because|since|as|due|based|given|here"
    r"|is|isn't|can't|cannot|and|or|which|with|for|in)\b",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"[)\]\"']{0,2} ?(?:,|/|&|\b(?:or|and|oder|und|ou|et|o|y)\b|和|或) ?(?:or |and )?[(\[\"']{0,2}"
)
_VERB = re.compile(
    r"[)\]\"']{0,2} (?:is|are|was|were|isn't|aren't|can|cannot|do|does|has|shows?|says?|would|looks?)\b"
)
_SUBJECTS = re.compile(r"[)\]\"']{0,2} (?:are|were|can|seem|aren't|do)\b")
_NEXT = re.compile(r"[\s,;(]([A-Z])[)\].:](?:\s|$)")
_LIST_CHARS = 200
_NAMES = re.compile(r"\b(?:option|choice) $", re.IGNORECASE)


def _letter_at(said: str, start: int) -> re.Match[str] | None:
    """Return the letter at `start`, if it cannot be a word of the sentence."""
    token = _LETTER.match(said, start)
    is_word = token and (token[1] in "AI" or token[1].islower())
    if is_word and _NAMES.search(said[max(0, start - 8) : start]):  # `option A red`
        return token
    return None if token and is_word and not _STANDS_ALONE.match(said, token.end()) else token


def _joined(said: str, token: re.Match[str]) -> tuple[list[str], int]:
    """Return a letter with those that are joined to it (`A or B`, `A, B and C`), and their end."""
    letters, end = [token[1].upper()], token.end()
    while more := _MORE.match(said, end):
        following = _letter_at(said, more.end())
        if following is None or following[1] not in ascii_uppercase:
            break
        letters.append(following[1])
        end = following.end()
    if len(letters) > 1 and _VERB.match(said, end):  # `B, A is wrong`
        return letters[:1], end
    return letters, end


def _is_label(said: str, token: re.Match[str]) -> bool:
    """Return whether a letter is one label of a list: `A: red, B: blue`."""
    if said[token.end() : token.end() + 1] not in tuple(":.)]"):
        return False
    following = _NEXT.search(said, token.end(), token.end() + _LIST_CHARS)
    return following is not None and following[1] > token[1].upper()


_FILLER = re.compile(
    r"[\s:\"'(\[<>=,—–-]{1,8}|(?:that|the|an?|option|choice|letter|answer|one|number|correct|right"
    r"|best|likely|most|probably|clearly|clear|definitely|certainly|obviously|simply|just|indeed"
    r"|actually|therefore|thus|then|also|still|now|to|be|as|follows|following|given|by|label(?:l?ed)?"
    r"|marked|either|both|between|my|final|only|surely|going|with|it|it's|is|are|this|rather|must"
    r"|would|not|never|neither|la|le|el|die|der|das|opción|opção|lettre|letra)(?![\w'])|选项|選項",
    re.IGNORECASE,
)
_NOT = re.compile(r"not|never|neither", re.IGNORECASE)
_BESIDE = re.compile(r",? ?(?:[(\[]|(?:which is )?(?:option|choice|answer) )")


def _stated(said: str, start: int, choice: _Choice) -> _Claim | None:
    """Return what is said to be the answer from `start` on, behind words that say nothing."""
    is_negated = False
    for _ in range(12):
        if match := choice.anywhere.match(said, start):
            return _Claim(_named_text(said, match, choice), start, _Strength.STATED, is_negated)
        if token := _letter_at(said, start):
            letters = _joined(said, token)[0]
            if choice.is_all(letters) or (len(letters) == 1 and _is_label(said, token)):
                return None
            is_negated |= bool(_DENIED_BEHIND.match(said, token.end()))
            return _Claim(choice.one(letters), start, _Strength.STATED, is_negated)
        filler = _FILLER.match(said, start)
        if not filler:
            return None
        is_negated |= bool(_NOT.fullmatch(filler[0]))
        start = filler.end()
    return None


def _named_text(said: str, match: re.Match[str], choice: _Choice) -> str | None:
    """Return the letter of an option's text; the letter beside it counts more: `blue (B)`."""
    letter, end = choice.of(match), match.end()
    beside = _BESIDE.match(said, end)
    if beside and (token := _letter_at(said, beside.end())):
        return choice.valid(token[1])
    more = _MORE.match(said, end)
    other = choice.anywhere.match(said, more.end()) if more else None
    return letter if other is None or choice.of(other) == letter else None


_DENIED = re.compile(
    r"(?:\b(?:not|neither|nor|never|cannot|instead of|rather than|unlike|except|without"
    r"|(?:rul(?:e|ed|es|ing)|cross(?:ed|ing)?) out|(?:eliminat|exclud|discard|reject)[a-z]{0,3}"
    r"|wrong|incorrect|false)\b|n't\b|不(?:是|选择?|選擇?)?|非)[ \"'(]{0,3}(?:(?:the|an?|option|choice|letter|answer"
    r"|be|is|it|likely|correct|right|exactly|going|to|choose|pick|select|with|think|believe|that"
    r"|say)[ \"'(:]{1,3}){0,5}$",
    re.IGNORECASE,
)
_DENIED_BEHIND = re.compile(
    r"[)\]\"']{0,2}(?: (?:is|are|was|seems?|looks?|can|could|would|must|does|do|has|appears?)(?=n't| )"
    r"(?: (?:be|also|clearly|definitely|the|an?|therefore|obviously|probably|likely|to|been)){0,4})?"
    r"(?:(?: (?:not|never|wrong|incorrect|false|inaccurate|ruled out|eliminated|excluded|unlikely"
    r"|impossible|out)|n't)\b)|[)\]\"']{0,2} (?:cannot|can't|isn't|doesn't|won't)\b|不",
    re.IGNORECASE,
)
_RIGHT = re.compile(
    r"[)\]\"']{0,2} (?:is|seems|looks|appears|would be|must be|has to be|should be)"
    r"(?: (?:to|be|the|an?|most|clearly|definitely|likely|probably|therefore|thus|also|indeed|our"
    r"|my|only|single)){0,4} (?:correct|best|answer|true|accurate|choice|(?<=the )one"
    r"|right(?! (?:of|next|side|hand|above|below|beside|behind)))\b"
    r"|(?:是|最|为){0,3}(?:正确|正確|对的|對的|合适)",
    re.IGNORECASE,
)
_ASSERTED = re.compile(
    r"(?:\b(?:is|be|it's|that's|its|so|thus|hence|therefore|then|denoted|corresponds? (?:to|with)"
    r"|match(?:es)?|label(?:l?ed)?|conclusion)\b|是|[→⇒]|[=-]>)[,:]?(?: ?\b(?:option|choice|letter"
    r"|answer|the|clearly|definitely|most|likely|probably|by|as|indeed|simply|just|obviously)\b)"
    r"{0,4}:? ?[(\[\"']{0,2}$",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\b(?:could|might|may|can)(?: (?:also|only|well))? be [^.,;!?\n]{0,20}$", re.IGNORECASE
)
_BEFORE_END = re.compile(r"(?:\bbut (?:rather |instead )?|: ?)[(\[\"']{0,2}$", re.IGNORECASE)
_ENDS = re.compile(r"[)\]\"']{0,2}(?:[.,;!]|\n|$)")
_BRACKET = re.compile(r"(?:^|[^\w)\]])[(\[]$")
_NAMED = re.compile(
    r"(?:\b(?:option|choice|letter|answer|opción|opção)s?|选项?|選項?)[ :]{0,2}[(\"']?$",
    re.IGNORECASE,
)
_NO_CLAIM_AFTER = re.compile(
    r"\b(?:if|whether|thought|initially|suppose|least|wrong|incorrect|false)\b[^.,;:!?\n]{0,40}$",
    re.IGNORECASE,
)
_WINDOW = 60


def _claims(said: str, choice: _Choice) -> Iterator[_Claim]:
    """Yield what a plain text claims of letters, or states by an option's text."""
    for statement in statements(said):
        claim = _stated(said, statement.start, choice)
        if claim is None and not (statement.is_negated or statement.is_choice):
            letter = _in_prose(sentence(said, statement.start), choice)
            claim = (letter and _Claim(letter, statement.start, _Strength.STATED)) or None
        if claim:
            yield _Claim(
                claim.letter,
                claim.start,
                _Strength.MENTIONED if statement.is_hedged else _Strength.STATED,
                claim.is_negated or statement.is_negated,
            )
    for found in _LETTER.finditer(said):
        token = _letter_at(said, found.start())
        if token and (claim := _claim_of(said, token, choice)):
            yield claim
    yield from _lone_letters(said, choice)


def _claim_of(said: str, token: re.Match[str], choice: _Choice) -> _Claim | None:
    """Return what is claimed of a letter by the words around it."""
    start, end = token.span()
    before, behind = said[max(0, start - _WINDOW) : start], said[end : end + _WINDOW]
    letters, joined_end = _joined(said, token)
    letter = choice.one(letters)
    is_bracketed = bool(_BRACKET.search(before)) and behind[:1] in tuple(")]")
    is_named = is_bracketed or bool(_NAMED.search(before))
    if token[1].islower() and not is_named:
        return None
    if _DENIED.search(before) or _DENIED_BEHIND.match(behind):
        return _Claim(choice.valid(token[1]), start, _Strength.MENTIONED, is_negated=True)
    if choice.is_all(letters) or (len(letters) == 1 and _is_label(said, token)):
        return None
    if _NO_CLAIM_AFTER.search(before):
        return None
    if _SUBJECTS.match(said, joined_end) or sentence(said, end).endswith("?"):
        return None
    if _RIGHT.match(behind):
        return _Claim(letter, start, _Strength.STATED)
    if _VERB.match(behind) and not is_bracketed:  # a mere description of the option
        return None
    if _HEDGED.search(before):
        return _Claim(letter, start, _Strength.MENTIONED)
    is_at_end = _ENDS.match(behind) and _BEFORE_END.search(before)
    if is_at_end or _ASSERTED.search(before):
        return _Claim(letter, start, _Strength.ASSERTED)
    return _Claim(letter, start, _Strength.MENTIONED) if is_named else None


_LEADING = re.compile(
    r"[^\w\n]{0,4}(?:(?:i (?:think|believe|guess)|it(?: i|')s|yes|sure|okay|so|then|well|definitely"
    r"|probably|likely|clearly|option|choice|answer|letter)[ ,:!]{1,2}){0,3}[(\[\"']{0,2}"
    r"(?:(?-i:(?P<upper>[A-Z]))|(?P<lower>[a-z])(?=[).:\n]|$))"
    r"(?:[)\]\"']{0,2}(?:[.:,;!](?![a-z]\b)|\n|$| ?[—–]| - | ?->| ?=>)|[)\]]"
    r"| (?:because|since|as|due to|based on|rather than|instead of)\b| \()",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^[^\w\n]{0,4}[A-Z][)\].:]", re.MULTILINE)
_NEXT_LABEL = re.compile(r"(?:^|[\s(,;])B[)\].:]")
_SAYS_NOTHING = frozenset(
    "so thus hence therefore then ok okay well yes definitely probably likely most clearly "
    "surely certainly obviously option choice letter answer final the my i think believe say "
    "guess would i'd i'm it it's its is this that be must should has to correct right best "
    "one overall going go with for pick choose select conclusion in result verdict".split()
)


def _lone_letters(said: str, choice: _Choice) -> Iterator[_Claim]:
    """Yield the letters that an answer begins with, ends with, or has alone on a line."""
    lines = said.split("\n")
    labels = [n for n, line in enumerate(lines) if _LABEL.match(line)]
    lead = _LEADING.match(said)
    if lead and not (lead["upper"] == "A" and _NEXT_LABEL.search(said) and len(lines[0]) > 3):
        token = _letter_at(said, lead.start(lead.lastgroup or 0))
        if token:
            yield _Claim(choice.one(_joined(said, token)[0]), 0, _Strength.LEADING)
    if len(lines) > 1 and labels == [len(lines) - 1] and (last := _LEADING.match(lines[-1])):
        letter = choice.valid(last[last.lastgroup or 0])
        yield _Claim(letter, len(said) - len(lines[-1]), _Strength.STATED)
    ending = sentences(said)[-1:]
    for n, line in enumerate([*lines[:-1], *ending]):
        is_last = n == len(lines) - 1
        letters = _alone(line)
        if letters and not choice.is_all(letters):
            strength = _Strength.STATED if is_last else _Strength.ASSERTED
            yield _Claim(choice.one(letters), len(said) if is_last else 0, strength)


def _alone(line: str) -> list[str]:
    """Return the letters of a line of which all else says nothing."""
    words = re.findall(r"[^\W_]+(?:'[a-z]+)?", line[:100])
    letters = [word for word in words if len(word) == 1 and word in ascii_uppercase and word != "I"]
    letters = letters or [word for word in words[-1:] if len(word) == 1 and word.isalpha()]
    is_bare = len(line) <= 100 and not line.endswith("?")
    others = {word.lower() for word in words} - {letter.lower() for letter in letters}
    return [one.upper() for one in letters] if is_bare and others <= _SAYS_NOTHING else []


_NO_CLAIM = re.compile(
    r"\b(?:not|no|never|neither|nor|none|without|cannot|wrong|incorrect|except|instead|rather|unlike"
    r"|unable|unclear|unsure|impossible|unknown|whether|if|maybe)\b|n't\b|\?",
    re.IGNORECASE,
)
MAX_PROSE_WORDS = 20


def _in_prose(said: str, choice: _Choice) -> str | None:
    """Return the option whose text is the only one in a short sentence that denies nothing."""
    found = list(choice.anywhere.finditer(said))
    letters = {choice.of(match) for match in found}
    if len(letters) != 1 or len(said.split()) > MAX_PROSE_WORDS:
        return None
    return None if _NO_CLAIM.search(choice.anywhere.sub(" ", said)) else letters.pop()


def _by_text(said: str, choice: _Choice) -> str | None:
    """Return the option that a text without any letter names by its own text."""
    on_lines = [letter for line in said.split("\n") if (letter := choice.is_text(line))]
    if len(on_lines) == 1:
        return on_lines[0]
    first, *rest = re.split(r"[,.;:!—–]\s|\n| - ", said, maxsplit=1)
    begins = choice.is_text(first)
    if begins and {choice.of(match) for match in choice.anywhere.finditer("".join(rest))} <= {
        begins
    }:
        return begins
    return _in_prose(said, choice) if len(sentences(said)) == 1 else None
