"""What users of other grids type, and what comes out; ranges against Python's own arithmetic."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_core.explore.values import (
    MAX_VALUES,
    TooManyValues,
    Typed,
    read_lines,
    read_numbers,
    read_words,
    write,
)

FEW = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("1, 3.5, 7", "1 3.5 7"),
        ("1, 2, .., 10", "1 2 3 4 5 6 7 8 9 10"),
        ("10, 8, ..., 3", "10 8 6 4 3"),
        ("2..40 step 6", "2 8 14 20 26 32 38"),
        ("1-10 [4]", "1 4 7 10"),
        ("1-5", "1 2 3 4 5"),
        ("1-10 (+3)", "1 4 7 10"),
        ("5..3", "5 4 3"),
        ("1..2 step 0.5", "1 1.5 2"),
        ("1; 2 || 3\n4", "1 2 3 4"),
        ("seeds: 3", "7 8 9"),
        ("2, x, 3", "2 x 3"),
        ("..", ".."),
        ("2..4 step 0", "2..4 step 0"),
        ("", ""),
    ],
)
def test_the_syntax_of_the_other_grids(typed: str, values: str) -> None:
    found = [value.text for value in read_numbers(typed, whole=False, first_seed=7)]
    assert " ".join(found) == values


def test_skip_marks_a_value_and_a_whole_range() -> None:
    assert read_numbers("1, SKIP: 2, skip:3..4", whole=True) == [
        Typed("1"),
        Typed("2", True),
        Typed("3", True),
        Typed("4", True),
    ]


def test_prompts_keep_their_commas() -> None:
    assert [value.text for value in read_lines("a cat, slowly\n\na dog || SKIP: a bird")] == [
        "a cat, slowly",
        "a dog",
        "a bird",
    ]


@FEW
@given(st.integers(0, 500), st.integers(0, 99), st.integers(1, 9))
def test_a_stepped_range_is_pythons_range(start: int, length: int, step: int) -> None:
    end = start + length
    expected = [str(number) for number in range(start, end + 1, step)]
    assert [value.text for value in read_numbers(f"{start}..{end} step {step}", whole=True)] == expected


@FEW
@given(st.decimals(1, 10, places=1), st.decimals(1, 10, places=1), st.integers(1, MAX_VALUES))
def test_spaced_values_are_as_many_as_asked_for_and_keep_the_ends(start: object, end: object, count: int) -> None:
    found = [float(value.text) for value in read_numbers(f"{start}-{end} [{count}]", whole=False)]
    assert len(found) == count and found[0] == float(str(start))
    assert count == 1 or found[-1] == float(str(end))
    assert found in (sorted(found), sorted(found, reverse=True))


@FEW
@given(st.lists(st.builds(Typed, st.text("abc129", min_size=1, max_size=6), st.booleans())))
def test_what_is_written_reads_back(values: list[Typed]) -> None:
    assert read_words(write(values)) == values
    assert read_lines(write(values, lines=True)) == values


@FEW
@given(st.text("0123456789.,-[]() stepkiSKIP:\n|x", max_size=60))
def test_any_text_gives_few_values_or_says_that_they_are_too_many(text: str) -> None:
    with suppress(TooManyValues):
        assert len(read_numbers(text, whole=True, first_seed=0)) <= MAX_VALUES


@pytest.mark.parametrize("typed", ["1..999999999999", "1, 1.000001, .., 999", "1-9 [9999]", "seeds: 9999"])
def test_a_range_without_end_ends_at_once(typed: str) -> None:
    with pytest.raises(TooManyValues):
        read_numbers(typed, whole=False, first_seed=0)
