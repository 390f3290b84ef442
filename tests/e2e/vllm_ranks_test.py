"""The connectors of two tensor-parallel ranks and their scheduler, against a real daemon.

No engine computes here: the test calls the connectors in vLLM's order and stands for the model. What
a token's K and V are is a function of the tokens up to it, so a page under a wrong key shows. Each
rank's cache is packed in its own way. Needs vLLM's modules and torch, no GPU.
"""

import functools
import json
import os
import pickle
import signal
import time
import unittest
from types import SimpleNamespace as Names
from unittest import mock

import harness
import torch
from sluice_kv import api, space_identity, vllm
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole

LAYERS, HEADS, DIM, BLOCK, BLOCKS = 2, 4, 64, 128, 24
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class FullAttentionSpec(Names):
    pass


def true_kv(tokens: list[int], dtype: torch.dtype) -> torch.Tensor:
    """Returns K and V of a sequence, [layer][plane][token][head][dim]."""
    seeds = [hash(tuple(tokens[: i + 1])) % 2**62 for i in range(len(tokens))]
    rows = [torch.randn(LAYERS, 2, HEADS, DIM, generator=_seeded(s)) for s in seeds]
    return torch.stack(rows, 2).to(dtype)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class PackedImpl:
    """An attention backend whose blocks are packed by a permutation of its own."""

    def __init__(self, heads: int, seed: int):
        self.where = torch.randperm(2 * BLOCK * heads * DIM, generator=_seeded(seed))

    def do_kv_cache_update(self, layer, key, value, cache, slots):
        elements = len(self.where)
        for kv, slot in zip(torch.stack([key, value], 1), slots.tolist()):
            at = self.where.view(2, BLOCK, -1)[:, slot % BLOCK].flatten()
            cache.view(-1, elements)[slot // BLOCK, at] = kv.flatten()


class Engine:
    """A scheduler's connector, and each rank's connector with its cache."""

    def __init__(self, model: str, socket: str, ranks: int, dtype: str, seed: int, **options):
        self.dtype, self.ranks, self.heads = DTYPES[dtype], ranks, HEADS // ranks
        self.is_async = not options.get("sync_load", False)
        self.config = self._config(model, {"socket": socket, **options})
        spec = FullAttentionSpec(num_kv_heads=self.heads, head_size=DIM)
        group = Names(kv_cache_spec=spec)
        self.cache_config = Names(kv_cache_groups=[group], num_blocks=BLOCKS)
        self.scheduler = self._connector(KVConnectorRole.SCHEDULER)
        self.scheduler._scheduler._model.digest(60000)
        self.workers, self.caches, self.impls = [], [], []
        for rank in range(ranks):
            self.config.parallel_config.rank = rank
            self.workers.append(self._connector(KVConnectorRole.WORKER))
            self._register(PackedImpl(self.heads, seed + rank))
        self.computed: dict[str, int] = {}

    def _config(self, model: str, options: dict):
        return Names(
            model_config=Names(
                model=model,
                runner_type="generate",
                quantization=None,
                dtype=self.dtype,
                hf_overrides={},
                enable_sleep_mode=False,
                get_total_num_kv_heads=lambda: HEADS,
            ),
            load_config=Names(load_format="auto"),
            parallel_config=Names(
                pipeline_parallel_size=1,
                data_parallel_size=1,
                prefill_context_parallel_size=1,
                decode_context_parallel_size=1,
                tensor_parallel_size=self.ranks,
                rank=0,
            ),
            cache_config=Names(
                cache_dtype="auto", block_size=BLOCK, enable_prefix_caching=self.is_async
            ),
            device_config=Names(device_type="cpu"),
            scheduler_config=Names(async_scheduling=False),
            speculative_config=None,
            kv_transfer_config=Names(
                kv_connector_extra_config=options,
                kv_load_failure_policy="recompute",
                is_kv_producer=True,
                is_kv_consumer=True,
            ),
        )

    def _connector(self, role):
        config = Names(**vars(self.config))
        config.parallel_config = Names(**vars(self.config.parallel_config))
        return vllm.SluiceConnector(config, role, self.cache_config)

    def _register(self, impl: PackedImpl) -> None:
        names = [f"model.layers.{i}.self_attn.attn" for i in range(LAYERS)]
        shape = (BLOCKS, self.heads, BLOCK, 2 * DIM)
        caches = {name: torch.full(shape, 7.0, dtype=self.dtype) for name in names}
        layers = {name: Names(impl=impl) for name in names}
        with mock.patch.object(vllm, "get_layers_from_vllm_config", return_value=layers):
            self.workers[-1].register_kv_caches(caches)
        self.caches.append(list(caches.values()))
        self.impls.append(impl)

    def request(self, name: str, tokens: list[int], **fields):
        plain = dict(
            lora_request=None,
            mm_features=[],
            prompt_embeds=None,
            resumable=False,
            skip_reading_prefix_cache=False,
            cache_salt=None,
        )
        return Names(request_id=name, all_token_ids=tokens, **{**plain, **fields})

    def admit(self, request, blocks: list[int]) -> int:
        """Matches and allocates; returns the tokens to load."""
        matched, is_async = self.scheduler.get_num_new_matched_tokens(request, 0)
        assert is_async == (matched > 0 and self.is_async)
        allocated = Names(get_block_ids=lambda: (blocks,))
        self.scheduler.update_state_after_alloc(request, allocated, matched)
        return matched

    def step(self, request=None, blocks=(), computed: int = 0) -> tuple[set, set]:
        """One step that computes the rest of a request, or only waits; the ranks' results joined.

        Returns the requests whose loads ended on every rank, and the blocks that failed on any.
        """
        count = len(request.all_token_ids) - computed if request else 0
        new = [Names(req_id=request.request_id, num_computed_tokens=computed)] if request else []
        meta = self.scheduler.build_connector_meta(
            Names(
                num_scheduled_tokens={one.req_id: count for one in new},
                scheduled_new_reqs=new,
                scheduled_cached_reqs=Names(req_ids=[], num_computed_tokens=[]),
                kv_connector_block_state=Names(get_block_ids=lambda _: (list(blocks),)),
            )
        )
        meta, bad, loaded, measured = pickle.loads(pickle.dumps(meta)), set(), [], []
        context = Names(attn_metadata={} if request else None)
        has_sync_loads = bool(meta.plan.loads) and not self.is_async
        for worker in self.workers:
            worker.bind_connector_metadata(meta)
            if has_sync_loads:
                worker.start_load_kv(context)
        if request:
            self.forward(request.all_token_ids, list(blocks), computed)
        for worker in self.workers:
            if not has_sync_loads:
                worker.start_load_kv(context)
            worker.wait_for_save()
            loaded.append(worker.get_finished(set())[1] or set())
            bad |= worker.get_block_ids_with_load_errors()
            measured.append(worker.build_connector_worker_meta())
            worker.clear_connector_metadata()
        measured = [one for one in measured if one is not None]
        joined = functools.reduce(vllm.WorkerMetadata.aggregate, measured) if measured else None
        self.scheduler.update_connector_output(Names(kv_connector_worker_meta=joined))
        return loaded, bad

    def forward(self, tokens: list[int], blocks: list[int], computed: int) -> None:
        """Writes the KV of tokens computed.. : right only if every rank has what stands before."""
        kv = true_kv(tokens, self.dtype)
        if not self.holds(tokens, blocks, computed):
            kv = torch.full_like(kv, -1.0)
        slots = torch.tensor([blocks[i // BLOCK] * BLOCK + i % BLOCK for i in range(len(tokens))])
        for rank, caches in enumerate(self.caches):
            for layer, cache in enumerate(caches):
                key, value = self.part(rank, kv)[layer, :, computed:]
                self.impls[rank].do_kv_cache_update(None, key, value, cache, slots[computed:])

    def part(self, rank: int, kv: torch.Tensor) -> torch.Tensor:
        return kv[:, :, :, rank * self.heads : (rank + 1) * self.heads]

    def read(self, rank: int, blocks: list[int], tokens: int) -> torch.Tensor:
        """Returns what the cache holds of tokens 0.. , [layer][plane][token][head][dim]."""
        where = self.impls[rank].where.view(2, BLOCK, self.heads, DIM)
        layers = [cache.view(BLOCKS, -1)[blocks][:, where.flatten()] for cache in self.caches[rank]]
        held = torch.stack(layers).view(LAYERS, len(blocks), *where.shape)
        return held.transpose(1, 2).flatten(2, 3)[:, :, :tokens]

    def holds(self, tokens: list[int], blocks: list[int], count: int) -> bool:
        kv = true_kv(tokens, self.dtype)
        return all(
            torch.equal(self.read(rank, blocks, count), self.part(rank, kv)[:, :, :count])
            for rank in range(self.ranks)
        )

    def close(self) -> None:
        for connector in (*self.workers, self.scheduler):
            connector.shutdown()


class TwoRanks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon()
        cls.model = os.path.join(cls.daemon.folder, "model")
        os.mkdir(cls.model)
        config = {
            "model_type": "llama",
            "hidden_size": 256,
            "num_attention_heads": 4,
            "num_key_value_heads": HEADS,
            "head_dim": DIM,
            "num_hidden_layers": LAYERS,
            "max_position_embeddings": 4096,
        }
        with open(os.path.join(cls.model, "config.json"), "w") as file:
            json.dump(config, file)
        with open(os.path.join(cls.model, "model.safetensors"), "wb") as file:
            file.write(os.urandom(64))

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()

    def setUp(self):
        self.salt = os.urandom(4).hex()
        self.tokens = [int(b) for b in os.urandom(400)]  # three blocks, six pages and a tail
        self.blocks = [3, 9, 5, 1]

    def engine(self, ranks: int = 2, dtype: str = "bfloat16", seed: int = 1, **options) -> Engine:
        options = {"salt": self.salt, **options}
        engine = Engine(self.model, self.daemon.socket, ranks, dtype, seed, **options)
        self.addCleanup(engine.close)
        return engine

    def store(self, **options) -> None:
        engine = self.engine(**options)
        request = engine.request("a", self.tokens)
        engine.admit(request, self.blocks)
        engine.step(request, self.blocks)
        engine.close()

    def keys(self, engine: Engine, rank: int) -> list[bytes]:
        engine.scheduler.get_num_new_matched_tokens(engine.request("x", self.tokens), 0)
        descriptor = engine.scheduler._scheduler._descriptors[rank]
        space = space_identity.space_id(descriptor)
        return space_identity.KeyChain(space, 64).extend(self.tokens)

    def erase(self, rank: int, page: int) -> None:
        """Takes one page of one rank out of the daemon."""
        engine = self.engine()
        key = self.keys(engine, rank)[page]
        path = os.path.join(self.daemon.folder, "descriptor")
        with open(path, "wb") as file:
            file.write(engine.scheduler._scheduler._descriptors[rank])
        self.daemon.command("rm", "--descriptor", path, key.hex())

    def load(self, engine: Engine, expected: int) -> list[int]:
        """Admits the document and lets its load end; returns its blocks."""
        blocks = [20, 0, 7, 2, 6]
        request = engine.request("b", self.tokens)
        self.assertEqual(engine.admit(request, blocks), expected)
        if not engine.is_async:
            self.assertEqual(engine.step(request, blocks, expected)[1], set())
            return blocks
        ended = [set() for _ in engine.workers]
        while not all(ended):
            loaded, bad = engine.step()
            self.assertEqual(bad, set())
            ended = [done | more for done, more in zip(ended, loaded)]
        self.assertEqual(ended, [{"b"}] * len(engine.workers))
        return blocks

    def test_what_two_ranks_store_two_others_load_in_their_own_packing(self):
        for dtype in DTYPES:
            for sync in (True, False):
                with self.subTest(dtype=dtype, sync=sync):
                    self.salt = os.urandom(4).hex()
                    self.store(dtype=dtype)
                    engine = self.engine(dtype=dtype, seed=50, sync_load=sync)
                    blocks = self.load(engine, 384)
                    self.assertTrue(engine.holds(self.tokens, blocks, 384))

    def test_the_common_prefix_is_what_the_poorer_rank_has(self):
        self.store()
        self.erase(rank=1, page=3)
        engine = self.engine(seed=50)
        blocks = self.load(engine, 128)
        self.assertTrue(engine.holds(self.tokens, blocks, 128))
        self.assertFalse(engine.holds(self.tokens, blocks, 256))

    def test_one_rank_and_two_ranks_share_nothing(self):
        self.store(ranks=1)
        engine = self.engine(ranks=2)
        self.assertEqual(engine.admit(engine.request("b", self.tokens), self.blocks), 0)

    def test_a_failed_load_names_its_blocks_and_what_was_computed_on_them_is_not_saved(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                self.salt, known = os.urandom(4).hex(), self.tokens[:400]
                self.tokens = known
                self.store(ranks=ranks)
                self.tokens = [*known, *range(113)]  # a block more, which the daemon lacks
                engine = self.engine(ranks=ranks, seed=50, sync_load=True)
                request, blocks = engine.request("b", self.tokens), [20, 0, 7, 2, 6]
                self.assertEqual(engine.admit(request, blocks), 384)
                with self.lost(self.keys(engine, ranks - 1)[3:]):
                    _, bad = engine.step(request, blocks, 384)
                self.assertEqual(bad, {0, 7})
                self.tokens.append(1)
                engine.step(request, blocks, 128)  # as vLLM does: from the first bad block on
                engine.step(request, blocks, 513)
                engine.close()
                # A page that is there stays: had that step been saved, it would be loaded now.
                engine = self.engine(ranks=ranks, seed=90)
                self.assertTrue(engine.holds(self.tokens, self.load(engine, 512), 512))

    def test_what_is_computed_after_a_failed_load_is_saved(self):
        self.store()
        self.erase(rank=1, page=3)
        engine = self.engine(seed=50, sync_load=True)
        request, blocks = engine.request("b", self.tokens), [20, 0, 7, 2]
        self.assertEqual(engine.admit(request, blocks), 128)
        engine.step(request, blocks, 128)
        self.tokens.append(1)
        engine.step(request, blocks, 400)
        engine.close()
        engine = self.engine(seed=90)
        self.assertTrue(engine.holds(self.tokens, self.load(engine, 384), 384))

    def lost(self, lost_keys: list[bytes]):
        """Lets no page with one of these keys arrive."""
        real = api.Space.get

        def get(space, keys, tensors, first_page=0, max_kl=0):
            kept = [key for key in keys if key not in lost_keys]
            return real(space, kept, tensors, first_page, max_kl) if kept else api.Transfer()

        return mock.patch.object(api.Space, "get", get)

    def test_a_load_that_takes_longer_than_computing_is_given_up_and_not_tried_again(self):
        self.store(ranks=1)
        engine = self.engine(ranks=1, sync_load=True)
        engine.scheduler.get_num_new_matched_tokens(engine.request("x", self.tokens), 0)
        engine.scheduler._scheduler.planner.choice.prefilled(1000, 1e-6)
        request = engine.request("b", self.tokens)
        self.assertEqual(engine.admit(request, self.blocks), 384)
        self.assertEqual(engine.step(request, self.blocks, 384)[1], set(self.blocks[:3]))
        self.assertEqual(engine.admit(engine.request("c", self.tokens), self.blocks), 0)

    def test_a_load_of_two_ranks_counts_once(self):
        self.store()
        for sync in (True, False):
            engine = self.engine(seed=50, sync_load=sync)
            engine.scheduler.get_num_new_matched_tokens(engine.request("x", self.tokens), 0)
            choice = engine.scheduler._scheduler.planner.choice
            with mock.patch.object(choice, "loaded", wraps=choice.loaded) as loaded:
                self.load(engine, 384)
            self.assertEqual([call.args[0] for call in loaded.call_args_list], [384], sync)

    def test_prompts_that_are_found_whole_leave_a_tail(self):
        self.store(ranks=1)
        engine = self.engine(ranks=1)
        self.assertEqual(engine.admit(engine.request("a", self.tokens), self.blocks), 384)
        engine.scheduler._scheduler.planner.choice.loaded(384, 1e-6)
        self.assertEqual(engine.admit(engine.request("b", self.tokens), self.blocks), 256)

    def test_the_policy_that_fails_requests_gives_no_load_up(self):
        for policy, gives_up in (("recompute", True), ("fail", False)):
            config = self.engine().config
            config.kv_transfer_config.kv_load_failure_policy = policy
            scheduler = vllm._Scheduler(config, vllm.Options(socket=self.daemon.socket))
            self.addCleanup(scheduler.close)
            scheduler._model.digest(60000)
            self.assertTrue(scheduler._ready())
            self.assertEqual(scheduler.planner._can_recompute, gives_up)

    def test_a_daemon_that_hangs_holds_the_scheduler_up_for_a_short_time(self):
        daemon = harness.Daemon()
        self.addCleanup(daemon.stop)
        engine = Engine(self.model, daemon.socket, 2, "bfloat16", 1, deadline_ms=120000)
        self.addCleanup(engine.close)
        self.assertEqual(engine.admit(engine.request("a", self.tokens), self.blocks), 0)
        daemon.kill(signal.SIGSTOP)
        started = time.monotonic()
        self.assertEqual(engine.admit(engine.request("b", self.tokens), self.blocks), 0)
        self.assertLess(time.monotonic() - started, 60)

    def test_requests_that_their_keys_do_not_name_are_left_alone(self):
        self.store()
        engine = self.engine()
        for fields in (
            {"lora_request": object()},
            {"mm_features": [object()]},
            {"prompt_embeds": object()},
            {"resumable": True},
            {"skip_reading_prefix_cache": True},
            {"cache_salt": "someone"},
        ):
            request = engine.request(str(fields), self.tokens, **fields)
            self.assertEqual(engine.admit(request, self.blocks), 0, fields)
        self.assertEqual(engine.admit(engine.request("b", self.tokens), self.blocks), 384)

    def test_the_policy_that_fails_requests_is_warned_about(self):
        with mock.patch.object(vllm._log, "warning") as warning:
            self.engine().scheduler.shutdown()
            warning.assert_not_called()
            config = self.engine().config
            config.kv_transfer_config.kv_load_failure_policy = "fail"
            vllm._Scheduler(config, vllm.Options()).close()
        self.assertIn("kv_load_failure_policy", warning.call_args[0][0])

    def test_a_model_named_by_its_hub_id_lies_in_the_hubs_cache(self):
        cache = os.path.join(self.daemon.folder, "hub")
        repository = os.path.join(cache, "models--org--name")
        folder = os.path.join(repository, "snapshots", "0" * 40)
        for path in (folder, os.path.join(repository, "refs")):
            os.makedirs(path)
        with open(os.path.join(repository, "refs", "main"), "w") as file:
            file.write("0" * 40)
        with open(os.path.join(folder, "config.json"), "w") as file:
            file.write("{}")
        named = Names(
            model_config=Names(model="org/name", revision=None),
            load_config=Names(download_dir=cache),
        )
        self.assertEqual(vllm._model_folder(named), folder)

    def test_a_model_that_is_not_handled_is_refused_at_the_start_by_name(self):
        factors = [1.0] * (DIM // 2)
        longrope = {"rope_type": "longrope", "short_factor": factors, "long_factor": factors}
        cases = {
            "sliding window of 512": {"model_type": "mistral", "sliding_window": 512},
            "longrope": {"rope_scaling": longrope, "original_max_position_embeddings": 512},
        }
        with open(os.path.join(self.model, "config.json")) as file:
            config = json.load(file)
        for text, changes in cases.items():
            folder = os.path.join(self.daemon.folder, text)
            os.mkdir(folder)
            with open(os.path.join(folder, "config.json"), "w") as file:
                json.dump(config | changes, file)
            with self.assertRaisesRegex(ValueError, text):
                Engine(folder, self.daemon.socket, 1, "bfloat16", 1)

    def test_a_daemon_that_is_gone_is_a_miss(self):
        daemon = harness.Daemon()
        engine = Engine(self.model, daemon.socket, 2, "bfloat16", 1, salt=self.salt)
        self.addCleanup(engine.close)
        daemon.stop()
        request = engine.request("a", self.tokens)
        self.assertEqual(engine.admit(request, self.blocks), 0)
        self.assertEqual(engine.step(request, self.blocks)[1], set())

    def test_a_daemon_that_goes_before_a_load_fails_it_and_no_more(self):
        for sync in (True, False):
            with self.subTest(sync=sync):
                daemon = harness.Daemon()
                first = Engine(self.model, daemon.socket, 1, "bfloat16", 1)
                request = first.request("a", self.tokens)
                first.admit(request, self.blocks)
                first.step(request, self.blocks)
                first.close()
                engine = Engine(self.model, daemon.socket, 1, "bfloat16", 1, sync_load=sync)
                self.addCleanup(engine.close)
                request = engine.request("b", self.tokens)
                self.assertEqual(engine.admit(request, self.blocks), 384)
                daemon.stop()
                ended, bad = engine.step(request if sync else None, self.blocks, 384)
                while not sync and not any(ended):
                    ended, bad = engine.step()
                self.assertEqual(bad, set(self.blocks[:3]))


if __name__ == "__main__":
    unittest.main()
