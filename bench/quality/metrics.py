"""What a codec costs: bits, and how the model's answers move, added up over the windows of one text."""

import math

import numpy as np

from sluice_kv import quality


def answered(exact: np.ndarray, lossy: np.ndarray, tokens: list[int]) -> dict:
    """Compares the logits of both behind each of a window's tokens."""
    found = quality.compare(exact, lossy)
    return {
        "kl": found.kl.tolist(),
        "agrees": found.agrees.tolist(),
        "nll_change": nll(lossy, tokens) - nll(exact, tokens),  # nats a token
    }


def row(entries: list[dict]) -> dict:
    """Adds up the entries of a journal, of windows and needles of one codec.

    kl_windows: the mean of each window, in their order, for comparing two rows.
    """
    windows = [entry for entry in entries if "kl" in entry]
    needles = [entry["needle"] for entry in entries if "needle" in entry]
    followed = [entry["followed"] for entry in windows if "followed" in entry]
    tokens = [quality.Window(np.array(w["kl"]), np.array(w["agrees"])) for w in windows]
    found = quality.summary(tokens)
    return {
        "windows": found["windows"],
        "bpe": sum(w["bits"] for w in windows) / sum(w["elements"] for w in windows),
        "kl_mean": found["kl_mean"],
        "kl_interval": found["kl_interval"],
        "kl_p99": found["kl_p99"],
        "top1": found["top1"],
        "ppl_delta": math.expm1(float(np.mean([w["nll_change"] for w in windows]))),
        "greedy_match": float(np.mean(followed)) if followed else None,
        "needles": sum(needles),
        "needles_of": len(needles),
        "kl_windows": [float(window.kl.mean()) for window in tokens],
    }


def nll(logits: np.ndarray, tokens: list[int]) -> float:
    """Returns the mean -log p of the tokens behind the first, given [token][vocabulary]."""
    top = logits.max(axis=1, keepdims=True).astype(np.float64)
    total = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    taken = logits[np.arange(len(tokens) - 1), tokens[1:]]
    return float((total[:-1] - taken).mean())
