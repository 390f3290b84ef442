"""A transformers model's cache, saved to a real sluiced and loaded again. run_hf.sh runs this.

$SLUICE_HF_MODEL is SmolLM2-135M: 30 layers, 9 heads, 3 kv heads. Prompts are split at a page boundary
both with and without Sluice: a prefill in one batch has other low bits than one in two.
"""

import copy
import hashlib
import os
import tempfile
import unittest
from unittest import mock

import made_up_profile
import numpy
import torch
import wheel_test
from daemon import Daemon
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer

from sluice_kv import api, hf_pace
from sluice_kv.buffers import Memory
from sluice_kv.hf import SluiceCache

MODEL = os.environ["SLUICE_HF_MODEL"]
LAYERS, KV_HEADS, DIM = 30, 3, 64
PAGE = 64
DOCUMENT, SPLIT = 250, 192  # tokens; three pages and a tail
ELEMENTS = SPLIT * LAYERS * 2 * KV_HEADS * DIM


def tokens(seed: int, count: int = DOCUMENT) -> torch.Tensor:
    return torch.randint(3, 40000, (1, count), generator=torch.Generator().manual_seed(seed))


def digest(cache: DynamicCache, count: int) -> str:
    """Of K and V of the first tokens, layer by layer: what Sluice must bring back."""
    found = hashlib.sha256()
    for layer in cache.layers:
        for tensor in (layer.keys, layer.values):
            raw = tensor.detach()[:, :, :count].contiguous().view(torch.uint8)
            found.update(raw.numpy().tobytes())
    return found.hexdigest()


def forward(model, ids: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
    with torch.no_grad():
        return model(ids, past_key_values=cache, use_cache=True).logits


def tiny(config_class=LlamaConfig, **options):
    """A model of two layers with random weights, in a folder."""
    torch.manual_seed(0)
    sizes = dict(hidden_size=128, intermediate_size=64, vocab_size=256, num_hidden_layers=2)
    heads = dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512)
    config = config_class(**{**sizes, **heads, **options})
    folder = tempfile.mkdtemp()
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder)


class WithDaemon(unittest.TestCase):
    def setUp(self):
        self.server = Daemon()
        self.addCleanup(self.server.stop)

    def cache(self, model, client=None, **options) -> SluiceCache:
        options = {"always_load": True, **options}  # prefilling a tiny model is the faster
        cache = SluiceCache(client or api.Client(self.server.socket), model, **options)
        self.assertTrue(cache.wait_ready(), cache.last_error)
        return cache


class RealModel(WithDaemon):
    def check_dtype(self, dtype: torch.dtype) -> api.Transfer:
        model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=dtype)
        ids = tokens(1)
        own = self.cache(model)
        self.assertEqual(own.load(ids), 0)
        forward(model, ids[:, :SPLIT], own)
        saved = own.save(ids)
        self.assertEqual((saved.pages, saved.tokens, own.last_error), (3, SPLIT, None))
        expected = digest(own, SPLIT)
        logits = forward(model, ids[:, SPLIT:], own)

        loaded = self.cache(model)
        self.assertEqual(loaded.load(ids), SPLIT)
        self.assertEqual(digest(loaded, SPLIT), expected)
        self.assertEqual(loaded.layers[0].keys.dtype, dtype)
        self.assertTrue(torch.equal(forward(model, ids[:, SPLIT:], loaded), logits))
        self.check_generated(model, ids)

        other = ids.clone()
        other[0, 70] += 1
        loaded.reset()
        self.assertEqual(loaded.load(other), PAGE)  # the second page is another one
        self.assertEqual(digest(loaded, PAGE), digest(own, PAGE))
        return saved

    def check_generated(self, model, ids: torch.Tensor) -> None:
        options = dict(max_new_tokens=8, min_new_tokens=8, do_sample=False)
        plain = DynamicCache(config=model.config)
        forward(model, ids[:, :SPLIT], plain)
        expected = model.generate(ids, past_key_values=plain, **options)
        cache = self.cache(model)
        self.assertEqual(cache.load(ids), SPLIT)
        answer = model.generate(ids, past_key_values=cache, **options)
        self.assertTrue(torch.equal(answer, expected))
        self.assertEqual(digest(cache, DOCUMENT), digest(plain, DOCUMENT))
        moved = cache.save(answer)  # 257 of 258 tokens are in the cache: four pages
        self.assertEqual((moved.pages, moved.pages_kept, moved.tokens), (1, 3, 4 * PAGE))
        again = self.cache(model)
        self.assertEqual(again.load(answer), 4 * PAGE)
        self.assertEqual(digest(again, 4 * PAGE), digest(plain, 4 * PAGE))

    def test_bf16_comes_back_exactly_as_direct(self):
        saved = self.check_dtype(torch.bfloat16)
        self.assertEqual(saved.raw_bytes, 2 * ELEMENTS)
        self.assertLess(8 * saved.stored_bytes / ELEMENTS, 11)

    def test_f32_comes_back_exactly_as_raw(self):
        saved = self.check_dtype(torch.float32)
        self.assertEqual(saved.raw_bytes, 4 * ELEMENTS)
        self.assertLess(8 * saved.stored_bytes / ELEMENTS, 32.1)

    def test_the_documents_example_runs(self):
        program = compile(wheel_test.examples("python hf"), "docs/python.md", "exec")
        os.environ["SLUICE_SOCKET"] = self.server.socket
        self.addCleanup(os.environ.pop, "SLUICE_SOCKET")
        with open("/usr/share/common-licenses/GPL-3") as file:
            prompt = file.read()[:1500]
        first = {"folder": MODEL, "prompt": prompt}
        second = dict(first)
        exec(program, first)
        exec(program, second)
        self.assertEqual(first["reused"], 0)
        self.assertGreater(second["reused"], 2 * PAGE)
        self.assertEqual(second["reused"] % PAGE, 0)


