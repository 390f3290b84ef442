"""Reads llama.cpp's sequence state (llama_state_seq_get_data, b10434 to b11549) into numpy arrays.

It is written apart from libsluice's converter on purpose: tests compare the two. It knows one
sequence in one stream, f16 and f32 caches, V as rows (flash attention) or transposed (without).
"""

import bisect
import dataclasses
import struct
from collections.abc import Sequence

import numpy as np

MAGIC = 0xAF143CD8
DTYPES = {0: np.dtype("<f4"), 1: np.dtype("<f2")}


@dataclasses.dataclass
class Cache:
    """One KV cache of a context: a model has one, or two when some layers have a window."""

    positions: list[int]
    v_transposed: bool
    k: np.ndarray  # [layer][token][channel], tokens by position
    v: np.ndarray  # [layer][token][channel]

    def since(self, position: int) -> "Cache":
        """Returns the part from a position on."""
        first = bisect.bisect_left(self.positions, position)
        parts = self.k[:, first:], self.v[:, first:]
        return Cache(self.positions[first:], self.v_transposed, *parts)


def joined(parts: Sequence[Cache]) -> Cache:
    """Returns consecutive parts of one cache as one."""
    positions = [position for part in parts for position in part.positions]
    k, v = (np.concatenate([getattr(p, name) for p in parts], axis=1) for name in ("k", "v"))
    return Cache(positions, parts[0].v_transposed, k, v)


class _Reader:
    def __init__(self, raw: bytes):
        self.raw, self.offset = raw, 0

    def take(self, layout: str):
        values = struct.unpack_from("<" + layout, self.raw, self.offset)
        self.offset += struct.calcsize("<" + layout)
        return values if len(values) > 1 else values[0]

    def array(self, dtype: np.dtype, count: int) -> np.ndarray:
        values = np.frombuffer(self.raw, dtype, count, self.offset)
        self.offset += count * dtype.itemsize
        return values


def _positions(reader: _Reader, cells: int) -> list[int]:
    positions = []
    for _ in range(cells):
        position, sequences, sequence = reader.take("iIi")
        if sequences != 1 or sequence != 0:
            raise ValueError(f"a cell belongs to {sequences} sequences, the first is {sequence}")
        positions.append(position)
    return positions


def _rows(reader: _Reader, cells: int) -> np.ndarray:
    dtype = DTYPES[reader.take("i")]
    width = reader.take("Q") // dtype.itemsize
    return reader.array(dtype, cells * width).reshape(cells, width)


def _columns(reader: _Reader, cells: int) -> np.ndarray:
    dtype = DTYPES[reader.take("i")]
    item, width = reader.take("II")
    if item != dtype.itemsize:
        raise ValueError(f"V elements of {item} bytes, the type has {dtype.itemsize}")
    return reader.array(dtype, cells * width).reshape(width, cells).T


def _cache(reader: _Reader) -> Cache:
    streams = reader.take("I")
    if streams != 1:
        raise ValueError(f"{streams} streams, expected 1")
    cells = reader.take("I")
    positions = _positions(reader, cells)
    v_transposed, layers, k_rotated, v_rotated = reader.take("IIII")
    if k_rotated or v_rotated:
        raise ValueError("K and V are stored rotated")
    k = [_rows(reader, cells) for _ in range(layers)]
    v = [(_columns if v_transposed else _rows)(reader, cells) for _ in range(layers)]
    order = np.argsort(positions)
    ordered = [positions[index] for index in order]
    return Cache(ordered, bool(v_transposed), np.stack(k)[:, order], np.stack(v)[:, order])


def read(raw: bytes) -> list[Cache]:
    """Returns the caches of a state blob; raises ValueError for what it does not know."""
    reader = _Reader(bytes(raw))
    magic, sequence = reader.take("Ii")
    if magic != MAGIC or sequence != 0:
        raise ValueError(f"magic {magic:#x}, sequence {sequence}")
    caches = []
    while reader.offset < len(reader.raw):
        caches.append(_cache(reader))
    return caches


def pages(cache: Cache, heads: int, page_tokens: int) -> np.ndarray:
    """Returns the full pages, [page][layer][plane k,v][token][head][dim]."""
    count = len(cache.positions) // page_tokens
    if cache.positions != list(range(len(cache.positions))):
        raise ValueError("the positions have holes")
    both = np.stack([cache.k, cache.v], axis=1)[:, :, : count * page_tokens]  # layer plane token ch
    layers, planes, _, channels = both.shape
    split = both.reshape(layers, planes, count, page_tokens, heads, channels // heads)
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3, 4, 5))
