"""Tables, paired intervals and plots of kept results of the quality bench."""

import math
import random
import unittest

import paired
import quality_plot
import report


def row(codec: str, level: str, bpe: float, kl: list[float], **other) -> dict:
    mean = sum(kl) / len(kl)
    return {
        "codec": codec,
        "level": level,
        "model": "SmolLM2-135M",
        "text": "some.txt",
        "windows": len(kl),
        "bpe": bpe,
        "kl_mean": mean,
        "kl_interval": [mean / 2, mean * 2],
        "kl_p99": 9 * mean,
        "top1": 0.97,
        "ppl_delta": 0.012,
        "greedy_match": 0.5,
        "needles": 3,
        "needles_of": 4,
        "kl_windows": kl,
        **other,
    }


RESULT = {
    "rows": [
        row("sluice direct", "exact", 10.4, [0.0, 0.0], page_tokens=64),
        row("sluice dense", "q3", 1.7, [0.02, 0.03], page_tokens=64),
        row("sluice dense", "q1", 4.7, [0.0002, 0.0003], page_tokens=64),
        row("kivi", "2", 3.0, [0.2, 0.14]),
        row("q4_0", "plain", 4.5, [0.0020, 0.0030], greedy_match=None, needles=0, needles_of=0),
    ],
}


class LogRatio(unittest.TestCase):
    def test_it_is_of_the_means_and_pairs_stay_together(self):
        windows = [random.Random(5).expovariate(1) for _ in range(16)]
        found, low, high = paired.log_ratio([2 * kl for kl in windows], windows)
        for value in (found, low, high):  # each window has the same ratio: no spread
            self.assertAlmostEqual(value, math.log(2))

    def test_the_interval_is_as_wide_as_the_windows_differ(self):
        drawn = random.Random(5)
        a = [math.exp(drawn.gauss(0, 0.3)) for _ in range(64)]
        b = [math.exp(drawn.gauss(0, 0.3)) for _ in range(64)]
        found, low, high = paired.log_ratio(a, b)
        self.assertTrue(low < found < high)
        # Two means of log-normal values, each with a deviation of .3 / 8.
        self.assertAlmostEqual(high - low, 2 * 1.96 * math.sqrt(2) * 0.3 / 8, delta=0.06)
        self.assertEqual((found, low, high), paired.log_ratio(a, b), "draws are seeded")

    def test_exact_rows_have_none(self):
        self.assertIsNone(paired.log_ratio([0.0, 0.0], [1.0, 1.0]))

    def test_other_windows_are_refused(self):
        with self.assertRaises(ValueError):
            paired.log_ratio([1.0], [1.0, 2.0])


class Report(unittest.TestCase):
    def lines(self, *arguments) -> list[str]:
        return report.text(RESULT, *arguments).splitlines()

    def test_rows_stand_by_size_with_ours_at_equal_kl(self):
        table = [line.split(" | ") for line in self.lines() if line.startswith("| ")]
        names = [cells[0].removeprefix("| ") for cells in table[2:]]
        self.assertEqual(
            names,
            ["sluice dense q3 64", "kivi 2", "q4_0 plain", "sluice dense q1 64", "sluice direct exact 64"],
        )
        q4_0 = dict(zip(report.HEAD[1:], table[4][1:]))
        self.assertEqual(q4_0["ours"], "3.20")  # half way in log KL
        self.assertEqual(q4_0["ratio"].removesuffix(" |"), "1.41")
        self.assertEqual(q4_0["needles"], "")
        worse_than_q3 = dict(zip(report.HEAD[1:], table[3][1:]))
        self.assertIn("at least", worse_than_q3["ratio"])

    def test_bars_are_judged_where_the_model_has_some(self):
        judged = [line for line in self.lines() if line.startswith("bar: ")]
        self.assertEqual(len(judged), 2)
        self.assertIn("sluice dense q3 64", judged[0])
        self.assertIn("reached", judged[0])
        self.assertIn("MISSED", judged[1])

    def test_differences_are_against_the_codec_asked_for(self):
        lines = self.lines("kivi 2")
        q4_0 = next(line for line in lines if line.startswith("| q4_0"))
        self.assertIn(f"{math.log(0.0025 / 0.17):+.3f} [", q4_0)
        with self.assertRaises(SystemExit):
            self.lines("no such")


class Plot(unittest.TestCase):
    def test_it_names_lossy_codecs_once_and_leaves_exact_ones_out(self):
        drawn = quality_plot.quality_svg([RESULT])
        self.assertEqual(drawn.count(">sluice dense, 64 a page<"), 1)
        self.assertEqual(drawn.count(">kivi<"), 1)
        self.assertNotIn("direct", drawn)
        self.assertIn("SmolLM2-135M, some.txt", drawn)


if __name__ == "__main__":
    unittest.main()
