"""From statistics of KV to a profile's blocks: steps, bases, scales. Needs numpy.

Channels are scaled by the root of what an error in them costs and
transformed to components; one step a layer and plane, blended towards relative precision.
"""

import math

import numpy as np

from sluice_kv import basis
from sluice_kv.kv_statistics import GRADIENTS, Statistics
from sluice_kv.profile_file import Block

RELATIVE_PRECISION = 0.85  # beta: 1 is Fisher steps alone, which ruin the first layers' newest tokens
PLANE_WEIGHTS = np.array([1.12, 1 / 1.12])
MODEL_TOKENS = 2048  # the context length that a target KL speaks of
SCALE_FIRST, SCALE_RATIO, SCALES = 0.08, 1.2, 32  # the ROM (codec/FORMAT.md, "Scales")
SHRINK = 1e-5  # of the mean variance, onto each channel's: no direction is without any
ENERGY_MAX = 2.0**29  # of a token, in coefficients; above it travels exactly (FORMAT.md, "Encoding")
EXACT_TOKENS_MAX = 1e-3  # of the samples
FINER = range(5)
ENERGY_SHARE = 30  # squared steps over variances for one nat, nearly; a trial puts it right


def blocks(statistics: Statistics, target_kl: float, kind: str, rows: int) -> list[list[Block]]:
    """Returns [layer][plane] for q1's steps of a KL of about target_kl nats, the last of so many rows."""
    mean, covariance, steps = statistics.mean(), statistics.covariance(), steps_of(statistics, target_kl)
    out = []
    for layer in range(len(mean)):
        planes = []
        for plane in range(2):
            at = layer, plane
            found = fit(covariance[at] / np.outer(steps[at], steps[at]), kind, statistics.dim)
            centred = (statistics.samples[at] - mean[at]) / steps[at]
            components = centred if found is None else found.components(centred)
            scales = best_scales(components / 3 ** (rows - 1))
            planes.append(Block(mean[at], steps[at], scales, found, finest(centred)))
        out.append(planes)
    return out


def steps_of(statistics: Statistics, target_kl: float) -> np.ndarray:
    """Returns [layer][plane][channel], in the model's units."""
    costs, covariance = statistics.costs(), statistics.covariance()
    variance = np.maximum(np.diagonal(covariance, axis1=2, axis2=3), 0).mean(axis=2)
    total = costs.mean(axis=2) * variance
    relative = total / np.exp(np.log(total).mean())
    if statistics.metric == GRADIENTS:
        # KL = 1/2 sum F e^2 with e^2 = step^2 / 12, over the elements of a context.
        base = math.sqrt(24 * target_kl / (costs.size * MODEL_TOKENS))
        weight = base * relative ** ((1 - RELATIVE_PRECISION) / 2)
    else:
        # Energies of two layers do not compare: the same share of each plane's is lost.
        weight = math.sqrt(ENERGY_SHARE * target_kl) * np.sqrt(total)
    return (weight * PLANE_WEIGHTS)[..., None] / np.sqrt(costs)


def fit(covariance: np.ndarray, kind: str, dim: int) -> basis.Givens | basis.Matrices | None:
    if kind == "identity":
        return None
    covariance = covariance + SHRINK * covariance.diagonal().mean() * np.eye(len(covariance))
    return basis.fit_givens(covariance) if kind == "givens" else basis.fit_matrices(covariance, dim)


def finest(steps: np.ndarray) -> int:
    """Returns the largest `finer` under which few tokens of [token][channel], in steps, travel exactly."""
    energy = np.quantile((steps**2).sum(axis=1), 1 - EXACT_TOKENS_MAX)
    return max((f for f in FINER if energy * 4.0 ** (3 + f) <= ENERGY_MAX), default=0)


def best_scales(steps: np.ndarray) -> np.ndarray:
    """Returns for each channel of [token][channel], in steps, the table that codes it in fewest bits."""
    cells = np.minimum(np.abs(np.rint(steps)).astype(np.int64), _COSTS.shape[1] - 1)
    at = cells + _COSTS.shape[1] * np.arange(cells.shape[1])
    counts = np.bincount(at.ravel(), minlength=_COSTS.shape[1] * cells.shape[1])
    return (counts.reshape(cells.shape[1], -1) @ _COSTS.T).argmin(axis=1).astype(np.uint8)


def _costs(cells: int = 4096) -> np.ndarray:
    """Bits of a symbol of each magnitude under each table: a normal distribution, cut at 12 bits."""
    edges = np.arange(cells + 1) - 0.5
    out = np.empty((SCALES, cells))
    for index in range(SCALES):
        sigma = SCALE_FIRST * SCALE_RATIO**index
        below = np.array([0.5 * math.erfc(-edge / sigma / math.sqrt(2)) for edge in edges])
        out[index] = -np.log2(np.maximum(np.diff(below), 2.0**-12 / (1 + np.arange(cells))))
    return out


_COSTS = _costs()
