"""One rank's loads and saves, step by step, against pages in memory. run_hf.sh runs this for its torch."""

import threading
import time
import unittest
from unittest import mock

import torch

from sluice_kv import api
from sluice_kv.load_choice import LoadChoice
from sluice_kv.vllm_layout import PagedCache
from sluice_kv.vllm_plan import Planner, Shape, StepPlan
from sluice_kv.vllm_worker import Connection, Mover, Quality

SHAPE = Shape(layers=2, heads=1, dim=4, block_tokens=64, page_tokens=64)
PAGE_BYTES = SHAPE.page_bytes(4)
BLOCKS, PAGES = 16, 4
TOKENS = list(range(PAGES * 64 + 1))


class Store:
    """A space whose pages lie in a dictionary."""

    page_bytes = PAGE_BYTES

    def __init__(self):
        self.pages: dict[bytes, bytes] = {}
        self.gets = 0
        self.kls: set[int] = set()  # that were asked for

    def fit(self, keys, budget_bytes, max_kl) -> api.Fit:
        return api.Fit(len(keys), min(max_kl, budget_bytes), 0)

    def get(self, keys, tensors, first_page=0, max_kl=0) -> api.Transfer:
        moved, out = api.Transfer(), memoryview(tensors).cast("B")
        self.gets += 1
        self.kls.add(max_kl)
        for at, key in enumerate(keys):
            if key not in self.pages:
                break
            out[at * PAGE_BYTES : (at + 1) * PAGE_BYTES] = self.pages[key]
            moved.pages += 1
        return moved

    def put(self, keys, tensors, first_page=0, anchor=None) -> api.Transfer:
        raw = bytes(memoryview(tensors).cast("B"))
        for at, key in enumerate(keys):
            self.pages[key] = raw[at * PAGE_BYTES : (at + 1) * PAGE_BYTES]
        return api.Transfer()


