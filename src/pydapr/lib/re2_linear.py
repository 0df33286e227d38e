"""Whether a text holds a match of an expression of `lib.re2`, in a time that grows with the text and no faster. Pure.

Used by `lib.cel_functions` and by what guards paths, where the text comes from anybody: Python's own engine tries one
way after the other, and some expressions have more ways than there is time. Here all ways are followed at once, as in
RE2: an expression is a program, a state is the set of places in it that could be reached, and states are remembered by
what led to them.
"""

from __future__ import annotations

import re
from re import _constants as code  # type: ignore[attr-defined]  # without them the whole grammar would stand here again
from re import _parser as parser  # type: ignore[attr-defined]

from pydapr.lib import re2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

MOST_PLACES = 10_000
"""Of a program. RE2 refuses such expressions, too."""

_MOST_KNOWN = 50_000
"""Steps, and places of states, that are remembered before all are forgotten: some 2 MB."""

_LETTERS_PER_STEP = 8
"""Letters of a text that cost as much as one place of a program."""

_CHAR, _SPLIT, _AT, _MATCH = range(4)
_START, _LINE, _WORD, _OTHER = range(4)
"""What stood before: nothing, the end of a line, a letter of a word, anything else."""

_ONE_LETTER = frozenset({code.LITERAL, code.NOT_LITERAL, code.ANY, code.IN})
_NAMES = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_DIGITS, _SPACES = frozenset("0123456789"), frozenset(" \t\n\r\f\v")
_CATEGORIES = {
    code.CATEGORY_DIGIT: (_DIGITS, True), code.CATEGORY_NOT_DIGIT: (_DIGITS, False),
    code.CATEGORY_SPACE: (_SPACES, True), code.CATEGORY_NOT_SPACE: (_SPACES, False),
    code.CATEGORY_WORD: (_NAMES, True), code.CATEGORY_NOT_WORD: (_NAMES, False),
}  # fmt: skip


def searcher(expression: str) -> Callable[[str], bool]:
    """Whether a text holds a match. Raises `re2.Unusable`. Python's engine does it where it has only one way to try."""
    pattern = re2.compile(expression)
    if _is_short(pattern):
        return lambda text: pattern.search(text) is not None
    linear = Linear(expression)
    return lambda text: linear.search(text, _for_nothing)


def _is_short(pattern: re.Pattern[str]) -> bool:
    """Whether an expression begins where the text does, has one repetition at most, and that of one letter."""
    listed, repeats = list(parser.parse(pattern.pattern, pattern.flags)), 0
    for kind, value in listed:
        if kind is code.MAX_REPEAT or kind is code.MIN_REPEAT:
            repeats += 1
            if len(value[2]) != 1 or value[2][0][0] not in _ONE_LETTER:
                return False
        elif kind not in _ONE_LETTER and kind is not code.AT:
            return False
    is_anchored = bool(listed) and listed[0] in ((code.AT, code.AT_BEGINNING), (code.AT, code.AT_BEGINNING_STRING))
    return repeats == 0 or (repeats == 1 and is_anchored)


def _for_nothing(cost: int) -> None:
    pass


class _State:
    """Places that were reached, before steps that need no letter; `before` is what stood before."""

    __slots__ = ("before", "following", "places")

    def __init__(self, places: frozenset[int], before: int) -> None:
        self.places, self.before = places, before
        self.following: dict[str, _State] = {}


_FOUND = _State(frozenset(), _OTHER)


