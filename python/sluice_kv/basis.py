"""Finds the orthonormal transform of a profile's block (codec/FORMAT.md, "Basis"). Needs numpy.

Input is always a covariance of channels that are scaled so that an error in one costs the model as
much as in another; the transform makes their components uncorrelated, or nearly so.
"""

import dataclasses

import numpy as np

STAGES = 16  # of Givens rotations: 0.04 ns an element each (bench/README.md)
MATRIX_CHANNELS_MAX = 256
ONE = 32767  # a factor of 1


@dataclasses.dataclass
class Givens:
    """Stages in the order of the decoder; pairs are [stage][pair] of (first, second, angle)."""

    pairs: np.ndarray

    def components(self, channels: np.ndarray) -> np.ndarray:
        """Returns the components of rows of channels."""
        out = np.array(channels, np.float64)
        for stage in self.pairs[::-1]:
            first, second = stage["first"], stage["second"]
            cos, sin = np.cos(stage["angle"]), np.sin(stage["angle"])
            x, y = out[:, first], out[:, second]
            out[:, first], out[:, second] = x * cos + y * sin, y * cos - x * sin
        return out


@dataclasses.dataclass
class Matrices:
    """[group][channel][component]."""

    groups: np.ndarray

    def components(self, channels: np.ndarray) -> np.ndarray:
        count, size, _ = self.groups.shape
        split = channels.reshape(len(channels), count, size)
        return np.einsum("tgc,gck->tgk", split, self.groups).reshape(len(channels), -1)


def fit_givens(covariance: np.ndarray, stages: int = STAGES) -> Givens:
    """Rotates in each stage the pairs of channels that gain most by it."""
    covariance = np.array(covariance, np.float64)
    out = np.zeros((stages, len(covariance) // 2), [("first", "<u2"), ("second", "<u2"), ("angle", "<f8")])
    for stage in out[::-1]:  # the decoder undoes the last one first
        first, second = best_pairs(covariance)
        a, b = covariance[first, first], covariance[second, second]
        angle = 0.5 * np.arctan2(2 * covariance[first, second], a - b)
        stage["first"], stage["second"], stage["angle"] = first, second, angle
        turn = np.eye(len(covariance))
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        covariance = turn.T @ covariance @ turn
    return Givens(out)


def best_pairs(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs all channels, those whose correlation is largest first."""
    variance = covariance.diagonal()
    correlation = np.nan_to_num(covariance**2 / np.outer(variance, variance))
    # Equal both ways to the last bit: else a circle of three, each the next one's best, has no pair.
    correlation = np.maximum(correlation, correlation.T)
    np.fill_diagonal(correlation, -1)
    number = np.arange(len(covariance))
    first, second = [], []
    while (correlation >= 0).any():
        # Channels that are each other's best are a pair whatever the others do.
        best = correlation.argmax(axis=1)
        left = (best[best] == number) & (number < best) & (correlation[number, best] >= 0)
        first.append(number[left])
        second.append(best[left])
        gone = np.concatenate([first[-1], second[-1]])
        correlation[gone], correlation[:, gone] = -1, -1
    return np.concatenate(first), np.concatenate(second)


def fit_matrices(covariance: np.ndarray, dim: int) -> Matrices:
    """The Karhunen-Loeve transform of as many whole heads together as a matrix takes."""
    heads = len(covariance) // dim
    together = max(h for h in range(1, heads + 1) if heads % h == 0 and h * dim <= MATRIX_CHANNELS_MAX)
    size = together * dim
    groups = [
        np.linalg.eigh(covariance[at : at + size, at : at + size])[1][:, ::-1]
        for at in range(0, len(covariance), size)
    ]
    return Matrices(np.array(groups))
