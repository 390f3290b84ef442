"""The quality bench on a real model, small: what it writes, and whom it refuses.

tests/python/run_hf.sh runs this. $SLUICE_HF_MODEL is SmolLM2-135M.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ["SLUICE_SOURCE"]
BENCH = os.path.join(SOURCE, "bench")
sys.path[:0] = [os.path.join(BENCH, "quality")]

import report

LICENSES = "/usr/share/common-licenses"
PROFILE, LEVELS = "smollm2-135m-q4_1", ("q3", "q2", "q1", "exact on q3", "exact on q1")
CODECS = ["sluice*", "cachegen 2 whole", "q8_0 rotated", "kivi 2", "kvtc-like rel0.01", "zstd -1 raw"]
ROW = {
    "codec", "level", "model", "text", "windows", "bpe", "kl_mean", "kl_interval", "kl_p99", "top1",
    "ppl_delta", "greedy_match", "needles", "needles_of", "kl_windows",
}  # fmt: skip


class QualityBench(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.json = os.path.join(self.folder, "out.json")

    def run_it(self, calib: list[str], *options: str) -> subprocess.CompletedProcess:
        paths = os.path.join(BENCH, "quality"), BENCH, os.environ["PYTHONPATH"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, os.path.join(BENCH, "quality", "quality_bench.py")]
        command += ["--model", os.environ["SLUICE_HF_MODEL"], "--json", self.json]
        command += ["--calib", *calib, "--test", f"{LICENSES}/GPL-3", *options]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def test_every_codec_is_measured_in_one_harness(self):
        profile = os.path.join(SOURCE, "deploy", "profiles", f"{PROFILE}.profile")
        sizes = ["--windows", "1", "--prefix-tokens", "512", "--forced-tokens", "64"]
        sizes += ["--greedy-tokens", "16", "--needles", "2", "--needle-tokens", "512"]
        calib = [f"{LICENSES}/MPL-2.0", f"{LICENSES}/MPL-1.1"]
        done = self.run_it(calib, *sizes, "--profile", profile, "--codecs", *CODECS)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.json) as file:
            result = json.load(file)
        rows = {report.label(row): row for row in result["rows"]}
        ours = ["sluice direct exact", *(f"sluice {PROFILE} {level}" for level in LEVELS)]
        names = [*(f"{name} {pages}" for name in ours for pages in (64, 256)), *CODECS[1:-1], "zstd -1 raw 64"]
        self.assertEqual(sorted(rows), sorted(names))
        for name, row in rows.items():
            self.assertEqual(set(row) - {"page_tokens"}, ROW)
            self.assertEqual((row["text"], row["windows"]), ("GPL-3", 1))
            self.assertIn(name, done.stdout)  # the table
        for name in ("sluice direct exact 64", "zstd -1 raw 64", f"sluice {PROFILE} exact on q1 64"):
            self.assertEqual((rows[name]["kl_mean"], rows[name]["greedy_match"]), (0, 1))
        self.assertLess(rows["sluice direct exact 64"]["bpe"], 11)
        self.assertAlmostEqual(rows["kivi 2"]["bpe"], 3.0)
        ours = rows[f"sluice {PROFILE} q1 64"]
        self.assertLess(ours["bpe"], 5.5)
        levels = [rows[f"sluice {PROFILE} {level} 64"] for level in ("q3", "q2", "q1")]
        self.assertEqual(levels, sorted(levels, key=lambda row: row["bpe"]))
        self.assertEqual(levels, sorted(levels, key=lambda row: -row["kl_mean"]))
        self.assertLess(rows["q8_0 rotated"]["kl_mean"], ours["kl_mean"])
        self.assertLess(ours["kl_mean"], rows["kvtc-like rel0.01"]["kl_mean"])
        self.assertLess(rows["kvtc-like rel0.01"]["kl_mean"], rows["kivi 2"]["kl_mean"])
        self.assertEqual(result["parameters"]["prefix_tokens"], 512)
        self.assertEqual(result["parameters"]["sinks"], 4)

        # With another codec the same run adds to what there is.
        done = self.run_it(calib, *sizes, "--codecs", "zstd -3 raw")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.json) as file:
            again = {report.label(row): row for row in json.load(file)["rows"]}
        self.assertEqual({name: again[name] for name in rows}, rows)
        self.assertEqual(set(again) - set(rows), {"zstd -3 raw 64"})

    def test_text_that_was_calibrated_on_is_refused(self):
        copy = os.path.join(self.folder, "other_name.txt")
        shutil.copy(f"{LICENSES}/GPL-3", copy)
        sizes = ["--windows", "1", "--needles", "0", "--prefix-tokens", "512"]
        done = self.run_it([f"{LICENSES}/MPL-2.0", copy], *sizes)
        self.assertEqual(done.returncode, 1)
        self.assertIn("other_name.txt, which profiles were calibrated on", done.stderr)
        self.assertFalse(os.path.exists(self.json))


if __name__ == "__main__":
    unittest.main()
