"""K and V on a CUDA card: the torch code of both connectors, with a real sluiced. Skipped without one.

The daemon and the pages know nothing of the card: what it stores a CPU finds, and the other way round.
"""

import os
import tempfile
import time
import unittest

import torch
from daemon import Daemon
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig

from sluice_kv import api
from sluice_kv.hf import SluiceCache
from sluice_kv.vllm_layout import LayoutError, PagedCache, probe
from sluice_kv.vllm_plan import PageRun, Shape

PAGE, SPLIT, DOCUMENT = 64, 192, 250
CARD = "cuda"


def tiny_folder() -> str:
    """A model of two layers with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=256, intermediate_size=256, vocab_size=1000, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
    )
    folder = tempfile.mkdtemp()
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def forward(model, ids: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
    with torch.no_grad():
        return model(ids.to(model.device), past_key_values=cache, use_cache=True).logits


@unittest.skipUnless(torch.cuda.is_available(), "no CUDA card")
class HfOnTheCard(unittest.TestCase):
    def setUp(self):
        self.server = Daemon()
        self.addCleanup(self.server.stop)
        self.folder = tiny_folder()
        self.ids = torch.randint(3, 1000, (1, DOCUMENT), generator=torch.Generator().manual_seed(1))

    def model_and_cache(self, device: str):
        model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.bfloat16).to(device)
        cache = SluiceCache(api.Client(self.server.socket), model, always_load=True)
        self.assertTrue(cache.wait_ready(), cache.last_error)
        return model, cache

    def check(self, stores: str, loads: str) -> None:
        model, own = self.model_and_cache(stores)
        forward(model, self.ids[:, :SPLIT], own)
        saved = own.save(self.ids.to(stores))
        self.assertEqual((saved.pages, saved.tokens, own.last_error), (3, SPLIT, None))
        other, loaded = self.model_and_cache(loads)
        self.assertEqual(loaded.load(self.ids.to(loads)), SPLIT)
        for mine, theirs in zip(own.layers, loaded.layers):
            for name in ("keys", "values"):
                tensor = getattr(theirs, name)
                self.assertEqual(tensor.device.type, loads)
                self.assertTrue(torch.equal(getattr(mine, name)[:, :, :SPLIT].cpu(), tensor.cpu()))
        if stores == loads:
            rest = self.ids[:, SPLIT:]
            self.assertTrue(torch.equal(forward(model, rest, own), forward(other, rest, loaded)))

    def test_what_the_card_computed_comes_back_to_it(self):
        self.check(CARD, CARD)

    def test_a_cpu_finds_what_the_card_stored(self):
        self.check(CARD, "cpu")

    def test_the_card_finds_what_a_cpu_stored(self):
        self.check("cpu", CARD)

    def test_a_prefill_is_timed_as_it_runs_on_the_card(self):
        model, cache = self.model_and_cache(CARD)
        chosen = SluiceCache(api.Client(self.server.socket), model)
        forward(model, self.ids, cache)  # warms up
        torch.cuda.synchronize()
        began = time.perf_counter()
        forward(model, self.ids, chosen)
        torch.cuda.synchronize()
        took = time.perf_counter() - began
        pace = chosen._pages.pace
        pace.take_prefill()
        self.assertLess(pace.choice.prefill_s * DOCUMENT, 2 * took)
        self.assertGreater(pace.choice.prefill_s * DOCUMENT, took / 10)

    def test_a_tensor_on_the_card_is_refused_where_host_memory_is_needed(self):
        _, cache = self.model_and_cache(CARD)
        space = cache._pages._space
        pages = torch.empty(1, 2, 2, PAGE, 2, 64, dtype=torch.bfloat16, device=CARD)
        with self.assertRaisesRegex(BufferError, "on a device"):
            space.get(space.keys(self.ids[0].tolist()[:PAGE]), pages)


@unittest.skipUnless(torch.cuda.is_available(), "no CUDA card")
class PagedOnTheCard(unittest.TestCase):
    """The layouts of vLLM's CUDA backends: [block][plane][token][head][dim], and heads before tokens."""

    SHAPE = Shape(layers=3, heads=4, dim=64, block_tokens=16, page_tokens=64)
    BLOCKS = 40

    def update_by_token(self, key, value, cache, slots):
        blocks, offsets = slots // self.SHAPE.block_tokens, slots % self.SHAPE.block_tokens
        cache[blocks, 0, offsets] = key
        cache[blocks, 1, offsets] = value

    def update_by_head(self, key, value, cache, slots):
        self.update_by_token(key, value, cache.transpose(2, 3), slots)

    def caches(self, by_head: bool, dtype: torch.dtype) -> list[torch.Tensor]:
        s = self.SHAPE
        inner = (s.heads, s.block_tokens) if by_head else (s.block_tokens, s.heads)
        shape = self.BLOCKS, 2, *inner, s.dim
        return [torch.zeros(shape, dtype=dtype, device=CARD) for _ in range(s.layers)]

    def paged(self, caches, update) -> PagedCache:
        return PagedCache(caches, probe(update, caches[0], self.SHAPE), self.SHAPE)

    def test_pages_move_between_caches_of_two_layouts(self):
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            with self.subTest(dtype=dtype):
                self.check_move(dtype)

    def check_move(self, dtype: torch.dtype) -> None:
        s, tokens = self.SHAPE, 3 * PAGE
        truth = torch.randn(s.layers, 2, tokens, s.heads, s.dim).to(dtype)
        blocks = torch.randperm(self.BLOCKS)[: tokens // s.block_tokens].tolist()
        slots = torch.tensor([blocks[t // s.block_tokens] * s.block_tokens + t % s.block_tokens
                              for t in range(tokens)], device=CARD)
        source = self.caches(False, dtype)
        for layer, cache in enumerate(source):
            self.update_by_token(*truth[layer].to(CARD), cache, slots)
        run = PageRun("r", 0, [[b"k"] * 3], [b"a"], 0, tokens, blocks)
        pages = self.paged(source, self.update_by_token).gather(run, 0, 3)
        self.assertEqual(pages.device.type, "cpu")
        by_page = truth.view(s.layers, 2, 3, PAGE, s.heads, s.dim).permute(2, 0, 1, 3, 4, 5)
        self.assertTrue(torch.equal(pages, by_page))

        target = self.caches(True, dtype)
        wanted = [torch.zeros_like(cache) for cache in target]
        for layer, cache in enumerate(wanted):
            self.update_by_head(*truth[layer].to(CARD), cache, slots)
        self.paged(target, self.update_by_head).scatter(run, 0, pages)
        for cache, expected in zip(target, wanted):
            self.assertTrue(torch.equal(cache, expected))  # and no other block was touched

    def test_a_backend_that_rounds_is_refused(self):
        def rounds(key, value, cache, slots):
            self.update_by_token(key.to(torch.float8_e4m3fn).to(key.dtype), value, cache, slots)

        with self.assertRaises(LayoutError):
            self.paged(self.caches(False, torch.bfloat16), rounds)


if __name__ == "__main__":
    unittest.main(verbosity=2)
