"""Codecs of a fixed number of bits an element: fp8, KIVI, TurboQuant.

fp8: e4m3 without a scale, as LMCache's fp8 serde casts; with one f32 scale a layer, plane and head.

KIVI (arXiv 2402.02750): asymmetric, keys by channel over 32 tokens, values by token over 32 channels,
an f16 scale and an f16 minimum a group. The paper keeps the last 128 tokens as they are: of a stored
prefix, which grows no more, the levels without "recent" keep none.

TurboQuant (arXiv 2504.19874): a vector of one token and head is normalised, rotated by random signs
and Hadamard, coded with Lloyd and Max's levels of a normal distribution; its norm is an f16. Without
QJL and with norm correction, as everybody runs it. 4bit_nc and 3bit_nc are as vLLM (PR 38479) and
LMCache have them: values are not rotated but uniform over a vector, with f16 scale and zero. skip: the
first and last two layers stay bf16, as both do.
"""

import functools

import torch

from codec_list import SOURCE_BITS, Codec
from codecs_ggml import hadamard

E4M3_MAX = 448.0
GROUP = 32
RECENT_TOKENS = 128
SKIPPED_LAYERS = 2
SAMPLES = 400_000  # of the normal distribution, for its levels


def codecs() -> list[Codec]:
    out = [Codec("fp8", "unscaled", functools.partial(fp8, scaled=False))]
    out += [Codec("fp8", "scaled", functools.partial(fp8, scaled=True))]
    for bits in (2, 4):
        out += [Codec("kivi", f"{bits}", functools.partial(kivi, bits=bits, recent=0))]
        recent = functools.partial(kivi, bits=bits, recent=RECENT_TOKENS)
        out += [Codec("kivi", f"{bits} recent", recent)]
    for bits in (3, 4):
        for level, skip, uniform in (
            (f"{bits}", 0, False),
            (f"{bits} skip", SKIPPED_LAYERS, False),
            (f"{bits}bit_nc skip", SKIPPED_LAYERS, True),
        ):
            code = functools.partial(turboquant, bits=bits, skip=skip, uniform_values=uniform)
            out += [Codec("turboquant", level, code)]
    return out


def fp8(kv: torch.Tensor, scaled: bool) -> tuple[torch.Tensor, float]:
    scale, bits = torch.ones(()), 8 * kv.numel()
    if scaled:
        scale = kv.abs().amax((3, 4), keepdim=True).clamp_min(1e-30) / E4M3_MAX
        bits += 32 * scale.numel()
    return (kv / scale).clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).float() * scale, bits


def kivi(kv: torch.Tensor, bits: int, recent: int) -> tuple[torch.Tensor, float]:
    old, kept = kv[..., : kv.shape[3] - recent, :], kv[..., kv.shape[3] - recent :, :]
    keys = uniform(old[:, 0].unflatten(2, (-1, GROUP)), bits, 3).flatten(2, 3)
    values = uniform(old[:, 1].unflatten(3, (-1, GROUP)), bits, 4).flatten(3, 4)
    stored = old.numel() * (bits + 32 / GROUP) + SOURCE_BITS * kept.numel()
    return torch.cat([torch.stack([keys, values], 1), kept], 3), stored


def uniform(values: torch.Tensor, bits: int, axis: int) -> torch.Tensor:
    """Codes evenly between the least and the greatest along an axis, with an f16 scale and minimum."""
    low = values.amin(axis, keepdim=True).half().float()
    scale = ((values.amax(axis, keepdim=True) - low) / (2**bits - 1)).half().float().clamp_min(1e-8)
    return ((values - low) / scale).round().clamp(0, 2**bits - 1) * scale + low


def turboquant(
    kv: torch.Tensor, bits: int, skip: int, uniform_values: bool
) -> tuple[torch.Tensor, float]:
    coded = kv[skip : len(kv) - skip]
    vectors = coded[..., 0].numel()
    keys = lloyd_max(coded[:, 0], bits)
    values = uniform(coded[:, 1], bits, -1) if uniform_values else lloyd_max(coded[:, 1], bits)
    side = vectors * (16 + (32 if uniform_values else 16)) / 2
    stored = bits * coded.numel() + side + SOURCE_BITS * (kv.numel() - coded.numel())
    out = torch.cat([kv[:skip], torch.stack([keys, values], 1), kv[len(kv) - skip :]])
    return out, stored


def lloyd_max(vectors: torch.Tensor, bits: int) -> torch.Tensor:
    dim = vectors.shape[-1]
    signs = torch.randint(0, 2, (dim,), generator=torch.Generator().manual_seed(7)) * 2.0 - 1
    rotation = signs[:, None] * hadamard(dim)
    centres = normal_levels(bits)
    norm = vectors.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    turned = (vectors / norm) @ rotation * dim**0.5
    found = centres[torch.bucketize(turned, (centres[1:] + centres[:-1]) / 2)]
    found = found / found.norm(dim=-1, keepdim=True)  # norm correction
    return norm.half().float() * found @ rotation.T


@functools.cache
def normal_levels(bits: int) -> torch.Tensor:
    """Returns the 2^bits levels with the least mean square error on a normal distribution."""
    samples = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(0)).double()
    count = 2**bits
    centres = torch.quantile(samples[:100_000], (torch.arange(count) + 0.5).double() / count)
    for _ in range(60):
        cell = torch.bucketize(samples, (centres[1:] + centres[:-1]) / 2)
        sums = torch.zeros(count).double().scatter_add_(0, cell, samples)
        centres = sums / torch.bincount(cell, minlength=count)
    return centres.float()
