"""zstd of the pages' bytes: as they are, and with the two bytes of each bf16 in planes of their own.

A page of all layers is compressed alone, as [layer][plane][token][head][dim], since a store fetches
pages; the frames' sizes are what counts. By libzstd (Debian's libzstd1) through ctypes.
"""

import ctypes
import ctypes.util
import functools

import torch

from codec_list import Codec
from codecs_sluice import pages_of

LEVELS = (1, 3)


def codecs(page_tokens: int) -> list[Codec]:
    return [
        Codec("zstd", f"-{level} {name}", functools.partial(code, page_tokens, level, split), page_tokens)
        for level in LEVELS
        for name, split in (("raw", False), ("byte planes", True))
    ]


def code(page_tokens: int, level: int, split: bool, kv: torch.Tensor) -> tuple[torch.Tensor, float]:
    bits = 0
    for page in pages_of(kv, page_tokens).bfloat16():
        raw = page.flatten().view(torch.uint8)
        if split:
            raw = raw.unflatten(0, (-1, 2)).T.contiguous()
        bits += 8 * zstd_bytes(raw.numpy().tobytes(), level)
    return kv, bits


def zstd_bytes(raw: bytes, level: int) -> int:
    """Returns how long the frame of some bytes is."""
    out = ctypes.create_string_buffer(_library().ZSTD_compressBound(len(raw)))
    size = _library().ZSTD_compress(out, len(out), raw, len(raw), level)
    if _library().ZSTD_isError(size):
        raise RuntimeError(f"zstd level {level} refused {len(raw)} bytes")
    return size


@functools.cache
def _library():
    library = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    size, text = ctypes.c_size_t, ctypes.c_char_p
    library.ZSTD_compressBound.restype, library.ZSTD_compressBound.argtypes = size, [size]
    library.ZSTD_isError.argtypes = [size]
    library.ZSTD_compress.restype = size
    library.ZSTD_compress.argtypes = [ctypes.c_void_p, size, text, size, ctypes.c_int]
    return library