class TinyModels(WithDaemon):
    def test_stored_keys_carry_the_rope_of_the_descriptor(self):
        """One token over and over: turned back as the descriptor says, its keys are all the same."""
        model = tiny(rope_theta=5000.0)
        cache = self.cache(model)
        ids = torch.full((1, 65), 7)
        forward(model, ids, cache)
        cache.save(ids)
        loaded = self.cache(model)
        self.assertEqual(loaded.load(ids), PAGE)
        keys = loaded.layers[0].keys[0]  # [head][token][dim]
        rope = cache._pages._fields["rope"]
        self.assertEqual((rope["pairing"], rope["base"]), ("neox", 5000.0))
        half = keys.shape[2] // 2
        turns = rope["base"] ** (-torch.arange(half) / half)
        angles = torch.arange(PAGE)[:, None] * turns
        a, b = keys[..., :half], keys[..., half:]
        unturned = torch.cat([a * angles.cos() + b * angles.sin(), b * angles.cos() - a * angles.sin()], -1)
        self.assertGreater((keys - keys[:, :1]).abs().max(), 1e-2)
        self.assertLess((unturned - unturned[:, :1]).abs().max(), 1e-5)

    def test_pages_have_the_canonical_order(self):
        model, ids = tiny(), torch.arange(130)[None]
        cache = self.cache(model)
        forward(model, ids, cache)
        cache.save(ids)
        space = cache._pages._space
        pages = torch.empty(2, 2, 2, PAGE, 2, 32)  # [page][layer][plane][token][head][dim]
        self.assertEqual(space.get(space.keys(ids[0].tolist()), pages).pages, 2)
        for layer, held in enumerate(cache.layers):
            for plane, tensor in enumerate((held.keys, held.values)):
                for token in (0, 1, 63, 64, 127):
                    found = pages[token // PAGE, layer, plane, token % PAGE]
                    self.assertTrue(torch.equal(found, tensor[0, :, token]))

    def test_pages_of_another_salt_dtype_or_model_are_not_found(self):
        model, ids = tiny(), torch.arange(130)[None]
        cache = self.cache(model)
        forward(model, ids, cache)
        cache.save(ids)
        others = [
            self.cache(model, salt=b"other"),
            self.cache(copy.deepcopy(model).to(torch.bfloat16)),
            self.cache(tiny(intermediate_size=96)),
        ]
        self.assertEqual([other.load(ids) for other in others], [0, 0, 0])
        self.assertIn("user_salt", others[0].miss_reason())
        self.assertEqual(self.cache(model).load(ids), 128)

    def leveled(self, model, **options) -> SluiceCache:
        """A cache whose client has a profile of the model."""
        files = api.Model(model.config._name_or_path)
        (group,) = files.manifest()["groups"]
        client = api.Client(self.server.socket)
        what = files.digest(60_000), group["planes"], group["layers"]
        client.add_profile(made_up_profile.encode(*what, group["rope"]["base"]))
        return self.cache(model, client, **options)

    def test_one_save_serves_readers_of_every_level(self):
        model, ids = tiny().to(torch.bfloat16), torch.arange(130)[None]
        own = self.leveled(model, put_kl="q1", exact_row=True)
        forward(model, ids[:, :128], own)
        self.assertEqual(own.save(ids).pages, 2, own.last_error)
        sizes, kv = [], []
        for level in ("q3", "q2", "q1", "exact"):
            reader = self.leveled(model, max_kl=level)
            self.assertEqual(reader.load(ids), 128, reader.last_error)
            sizes.append(reader.last_transfer.stored_bytes)
            kv.append(digest(reader, 128))
        self.assertEqual(sizes, sorted(set(sizes)))
        self.assertEqual(len(set(kv)), 4)
        self.assertEqual(kv[3], digest(own, 128))
        for bytes_, found in zip(sizes, kv):
            reader = self.leveled(model, max_kl=api.KL_UNKNOWN, max_bytes=bytes_)
            self.assertEqual(reader.load(ids), 128)
            self.assertEqual(reader.last_transfer.stored_bytes, bytes_)
            self.assertEqual(digest(reader, 128), found)
        reader = self.leveled(model, max_kl="q3", max_bytes=sizes[0] - 1)
        self.assertEqual(reader.load(ids), 64)

    def test_a_level_without_a_profile_is_a_failure_that_says_so(self):
        cache = SluiceCache(api.Client(self.server.socket), tiny(), max_kl="q2")
        self.assertFalse(cache.wait_ready())
        self.assertIn("profile", cache.last_error)
        with self.assertRaisesRegex(ValueError, "q3, q2, q1, exact"):
            SluiceCache(api.Client(self.server.socket), tiny(), put_kl="q9")

    def test_what_is_not_handled_is_refused_by_name(self):
        client = api.Client(self.server.socket)
        changed = tiny()
        changed.config.rope_parameters = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
        mixed = tiny()
        mixed.lm_head.to(torch.bfloat16)
        quantised, adapted = tiny(), tiny()
        quantised.hf_quantizer, adapted.peft_config = object(), {"default": object()}
        longrope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 16}
        longrope |= {"long_factor": [2.0] * 16, "original_max_position_embeddings": 256}
        cases = {
            "longrope": tiny(rope_parameters=longrope),
            r"sliding window of 100 tokens \(layers 0..1\)": tiny(MistralConfig, sliding_window=100),
            "differs from its file's in rope_parameters": changed,
            "parameters of torch.bfloat16, torch.float32": mixed,
            "quantised weights": quantised,
            "LoRA": adapted,
        }
        for text, model in cases.items():
            with self.assertRaisesRegex(ValueError, text):
                SluiceCache(client, model)

    def test_wrong_use_is_refused(self):
        model, ids = tiny(), torch.arange(130)[None]
        cache = self.cache(model)
        forward(model, ids.repeat(2, 1), cache)
        with self.assertRaisesRegex(ValueError, "2 sequences"):
            cache.save(ids)
        with self.assertRaisesRegex(ValueError, "reset"):
            cache.load(ids)
        cache.reset()
        with self.assertRaisesRegex(ValueError, "2 sequences"):
            cache.load(ids.repeat(2, 1))
        forward(model, ids, cache)
        cache.save(ids)
        cache.reset()
        self.assertEqual(cache.load(ids), 128)
        with self.assertRaisesRegex(ValueError, "other tokens"):
            cache.save(ids + 1)
        model.train()
        with self.assertRaisesRegex(ValueError, "training"):
            cache.save(ids)

    def test_prompts_of_less_than_a_page_and_exactly_one_leave_a_token_to_compute(self):
        model, ids = tiny(), torch.arange(64)[None]
        cache = self.cache(model)
        self.assertEqual(cache.load(ids[:, :1]), 0)
        forward(model, ids, cache)
        self.assertEqual(cache.save(ids[:, :63]).pages, 0)
        self.assertEqual(cache.save(ids).pages, 1)
        cache.reset()
        self.assertEqual(cache.load(ids), 0)
        self.assertEqual(cache.load(ids[0].tolist() + [1]), 64)

    def test_a_copy_of_a_cache_has_its_own_tokens(self):
        model, ids = tiny(), torch.arange(130)[None]
        cache = self.cache(model)
        forward(model, ids[:, :128], cache)
        twin = copy.deepcopy(cache)
        forward(model, ids[:, 128:], twin)
        self.assertEqual((cache.get_seq_length(), twin.get_seq_length()), (128, 130))
        self.assertEqual(twin.save(ids).pages, 2)

    def test_a_cache_whose_layers_only_zero_what_they_hold_is_empty_after_reset(self):
        """As those of transformers 5.17 and older do."""
        def zero(layer):
            layer.keys.zero_()
            layer.values.zero_()

        model, ids = tiny(), torch.arange(130)[None]
        cache = self.cache(model)
        forward(model, ids, cache)
        cache.save(ids)
        with mock.patch.object(DynamicLayer, "reset", zero):
            cache.reset()
        self.assertEqual(cache.get_seq_length(), 0)
        self.assertEqual(cache.load(ids), 128)

    def test_without_a_daemon_the_model_goes_on(self):
        model, ids = tiny(), torch.arange(130)[None]
        cache = SluiceCache(api.Client("/nonexistent/sluice.sock", 200), model)
        self.assertFalse(cache.wait_ready())
        self.assertEqual(cache.load(ids), 0)
        forward(model, ids, cache)
        self.assertIsNone(cache.save(ids))
        self.assertIn("/nonexistent/sluice.sock", cache.last_error)


