"""What a scheduler step loads and saves, without vLLM: blocks of 128 tokens unless said."""

import unittest

from sluice_kv.load_choice import LoadChoice
from sluice_kv.space_identity import ROOT_KEY, KeyChain
from sluice_kv.vllm_plan import (
    LOADS_MAX,
    LOOKUP_FRESH_S,
    PREFILL_PROBE_TOKENS,
    Planner,
    Shape,
    Timings,
)

SPACES = [bytes(32), bytes([1] * 32)]


class Plans(unittest.TestCase):
    def setUp(self):
        self.stored = 0  # pages; None: the daemon does not answer
        self.lookups = 0
        self.now = 0.0
        self.tokens = list(range(2048))
        self.blocks = list(range(100, 116))

    def planner(self, ranks: int = 1, block: int = 128, **options) -> Planner:
        return Planner(
            SPACES[:ranks],
            page_tokens=64,
            block_tokens=block,
            lookup=self.lookup,
            clock=lambda: self.now,
            **{"choice": LoadChoice(), "is_async": False, "can_recompute": True, **options},
        )

    def lookup(self, keys):
        self.lookups += 1
        return self.stored if self.stored is None else min(self.stored, len(keys[0]))

    def matched(self, planner: Planner, local: int = 0, salt=None) -> int:
        return planner.matched_tokens("r", self.tokens, local, salt)

    def step(self, planner: Planner, computed: int, count: int):
        return planner.step([("r", computed, count)], lambda _: self.blocks)

    def start(self, planner: Planner, local: int = 0) -> int:
        """Matches and allocates as the engine does; returns the tokens before its first step."""
        loaded = self.matched(planner, local)
        planner.allocated("r", self.blocks, loaded)
        return local + loaded

    def saved(self, plan) -> list[tuple[int, int]]:
        return [(run.first_page, run.first_page + run.pages) for run in plan.saves]

    # ---- loads

    def test_one_token_is_left_to_compute(self):
        self.stored = 32
        self.assertEqual(self.matched(self.planner()), 1920)
        self.tokens.append(1)
        self.assertEqual(self.matched(self.planner()), 2048)

    def test_only_whole_blocks_are_loaded(self):
        self.stored = 5  # 320 tokens
        self.assertEqual(self.matched(self.planner()), 256)
        self.assertEqual(self.matched(self.planner(block=16)), 320)

    def test_what_the_engine_has_is_not_loaded(self):
        self.stored = 4
        self.assertEqual(self.matched(self.planner(), local=256), 0)
        self.assertEqual(self.matched(self.planner(), local=128), 128)

    def test_a_load_names_its_pages_blocks_and_anchor(self):
        self.stored = 32
        planner = self.planner()
        self.assertEqual(self.start(planner, local=256), 1920)
        (load,) = self.step(planner, 1920, 128).loads
        keys = KeyChain(SPACES[0], 64).extend(self.tokens)
        self.assertEqual((load.run.first_page, load.run.pages), (4, 26))
        self.assertEqual(load.run.keys, [keys[4:30]])
        self.assertEqual(load.run.anchors, [keys[3]])
        self.assertEqual(load.run.blocks, self.blocks[2:15])
        self.assertEqual((load.run.first_token, load.run.end_token), (256, 1920))
        self.assertEqual(self.step(planner, 1920, 128).loads, [])

    def test_a_load_that_begins_within_a_page_leaves_the_tokens_before_alone(self):
        self.stored = 2
        planner = self.planner(block=16)
        self.assertEqual(self.start(planner, local=80), 128)
        (load,) = self.step(planner, 128, 16).loads
        self.assertEqual((load.run.first_page, load.run.pages), (1, 1))
        self.assertEqual((load.run.first_token, load.run.end_token), (80, 128))
        self.assertEqual(load.run.blocks, self.blocks[5:8])
        self.assertEqual(load.run.anchors, [KeyChain(SPACES[0], 64).extend(self.tokens)[0]])

    def test_another_salt_or_rank_has_other_keys(self):
        self.stored = 32
        planners = [self.planner(ranks=2), self.planner(ranks=2)]
        runs = []
        for planner, salt in zip(planners, (None, "someone")):
            planner.allocated("r", self.blocks, self.matched(planner, salt=salt))
            runs.append(self.step(planner, 1920, 128).loads[0].run)
        keys = {key for run in runs for rank in run.keys for key in rank}
        self.assertEqual(len(keys), 2 * 2 * 30)
        self.assertEqual(runs[0].anchors, [ROOT_KEY, ROOT_KEY])

    def test_a_request_that_waits_is_not_looked_up_at_every_step(self):
        for self.stored in (0, None):  # nothing is there, nobody answers
            self.lookups, planner = 0, self.planner()
            for _ in range(5):
                self.matched(planner)
            self.assertEqual(self.lookups, 1)
            self.now += LOOKUP_FRESH_S * 1.01
            self.matched(planner)
            self.assertEqual(self.lookups, 2)

    def test_a_request_that_loaded_is_looked_up_again_at_once(self):
        self.stored = 32
        planner = self.planner(is_async=True)
        self.start(planner)
        self.stored = 4
        self.assertEqual(self.start(planner), 256)

    def test_a_load_is_given_up_only_where_its_tokens_are_then_computed(self):
        for can_recompute, patience_s in ((True, 1.92), (False, None)):
            self.stored = 32
            planner = self.planner(can_recompute=can_recompute)
            planner.choice.prefilled(1000, 1.0)
            self.start(planner)
            (load,) = self.step(planner, 1920, 128).loads
            self.assertEqual(load.patience_s, patience_s)

    def test_a_request_whose_loads_fail_is_computed_in_the_end(self):
        self.stored = 32
        planner = self.planner(is_async=True)
        for _ in range(LOADS_MAX):
            self.assertEqual(self.start(planner), 1920)
        self.assertEqual(self.start(planner), 0)

    def test_where_loading_loses_nothing_is_loaded_and_nothing_known_is_saved(self):
        self.stored = 32
        planner = self.planner()
        planner.choice.prefilled(1000, 1.0)
        planner.choice.loaded(1000, 2.0)
        self.assertEqual(self.start(planner), 0)
        self.assertEqual(self.step(planner, 0, 2048).saves, [])

    def test_prompts_that_are_found_whole_leave_a_tail_that_can_be_timed(self):
        self.stored = 32
        planner = self.planner(block=16, choice=LoadChoice(prefill_probe_tokens=PREFILL_PROBE_TOKENS))
        loaded = []
        for _ in range(4):
            loaded.append(self.start(planner))
            self.step(planner, loaded[-1], 2048 - loaded[-1])
            planner.finished("r")
            planner.choice.loaded(loaded[-1], 1e-6)
            planner.choice.prefilled(2048 - loaded[-1], 1.0)  # 16 tokens say nothing
        self.assertEqual(loaded, [2032, 1920, 1920, 2032])

    def test_what_must_be_computed_anyway_counts_as_the_tail(self):
        self.stored = 24
        planner = self.planner(block=16, choice=LoadChoice(prefill_probe_tokens=PREFILL_PROBE_TOKENS))
        planner.choice.loaded(2048, 1e-6)
        self.assertEqual(self.matched(planner), 1536)

    # ---- what was measured

    def test_a_load_counts_once_when_every_rank_has_ended_it(self):
        planner = self.planner(ranks=2)
        planner.measured(Timings(loads=[("a", 1024, 1.0)]))
        self.assertIsNone(planner.choice.load_s)
        planner.measured(Timings(loads=[("b", 1024, 1.0), ("a", 512, 2.0)]))
        self.assertEqual(planner.choice.load_s, 2.0 / 512)
        planner.measured(Timings(loads=[("a", 1024, 1.0)]))  # its second load
        self.assertEqual(planner.choice.load_s, 2.0 / 512)

    def test_two_ranks_times_are_the_slowers_and_all_their_loads(self):
        mine = Timings(100, 1.0, [("a", 64, 0.5)])
        joined = mine.joined(Timings(100, 3.0, [("a", 64, 0.25), ("b", 64, 0.5)]))
        loads = [("a", 64, 0.5), ("a", 64, 0.25), ("b", 64, 0.5)]
        self.assertEqual(joined, Timings(100, 3.0, loads))

    def test_a_producer_only_saves_and_a_consumer_only_loads(self):
        self.stored = 4
        producer = self.planner(may_load=False)
        self.assertEqual(self.start(producer), 0)
        self.assertEqual(self.saved(self.step(producer, 0, 2048)), [(4, 32)])
        consumer = self.planner(may_save=False)
        self.assertEqual(self.start(consumer), 256)
        self.assertEqual(self.step(consumer, 256, 1792).saves, [])

    # ---- saves

    def test_full_pages_are_saved_in_the_step_that_fills_them(self):
        planner = self.planner()
        self.start(planner)
        self.assertEqual(self.saved(self.step(planner, 0, 1000)), [(0, 15)])
        plan = self.step(planner, 1000, 1000)
        self.assertEqual(self.saved(plan), [(15, 31)])
        self.assertEqual(plan.saves[0].blocks, self.blocks[7:16])
        self.assertEqual(plan.prefill_tokens, 1000)
        self.assertEqual(self.step(planner, 2000, 1).saves, [])

    def test_tokens_whose_ids_are_not_known_yet_are_saved_later(self):
        planner = self.planner()
        self.tokens = self.tokens[:64]
        self.start(planner)
        self.step(planner, 0, 64)
        self.assertEqual(self.step(planner, 64, 64).saves, [])
        self.tokens.extend(range(64))
        self.assertEqual(self.saved(self.step(planner, 128, 1)), [(1, 2)])

    def test_what_the_engine_has_and_the_store_lacks_is_saved(self):
        self.stored = 2
        planner = self.planner()
        self.start(planner, local=1024)
        self.assertEqual(self.saved(self.step(planner, 1024, 1024)), [(2, 32)])

    def test_without_an_answer_only_new_pages_are_saved(self):
        self.stored = None
        planner = self.planner()
        self.assertEqual(self.start(planner, local=1024), 1024)
        self.assertEqual(self.saved(self.step(planner, 1024, 1024)), [(16, 32)])

    def test_pages_that_could_not_be_loaded_are_saved_when_computed(self):
        for is_async in (False, True):
            self.stored = 30
            planner = self.planner(is_async=is_async)
            self.start(planner)
            if not is_async:
                self.step(planner, 1920, 128)
            self.assertEqual(self.saved(self.step(planner, 256, 1792)), [(4, 32)], is_async)

    def test_what_a_step_computes_behind_its_own_load_is_saved_in_the_next(self):
        for ranks in (1, 2):
            self.stored = 30
            planner = self.planner(ranks=ranks)
            self.start(planner)
            self.assertEqual(self.step(planner, 1920, 128).saves, [])
            plan = self.step(planner, 2048, 1)
            self.assertEqual(self.saved(plan), [(30, 32)])
            self.assertEqual(len(plan.saves[0].keys), ranks)

    def test_a_request_beside_a_load_is_saved(self):
        for is_async in (False, True):
            self.stored = 0
            planner = self.planner(is_async=is_async)
            planner.matched_tokens("other", self.tokens, 0)
            self.stored = 30
            self.start(planner)
            scheduled = [("other", 0, 640), ("r", 1920, 128)][: 1 if is_async else 2]
            plan = planner.step(scheduled, lambda _: self.blocks)
            self.assertEqual([run.request for run in plan.saves], ["other"], is_async)
            self.assertEqual(self.saved(plan), [(0, 10)])

    def test_a_preempted_request_goes_on_behind_what_was_saved(self):
        planner = self.planner(is_async=True)
        self.start(planner)
        self.assertEqual(self.saved(self.step(planner, 0, 1000)), [(0, 15)])
        self.now, self.stored = LOOKUP_FRESH_S * 2, 15
        self.assertEqual(self.start(planner), 896)
        self.assertEqual(len(planner.step([], None).loads), 1)
        self.assertEqual(self.saved(self.step(planner, 896, 1152)), [(15, 32)])

    def test_a_request_that_ends_during_its_load_leaves_nothing(self):
        self.stored = 30
        planner = self.planner(is_async=True)
        self.start(planner)
        planner.step([], None)
        planner.finished("r")
        planner.measured(Timings(loads=[("r", 1920, 1.0)]))  # its blocks are freed only now
        self.assertEqual(planner.choice.load_s, 1.0 / 1920)
        self.assertEqual((planner._requests, planner._ended), ({}, {}))

    def test_requests_that_were_never_matched_are_not_saved(self):
        self.assertEqual(self.step(self.planner(), 0, 2048).saves, [])

    def test_a_finished_request_is_forgotten(self):
        planner = self.planner()
        self.start(planner)
        planner.finished("r")
        self.assertEqual(self.step(planner, 0, 2048).saves, [])

    # ---- blocks of pages that failed

    def test_the_blocks_of_failed_pages_are_those_that_hold_a_token_of_them(self):
        self.stored = 32
        planner = self.planner()
        self.start(planner)
        run = self.step(planner, 1920, 128).loads[0].run
        shape = Shape(layers=1, heads=1, dim=64, block_tokens=128, page_tokens=64)
        self.assertEqual(run.blocks_from(0, shape), self.blocks[:15])
        self.assertEqual(run.blocks_from(5, shape), self.blocks[2:15])
        self.assertEqual(run.blocks_from(30, shape), [])


if __name__ == "__main__":
    unittest.main()
