#!/usr/bin/env python3
"""Computes self_test.json from src/model/IDENTITY.md alone, apart from the C++ code.

usage: self_test.py --write | --check
"""

import hashlib
import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
DTYPES = {"f32": 1, "f16": 2, "bf16": 3, "f8_e4m3": 4, "f8_e5m2": 5, "u8": 6}
ROLES = {"k": 1, "v": 2, "latent": 3, "index": 4, "state": 5, "opaque": 6}
ATTENTION = {"full": 1, "window": 2, "recurrent": 3}
PAIRING = {"none": 0, "neox": 1, "interleaved": 2}
SCALING = {"none": 0, "linear": 1, "llama3": 2, "yarn": 3, "longrope": 4}


def floats(values):
    return b"".join(struct.pack("<f", value) for value in values)


def fields(d):
    rope = d["rope"]
    yield struct.pack("<I", 1)
    yield bytes.fromhex(d["model_digest"])
    yield bytes.fromhex(d["lora_digest"])
    yield d["user_salt"].encode()
    yield bytes(DTYPES[plane["dtype"]] for plane in d["planes"])
    yield bytes([DTYPES[d["compute_dtype"]]])
    yield d["runtime_quantisation"].encode()
    yield floats(d["kv_scales"])
    yield struct.pack("<BI", ATTENTION[d["attention"]], d["window"])
    yield b"".join(struct.pack("<I", layer) for layer in d["layers"])
    yield struct.pack("<II", *d["head_range"])
    yield b"".join(
        struct.pack("<BIII", ROLES[p["role"]], p["heads"], p["dim"], p["rotated_dims"])
        for p in d["planes"]
    )
    yield struct.pack("<Bd", PAIRING[rope["pairing"]], rope["base"])
    yield struct.pack(
        "<BdIddd",
        SCALING[rope["scaling"]],
        rope["factor"],
        rope["original_context"],
        rope["low"],
        rope["high"],
        rope["attention_factor"],
    ) + floats(rope["factors"])
    yield struct.pack("<I", d["page_tokens"])
    yield bytes([1])


def descriptor_bytes(d):
    return b"".join(
        struct.pack("<HI", index, len(value)) + value
        for index, value in enumerate(fields(d), start=1)
    )


def page_keys(space, tokens, page_tokens, extra_by_page):
    keys, parent = [], bytes(32)
    for page in range(len(tokens) // page_tokens):
        ids = tokens[page * page_tokens : (page + 1) * page_tokens]
        extra = extra_by_page[page] if page < len(extra_by_page) else []
        extra = sorted((number, bytes.fromhex(value)) for number, value in extra)
        message = b"sluice page 1" + space + parent + struct.pack(f"<{1 + len(ids)}I", len(ids), *ids)
        for number, value in extra:
            message += struct.pack("<HI", number, len(value)) + value
        parent = hashlib.sha256(message).digest()
        keys.append(parent.hex())
    return keys


def rope(pairing="none", base=0.0, scaling="none", **numbers):
    out = dict(factor=0.0, original_context=0, low=0.0, high=0.0, attention_factor=0.0, factors=[])
    return dict(pairing=pairing, base=base, scaling=scaling, **{**out, **numbers})


def plane(role, dtype, heads, dim, rotated_dims):
    return dict(role=role, dtype=dtype, heads=heads, dim=dim, rotated_dims=rotated_dims)


def descriptor(**values):
    plain = dict(
        model_digest=bytes(range(32)).hex(),
        lora_digest="",
        user_salt="",
        compute_dtype="f32",
        runtime_quantisation="",
        kv_scales=[],
        attention="full",
        window=0,
        page_tokens=64,
    )
    return {**plain, **values}


CASES = {
    "self_test": (
        descriptor(
            lora_digest="a5" * 32,
            user_salt="salt",
            compute_dtype="bf16",
            runtime_quantisation="fp8",
            kv_scales=[0.5, 0.25, 1.5, 2.0],
            attention="window",
            window=512,
            layers=[1, 3],
            head_range=[2, 2],
            planes=[plane("k", "f8_e4m3", 2, 128, 96), plane("v", "f16", 2, 64, 0)],
            rope=rope(
                "interleaved", 500000.0, "llama3",
                factor=8.0, original_context=8192, low=1.0, high=4.0,
            ),
            page_tokens=32,
        ),
        [i * 2654435761 % 2**32 for i in range(64)],
        [[], [[2, b"b".hex()], [1, b"a\0".hex()], [2, ""]]],
    ),
    "llama": (
        descriptor(
            layers=list(range(30)),
            head_range=[0, 3],
            planes=[plane("k", "f16", 3, 64, 64), plane("v", "f16", 3, 64, 0)],
            rope=rope("interleaved", 100000.0),
        ),
        list(range(200)),
        [],
    ),
    "longrope": (
        descriptor(
            layers=list(range(32)),
            head_range=[0, 32],
            planes=[plane("k", "bf16", 32, 96, 96), plane("v", "bf16", 32, 96, 0)],
            rope=rope(
                "neox", 10000.0, "longrope",
                original_context=4096, attention_factor=1.25,
                factors=[1.0 + i / 4 for i in range(48)],
            ),
        ),
        [7] * 128,
        [],
    ),
}


def golden():
    out = {}
    for name, (d, tokens, extra) in CASES.items():
        raw = descriptor_bytes(d)
        space = hashlib.sha256(b"sluice space 1" + raw).digest()
        out[name] = {
            "descriptor": d,
            "descriptor_hex": raw.hex(),
            "space_id": space.hex(),
            "tokens": tokens,
            "extra_by_page": extra,
            "keys": page_keys(space, tokens, d["page_tokens"], extra),
        }
    return json.dumps(out, indent=1) + "\n"


def main():
    path = HERE / "self_test.json"
    if sys.argv[1:] == ["--write"]:
        path.write_text(golden())
    elif sys.argv[1:] != ["--check"]:
        sys.exit(__doc__)
    elif path.read_text() != golden():
        sys.exit(f"{path} is not what IDENTITY.md says: run self_test.py --write and look at the diff")


if __name__ == "__main__":
    main()
