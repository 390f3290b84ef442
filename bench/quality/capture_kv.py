#!/usr/bin/env python3
"""Captures real KV pages from llama.cpp for the codec's figures.

    capture_kv.py --out DIR [--work DIR] [--text anarchism|stdlib|FILE] [--tokens N] [NAME...]

NAME is smol, qwen, gemma (bf16: an f32 cache rounded to nearest even, post-RoPE, flash attention
off) or gpl (SmolLM2's own f16 cache of the quickstart's document). Each KV group gives
DIR/NAME.{bf16,f16}.bin, pages in order, a page's values as [layer][plane k,v][token][head][dim],
little-endian, and a .json that says the shape.
"""

import argparse
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "python")]

import llama_blob
import materials
from sluice_kv.llama_api import Context, Model

PAGE_TOKENS = 64
GPL = "/usr/share/common-licenses/GPL-3"
GPL_TOKENS = 2017


def to_bf16(values: np.ndarray) -> np.ndarray:
    """Rounds float32 to bf16 bit patterns, to nearest even; the values must be finite."""
    if not np.isfinite(values).all():
        raise ValueError("the capture holds values that are not finite")
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def groups_of(model: Model) -> list[tuple[str, list[int]]]:
    """Returns (suffix, transformer layers) of each KV cache, in the state's order."""
    if not model.window:
        return [("", list(range(model.layers)))]
    # Gemma 3: five layers with a window, then one without.
    full = [layer for layer in range(model.layers) if layer % 6 == 5]
    swa = [layer for layer in range(model.layers) if layer % 6 != 5]
    return [("_full", full), ("_swa", swa)]


def write(out: str, name: str, dtype: str, pages: np.ndarray, about: dict) -> None:
    path = os.path.join(out, f"{name}.{dtype}.bin")
    pages.tofile(path + ".part")
    count, layers, _, tokens, heads, dim = pages.shape
    shape = {"dtype": dtype, "pages": count, "page_tokens": tokens, "heads": heads, "dim": dim}
    with open(path[:-4] + ".json", "w") as file:
        json.dump(
            {
                "name": name,
                **about,
                **shape,
                "order": "[page][layer][plane k,v][token][head][dim]",
                "bytes": pages.nbytes,
            },
            file,
        )
    os.rename(path + ".part", path)
    print(f"{path}: {count} pages x {layers} layers x {heads} heads x {dim}, {pages.nbytes} bytes")


def decode_and_read(context: Context, ids: list[int]) -> list[llama_blob.Cache]:
    """Decodes the tokens and returns every token's KV.

    A layer with a window leaves the state once the window has passed it, so the state is read
    after each physical batch; the batches are those of one decode of all tokens.
    """
    steps = []
    for start in range(0, len(ids), context.n_ubatch):
        context.decode(ids[start : start + context.n_ubatch])
        steps.append([cache.since(start) for cache in llama_blob.read(context.state_get())])
    return [llama_blob.joined(parts) for parts in zip(*steps)]


def capture(name: str, args) -> None:
    exact = name == "gpl"
    cache_type, text = ("f16", materials.read_text(GPL)) if exact else ("f32", args.text_value)
    count = GPL_TOKENS if exact else args.tokens
    with Model(materials.model("smol" if exact else name, args.work)) as model:
        # The ids of a text's start do not depend on its far end, so the text may be cut first.
        ids = model.tokenize(text[: 16 * count])[:count]
        split = len(ids) // PAGE_TOKENS * PAGE_TOKENS
        if split == 0:
            raise ValueError(f"the text has {len(ids)} tokens, a page needs {PAGE_TOKENS}")
        with Context(
            model,
            n_ctx=count + 64,
            threads=args.threads,
            flash_attn=exact,
            type_k=cache_type,
            type_v=cache_type,
        ) as context:
            caches = decode_and_read(context, ids[:split])
        groups = groups_of(model)
        assert len(caches) == len(groups)
        for cache, (suffix, layers) in zip(caches, groups):
            assert cache.k.shape[0] == len(layers)
            pages = llama_blob.pages(cache, model.kv_heads, PAGE_TOKENS)
            if not exact:
                pages = to_bf16(pages)
            about = {
                "model": model.metadata().get("general.name", name),
                "layers": layers,
                "window": model.window if suffix == "_swa" else 0,
                "rope": model.rope,
                "text": "GPL-3" if exact else args.text,
                "tokens": len(ids),
            }
            write(args.out, name + suffix, "f16" if exact else "bf16", pages, about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["smol", "qwen", "gemma", "gpl"])
    parser.add_argument("--out", required=True, help="folder for the pages")
    parser.add_argument("--work", default=os.path.expanduser("~/.cache/sluice-quality"))
    parser.add_argument("--text", default="anarchism", help="anarchism, stdlib or a file")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    texts = {"anarchism": lambda: materials.anarchism(args.work), "stdlib": materials.stdlib}
    args.text_value = texts.get(args.text, lambda: materials.read_text(args.text))()
    for name in args.names:
        capture(name, args)


if __name__ == "__main__":
    main()
