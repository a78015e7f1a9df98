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
    peel,
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
    said = without_question(plain(peel(final_answer(text))), question)
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
    words = re.findall(r"\w+", said)
    if len(words) == 1 and len(words[0]) == 1 and words[0].isalpha():
        return choice.valid(words[0].translate(_LOOK_ALIKES)) or choice.is_text(said)
    if whole := choice.is_text(said):
        return whole
    if words and all(len(word) == 1 and word in ascii_uppercase for word in words):
        return choice.one(words) or choice.labelled(words)
    for part in corrections(said):
        claims = list(_claims(part, choice))
        if letter := _decide(claims) if claims else _by_text(part, choice):
            is_hedged = claims and all(claim.strength == _Strength.HEDGED for claim in claims)
            return None if is_hedged and part != said else letter  # `B. Wait, it could be C`
    return None


class _Strength(IntEnum):
    HEDGED = 0
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

    def labelled(self, letters: Sequence[str]) -> str | None:
        """Return a letter that is followed by its option's text, where texts are letters too."""
        labelled = list(zip(self.letters, self.texts, strict=False))
        return letters[0] if tuple(letters) in labelled else None

    def is_all(self, letters: Sequence[str]) -> bool:
        """Return whether letters are an enumeration of the options, as in an instruction."""
        return len(self.letters) > 2 and set(letters) >= set(self.letters)

    def is_text(self, said: str) -> str | None:
        """Return the letter of the one option whose text this exactly is."""
        bare = said.strip(" \"'")
        found = [k for k, text in enumerate(self.texts) if text and exact_match(bare, text)]
        return self.letters[found[0]] if len(found) == 1 else None

    def unless_more(self, letter: str | None, said: str) -> str | None:
        """Return a letter unless a text also has other words of a longer option: `a dark red`."""
        own = _words(self.texts[self.letters.index(letter)]) if letter else set()
        others = (_words(text) for text in self.texts)
        is_more = any(own < other and (other - own) & _words(said) for other in others)
        return None if is_more else letter

    def of(self, match: re.Match[str]) -> str | None:
        """Return the letter of what `anywhere` found; None if two options have the same text."""
        return self.is_text(self.texts[self.order[(match.lastindex or 1) - 1]])


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower())) - {"a", "an", "the"}


@lru_cache(maxsize=64)
def _choice(options: tuple[str, ...]) -> _Choice:
    texts = tuple(plain(option).rstrip(". ") for option in options)
    order = sorted(range(len(texts)), key=lambda k: -len(texts[k]))
    order = [k for k in order if len(texts[k]) > 1 or texts[k].isdigit()]  # else it is a letter
    patterns = ("[- ]".join(map(re.escape, re.split("[- ]", texts[k]))) for k in order)
    groups = "|".join(f"({pattern})" for pattern in patterns) or r"(?!)"
    anywhere = rf"(?<![\w-])(?<!\d[.,])(?!(?<=option )\d)(?:{groups})(?![\w%-]|[.,]\d)"
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


_NOUN = "option|choice|letter|answer|opción|opção|letra|lettre|antwort|réponse|respuesta|risposta"
_SURELY = (
    "clear|clearly|definitely|certainly|obviously|surely|simply|just|indeed|probably|likely|most"
    "|therefore|thus|then|also|still|now|actually|exactly"
)
_LOOK_ALIKES = str.maketrans("АВСЕΑΒΕ", "ABCEABE")  # noqa: RUF001
_LATIN = "A-Za-z0-9À-ɏ"
_LETTER = re.compile(
    rf"(?<![{_LATIN}°$])(?<![{_LATIN}][-/&.'])([A-Za-z])"
    rf"(?![{_LATIN}+°]|'[A-Za-z]|[-&/]\w|\.[A-Za-z]\b)"
)
_STANDS_ALONE = re.compile(
    r"\s?(?:$|\n|[^\w\s'-]|'(?!\w)|[-'] )|\s?[^\x00-\x7f]"
    r"|\s(?:because|since|as|due|based|given|here|is|isn't|seems|looks|appears|fits|matches"
    r"|can't|cannot|and|or|which|with|for|in)\b",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"[)\]\"']{0,2} ?(?:,|/|&|\b(?:or|and|oder|und|ou|et|o|y)\b|和|或) ?(?:or |and )?[(\[\"']{0,2}"
)
_VERB = re.compile(
    r"[)\]\"']{0,2} "
    r"(?:is|are|was|were|isn't|aren't|can|cannot|do|does|has|shows?|says?|would|looks?)\b"
)
_SUBJECTS = re.compile(r"[)\]\"']{0,2} (?:are|were|can|seem|aren't|do)\b")
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
    for _ in ascii_uppercase:
        more = _MORE.match(said, end)
        following = _letter_at(said, more.end()) if more else None
        if following is None or following[1] not in ascii_uppercase:
            break
        letters.append(following[1])
        end = following.end()
    if len(letters) > 1 and _VERB.match(said, end) and not _SUBJECTS.match(said, end):
        return letters[:-1], end  # `B, A is wrong`
    return letters, end


