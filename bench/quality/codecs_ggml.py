"""llama.cpp's q8_0 and q4_0 caches, plain and as it stores them now: rotated.

Sources: ggml-org/llama.cpp ggml/src/ggml-quants.c (quantize_row_q8_0_ref, quantize_row_q4_0_ref), and
for the rotation PR 21038 in src/llama-kv-cache.cpp (build_input_k_rot, build_input_v_rot): the Hadamard
matrix / sqrt(n) on tiles of a head behind RoPE, on keys of the largest 64 x 2^i that divides the head,
on values of 64. Queries and outputs are rotated too, so turning the values back is the same.
"""

import functools
from collections.abc import Callable

import torch

from codec_list import Codec

BLOCK, SCALE_BITS = 32, 16  # elements with one f16 scale
TILE = 64  # the least that is rotated


def codecs() -> list[Codec]:
    return [
        Codec(name, level, functools.partial(code, quantise=quantise, bits=bits, rotated=rotated))
        for name, quantise, bits in (("q8_0", q8_0, 8), ("q4_0", q4_0, 4))
        for level, rotated in (("plain", False), ("rotated", True))
    ]


def code(
    kv: torch.Tensor, quantise: Callable, bits: int, rotated: bool
) -> tuple[torch.Tensor, float]:
    planes = []
    for plane, tile in enumerate(tiles(kv.shape[-1]) if rotated else (1, 1)):
        turned = turn(kv[:, plane], tile)
        blocks = quantise(turned.unflatten(-1, (-1, BLOCK)))
        planes.append(turn(blocks.flatten(-2), tile))
    return torch.stack(planes, 1), kv.numel() * (bits + SCALE_BITS / BLOCK)


def tiles(dim: int) -> tuple[int, int]:
    """Returns how many channels are rotated together, of keys and of values; 1: none are."""
    if dim % TILE:
        return 1, 1
    keys = TILE
    while dim % (2 * keys) == 0:
        keys *= 2
    return keys, TILE


def turn(values: torch.Tensor, tile: int) -> torch.Tensor:
    """Multiplies tiles of the last axis with the Hadamard matrix, which is its own inverse."""
    return (values.unflatten(-1, (-1, tile)) @ hadamard(tile)).flatten(-2)


@functools.cache
def hadamard(size: int) -> torch.Tensor:
    """Sylvester's matrix of a power of two, over the root of its size."""
    out = torch.ones(1, 1)
    while len(out) < size:
        out = torch.cat([torch.cat([out, out], 1), torch.cat([out, -out], 1)])
    return out / size**0.5


def q8_0(blocks: torch.Tensor) -> torch.Tensor:
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    scaled = blocks * _inverse(scale)
    return scaled.sign() * (scaled.abs() + 0.5).floor() * _f16(scale)  # roundf: halves away from 0


def q4_0(blocks: torch.Tensor) -> torch.Tensor:
    scale = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True)) / -8
    return ((blocks * _inverse(scale) + 8.5).trunc().clamp(max=15) - 8) * _f16(scale)


def _inverse(scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale != 0, 1 / scale, 0.0)


def _f16(scale: torch.Tensor) -> torch.Tensor:
    return scale.half().float()
