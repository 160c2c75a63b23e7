"""The order in which cells are made: a sweep's spread is to be seen early."""

from collections.abc import Sequence

from wan_core.explore.cells import Cell, Shape


def centre_first(cells: Sequence[Cell], shape: Shape) -> list[int]:
    """Indices: the centre, the corners, then the rest as they stand."""
    centre = tuple((length - 1) // 2 for length in shape.lengths)

    def rank(index: int) -> tuple[int, int]:
        place = cells[index].place
        if place == centre:
            return 0, index
        is_corner = all(at in (0, length - 1) for at, length in zip(place, shape.lengths, strict=True))
        return (1 if is_corner else 2), index

    return sorted(range(len(cells)), key=rank)
