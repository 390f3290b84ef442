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


def measure(
    context: Context,
    other: Context,
    writer: Connector,
    readers: dict[str, Connector],
    windows: Iterable[list[int]],
) -> tuple[dict[str, dict], dict]:
    """Stores each window's context and restores it with every reader.

    Returns by the reader's name what quality.summary says, and the bits an element that came; and the
    summary for `other`, where nothing was lost: the same model on other kernels. That is how far the
    engine's own rounding goes, which no level can be told from exact below.

    writer: reads no lossy pages, or what it stores says so. The daemon must not have the windows yet.
    """
    found: dict[str, list[quality.Window]] = {name: [] for name in readers}
    bits = dict.fromkeys(readers, 0.0)
    rounding = []
    for window in windows:
        prefix, forced = window[:-FORCED_TOKENS], window[-FORCED_TOKENS:]
        context.clear()
        context.decode(prefix)
        state = context.state_get()
        exact = logits(context, forced)
        other.clear()
        other.decode(prefix)
        rounding.append(quality.compare(exact, logits(other, forced)))
        moved = writer.store(prefix, state)
        if moved is None or moved.pages * PAGE_TOKENS != len(prefix):
            raise RuntimeError(f"the context was not stored anew: {writer.last_error or moved}")
        for name, reader in readers.items():
            context.clear()
            if reader.restore_keys(reader.keys(prefix)) != len(prefix):  # also where that is slow
                raise RuntimeError(f"the context was not restored: {reader.miss_reason()}")
            found[name].append(quality.compare(exact, logits(context, forced)))
            bits[name] += 8 * reader.last_transfer.stored_bytes / (moved.raw_bytes // 2)
    levels = {
        name: {**quality.summary(own), "bits_per_element": bits[name] / len(own)}
        for name, own in found.items()
    }
    return levels, quality.summary(rounding)


def logits(context: Context, ids: list[int]) -> np.ndarray:
    """Decodes the tokens, and returns [token][vocabulary]: what comes behind each."""
    return np.frombuffer(context.forced(ids), np.float32).reshape(len(ids), -1)


def continued(context: Context, ids: list[int]) -> np.ndarray:
    """Decodes a continuation, and returns [token][vocabulary]: what each of its tokens is drawn from."""
    first = np.frombuffer(context.logits(), np.float32).reshape(1, -1)
    return np.concatenate([first, logits(context, ids[:-1])]) if len(ids) > 1 else first
