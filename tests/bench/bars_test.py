"""Bars of quality per bit: the line through points, and who lies on or under it."""

import math
import unittest

import bars

POINTS = [(2.0, 1e-2), (4.0, 1e-4)]  # a bit halves log10 KL's distance: 1 bit a decade


def row(
    bpe: float, kl: float, codec: str = "sluice dense", level: str = "q2", page_tokens: int = 256
) -> dict:
    return {"codec": codec, "level": level, "page_tokens": page_tokens, "bpe": bpe, "kl_mean": kl}


class Line(unittest.TestCase):
    def test_it_goes_through_its_points_straight_in_log_kl(self):
        for bits, kl in POINTS:
            self.assertAlmostEqual(bars.bits_at(POINTS, kl), bits)
        self.assertAlmostEqual(bars.bits_at(POINTS, 1e-3), 3.0)

    def test_its_ends_are_prolonged(self):
        self.assertAlmostEqual(bars.bits_at(POINTS, 1e-1), 1.0)
        self.assertAlmostEqual(bars.bits_at(POINTS, 1e-5), 5.0)

    def test_each_part_has_its_own_slope_whatever_the_order(self):
        points = [(8.0, 1e-4), (1.0, 1e-1), (2.0, 1e-3)]
        self.assertAlmostEqual(bars.bits_at(points, 1e-2), 1.5)
        self.assertAlmostEqual(bars.bits_at(points, math.sqrt(1e-7)), 5.0)
        self.assertAlmostEqual(bars.bits_at(points, 1e-5), 14.0)
        self.assertAlmostEqual(bars.bits_at(points, 1.0), 0.5)


class Verdicts(unittest.TestCase):
    def reached(self, *rows: dict) -> list[bool]:
        return [v.reached for v in bars.verdicts(list(rows), POINTS)]

    def test_on_or_under_the_line_reaches_it(self):
        rows = row(2.99, 1e-3), row(2.0, 0.99e-2), row(3.02, 1e-3)
        self.assertEqual(self.reached(*rows), [True, True, False])

    def test_pages_of_64_tokens_may_lie_4_percent_above(self):
        rows = [row(bpe, 1e-3, page_tokens=64) for bpe in (3.11, 3.13)]
        self.assertEqual(self.reached(*rows), [True, False])

    def test_givens_rotations_may_lie_12_percent_above(self):
        rows = row(3.35, 1e-3, "sluice m-givens"), row(3.37, 1e-3, "sluice m-givens")
        self.assertEqual(self.reached(*rows), [True, False])

    def test_that_is_above_the_dense_profile_of_the_same_pages_where_there_is_one(self):
        dense = [row(1.9, 1e-2), row(2.9, 1e-3), row(4.0, 1e-2, page_tokens=64)]
        givens = [row(2.9 * 1.11, 1e-3, "sluice givens"), row(2.9 * 1.13, 1e-3, "sluice givens")]
        self.assertEqual(self.reached(*dense, *givens)[-2:], [True, False])

    def test_levels_may_take_3_percent_more_than_one_that_is_coded_at_once(self):
        levels = [row(2.0, 1e-2), row(3.0, 1e-3, level="q1")]
        for bpe, reached in ((2.92, True), (2.90, False)):
            single = row(bpe, 1e-3, "sluice dense-single", "q1")
            verdict = bars.verdicts([*levels, single], POINTS)[-1]
            self.assertEqual((verdict.codec, verdict.reached), ("sluice dense", reached))
            self.assertAlmostEqual(verdict.bpe, 3.0)
        self.assertEqual(bars.verdicts([single], POINTS), [])

    def test_exact_levels_behind_others_have_bars_of_their_own(self):
        rows = [row(bpe, 0.0, level=f"exact on q{q}") for q, bpe in ((3, 9.7), (3, 9.8), (1, 10.2))]
        self.assertEqual(self.reached(*rows), [True, False, True])

    def test_others_and_direct_are_not_judged(self):
        other = {"codec": "kivi", "level": "2", "bpe": 2.0, "kl_mean": 1e-3}
        rows = other, row(9.0, 0.0, level="exact"), row(2.0, 1e-3)
        found = bars.verdicts(list(rows), POINTS)
        self.assertEqual([(v.codec, v.level) for v in found], [("sluice dense", "q2")])


class Models(unittest.TestCase):
    def test_a_model_is_found_in_any_spelling_of_its_name(self):
        for name, model in (
            ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2"),
            ("smollm2", "SmolLM2"),
            ("qwen2.5-coder-0.5b-instruct", "Qwen2.5-Coder-0.5B"),
            ("gemma-3-270m-it", "Gemma3-270M"),
        ):
            self.assertIs(bars.points_of(name), bars.BARS[model])
        self.assertIsNone(bars.points_of("Llama-3.1-8B"))

    def test_every_bar_falls_with_size(self):
        for points in bars.BARS.values():
            self.assertEqual(points, sorted(points, key=lambda point: -point[1]))
            self.assertEqual(points, sorted(points))


if __name__ == "__main__":
    unittest.main()
