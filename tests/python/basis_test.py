"""Transforms of profiles: pairs are those of most gain, and stages come near the best transform."""

import itertools
import unittest

import numpy as np

from sluice_kv import basis


def covariance(size: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(8 * size, 4)) @ rng.normal(size=(4, size))
    return np.cov((samples + rng.normal(size=(8 * size, size))).T)


def rate(variances: np.ndarray) -> float:
    """Bits a component in which uncorrelated ones are smaller than alike ones of the same sum."""
    return float(np.log2(variances).mean() / 2)


class Pairs(unittest.TestCase):
    def test_the_most_correlated_go_first(self):
        values = covariance(20)
        spread = np.sqrt(values.diagonal())
        correlation = np.abs(values / np.outer(spread, spread))
        wanted, free = set(), set(range(20))
        for i, j in sorted(itertools.combinations(range(20), 2), key=lambda at: -correlation[at]):
            if i in free and j in free:
                wanted.add((i, j))
                free -= {i, j}
        first, second = basis.best_pairs(values)
        self.assertEqual(set(zip(first.tolist(), second.tolist())), wanted)

    def test_channels_that_have_nothing_in_common_are_paired_too(self):
        first, second = basis.best_pairs(np.eye(6))
        self.assertEqual(sorted([*first, *second]), list(range(6)))


    def test_a_matrix_that_rounding_made_unequal_both_ways_has_pairs(self):
        values = np.eye(4)
        for row, column, other in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):  # each is the next one's best
            values[row, column], values[row, other] = 0.5, 0.4999999
        first, second = basis.best_pairs(values)
        self.assertEqual(sorted([*first, *second]), list(range(4)))


class Transforms(unittest.TestCase):
    def test_stages_come_nearer_to_the_best_transform_and_keep_lengths(self):
        values = covariance(32)
        draws = np.random.default_rng(2).multivariate_normal(np.zeros(32), values, 4000)
        best = rate(np.linalg.eigvalsh(values))
        lost = []
        for stages in (1, 4, 12):
            found = basis.fit_givens(values, stages).components(draws)
            np.testing.assert_allclose((found**2).sum(1), (draws**2).sum(1))
            lost.append(rate(found.var(axis=0)) - best)
        self.assertEqual(lost, sorted(lost, reverse=True))
        self.assertLess(lost[-1], 0.1 * (rate(values.diagonal()) - best))

    def test_matrices_take_whole_heads_and_uncorrelate_them(self):
        values = covariance(384)
        found = basis.fit_matrices(values, 64)
        self.assertEqual(found.groups.shape, (2, 192, 192))
        for group, at in zip(found.groups, (0, 192)):
            turned = group.T @ values[at : at + 192, at : at + 192] @ group
            self.assertLess(np.abs(turned - np.diag(turned.diagonal())).max(), 1e-8 * turned.max())


if __name__ == "__main__":
    unittest.main()
