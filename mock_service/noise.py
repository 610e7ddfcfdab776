"""Repeatable chance: the same seed, name and instant always give the same number, however often it is read."""

import math
from datetime import datetime
from hashlib import blake2b
from uuid import UUID

_SPAN = float(2**64)


def chance(seed: int, name: str, index: int) -> float:
    """A number in [0, 1), even over its index."""
    digest = blake2b(f"{seed}/{name}/{index}".encode(), digest_size=8).digest()
    return min(int.from_bytes(digest) / _SPAN, math.nextafter(1.0, 0.0))


def identifier(seed: int, name: str, index: int) -> UUID:
    """A UUID of the random kind, which is not random."""
    return UUID(bytes=blake2b(f"{seed}/{name}/{index}".encode(), digest_size=16).digest(), version=4)


def wobble(seed: int, name: str, at: datetime) -> float:
    """A number in [-1, 1] that moves smoothly from one whole second's draw to the next."""
    seconds = at.timestamp()
    second = math.floor(seconds)
    part = seconds - second
    ease = part * part * (3 - 2 * part)
    before, after = (2 * chance(seed, name, second + step) - 1 for step in (0, 1))
    return max(-1.0, min(1.0, before + (after - before) * ease))
