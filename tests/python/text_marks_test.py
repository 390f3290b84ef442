"""Test text that was calibrated on is found, whatever stands around it."""

import hashlib
import random
import struct
import unittest

from sluice_kv import text_marks


def drawn(seed: int, count: int) -> list[int]:
    return random.Random(seed).choices(range(50_000), k=count)


class Leaks(unittest.TestCase):
    def setUp(self):
        self.calibration = drawn(1, 1000)
        self.kept = text_marks.kept(self.calibration)

    def test_a_run_of_31_tokens_is_found_at_any_offset(self):
        for start in range(0, 64):
            copied = self.calibration[start : start + 31]
            test = drawn(2, 100) + copied + drawn(3, 100)
            found = list(text_marks.leaks(test, self.kept))
            self.assertTrue(found, start)
            self.assertTrue(all(100 <= at <= 100 + 15 for at in found))

    def test_other_text_and_shorter_runs_are_not(self):
        test = drawn(2, 5000) + self.calibration[16:31]
        self.assertEqual(list(text_marks.leaks(test, self.kept)), [])

    def test_rules_and_empty_tables_do_not_count(self):
        rule = [7] * 40 + [1, 2, 3] * 20
        self.assertEqual(text_marks.kept(rule), set())
        self.assertEqual(list(text_marks.leaks(rule, text_marks.kept(rule))), [])

    def test_what_is_kept_is_what_the_description_says(self):
        window = self.calibration[32:48]
        packed = b"sluice window 1" + struct.pack("<16I", *window)
        self.assertIn(int.from_bytes(hashlib.sha256(packed).digest()[:8], "little"), self.kept)
        self.assertEqual(len(self.kept), 1000 // 16)

    def test_a_text_shorter_than_a_window_has_none(self):
        self.assertEqual(text_marks.kept(drawn(1, 15)), set())


if __name__ == "__main__":
    unittest.main()
