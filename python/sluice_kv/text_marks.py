"""Refuses test text that a profile was calibrated on, by marks of windows of tokens.

A window is 16 tokens. Of calibration text the windows that begin at multiples of 16 are kept, each as
the first 8 bytes of SHA-256("sluice window 1" || token ids, u32 little-endian), a number; of test text
every window is looked up. So each run of 31 tokens or more that both have is found, and shorter ones by
chance. Windows of fewer than 8 distinct tokens (rules, empty tables) say nothing and are left out.
Profiles carry the marks of their calibration text (codec/FORMAT.md, "Profile extras").
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator

WINDOW_TOKENS = 16
DISTINCT_MIN = 8


def kept(tokens: list[int]) -> set[int]:
    """Returns the marks of a calibration text."""
    return {mark for _, mark in _marks(tokens, WINDOW_TOKENS)}


def leaks(tokens: list[int], calibration: set[int]) -> Iterator[int]:
    """Yields where windows begin that a calibration text has too."""
    return (at for at, mark in _marks(tokens, 1) if mark in calibration)


def _marks(tokens: list[int], step: int) -> Iterable[tuple[int, int]]:
    for at in range(0, len(tokens) - WINDOW_TOKENS + 1, step):
        window = tokens[at : at + WINDOW_TOKENS]
        if len(set(window)) >= DISTINCT_MIN:
            packed = struct.pack(f"<{WINDOW_TOKENS}I", *window)
            digest = hashlib.sha256(b"sluice window 1" + packed).digest()
            yield at, int.from_bytes(digest[:8], "little")