class Rank(unittest.TestCase):
    def setUp(self):
        self.store = Store()
        opened = mock.patch.object(Connection, "_open", lambda _: self.store)
        opened.start()
        self.addCleanup(opened.stop)
        elements = SHAPE.block_tokens * SHAPE.token_elements
        self.where = torch.arange(elements).view(2, 64, 1, 4)

    def mover(self, save_bytes: int = 1 << 20, quality: Quality = Quality()) -> Mover:
        caches = [torch.randn(BLOCKS, self.where.numel()) for _ in range(SHAPE.layers)]
        self.cache = PagedCache(caches, self.where, SHAPE)
        mover = Mover(self.cache, 0, lambda: Connection(None, 1000, b"", quality), save_bytes)
        self.addCleanup(mover.close)
        return mover

    def plan(self, name: str, *, load: bool, is_async: bool = True, tokens=TOKENS) -> StepPlan:
        """The plan of a step that loads all pages of the tokens, or that has computed them."""
        planner = Planner(
            [bytes(32)],
            page_tokens=64,
            block_tokens=64,
            lookup=lambda keys: PAGES if load else 0,
            choice=LoadChoice(),
            is_async=is_async,
            can_recompute=True,
        )
        blocks = [3, 1, 7, 5]
        planner.allocated(name, blocks, planner.matched_tokens(name, tokens, 0))
        scheduled = [] if load else [(name, 0, len(tokens))]
        return planner.step(scheduled, lambda _: blocks)

    def save(self, mover: Mover, name: str, tokens=TOKENS) -> None:
        mover.start(StepPlan(), True)
        mover.save(self.plan(name, load=False, tokens=tokens))
        mover.finished(set())

    def wait_until_saved(self, mover: Mover) -> None:
        until = time.monotonic() + 60
        while mover._save_bytes and time.monotonic() < until:
            time.sleep(0.001)
        self.assertEqual(mover._save_bytes, 0)

    def loaded(self, mover: Mover, name: str, finished=()) -> set[int]:
        """Starts a load and steps until it has ended; returns the blocks that failed."""
        mover.start(self.plan(name, load=True), False)
        until, ended = time.monotonic() + 60, mover.finished(set(finished))
        while not ended and time.monotonic() < until:
            ended = mover.finished(set())
        self.assertEqual(ended, {name})
        return mover.take_bad_blocks()

    def pages_held(self) -> torch.Tensor:
        (run,) = self.plan("r", load=False).saves
        return self.cache.gather(run, 0, PAGES)

    def test_what_was_saved_is_loaded(self):
        mover = self.mover()
        held = self.pages_held()
        self.save(mover, "a")
        self.wait_until_saved(mover)
        mover = self.mover()
        self.assertFalse(torch.equal(self.pages_held(), held))
        self.assertEqual(self.loaded(mover, "b"), set())
        self.assertTrue(torch.equal(self.pages_held(), held))
        ((name, tokens, _),) = mover.take_timings().loads
        self.assertEqual((name, tokens), ("b", PAGES * 64))

    def test_a_load_within_a_budget_of_bytes_asks_for_the_quality_that_fits(self):
        self.save(mover := self.mover(), "a")
        self.wait_until_saved(mover)
        self.assertEqual(self.loaded(self.mover(), "b"), set())
        self.assertEqual(self.store.kls, {0})
        mover = self.mover(quality=Quality(max_kl=9000, max_bytes=77))
        self.assertEqual(self.loaded(mover, "c"), set())
        self.assertEqual(self.store.kls, {0, 77})

    def test_a_request_that_is_aborted_ends_its_load_all_the_same(self):
        """The engine keeps its blocks until the load has ended."""
        mover = self.mover()
        self.save(mover, "a")
        self.wait_until_saved(mover)
        self.assertEqual(self.loaded(mover, "b", finished={"b"}), set())
        self.assertEqual(mover._jobs, {})

    def test_a_load_without_memory_fails_and_the_next_does_not(self):
        mover = self.mover()
        self.save(mover, "a")
        self.wait_until_saved(mover)
        for error in (RuntimeError("no memory"), MemoryError(), BufferError("gaps")):
            with mock.patch.object(PagedCache, "staging", side_effect=error):
                self.assertEqual(self.loaded(mover, "b"), {3, 1, 7, 5})
            self.assertTrue(mover._threads[0].is_alive())
        self.assertEqual(self.loaded(mover, "b"), set())

    def test_a_step_that_a_load_without_memory_holds_up_goes_on(self):
        mover, plan = self.mover(), self.plan("b", load=True, is_async=False)
        with mock.patch.object(PagedCache, "staging", side_effect=MemoryError()):
            step = threading.Thread(target=mover.start, args=(plan, True), daemon=True)
            step.start()
            step.join(60)
        self.assertFalse(step.is_alive())
        self.assertEqual(mover.take_bad_blocks(), {3, 1, 7, 5})

    def test_pages_that_cannot_be_put_are_lost_and_others_are_saved(self):
        mover = self.mover()
        for error in (RuntimeError("no memory"), MemoryError(), BufferError("gaps")):
            with mock.patch.object(Store, "put", side_effect=error):
                self.save(mover, "a")
                self.wait_until_saved(mover)
            mover.finished({"a"})
        self.assertEqual(self.store.pages, {})
        self.save(mover, "a")
        self.wait_until_saved(mover)
        self.assertEqual(len(self.store.pages), PAGES)

    def test_pages_for_which_there_is_no_memory_are_not_saved(self):
        mover = self.mover()
        with mock.patch.object(PagedCache, "staging", side_effect=RuntimeError("no memory")):
            self.save(mover, "a")
        self.save(mover, "b")
        self.wait_until_saved(mover)
        self.assertEqual(len(self.store.pages), PAGES)

    def test_what_does_not_fit_the_buffer_is_not_saved_nor_what_follows(self):
        mover = self.mover(save_bytes=2 * PAGE_BYTES)
        gate, put = threading.Event(), self.store.put
        self.store.put = lambda *page: gate.wait(60) and put(*page)
        with mock.patch("sluice_kv.vllm_worker.CHUNK_BYTES", PAGE_BYTES):
            self.save(mover, "a")
            gate.set()
            self.wait_until_saved(mover)
            self.assertLess(len(self.store.pages), 3)
            self.store.pages.clear()
            self.save(mover, "a")
            self.wait_until_saved(mover)
            self.assertEqual(self.store.pages, {})
            self.save(mover, "b", TOKENS[:129])
            self.wait_until_saved(mover)
            self.assertEqual(len(self.store.pages), 2)

    def test_a_request_that_has_finished_leaves_nothing(self):
        mover = self.mover()
        with mock.patch.object(Store, "put", side_effect=OSError("gone")):
            self.save(mover, "a")
            mover.finished({"a"})
            self.wait_until_saved(mover)
        self.assertEqual(mover._lost, {})


if __name__ == "__main__":
    unittest.main()