class Linear:
    """A compiled expression."""

    def __init__(self, expression: str) -> None:
        """Raises `re2.Unusable`."""
        pattern = re2.compile(expression)
        self._program: list[tuple[Any, ...]] = []
        self._write(parser.parse(pattern.pattern, pattern.flags), pattern.flags)
        self._put(_MATCH)
        self._states: dict[tuple[frozenset[int], int], _State] = {}
        self._known = 0

    def search(self, text: str, spend: Callable[[int], None]) -> bool:
        """Whether `text` holds a match. `spend` hears of the cost, and may raise."""
        spend(len(text) // _LETTERS_PER_STEP)
        state = self._state(frozenset(), _START)
        for letter in text:
            following = state.following.get(letter)
            if following is None:
                following = self._step(state, letter, spend)
            if following is _FOUND:
                return True
            state = following
        return self._matches(self._reached(state, "", spend))

    # -- the program --

    def _put(self, *instruction: Any) -> int:
        if len(self._program) >= MOST_PLACES:
            raise re2.Unusable("error parsing regexp: expression too large")
        self._program.append(instruction)
        return len(self._program) - 1

    def _write(self, items: Iterable[tuple[Any, Any]], flags: int) -> None:
        for kind, value in items:
            if kind is code.SUBPATTERN:
                self._write(value[3], (flags | value[1]) & ~value[2])
            elif kind is code.BRANCH:
                self._write_branches(value[1], flags)
            elif kind is code.MAX_REPEAT or kind is code.MIN_REPEAT:
                least, most, inner = value
                self._write_repeat(least, most, inner, flags)
            elif kind is code.AT:
                self._put(_AT, value, bool(flags & re.MULTILINE))
            else:
                self._put(_CHAR, _test(kind, value, flags))

    def _write_branches(self, branches: Iterable[Any], flags: int) -> None:
        """Each branch but the last begins with a choice, and ends with a way to the end of all."""
        ends, listed = [], list(branches)
        for branch in listed[:-1]:
            choice = self._put(_SPLIT)
            self._write(branch, flags)
            ends.append(self._put(_SPLIT))
            self._program[choice] = (_SPLIT, choice + 1, len(self._program))
        self._write(listed[-1], flags)
        for end in ends:
            self._program[end] = (_SPLIT, len(self._program))

    def _write_repeat(self, least: int, most: Any, items: Any, flags: int) -> None:
        for _ in range(least):
            self._write(items, flags)
        if most is code.MAXREPEAT:
            choice = self._put(_SPLIT)
            self._write(items, flags)
            self._put(_SPLIT, choice)
            self._program[choice] = (_SPLIT, choice + 1, len(self._program))
            return
        choices = []
        for _ in range(int(most) - least):
            choices.append(self._put(_SPLIT))
            self._write(items, flags)
        for choice in choices:
            self._program[choice] = (_SPLIT, choice + 1, len(self._program))

    # -- running it --

    def _state(self, places: frozenset[int], before: int) -> _State:
        found = self._states.get((places, before))
        if found is None:
            found = self._states[places, before] = _State(places, before)
        return found

    def _step(self, state: _State, letter: str, spend: Callable[[int], None]) -> _State:
        reached = self._reached(state, letter, spend)
        if self._matches(reached):
            following = _FOUND
        else:
            if self._known >= _MOST_KNOWN:
                self._states.clear()
                self._known = 0
            program = self._program
            places = [place + 1 for place in reached if program[place][0] == _CHAR and program[place][1](letter)]
            before = _LINE if letter == "\n" else _WORD if letter in _NAMES else _OTHER
            following = self._state(frozenset(places), before)
        self._known += 1 + len(following.places)
        state.following[letter] = following
        return following

    def _reached(self, state: _State, letter: str, spend: Callable[[int], None]) -> set[int]:
        """Where one gets from `state`, and from the beginning, without a letter, if `letter` comes; "" for the end."""
        program, reached, left = self._program, set[int](), [0, *state.places]
        while left:
            place = left.pop()
            if place in reached:
                continue
            reached.add(place)
            instruction = program[place]
            if instruction[0] == _SPLIT:
                left += instruction[1:]
            elif instruction[0] == _AT and _holds(instruction[1], instruction[2], state.before, letter):
                left.append(place + 1)
        spend(len(reached))
        return reached

    def _matches(self, reached: set[int]) -> bool:
        return len(self._program) - 1 in reached


def _holds(kind: Any, is_multiline: bool, before: int, letter: str) -> bool:
    """Whether a place in the text is what the expression says of it."""
    if kind is code.AT_BEGINNING_STRING:
        return before == _START
    if kind is code.AT_BEGINNING:
        return before == _START or (is_multiline and before == _LINE)
    if kind is code.AT_END_STRING:
        return letter == ""
    if kind is code.AT_END:
        return letter == "" or (is_multiline and letter == "\n")
    is_boundary = (before == _WORD) != (letter in _NAMES)
    return is_boundary if kind is code.AT_BOUNDARY else not is_boundary


def _test(kind: Any, value: Any, flags: int) -> Callable[[str], bool]:
    """Whether a letter is one of those that stand at a place."""
    if kind is code.ANY:
        return _any if flags & re.DOTALL else _any_in_line
    items = value if kind is code.IN else [(kind, value)]
    is_wanted, tests = True, []
    for what, given in items:
        if what is code.NEGATE:
            is_wanted = False
        elif what is code.NOT_LITERAL:
            is_wanted = False
            tests.append(_between(given, given))
        elif what is code.LITERAL:
            tests.append(_between(given, given))
        elif what is code.RANGE:
            tests.append(_between(*given))
        elif what is code.CATEGORY:
            tests.append(_of(*_CATEGORIES[given]))
        else:
            raise re2.Unusable(f"error parsing regexp: {what} is not supported")
    folds = bool(flags & re.IGNORECASE)

    def test(letter: str) -> bool:
        found = any(one(letter) for one in tests)
        if folds and not found and letter.isascii():
            found = any(one(letter.swapcase()) for one in tests)
        return found is is_wanted

    return test


def _any(letter: str) -> bool:
    return True


def _any_in_line(letter: str) -> bool:
    return letter != "\n"


def _between(first: int, last: int) -> Callable[[str], bool]:
    return lambda letter: first <= ord(letter) <= last


def _of(letters: frozenset[str], is_among: bool) -> Callable[[str], bool]:
    return lambda letter: (letter in letters) is is_among
