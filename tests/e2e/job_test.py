"""The quickstart's job in processes of their own, at and around page boundaries."""

import unittest

import harness


class Job(unittest.TestCase):
    def check(self, tokens: int, flash_attn: str) -> None:
        daemon = harness.Daemon()
        try:
            common = ["--tokens", str(tokens), "--flash-attn", flash_attn]
            stored = harness.start_job("store", daemon, *common)
            expect = f"{daemon.folder}/store.json"
            result = harness.start_job("compare", daemon, "--expect", expect, *common)
        finally:
            status = daemon.stop()
        pages = tokens // 64
        self.assertEqual(stored["split"], 64 * pages)
        self.assertEqual(result["tokens_reused"], 64 * pages)
        self.assertEqual(result["raw_bytes"], pages * 30 * 2 * 64 * 3 * 64 * 2)
        self.assertLess(result["stored_bytes"], result["raw_bytes"])
        self.assertTrue(result["same_logits"], "a logit differs")
        self.assertTrue(result["same_answer"], "the answer differs")
        self.assertFalse(result["control"]["same_logits"], "the control was not noticed")
        self.assertFalse(result["control"]["same_answer"], "the control was not noticed")
        self.assertEqual(status, 0)

    def test_one_token_below_a_boundary_with_flash_attention(self):
        self.check(191, "on")

    def test_at_a_boundary_with_flash_attention(self):
        self.check(192, "on")

    def test_one_token_above_a_boundary_with_flash_attention(self):
        self.check(193, "on")

    def test_one_token_below_a_boundary_without_flash_attention(self):
        self.check(191, "off")

    def test_at_a_boundary_without_flash_attention(self):
        self.check(192, "off")

    def test_one_token_above_a_boundary_without_flash_attention(self):
        self.check(193, "off")


if __name__ == "__main__":
    unittest.main()
