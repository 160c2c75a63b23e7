"""Read and build ICC profiles as bytes (ICC.1:2022); littlecms applies them."""

import struct
from collections.abc import Iterable
from typing import Final

Chromaticities = tuple[float, ...]
"""x and y of white, red, green, blue, as in cHRM."""

Curve = tuple[int, tuple[float, ...]]
"""`parametricCurveType` (ICC.1, 10.18): function type and parameters; (0, (2.2,)) is gamma 2.2."""

_Vector = tuple[float, float, float]
_Matrix = tuple[_Vector, _Vector, _Vector]

SRGB_CURVE: Final[Curve] = (3, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
_D50: Final[_Vector] = (0.9642, 1.0, 0.8249)
_BRADFORD: Final[_Matrix] = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))


def colour_space(profile: bytes) -> str:
    """`RGB`, `GRAY`, `CMYK`, …"""
    return profile[16:20].decode("latin-1").strip()


def matrix_profile(chromaticities: Chromaticities, curve: Curve) -> bytes:
    """One curve for all. Raises ValueError if the primaries span no colours."""
    red, green, blue = zip(*_to_d50(rgb_to_xyz(chromaticities), chromaticities), strict=True)
    encoded = b"para\0\0\0\0" + struct.pack(">HH", curve[0], 0) + _fixed(curve[1])
    return _profile(
        {
            b"wtpt": _xyz(_D50),
            b"rXYZ": _xyz(red),
            b"gXYZ": _xyz(green),
            b"bXYZ": _xyz(blue),
            b"rTRC": encoded,
            b"gTRC": encoded,
            b"bTRC": encoded,
        }
    )


def rgb_to_xyz(chromaticities: Chromaticities) -> _Matrix:
    """Linear RGB → XYZ, Y = 1 for white (SMPTE RP 177). Raises ValueError as `matrix_profile`."""
    white_x, white_y, *primaries = chromaticities
    if white_y <= 0:
        raise ValueError("the white has no light")
    red, green, blue = ((x, y, 1 - x - y) for x, y in zip(primaries[::2], primaries[1::2], strict=True))
    columns = _transposed((red, green, blue))
    white = (white_x / white_y, 1.0, (1 - white_x - white_y) / white_y)
    scale = applied(inverse(columns), white)
    return _rows((row[0] * scale[0], row[1] * scale[1], row[2] * scale[2]) for row in columns)


def inverse(matrix: _Matrix) -> _Matrix:
    """Raises ValueError if there is none."""
    a, b, c = matrix
    columns = (_cross(b, c), _cross(c, a), _cross(a, b))
    determinant = sum(x * y for x, y in zip(a, columns[0], strict=True))
    if abs(determinant) < 1e-9:
        raise ValueError("the primaries lie on a line")
    return _transposed(_rows((x / determinant, y / determinant, z / determinant) for x, y, z in columns))


def applied(matrix: _Matrix, vector: Iterable[float]) -> _Vector:
    x, y, z = vector
    red, green, blue = matrix
    return (
        red[0] * x + red[1] * y + red[2] * z,
        green[0] * x + green[1] * y + green[2] * z,
        blue[0] * x + blue[1] * y + blue[2] * z,
    )


def product(left: _Matrix, right: _Matrix) -> _Matrix:
    return _transposed(_rows(applied(left, column) for column in _transposed(right)))


def _to_d50(matrix: _Matrix, chromaticities: Chromaticities) -> _Matrix:
    """By Bradford (ICC.1, annex E)."""
    x, y = chromaticities[:2]
    seen = applied(_BRADFORD, (x / y, 1.0, (1 - x - y) / y))
    wanted = applied(_BRADFORD, _D50)
    gains = tuple(target / source for target, source in zip(wanted, seen, strict=True))
    cones = product(_BRADFORD, matrix)
    adapted = _rows((g * row[0], g * row[1], g * row[2]) for g, row in zip(gains, cones, strict=True))
    return product(inverse(_BRADFORD), adapted)


def _profile(tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x04400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s28x", 2024, 1, 1, 0, 0, 0, b"acsp") + _fixed(_D50)
    return head.ljust(128, b"\0") + table + body


def _xyz(vector: _Vector) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(vector)


def _fixed(values: Iterable[float]) -> bytes:
    """s15Fixed16Number, clipped to its range."""
    return b"".join(struct.pack(">i", round(min(max(value, -32_768.0), 32_767.0) * 65_536)) for value in values)


def _transposed(matrix: _Matrix) -> _Matrix:
    return _rows(zip(*matrix, strict=True))


def _rows(rows: Iterable[_Vector]) -> _Matrix:
    first, second, third = rows
    return first, second, third


def _cross(a: _Vector, b: _Vector) -> _Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