_FILLER = re.compile(
    r"[\s:\"'(\[<>=,—\u2013-]{1,8}|选项|選項"
    rf"|(?:{_NOUN}|{_SURELY}|that|the|an?|one|number|correct|right|best|to|be|as|follows|following"
    r"|given|by|label(?:l?ed)?|marked|either|both|between|my|final|only|going|with|it|it's|is|are"
    r"|this|rather|must|would|not|never|neither|la|le|el|die|der|das)(?![\w'])",
    re.IGNORECASE,
)
_NOT = re.compile(r"not|never|neither", re.IGNORECASE)
_BESIDE = re.compile(r",? ?(?:[(\[](?:option )?|(?:which is )?(?:option|choice|answer) )")


def _stated(said: str, start: int, choice: _Choice) -> _Claim | None:
    """Return what is said to be the answer from `start` on, behind words that say nothing."""
    is_negated = False
    for _ in range(12):
        if match := choice.anywhere.match(said, start):
            return _Claim(_named_text(said, match, choice), start, _Strength.STATED, is_negated)
        if token := _letter_at(said, start):
            letters = _joined(said, token)[0]
            if choice.is_all(letters):
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
    r"|wrong|incorrect|false)\b|n't\b|不(?:是|选择?|選擇?)?|非)[ \"'(]{0,3}"
    rf"(?:(?:{_NOUN}|{_SURELY}|the|an?|be|is|it|correct|right|going|to|choose|pick|select|with|think"
    r"|believe|that|say)[ \"'(:]{1,3}){0,5}$",
    re.IGNORECASE,
)
_DENIED_BEHIND = re.compile(
    r"[)\]\"']{0,2}(?: (?:is|are|was|seems?|looks?|can|could|would|must|does|do|has|appears?)"
    rf"(?=n't| )(?: (?:{_SURELY}|be|been|the|an?|to)){{0,4}})?"
    r"(?:(?: (?:not|never|wrong|incorrect|false|inaccurate|ruled out|eliminated|excluded|unlikely"
    r"|impossible|out)|n't)\b)|[)\]\"']{0,2} (?:cannot|can't|isn't|doesn't|won't)\b|不",
    re.IGNORECASE,
)
_RIGHT = re.compile(
    r"[)\]\"']{0,2} (?:is|seems|looks|appears|would be|must be|has to be|should be)"
    rf"(?: (?:{_SURELY}|to|be|the|an?|our|my|only|single|more)){{0,4}}"
    r" (?:correct|best|answer|true|accurate|choice|(?<=the )one"
    r"|(?:(?<=only )|(?<=more )|(?<=most ))(?:likely|plausible|possible|probable|reasonable)"
    r"|right(?! (?:of|next|side|hand|above|below|beside|behind)))\b"
    r"|[)\]\"']{0,2} (?:fits|matches|suits|describes)(?: [a-z]{2,12}){0,3} best\b"
    r"|(?:是|最|为){0,3}(?:正确|正確|对的|對的|合适)",
    re.IGNORECASE,
)
_ASSERTED = re.compile(
    r"(?:\b(?:is|be|ist|est|it's|that's|its|so|thus|hence|therefore|then|denoted"
    r"|corresponds? (?:to|with)|match(?:es)?|label(?:l?ed)?|conclusion)\b|是|[→⇒]|[=-]>)[,:]?"
    rf"(?: ?\b(?:{_NOUN}|{_SURELY}|the|by|as)\b){{0,4}}:? ?[(\[\"']{{0,2}}$",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\b(?:could|might|may|can)(?: (?:also|only|well))? be [^.,;!?\n]{0,20}$", re.IGNORECASE
)
_BEFORE_END = re.compile(r"(?:\bbut (?:rather |instead )?|[:;] ?)[(\[\"']{0,2}$", re.IGNORECASE)
_ENDS = re.compile(r"[)\]\"']{0,2}(?:[.,;!]|\n|$)")
_BRACKET = re.compile(r"(?:^|[^\w)\]])[(\[]$")
_NAMED = re.compile(rf"(?:\b(?:{_NOUN})s?|选项?|選項?)[ :]{{0,2}}[(\"']?$", re.IGNORECASE)
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
                _Strength.HEDGED if statement.is_hedged else _Strength.STATED,
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
    if choice.is_all(letters) or _NO_CLAIM_AFTER.search(before):
        return None
    if _SUBJECTS.match(said, joined_end) or sentence(said, end).endswith("?"):
        return None
    if _RIGHT.match(behind):
        return _Claim(letter, start, _Strength.STATED)
    if _VERB.match(behind) and not is_bracketed:  # a mere description of the option
        return None
    if _HEDGED.search(before):
        return _Claim(letter, start, _Strength.HEDGED)
    is_at_end = _ENDS.match(behind) and _BEFORE_END.search(before)
    if is_at_end or _ASSERTED.search(before):
        return _Claim(letter, start, _Strength.ASSERTED)
    return _Claim(letter, start, _Strength.MENTIONED) if is_named else None


