"""The text of an axis → its values, as users of A1111, SwarmUI and FramePack Studio type them.

    1, 3.5, 7      1, 2, .., 10      2..40 step 6      1-10 [4]      1-10 (+3)      seeds: 4      a || b      SKIP: 7

Knows no fields: values come out as texts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

MAX_VALUES = 100
SKIP = "skip:"
NUMBER = r"(\d{1,16}(?:\.\d{1,6})?)"
STEPPED = re.compile(rf"{NUMBER}\s*\.\.+\s*{NUMBER}(?:\s+(?:step|by)\s+{NUMBER})?", re.IGNORECASE)
SPACED = re.compile(rf"{NUMBER}\s*-\s*{NUMBER}\s*\[\s*(\d{{1,4}})\s*\]")
RAISED = re.compile(rf"{NUMBER}\s*-\s*{NUMBER}(?:\s*\(\s*[+-]\s*{NUMBER}\s*\))?")
SEEDS = re.compile(r"seeds\s*:\s*(\d{1,4})", re.IGNORECASE)
GAP = re.compile(r"\.{2,}")


class TooManyValues(ValueError):
    """More than MAX_VALUES."""


@dataclass(frozen=True)
class Typed:
    """`skipped` ones stay on the axis but are not made."""

    text: str
    skipped: bool = False


def read_numbers(text: str, *, whole: bool, first_seed: int | None = None) -> list[Typed]:
    """Ranges expanded; what is no number comes out as it is.

    `first_seed`: where `seeds: n` begins, if there are seeds. Raises TooManyValues.
    """
    pieces = [_unmarked(piece) for piece in re.split(r"[,;\n]|\|\|", text) if piece.strip()]
    values: list[Typed] = []
    for place, piece in enumerate(pieces):
        if GAP.fullmatch(piece.text) and len(values) > 1 and place + 1 < len(pieces):
            texts = _gap(values, pieces[place + 1].text)
        else:
            texts = _expanded(piece.text, whole=whole, first_seed=first_seed)
        for each in texts:
            values.append(Typed(each, piece.skipped))
            if len(values) > MAX_VALUES:
                raise TooManyValues
    return values


def read_words(text: str) -> list[Typed]:
    """Between commas. Raises TooManyValues."""
    return _few([_unmarked(piece) for piece in re.split(r"[,;\n]|\|\|", text) if piece.strip()])


def read_lines(text: str) -> list[Typed]:
    """One a line, or between `||`: texts have commas of their own. Raises TooManyValues."""
    return _few([_unmarked(piece) for piece in re.split(r"\n|\|\|", text) if piece.strip()])


def write(values: list[Typed], *, lines: bool = False) -> str:
    """Reads back as `values`."""
    texts = [f"SKIP: {value.text}" if value.skipped else value.text for value in values]
    return ("\n" if lines else ", ").join(texts)


def _unmarked(piece: str) -> Typed:
    text = piece.strip()
    if text.lower().startswith(SKIP):
        return Typed(text[len(SKIP) :].strip(), True)
    return Typed(text)


def _few(values: list[Typed]) -> list[Typed]:
    if len(values) > MAX_VALUES:
        raise TooManyValues
    return values


def _expanded(piece: str, *, whole: bool, first_seed: int | None) -> Iterator[str]:
    if first_seed is not None and (seeds := SEEDS.fullmatch(piece)):
        yield from (str(first_seed + number) for number in range(int(seeds[1])))
    elif (stepped := STEPPED.fullmatch(piece)) and Decimal(stepped[3] or 1):
        yield from _range(Decimal(stepped[1]), Decimal(stepped[2]), Decimal(stepped[3] or 1))
    elif spaced := SPACED.fullmatch(piece):
        yield from _spaced(Decimal(spaced[1]), Decimal(spaced[2]), int(spaced[3]), whole=whole)
    elif (raised := RAISED.fullmatch(piece)) and Decimal(raised[3] or 1):
        yield from _range(Decimal(raised[1]), Decimal(raised[2]), Decimal(raised[3] or 1))
    else:
        yield piece


def _gap(before: list[Typed], end: str) -> Iterator[str]:
    """Between `before` and `end`, in steps of the last two."""
    try:
        start, last, stop = Decimal(before[-2].text), Decimal(before[-1].text), Decimal(end)
    except ArithmeticError:
        yield ".."
        return
    step = last - start
    if not step or not stop.is_finite() or (stop - last) * step < 0:
        yield ".."
        return
    value = last + step
    while (stop - value) * step > 0:
        yield plain(value)
        value += step


def _range(start: Decimal, end: Decimal, step: Decimal) -> Iterator[str]:
    """Up or down, both ends in if the step meets them."""
    direction = 1 if end >= start else -1
    value = start
    while (end - value) * direction >= 0:
        yield plain(value)
        value += direction * step


def _spaced(start: Decimal, end: Decimal, count: int, *, whole: bool) -> Iterator[str]:
    """Evenly spaced, both ends in."""
    for number in range(count):
        value = start if count == 1 else start + (end - start) * number / (count - 1)
        yield plain(value.quantize(Decimal(1 if whole else "0.01")))


def plain(value: Decimal) -> str:
    """Without exponent and trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
