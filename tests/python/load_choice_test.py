"""Load or compute, with a simulated clock and links of known speed."""

import unittest

from sluice_kv.load_choice import FIRST_PAUSE_S, PAUSE_S_MAX, PROBE_TOKENS, LoadChoice

PREFILL_S = 0.004  # a token


class Simulation(unittest.TestCase):
    def setUp(self):
        self.now = 1000.0
        self.choice = LoadChoice(clock=lambda: self.now)

    def request(self, found: int, load_s: float) -> int:
        """Serves one prompt of which `found` tokens are stored; returns the tokens loaded."""
        tokens = self.choice.tokens_to_load(found)
        self.choice.begun(tokens)
        if tokens:
            self.now += tokens * load_s
            self.choice.loaded(tokens, tokens * load_s)
        if tokens < found:
            self.now += (found - tokens) * PREFILL_S
            self.choice.prefilled(found - tokens, (found - tokens) * PREFILL_S)
        return tokens

    def test_what_is_found_is_loaded_until_something_is_known(self):
        self.assertEqual(self.choice.tokens_to_load(2048), 2048)
        self.assertIsNone(self.choice.patience_s(2048))

    def test_where_a_load_cannot_be_ended_the_first_is_a_probe(self):
        self.choice = LoadChoice(clock=lambda: self.now, assumed_prefill_s=PREFILL_S)
        self.assertEqual(self.request(2048, PREFILL_S / 10), PROBE_TOKENS)
        self.assertEqual(self.request(2048, PREFILL_S / 10), 2048)

    def test_what_a_token_is_assumed_to_take_counts_until_a_prefill_was_measured(self):
        self.choice = LoadChoice(clock=lambda: self.now, assumed_prefill_s=PREFILL_S)
        self.choice.loaded(512, 512 * PREFILL_S * 2)
        self.assertEqual(self.choice.tokens_to_load(2048), 0)
        self.choice.prefilled(2048, 2048 * PREFILL_S * 4)
        self.assertEqual(self.choice.tokens_to_load(2048), 2048)

    def test_prompts_that_are_always_found_whole_leave_a_tail_to_measure_twice(self):
        self.choice = LoadChoice(clock=lambda: self.now, prefill_probe_tokens=256)
        loads = [self.request(2048, PREFILL_S / 10) for _ in range(5)]
        self.assertEqual(loads, [2048, 1792, 1792, 2048, 2048])
        self.choice = LoadChoice(clock=lambda: self.now, prefill_probe_tokens=256)
        loads = [self.request(2048, PREFILL_S * 2) for _ in range(4)]
        self.assertEqual(loads, [2048, 1792, PROBE_TOKENS, 0])

    def test_the_first_prefill_has_the_warm_up_in_it_and_counts_until_the_second(self):
        self.choice.prefilled(256, 256 * PREFILL_S * 50)
        self.assertEqual(self.choice.prefill_s, PREFILL_S * 50)
        self.choice.prefilled(256, 256 * PREFILL_S)
        self.assertEqual(self.choice.prefill_s, PREFILL_S)

    def test_a_fast_link_always_loads(self):
        self.choice.prefilled(2048, 2048 * PREFILL_S)
        for _ in range(20):
            self.assertEqual(self.request(2048, PREFILL_S / 10), 2048)

    def test_a_slow_link_loads_once_and_then_only_probes(self):
        self.choice.prefilled(2048, 2048 * PREFILL_S)
        self.assertEqual(self.request(2048, PREFILL_S * 2), 2048)
        started, loaded = self.now, 0
        for _ in range(100):
            loaded += self.request(2048, PREFILL_S * 2)
        computed_s = 100 * 2048 * PREFILL_S
        self.assertGreater(loaded, 0)
        self.assertLess(self.now - started, computed_s * 1.05)

    def test_a_probe_is_short_and_comes_after_the_pause(self):
        self.choice.prefilled(2048, 2048 * PREFILL_S)
        self.request(2048, PREFILL_S * 2)
        self.assertEqual(self.choice.tokens_to_load(2048), 0)
        self.now += FIRST_PAUSE_S
        self.assertEqual(self.choice.tokens_to_load(2048), PROBE_TOKENS)
        self.assertEqual(self.choice.tokens_to_load(100), 100)

    def test_pauses_double_up_to_a_bound(self):
        self.choice.prefilled(2048, 2048 * PREFILL_S)
        self.request(PROBE_TOKENS, PREFILL_S * 2)
        pauses = []
        for _ in range(9):
            ended = self.now
            while self.choice.tokens_to_load(PROBE_TOKENS) == 0:
                self.now += 1
            pauses.append(self.now - ended)
            self.request(PROBE_TOKENS, PREFILL_S * 2)
        doubled = [min(FIRST_PAUSE_S * 2**i, PAUSE_S_MAX) for i in range(9)]
        self.assertEqual(pauses, doubled)

    def test_a_link_that_recovers_is_used_after_one_probe(self):
        self.choice.prefilled(2048, 2048 * PREFILL_S)
        self.request(2048, PREFILL_S * 2)
        self.now += FIRST_PAUSE_S
        self.assertEqual(self.request(2048, PREFILL_S / 10), PROBE_TOKENS)
        self.assertEqual(self.request(2048, PREFILL_S / 10), 2048)

    def test_a_probe_that_never_ends_is_not_followed_by_another(self):
        self.choice.prefilled(2048, 2048 * PREFILL_S)
        self.request(2048, PREFILL_S * 2)
        self.now += FIRST_PAUSE_S
        self.choice.begun(self.choice.tokens_to_load(2048))
        self.assertEqual(self.choice.tokens_to_load(2048), 0)

    def test_a_load_that_brings_nothing_loses(self):
        self.choice.prefilled(2048, 2048 * PREFILL_S)
        self.choice.begun(2048)
        self.choice.loaded(0, 5.0)
        self.assertEqual(self.choice.tokens_to_load(2048), 0)
        self.now += FIRST_PAUSE_S
        self.assertEqual(self.request(2048, PREFILL_S / 10), PROBE_TOKENS)
        self.assertEqual(self.request(2048, PREFILL_S / 10), 2048)

    def test_patience_is_the_time_that_computing_takes(self):
        self.choice.prefilled(1000, 4.0)
        self.assertAlmostEqual(self.choice.patience_s(500), 2.0)

    def test_short_samples_say_nothing(self):
        self.choice.prefilled(2048, 2048 * PREFILL_S)
        self.choice.loaded(1, 3.0)
        self.choice.prefilled(1, 3.0)
        self.assertEqual(self.choice.tokens_to_load(2048), 2048)
        self.assertAlmostEqual(self.choice.prefill_s, PREFILL_S)


if __name__ == "__main__":
    unittest.main()