_LEADING = re.compile(
    rf"[^\w\n]{{0,4}}(?:(?:i (?:think|believe|guess)|it(?: i|')s|yes|sure|okay|so|well|{_SURELY}"
    rf"|(?:no|without a?) ?doubt|{_NOUN})[ ,:!]{{1,2}}){{0,3}}[(\[\"']{{0,2}}"
    r"(?:(?-i:(?P<upper>[A-Z]))|(?P<lower>[a-z])(?=[).:\n]|$))"
    r"(?:[)\]\"']{0,2}(?:[.:,;!](?![a-z]\b)|\n|$| ?[—\u2013]| - | ?->| ?=>)|[)\]]"
    r"| (?:because|since|as|due to|based on|rather than|instead of)\b| \()",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^[^\w\n]{0,4}[A-Z][)\].:]", re.MULTILINE)
_NEXT_LABEL = re.compile(r"(?:^|[\s(,;])B[)\].:]")
_SAYS_NOTHING = frozenset(
    f"{_NOUN}|{_SURELY}".split("|")
    + "so hence ok okay well yes final the my i think believe say guess would i'd i'm it it's its "
    "is this that be must should has to correct right best one overall going go with for pick "
    "choose select conclusion in result verdict".split()
)


def _lone_letters(said: str, choice: _Choice) -> Iterator[_Claim]:
    """Yield the letters that an answer begins with, ends with, or has alone on a line."""
    lines = said.split("\n")
    labels = [n for n, line in enumerate(lines) if _LABEL.match(line)]
    lead = _LEADING.match(said)
    if lead and not (lead["upper"] == "A" and _NEXT_LABEL.search(said) and len(lines[0]) > 3):
        token = _letter_at(said, lead.start(lead.lastgroup or 0))
        letters, end = _joined(said, token) if token else ([], 0)
        if letters and not _SUBJECTS.match(said, end):
            yield _Claim(choice.one(letters), 0, _Strength.LEADING)
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
_CONTRASTED = re.compile(
    r"\b(?:not|n't) [^.,;]{1,40}?(?:,? but (?:rather )?|[,;] (?:it is|it's|rather|instead) )"
)
MAX_PROSE_WORDS = 20


def _in_prose(said: str, choice: _Choice) -> str | None:
    """Return the option whose text is the only one in a short sentence that denies nothing."""
    said = _CONTRASTED.sub("", said)
    letters = {choice.of(match) for match in choice.anywhere.finditer(said)}
    if len(letters) != 1 or len(said.split()) > MAX_PROSE_WORDS:
        return None
    is_denied = _NO_CLAIM.search(choice.anywhere.sub(" ", said))
    return None if is_denied else choice.unless_more(letters.pop(), said)


def _by_text(said: str, choice: _Choice) -> str | None:
    """Return the option that a text without any letter names by its own text."""
    on_lines = [letter for line in said.split("\n") if (letter := choice.is_text(line))]
    if len(on_lines) == 1:
        return on_lines[0]
    first, *rest = re.split(r"[,.;:!—\u2013]\s|\n| - ", said, maxsplit=1)
    begins = choice.is_text(first)
    others = {choice.of(match) for match in choice.anywhere.finditer("".join(rest))}
    if begins and others <= {begins}:
        return choice.unless_more(begins, said)
    return _in_prose(said, choice) if len(sentences(said)) == 1 else None
