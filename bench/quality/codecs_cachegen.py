"""CacheGen as LMCache ships it: absmax of a token, 12 to 32 bins, a CDF for each channel.

Sources: LMCache/LMCache lmcache/storage_backend/serde/cachegen_encoder.py (torch_quant_vectorized,
encode_function) and lmcache/v1/storage_backend/naive_serde/cachegen_basics.py (level 2, the bins of
any model); UChi-JCL/CacheGen's cachegen_basics.py, Mistral-7B, for levels 1 and 3, their layers 10 and
20 of 32 taken as they are. Delta coding and anchors are in the paper, not in the code.

Of what is stored, the symbols count with the entropy of each channel's histogram, which no arithmetic
coder reaches quite; CDFs (u16), stream lengths (i32, a stream for each channel and 256 tokens) and
the maxima (bf16) count exactly, the pickle around them does not.
"""

import functools

import torch

from codec_list import Codec, by_head, by_token

STREAM_TOKENS = 256  # CACHEGEN_GPU_MAX_TOKENS_PER_CHUNK
CHUNK_TOKENS = 256  # LMCache's default; a CDF for each
WHOLE = 1 << 30
FEW_LAYERS = 10  # models with fewer have 32 bins everywhere
# (first layer, bins), of keys and of values.
LEVELS = {
    1: (((0, 16), (20, 12)), ((0, 16), (2, 12))),
    2: (((0, 32), (10, 16)), ((0, 32), (2, 16))),
    3: (((0, 32),), ((0, 32),)),
}


def codecs() -> list[Codec]:
    return [
        Codec("cachegen", f"{level} {name}", functools.partial(code, level=level, chunk=chunk))
        for level in LEVELS
        for name, chunk in ((f"chunk{CHUNK_TOKENS}", CHUNK_TOKENS), ("whole", WHOLE))
    ]


def code(kv: torch.Tensor, level: int, chunk: int) -> tuple[torch.Tensor, float]:
    bins = bins_of(level, len(kv))
    top = (bins // 2 - 1)[:, :, None, None]
    flat = by_token(kv)
    peak = flat.abs().amax(-1, keepdim=True).clamp_min(1e-8)
    symbols = (flat * (top / peak)).round() + top
    tokens, channels = flat.shape[2:]
    bits = 16 * peak.numel()
    for start in range(0, tokens, chunk):
        part = symbols[:, :, start : start + chunk].long()
        bits += entropy_bits(part.movedim(2, -1).flatten(0, 2))
        streams = -(-part.shape[2] // STREAM_TOKENS)
        bits += 32 * streams * part[:, :, 0].numel()
        bits += sum(16 * len(kv) * channels * (int(plane.max()) + 1) for plane in bins.T)
    return by_head((symbols - top) * (peak / top), kv.shape[2]), bits


def bins_of(level: int, layers: int) -> torch.Tensor:
    """Returns the bins of [layer][plane]."""
    out = torch.full((layers, 2), 32)
    if layers >= FEW_LAYERS:
        for plane, steps in enumerate(LEVELS[level]):
            for first, bins in steps:
                out[first:, plane] = bins
    return out


def entropy_bits(symbols: torch.Tensor) -> float:
    """Returns the bits that [stream][symbol] take, each stream coded with its own histogram."""
    counts = torch.zeros(len(symbols), int(symbols.max()) + 1)
    counts.scatter_add_(1, symbols, torch.ones(1, 1).expand_as(symbols))
    shares = counts / symbols.shape[1]
    return -(counts * torch.where(counts > 0, shares.log2(), 0.0)).sum(dtype=torch.float64).item()
