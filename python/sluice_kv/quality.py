"""How far a model's next tokens move: KL and top-1 agreement of two sets of logits. Needs numpy.

Quality of lossy KV is this and nothing else: the mean over teacher-forced tokens of
KL(exact || lossy) of the next token, in nats.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

# Two-sided 95 % of Student's t by degrees of freedom, 1 to 30; 1.96 above.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclasses.dataclass
class Window:
    """One teacher-forced run: a value a token."""

    kl: np.ndarray  # nats
    agrees: np.ndarray  # the likeliest next token is the same


def compare(exact: np.ndarray, lossy: np.ndarray) -> Window:
    """Compares logits [token][vocabulary] of the same tokens."""
    if exact.shape != lossy.shape:
        raise ValueError(f"logits of shape {lossy.shape}, those of exact KV {exact.shape}")
    p, q = _log_softmax(exact), _log_softmax(lossy)
    kl = np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0)  # rounding gives some -1e-17
    return Window(kl, exact.argmax(axis=1) == lossy.argmax(axis=1))


def summary(windows: Sequence[Window]) -> dict:
    """Returns mean KL with a 95 % interval over the windows' means (None for one), the worst tokens, and top-1."""
    means = np.array([window.kl.mean() for window in windows])
    kl = np.concatenate([window.kl for window in windows])
    degrees = len(means) - 1
    interval = None  # of one window nobody knows
    if degrees:
        t = _T95[min(degrees, len(_T95)) - 1] if degrees <= len(_T95) else 1.96
        half = t * means.std(ddof=1) / math.sqrt(len(means))
        interval = [max(float(kl.mean() - half), 0.0), float(kl.mean() + half)]
    return {
        "windows": len(means),
        "tokens": len(kl),
        "kl_mean": float(kl.mean()),
        "kl_interval": interval,
        "kl_p99": float(np.quantile(kl, 0.99)),
        "top1": float(np.concatenate([window.agrees for window in windows]).mean()),
    }


def micro_nats(kl: float) -> int:
    """Returns a lossy page's quality as it travels: rounded up, at least 1."""
    return max(1, math.ceil(kl * 1e6))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