class Pace(WithDaemon):
    """Whether load() loads: for a tiny model never for long, for a real one on a CPU always."""

    def setUp(self):
        super().setUp()
        self.client = api.Client(self.server.socket)

    def stored(self, model, ids) -> SluiceCache:
        cache = self.cache(model, self.client, always_load=False)
        forward(model, ids, cache)
        cache.save(ids)
        cache.reset()
        return cache

    def test_a_model_that_prefills_faster_than_it_loads_is_left_alone(self):
        model, ids = tiny(), torch.arange(1000)[None] % 256
        cache = self.stored(model, ids)
        choice = cache._pages.pace.choice
        cache._pages.pace.take_prefill()
        self.assertGreater(choice.prefill_s, 0)
        choice.prefill_s = 1e-9  # a card's
        self.assertGreater(cache.load(ids), 0)  # nothing was known of loading
        cache.reset()
        self.assertEqual(cache.load(ids), 0)
        self.assertRegex(cache.miss_reason(), r"loading loses: [\d.]+ ms a token, computing 0.000")
        always = self.cache(model)
        self.assertEqual(always.load(ids), 960)

    def test_prompts_that_are_found_whole_leave_a_tail_until_two_prefills_were_timed(self):
        model, ids = tiny(), torch.arange(1000)[None] % 256
        always = self.cache(model)
        forward(model, ids, always)
        always.save(ids)
        loaded = []
        for _ in range(4):
            cache = self.cache(model, self.client, always_load=False)
            loaded.append(cache.load(ids))
            forward(model, ids[:, loaded[-1] :], cache)
            cache._pages.pace.choice.load_s = 1e-9  # loading wins, whatever was measured
        self.assertEqual(loaded, [960, 704, 704, 960])

    def test_a_load_that_fails_counts(self):
        model, ids = tiny(), torch.arange(1000)[None] % 256
        cache = self.stored(model, ids)
        gone = api.Error(api.TIMED_OUT, "timed_out", "timed_out: gone")
        with mock.patch.object(api.Space, "get", side_effect=gone):
            self.assertEqual(cache.load(ids), 0)
        self.assertIn("gone", cache.miss_reason())
        self.assertEqual(cache._pages.pace.choice.load_s, float("inf"))
        self.assertEqual(cache.load(ids), 0)
        self.assertIn("loading loses", cache.miss_reason())

    def test_a_prompt_of_which_nothing_is_loaded_to_time_a_prefill_says_so(self):
        model, ids = tiny(), torch.arange(200)[None]
        cache = self.stored(model, ids)
        cache._pages.pace.choice.load_s = 1e-9
        self.assertEqual(cache.load(ids), 0)
        self.assertIn("256 tokens are computed", cache.miss_reason())
        longer = torch.cat([ids, ids], 1)
        self.assertEqual(cache.load(longer), 0)  # three of six pages are there
        self.assertIn("256 tokens are computed", cache.miss_reason())
        self.assertEqual(cache.load(torch.cat([ids + 1, ids], 1)), 0)
        self.assertNotIn("computed", cache.miss_reason())

    def test_clients_have_their_own_paces_and_caches_of_one_share_theirs(self):
        model, other = tiny(), api.Client(self.server.socket)
        paces = [
            self.cache(model, client, always_load=False)._pages.pace
            for client in (self.client, self.client, other)
        ]
        self.assertIs(paces[0], paces[1])
        self.assertIsNot(paces[0], paces[2])

    def test_a_load_that_has_lost_ends_with_what_it_has(self):
        model, ids = tiny(), torch.arange(1000)[None] % 256
        cache = self.stored(model, ids)
        cache._pages.pace.take_prefill()
        cache._pages.pace.choice.prefill_s = 1e-9
        with mock.patch("sluice_kv.hf.CHUNK_BYTES", 1):
            self.assertEqual(cache.load(ids), PAGE)
        self.assertEqual(digest(cache, PAGE), digest(self.loaded(model, ids), PAGE))
        rest = forward(model, ids[:, PAGE:], cache)
        self.assertEqual((rest.shape[1], cache.get_seq_length()), (1000 - PAGE, 1000))

    def loaded(self, model, ids) -> SluiceCache:
        cache = self.cache(model)
        cache.load(ids)
        return cache

    def test_a_prefill_that_is_slower_keeps_loading(self):
        model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16)
        ids = tokens(3)
        cache = self.stored(model, ids)
        cache._pages.pace.take_prefill()
        forward(model, ids, self.cache(model, self.client, always_load=False))
        for _ in range(3):
            self.assertEqual(cache.load(ids), SPLIT)
            cache.reset()
        choice = cache._pages.pace.choice
        self.assertLess(choice.load_s, choice.prefill_s)


