"""Calibration of a real model, small: what is written fits the model and costs what it says."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import types
import unittest

from daemon import Daemon
import numpy as np
from sluice_kv import api, calibrate, space_identity
from sluice_kv.profile_file import Block, Profile, marks_of

LICENSES = "/usr/share/common-licenses"
MODEL = os.environ["SLUICE_HF_MODEL"]


def bits_of(level: dict) -> float:
    """Bits an element as if it had a KL of 1 nat: a bit less makes steps twice and KL four times as large."""
    return level["bits_per_element"] + math.log2(level["kl_mean"]) / 2


class Calibrate(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.stop)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.name = os.path.join(folder.name, "small")

    def run_it(self, *texts: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "sluice_kv.calibrate", "--model", MODEL]
        command += ["--out", self.name, "--socket", self.daemon.socket, "--windows", "2"]
        command += ["--test-windows", "2", *texts]
        return subprocess.run(command, capture_output=True, text=True)

    def test_a_profile_fits_its_model_and_says_what_was_measured(self):
        texts = [f"--text={LICENSES}/GPL-2", f"--text={LICENSES}/Apache-2.0"]
        done = self.run_it(*texts, f"--test={LICENSES}/MPL-2.0")
        self.assertEqual(done.returncode, 0, done.stderr)
        levels = json.loads(done.stdout)
        self.assertEqual([row["level"] for row in levels], ["q3", "q2", "q1"])
        for coarse, fine in zip(levels, levels[1:]):
            self.assertLess(fine["kl_mean"], coarse["kl_mean"] / 4)
            self.assertLess(fine["bits_per_element"], coarse["bits_per_element"] + 1.8)
        measured = levels[0]
        self.assertEqual(measured["tokens"], 256)
        self.assertLess(measured["bits_per_element"], 2.5)
        self.assertGreater(measured["top1"], 0.7)
        with open(self.name + ".profile", "rb") as file:
            profile = file.read()
        model = api.Model(MODEL)
        group = model.manifest()["groups"][0]
        fields = space_identity.group_fields(
            group, dtype="bf16", first_head=0, heads=group["planes"][0]["heads"]
        )
        fields |= {"model_digest": model.digest(60_000), "compute_dtype": "bf16", "page_tokens": 64}
        with api.Client(self.daemon.socket) as client:
            client.add_profile(profile)
            descriptor = space_identity.encode_descriptor(fields)
            with api.Space(client, descriptor, put_kl=api.KL_UNKNOWN) as space:
                kl = space.encoded_kl
        self.assertGreaterEqual(kl / 1e6, measured["kl_mean"])
        self.assertLess(kl / 1e6, measured["kl_mean"] + 2e-6)

    def test_levels_out_of_order_leave_no_file(self):
        group = api.Model(MODEL).manifest()["groups"][0]
        channels = group["planes"][0]["heads"] * group["planes"][0]["dim"]
        block = Block(np.zeros(channels), np.ones(channels), np.zeros(channels, np.uint8), None, 0)
        draft = Profile(
            model_digest=bytes(32),
            planes=group["planes"],
            layers=[0],
            rotations=[0],
            frequencies=[np.ones(group["planes"][0]["rotated_dims"] // 2)],
            blocks=[[block, block]],
            sinks=4,
            note="",
            kl=[],
            marks=set(),
        )
        args = types.SimpleNamespace(socket=self.daemon.socket, out=self.name)
        levels = [{"kl_mean": 0.1}, {"kl_mean": 0.001}, {"kl_mean": 0.01}]
        with self.assertRaisesRegex(SystemExit, "kl.*--test-windows"):
            calibrate.write([draft], levels, args)
        self.assertFalse(os.path.exists(self.name + ".profile"))
        calibrate.write([draft], sorted(levels, key=lambda level: -level["kl_mean"]), args)
        self.assertTrue(os.path.exists(self.name + ".profile"))

    def test_a_second_run_goes_on_with_what_the_first_one_gathered(self):
        texts = [f"--text={LICENSES}/GPL-2", f"--text={LICENSES}/Apache-2.0", f"--test={LICENSES}/MPL-2.0"]
        smallest = ["--metric=energy", "--basis=identity", "--rows=1", "--target-kl=0.01"]
        done = self.run_it(*texts, *smallest)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("calibration window 2 of 2", done.stderr)
        (first,) = json.loads(done.stdout)
        self.assertEqual(first["level"], "q1")
        # A trial on other text brings the quality near the target, whatever unit the metric has.
        self.assertTrue(0.002 < first["kl_mean"] < 0.05, first)
        with open(self.name + ".profile", "rb") as file:
            marks = marks_of(file.read())
        self.assertTrue(100 < len(marks) <= 2 * 1280 // 16, len(marks))
        done = self.run_it(*texts, *smallest, "--basis=givens")
        self.assertEqual(done.returncode, 2)
        self.assertIn("pages coded with it need it", done.stderr)
        os.remove(self.name + ".profile")
        done = self.run_it(f"--text={LICENSES}/GPL-1", *texts[1:], *smallest)
        self.assertEqual(done.returncode, 1)
        self.assertIn("of a run with another windows", done.stderr)
        done = self.run_it(*texts, *smallest, "--basis=givens")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 windows of", done.stderr)
        self.assertNotIn("calibration window", done.stderr)
        (second,) = json.loads(done.stdout)
        self.assertLess(bits_of(second), bits_of(first))

    def test_the_text_that_was_calibrated_on_is_no_test(self):
        text = f"{LICENSES}/GPL-2"
        done = self.run_it(f"--text={text}", f"--test={text}")
        self.assertEqual(done.returncode, 2)
        self.assertIn("measured on other text", done.stderr)
        other_name = os.path.join(os.path.dirname(self.name), "copy.txt")
        shutil.copy(text, other_name)
        done = self.run_it(f"--text={text}", f"--test={other_name}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("measured on other text", done.stderr)

    def test_what_cannot_be_calibrated_on_is_refused_before_the_work(self):
        texts = [f"--text={LICENSES}/GPL-2", f"--test={LICENSES}/MPL-2.0"]
        no_text = os.path.join(os.path.dirname(self.name), "utf16.txt")
        with open(no_text, "w", encoding="utf-16") as file:
            file.write("no UTF-8 " * 5000)
        for wrong, told in (
            (["--windows=0"], "at least 1"),
            (["--socket=/no/such/socket"], "a running sluiced is needed"),
            (["--target-kl=nan"], "--target-kl"),
            (["--out=/no/such/folder/x"], "no such folder"),
            ([f"--text={no_text}"], "not UTF-8"),
            (["--text=/no/such/text"], "/no/such/text"),
        ):
            with self.subTest(wrong):
                done = self.run_it(*texts, *wrong)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(told, done.stderr)
                self.assertNotIn("Traceback", done.stderr)
                self.assertNotIn("calibration window", done.stderr)


if __name__ == "__main__":
    unittest.main()
