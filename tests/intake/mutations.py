"""Whole pictures, damaged at random: the poor man's fuzzer, the same on every machine for a given seed."""

import random

from PIL import Image

from tests.intake.corpus import heic
from tests.intake.pictures import encoded, photo, swapped_profile, turned

SEEDS = (
    lambda: turned(photo(64, 48), 6, "JPEG"),
    lambda: encoded(photo(64, 48), "JPEG", progressive=True, icc_profile=swapped_profile()),
    lambda: encoded(photo(64, 48).convert("CMYK"), "JPEG"),
    lambda: encoded(photo(64, 48), "MPO", save_all=True, append_images=[photo()]),
    lambda: turned(photo(64, 48, channels=4), 3),
    lambda: encoded(photo(64, 48).convert("P"), transparency=3),
    lambda: encoded(Image.new("I;16", (32, 32), 40_000)),
    lambda: encoded(photo(64, 48), save_all=True, append_images=[photo(64, 48).rotate(90)]),
    lambda: encoded(photo(64, 48, channels=4), "WEBP"),
    lambda: encoded(photo(64, 48), "WEBP", lossless=True, save_all=True, append_images=[photo(64, 48).rotate(90)]),
    lambda: encoded(photo(64, 48), "JPEG", progressive=True)[:-40],
    lambda: encoded(photo(64, 48), "AVIF", icc_profile=swapped_profile()),
    lambda: heic(),
    lambda: encoded(photo(64, 48), "GIF"),
    lambda: encoded(photo(64, 48), "BMP"),
)


def damaged_pictures(count: int, seed: int) -> list[bytes]:
    """`count` files, each one of the seeds after one to four accidents behind its first 12 bytes."""
    chance = random.Random(seed)
    originals = [make() for make in SEEDS]
    return [_damaged(chance.choice(originals), chance) for _ in range(count)]


def _damaged(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(12, len(damaged))
        end = at + chance.choice((1, 2, 4, 50))
        match chance.randrange(5):
            case 0:
                damaged[at] ^= 1 << chance.randrange(8)
            case 1:
                damaged[at:end] = chance.randbytes(end - at)
            case 2:
                damaged[at:end] = chance.choice((b"\0", b"\xff", b"\x7f")) * (end - at)
            case 3:
                del damaged[at:end]
            case 4:
                damaged[at:at] = damaged[12:end]
    return bytes(damaged)