class TimedForwards(unittest.TestCase):
    """Which updates of a cache are taken for a prefill: [batch][head][token][dim]."""

    def prefilled(self, *updates, layers: int = 2, device: str = "cpu") -> int:
        """Returns the tokens of the prefill that (layer, tokens, batch) give, 0 if none was."""
        pace = hf_pace.Pace()
        for layer, count, batch in updates:
            pace.updated(layer, layers, torch.empty(batch, 1, count, 1, device=device))
        with mock.patch.object(pace.choice, "prefilled") as prefilled:
            pace.take_prefill()
            pace.take_prefill()
        self.assertLess(prefilled.call_count, 2)
        return prefilled.call_args[0][0] if prefilled.called else 0

    def test_a_whole_prefill_is_timed_once(self):
        self.assertEqual(self.prefilled((0, 100, 1), (1, 100, 1)), 100)
        self.assertEqual(self.prefilled((0, 100, 1), (1, 100, 1), (0, 64, 1), (1, 64, 1)), 64)

    def test_what_is_no_whole_prefill_is_not_timed(self):
        self.assertEqual(self.prefilled((0, 100, 1), layers=1), 0)
        self.assertEqual(self.prefilled((0, 63, 1), (1, 63, 1)), 0)
        self.assertEqual(self.prefilled((0, 100, 2), (1, 100, 2)), 0)
        self.assertEqual(self.prefilled((1, 100, 1)), 0)
        self.assertEqual(self.prefilled((0, 100, 1), (1, 100, 1), layers=3), 0)
        self.assertEqual(self.prefilled((0, 100, 1), (1, 200, 1)), 0)  # two forwards, mixed
        self.assertEqual(self.prefilled((0, 100, 1), (1, 100, 1), device="meta"), 0)

    def test_the_layer_before_the_first_mark_is_counted_in(self):
        pace = hf_pace.Pace()
        with mock.patch("sluice_kv.hf_pace.time.perf_counter", side_effect=[1.0, 4.0]):
            for layer in (0, 3):
                pace.updated(layer, 4, torch.empty(1, 1, 100, 1))
        pace.take_prefill()
        self.assertAlmostEqual(pace.choice.prefill_s, 4.0 / 100)


class TensorMemory(unittest.TestCase):
    def test_torch_and_numpy_are_taken_where_they_lie(self):
        for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.uint8):
            tensor = torch.zeros(4, 6, dtype=dtype)
            for view, address in ((tensor, tensor.data_ptr()), (tensor[1:], tensor[1:].data_ptr())):
                with Memory(view, writable=True) as memory:
                    self.assertEqual(memory, (address, view.numel() * dtype.itemsize))
        array = numpy.zeros((4, 6), numpy.float16)
        with Memory(array, writable=True) as memory:
            self.assertEqual(memory, (array.ctypes.data, 48))

    def test_what_cannot_be_taken_without_a_copy_is_refused(self):
        array = numpy.zeros((4, 6))
        array.flags.writeable = False
        tensor = torch.zeros(4, 6)
        refused = [array, tensor.T, tensor[:, :3], torch.zeros(2, requires_grad=True), array.T]
        refused += [torch.zeros(2, device="meta")]
        for buffer in refused:
            with self.assertRaises((BufferError, ValueError), msg=repr(buffer)):
                with Memory(buffer, writable=True):
                    pass


if __name__ == "__main__":
    unittest.main()
