#!/usr/bin/env python3
"""Computes llama_state.json: small blobs in llama.cpp's sequence state layout (builds b10434 to
b11549), the canonical pages that they hold, and slot files (b11549). Written apart from the C++ code; the layout was
compared with blobs of the engine for SmolLM2, Qwen2.5-Coder-0.5B and Gemma3-270M.

usage: llama_state.py --write | --check
"""

import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
MAGIC = 0xAF143CD8
SLOT_MAGIC = 0x67677371
HEADS, DIM, PAGE_TOKENS, TOKENS, WINDOW = 2, 2, 32, 100, 40
FULL, WINDOWED = [2, 5], [0, 1, 3]  # transformer layers


def value(layer, plane, token, channel):
    """A number of its own for each element, below 2^16."""
    return (layer * 2 + plane) * 4096 + token * HEADS * DIM + channel


def cache(layers, first, transposed, streams=1, sequence=0):
    positions = range(first, TOKENS)
    stream = sequence if streams > 1 else 0
    out = struct.pack("<I", streams) + bytes(4 * stream) + struct.pack("<I", len(positions))
    for position in positions:
        out += struct.pack("<iIi", position, 1, sequence)
    out += struct.pack("<IIII", transposed, len(layers), 0, 0)
    channels = range(HEADS * DIM)
    for layer in layers:
        out += struct.pack("<iQ", 1, 2 * len(channels))
        out += b"".join(struct.pack("<H", value(layer, 0, t, c)) for t in positions for c in channels)
    for layer in layers:
        if transposed:
            out += struct.pack("<iII", 1, 2, len(channels))
            cells = [(t, c) for c in channels for t in positions]
        else:
            out += struct.pack("<iQ", 1, 2 * len(channels))
            cells = [(t, c) for t in positions for c in channels]
        out += b"".join(struct.pack("<H", value(layer, 1, t, c)) for t, c in cells)
    return out + bytes(4 * (streams - 1 - stream))


def state(*how):
    return cache(FULL, 0, *how) + cache(WINDOWED, TOKENS - WINDOW, *how)


def blob(transposed):
    return struct.pack("<Ii", MAGIC, 0) + state(transposed)


def slot_file(packed, *how):
    ids = [7 * token for token in range(TOKENS)]
    words = [-1, 1, TOKENS, *ids, 0] if packed else ids
    front = struct.pack(f"<III{len(words)}i", SLOT_MAGIC, 4, len(words), *words)
    return front + state(*how)


def page(layers, index):
    tokens = range(index * PAGE_TOKENS, (index + 1) * PAGE_TOKENS)
    return b"".join(
        struct.pack("<H", value(layer, plane, token, channel))
        for layer in layers
        for plane in (0, 1)
        for token in tokens
        for channel in range(HEADS * DIM)
    )


def golden():
    # The window holds positions 60 to 99: of its pages only 64 to 95 whole.
    out = {
        "flash_attention": blob(0).hex(),
        "no_flash_attention": blob(1).hex(),
        "slot_plain": slot_file(False, 0, 1, 5).hex(),
        "slot_packed": slot_file(True, 1, 3, 1).hex(),
        "full_pages": [page(FULL, index).hex() for index in range(3)],
        "window_pages_first": 2,
        "window_pages": [page(WINDOWED, 2).hex()],
    }
    return json.dumps(out, indent=1) + "\n"


def main():
    path = HERE / "llama_state.json"
    if sys.argv[1:] == ["--write"]:
        path.write_text(golden())
    elif sys.argv[1:] != ["--check"]:
        sys.exit(__doc__)
    elif path.read_text() != golden():
        sys.exit(f"{path} differs: run llama_state.py --write and look at the diff")


if __name__ == "__main__":
    main()
