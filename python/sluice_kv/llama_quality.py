"""What lossy pages do to llama.cpp's next tokens, on its own path: stored, restored, answered on.

Windows are teacher-forced: the tokens behind a context are the text's own, and the logits behind
each are compared with those on the context's exact KV. Needs numpy.
"""

from collections.abc import Iterable

import numpy as np

from sluice_kv import quality
from sluice_kv.llama import PAGE_TOKENS, Connector
from sluice_kv.llama_api import Context, Model

PREFIX_TOKENS = 16 * PAGE_TOKENS
FORCED_TOKENS = 128


def cut(
    model: Model, texts: Iterable[str], prefix_tokens: int = PREFIX_TOKENS
) -> list[list[int]]:
    """Returns one window from the middle of each text: a context, and the tokens behind it."""
    size = prefix_tokens + FORCED_TOKENS
    out = []
    for text in texts:
        ids = model.tokenize(text[len(text) // 4 :][: 16 * size])[:size]
        if len(ids) < size:
            raise ValueError(f"a text has {len(ids)} tokens, a window needs {size}")
        out.append(ids)
    return out


def measure(context: Context, cache: Connector, windows: Iterable[list[int]]) -> dict:
    """Stores each window's context, restores it, and returns what quality.summary says.

    The cache must store lossy pages and may load them; its daemon must not have the windows yet.
    """
    found, moved_bytes, elements = [], 0, 0
    for window in windows:
        prefix, forced = window[:-FORCED_TOKENS], window[-FORCED_TOKENS:]
        context.clear()
        context.decode(prefix)
        state = context.state_get()
        exact = _logits(context, forced)
        moved = cache.store(prefix, state)
        if moved is None or moved.pages * PAGE_TOKENS != len(prefix):
            raise RuntimeError(f"the context was not stored anew: {cache.last_error or moved}")
        moved_bytes, elements = moved_bytes + moved.stored_bytes, elements + moved.raw_bytes // 2
        context.clear()
        if cache.restore(window) != len(prefix):
            raise RuntimeError(f"the context was not restored: {cache.miss_reason()}")
        found.append(quality.compare(exact, _logits(context, forced)))
    return {**quality.summary(found), "bits_per_element": 8 * moved_bytes / elements}


def _logits(context: Context, ids: list[int]) -> np.ndarray:
    return np.frombuffer(context.forced(ids), np.float32).reshape(len(ids), -1)
