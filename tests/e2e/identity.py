"""IDENTITY.md once more in Python: descriptor, space id, page keys, model digest."""

import hashlib
import os
import struct

DTYPES = {"f32": 1, "f16": 2, "bf16": 3}
ROPES = {"half-split": 1, "interleaved": 2}


def model_digest(path: str) -> bytes:
    """The digest of a GGUF that is one file."""
    with open(path, "rb") as file:
        content = hashlib.file_digest(file, "sha256").digest()
    name = os.path.basename(path).encode()
    entry = struct.pack("<I", len(name)) + name + struct.pack("<Q", os.path.getsize(path)) + content
    return hashlib.sha256(b"sluice model 1" + entry).digest()


def descriptor(
    digest: bytes,
    *,
    dtype: str,
    layers,
    heads: int,
    dim: int,
    rope: str,
    base: float,
    page_tokens: int = 64,
    salt: bytes = b"",
) -> bytes:
    """The descriptor of a full-attention group whose K turns whole and V does not."""
    plane = "<BIII"
    fields = [
        struct.pack("<I", 1),  # format_version
        digest,
        b"",  # lora_digest: none
        salt,
        bytes([DTYPES[dtype]] * 2),  # kv_dtype of each plane
        bytes([DTYPES["f32"]]),  # compute_dtype
        b"",  # runtime_quantisation: none
        b"",  # kv_scales: none
        struct.pack("<BI", 1, 0),  # attention: full
        b"".join(struct.pack("<I", layer) for layer in layers),
        struct.pack("<II", 0, heads),
        struct.pack(plane, 1, heads, dim, dim) + struct.pack(plane, 2, heads, dim, 0),
        struct.pack("<Bd", ROPES[rope], base),
        struct.pack("<BdIddd", 0, 0.0, 0, 0.0, 0.0, 0.0),  # rope_scaling: none
        struct.pack("<I", page_tokens),
        bytes([1]),  # token_hash: sha256 chain
    ]
    return b"".join(struct.pack("<HI", i + 1, len(f)) + f for i, f in enumerate(fields))


def small_descriptor() -> bytes:
    """A space whose pages of 64 tokens have 32 KiB of tensors, for tests without an engine."""
    return descriptor(
        bytes(32), dtype="f16", layers=range(2), heads=1, dim=64, rope="half-split", base=1e4
    )


def space_id(descriptor_bytes: bytes) -> bytes:
    return hashlib.sha256(b"sluice space 1" + descriptor_bytes).digest()


def page_keys(space: bytes, tokens, page_tokens: int = 64) -> list[bytes]:
    """The keys of the full pages, without extra keys."""
    keys, parent = [], bytes(32)
    for start in range(0, len(tokens) // page_tokens * page_tokens, page_tokens):
        page = tokens[start : start + page_tokens]
        body = struct.pack(f"<I{page_tokens}I", page_tokens, *page)
        parent = hashlib.sha256(b"sluice page 1" + space + parent + body).digest()
        keys.append(parent)
    return keys
