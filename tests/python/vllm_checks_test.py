"""Which configurations of vLLM are refused, and by which name; without vLLM."""

import unittest
from types import SimpleNamespace as Names

from sluice_kv.vllm_checks import Options, page_tokens, refusals


class FullAttentionSpec(Names):
    pass


class MLAAttentionSpec(Names):
    pass


def handled():
    """Returns a configuration that is handled, and its cache configuration."""
    config = Names(
        model_config=Names(
            runner_type="generate",
            quantization=None,
            dtype="torch.bfloat16",
            hf_overrides={},
            enable_sleep_mode=False,
            get_total_num_kv_heads=lambda: 8,
        ),
        load_config=Names(load_format="auto"),
        parallel_config=Names(
            pipeline_parallel_size=1,
            data_parallel_size=1,
            prefill_context_parallel_size=1,
            decode_context_parallel_size=1,
            tensor_parallel_size=2,
        ),
        cache_config=Names(cache_dtype="auto", block_size=128, enable_prefix_caching=False),
        device_config=Names(device_type="cpu"),
        scheduler_config=Names(async_scheduling=True),
        speculative_config=None,
    )
    groups = [Names(kv_cache_spec=FullAttentionSpec(sliding_window=None))]
    return config, Names(kv_cache_groups=groups)


class Given(unittest.TestCase):
    def test_qualities_are_numbers_or_names_of_levels(self):
        given = {"max_kl": "q3", "put_kl": 100, "exact_row": True, "profiles": ["a.profile"]}
        options = Options.parse(given)
        self.assertEqual({name: getattr(options, name) for name in given}, given)
        with self.assertRaisesRegex(ValueError, "level 'q9'"):
            Options.parse({"put_kl": "q9"})


class Refusals(unittest.TestCase):
    def refused(self, path: str, value, **options) -> list[str]:
        """Returns what is refused once the attribute at a dotted path has another value."""
        config, cache = handled()
        *parts, last = path.split(".")
        at = config
        for part in parts:
            at = getattr(at, part)
        setattr(at, last, value)
        return refusals(config, cache, Options(**options))

    def test_a_plain_configuration_is_handled(self):
        config, cache = handled()
        self.assertEqual(refusals(config, cache, Options()), [])

    def test_each_refusal_names_its_option(self):
        cases = [
            ("model_config.runner_type", "pooling", "runner pooling"),
            ("model_config.quantization", "awq", "quantization awq"),
            ("model_config.dtype", "torch.int8", "dtype torch.int8"),
            ("model_config.hf_overrides", {"rope_theta": 1}, "hf_overrides"),
            ("model_config.hf_config_path", "/elsewhere", "hf_config_path"),
            ("model_config.enable_sleep_mode", True, "enable_sleep_mode"),
            ("load_config.load_format", "dummy", "load_format dummy"),
            ("parallel_config.pipeline_parallel_size", 2, "pipeline_parallel_size"),
            ("parallel_config.data_parallel_size", 2, "data_parallel_size"),
            ("parallel_config.tensor_parallel_size", 16, "8 kv heads on 16 ranks"),
            ("cache_config.cache_dtype", "fp8", "kv_cache_dtype fp8"),
            ("cache_config.block_size", 48, "block_size 48"),
            ("device_config.device_type", "cuda", "device cuda"),
            ("speculative_config", object(), "speculative_config"),
            ("weight_transfer_config", object(), "weight_transfer_config"),
        ]
        for path, value, named in cases:
            self.assertIn(named, self.refused(path, value), path)

    def test_another_device_can_be_asked_for(self):
        path, options = "device_config.device_type", {"untested_device": "cuda"}
        self.assertEqual(self.refused(path, "cuda", **options), [])

    def test_loads_that_hold_up_a_step_need_steps_one_by_one(self):
        path = "scheduler_config.async_scheduling"
        named = ["sync_load with async_scheduling"]
        self.assertEqual(self.refused(path, True, sync_load=True), named)
        self.assertEqual(self.refused(path, False, sync_load=True), [])

    def test_loads_that_hold_up_a_step_need_blocks_that_no_other_request_finds(self):
        config, cache = handled()
        config.scheduler_config.async_scheduling = False
        for is_cached in (False, True):
            config.cache_config.enable_prefix_caching = is_cached
            named = ["sync_load with enable_prefix_caching"] if is_cached else []
            self.assertEqual(refusals(config, cache, Options(sync_load=True)), named)
            self.assertEqual(refusals(config, cache, Options()), [])

    def test_caches_that_are_not_of_full_attention_are_refused(self):
        config, cache = handled()
        cache.kv_cache_groups[0].kv_cache_spec.sliding_window = 512
        self.assertEqual(refusals(config, cache, Options()), ["sliding_window"])
        cache.kv_cache_groups = [Names(kv_cache_spec=MLAAttentionSpec())]
        self.assertEqual(refusals(config, cache, Options()), ["kv cache of MLAAttentionSpec"])

    def test_an_unknown_option_is_refused_by_name(self):
        with self.assertRaisesRegex(ValueError, "sokcet"):
            Options.parse({"sokcet": "/tmp/s"})
        self.assertEqual(Options.parse({"socket": "/tmp/s"}).socket, "/tmp/s")

    def test_pages_and_blocks_divide_each_other(self):
        sizes = {16: 64, 32: 64, 64: 64, 96: 32, 128: 64, 48: None}
        self.assertEqual({block: page_tokens(block) for block in sizes}, sizes)


if __name__ == "__main__":
    unittest.main()
