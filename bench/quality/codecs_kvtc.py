"""A codec like KVTC (arXiv 2511.01815): PCA of keys before rotation and of values, 0 to 8 bits a component.

The bases are of calibration text, one for each layer and plane over all heads (the paper joins layers
too); each component gets 0, 2, 4 or 8 bits, by least error + lambda x bits on the calibration text, with
lambda a share of the variance of its layer and plane; codes are even between the component's least and
greatest, both f16 and stored; DEFLATE (zlib -6) over all of it. The first 4 tokens are exact. Kinder
than the paper in two ways: least and greatest are those of the whole context, and no 128 recent tokens
are kept exactly.
"""

import dataclasses
import functools
import zlib

import torch

from codec_list import SOURCE_BITS, Codec, by_head, by_token
from reference import SINKS, Reference

RELATIVE = (0.003, 0.01, 0.03, 0.08)  # lambda, as a share of the variance
BITS = (2, 4, 8)


@dataclasses.dataclass
class Basis:
    """Of one layer and plane."""

    mean: torch.Tensor  # [channel]
    vectors: torch.Tensor  # [channel][component]
    errors: dict[int, torch.Tensor]  # mean square by bits, [component]

    def bits(self, relative: float) -> torch.Tensor:
        """Returns the bits of each component."""
        weight = relative * self.errors[0].mean()
        costs = torch.stack([error + weight * bits for bits, error in self.errors.items()])
        return torch.tensor(list(self.errors))[costs.argmin(0)]


def codecs(model: Reference, calibration: list[list[int]]) -> list[Codec]:
    bases = functools.cache(lambda: fit(model, calibration))  # at first use: it takes a minute
    return [
        Codec("kvtc-like", f"rel{relative}", functools.partial(code, model, bases, relative))
        for relative in RELATIVE
    ]


def fit(model: Reference, calibration: list[list[int]]) -> list[list[Basis]]:
    """Returns the bases of [layer][plane]."""
    caches = [by_token(model.turned(model.prefill(ids), back=True)) for ids in calibration]
    samples = torch.cat([cache[:, :, SINKS:] for cache in caches], 2)
    return [[_basis(plane) for plane in layer] for layer in samples]


def _basis(samples: torch.Tensor) -> Basis:
    mean = samples.mean(0)
    centred = samples - mean
    vectors = torch.linalg.eigh(centred.T @ centred / len(centred))[1].flip(1)
    parts = centred @ vectors
    errors = {0: parts.pow(2).mean(0)}
    for bits in BITS:
        errors[bits] = (quantised(parts, bits)[0] - parts).pow(2).mean(0)
    return Basis(mean, vectors, errors)


def code(model: Reference, bases, relative: float, kv: torch.Tensor) -> tuple[torch.Tensor, float]:
    flat = by_token(model.turned(kv, back=True))
    out, packed, side = flat.clone(), [], 0
    for layer, planes in enumerate(bases()):
        for plane, basis in enumerate(planes):
            parts = (flat[layer, plane] - basis.mean) @ basis.vectors
            found, bits = torch.zeros_like(parts), basis.bits(relative)
            for width in BITS:
                chosen = bits == width
                found[:, chosen], symbols = quantised(parts[:, chosen], width)
                packed.append(pack(symbols.T, width))
                side += 2 * 16 * int(chosen.sum())
            out[layer, plane, SINKS:] = (found @ basis.vectors.T + basis.mean)[SINKS:]
    side += SOURCE_BITS * flat[:, :, :SINKS].numel()
    back = model.turned(by_head(out, kv.shape[2]))
    back[..., :SINKS, :] = kv[..., :SINKS, :]
    return back, 8 * len(zlib.compress(b"".join(packed), 6)) + side


def quantised(parts: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes each column of [token][component] evenly over its range; returns values and symbols."""
    if parts.shape[1] == 0:
        return parts, parts
    low = parts.amin(0).half().float()
    scale = ((parts.amax(0) - low) / (2**bits - 1)).half().float().clamp_min(1e-8)
    symbols = ((parts - low) / scale).round().clamp(0, 2**bits - 1)
    return symbols * scale + low, symbols


def pack(symbols: torch.Tensor, bits: int) -> bytes:
    """Returns [component][token] in as few bytes as their bits need; tokens are a multiple of 4."""
    parts = symbols.to(torch.uint8).unflatten(1, (-1, 8 // bits))
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8)
    return (parts << shifts).sum(-1, dtype=torch.uint8).numpy().tobytes()
