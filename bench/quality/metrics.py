"""What a codec costs: bits, and how the model's answers move, added up over the windows of one text."""

import dataclasses
import math

import numpy as np

from sluice_kv import quality


@dataclasses.dataclass
class Tally:
    """Of one codec and level on one text."""

    bits: float = 0.0
    elements: int = 0
    windows: list[quality.Window] = dataclasses.field(default_factory=list)
    nll_change: list[float] = dataclasses.field(default_factory=list)  # nats a token, a window
    followed: list[float] = dataclasses.field(default_factory=list)  # share of greedy tokens
    needles: list[bool] = dataclasses.field(default_factory=list)

    def add_size(self, bits: float, elements: int) -> None:
        self.bits += bits
        self.elements += elements

    def add_answers(self, exact: np.ndarray, lossy: np.ndarray, tokens: list[int]) -> None:
        """Takes the logits of both behind each of the window's tokens."""
        self.windows.append(quality.compare(exact, lossy))
        self.nll_change.append(nll(lossy, tokens) - nll(exact, tokens))

    def row(self) -> dict:
        """kl_windows: the mean of each window, in their order, for comparing two rows."""
        found = quality.summary(self.windows)
        return {
            "windows": found["windows"],
            "bpe": self.bits / self.elements,
            "kl_mean": found["kl_mean"],
            "kl_interval": found["kl_interval"],
            "kl_p99": found["kl_p99"],
            "top1": found["top1"],
            "ppl_delta": math.expm1(float(np.mean(self.nll_change))),
            "greedy_match": float(np.mean(self.followed)) if self.followed else None,
            "needles": sum(self.needles),
            "needles_of": len(self.needles),
            "kl_windows": [float(window.kl.mean()) for window in self.windows],
        }


def nll(logits: np.ndarray, tokens: list[int]) -> float:
    """Returns the mean -log p of the tokens behind the first, given [token][vocabulary]."""
    top = logits.max(axis=1, keepdims=True).astype(np.float64)
    total = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    taken = logits[np.arange(len(tokens) - 1), tokens[1:]]
    return float((total[:-1] - taken).mean())
