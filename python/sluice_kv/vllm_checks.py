"""The vLLM connector's options, and which configurations of vLLM it does not handle.

Without vLLM's modules: what is looked at are attributes of its configuration.
"""

import dataclasses

from sluice_kv import api
from sluice_kv.space_identity import TORCH_DTYPES

TESTED_DEVICES = ("cpu",)
LOAD_FORMATS = ("auto", "hf", "safetensors")
PAGE_TOKENS = (64, 32)  # the default first


@dataclasses.dataclass(frozen=True)
class Options:
    """kv_connector_extra_config."""

    socket: str | None = None  # None: as sluice.h finds it
    deadline_ms: int = 5000
    salt: str = ""  # separates users: part of the space
    sync_load: bool = False  # loads hold up the step, instead of running beside other requests
    save_buffer_bytes: int = 1 << 30
    max_kl: int | str = 0  # the worst quality to load: micro-nats, or a level's name
    put_kl: int | str = 0  # the worst to store, where a profile keeps within it
    exact_row: bool = False  # and beside it what gives the exact KV
    max_bytes: int | None = None  # the most that one load may move, a rank
    profiles: tuple[str, ...] = ()  # files of sluice_kv.calibrate
    untested_device: str = ""  # a device type that is used though nobody tested it

    @classmethod
    def parse(cls, given: dict) -> "Options":
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(given) - set(fields))
        if unknown:
            raise ValueError(f"sluice: unknown options {unknown}, known are {sorted(fields)}")
        options = cls(**given)
        api.check_kl(options.max_kl, options.put_kl)
        api.check_bytes(options.max_bytes)
        return options


def page_tokens(block_tokens: int) -> int | None:
    """Returns the page size for a block size: one divides the other. None where none does."""
    fitting = (p for p in PAGE_TOKENS if block_tokens % p == 0 or p % block_tokens == 0)
    return next(fitting, None)


def refusals(config, cache_config, options: Options) -> list[str]:
    """Returns what of a configuration is not handled, each named as its option is."""
    found = {
        **_model_refusals(config),
        **_parallel_refusals(config.parallel_config, config.model_config),
        **_cache_refusals(config.cache_config, cache_config, config.model_config),
    }
    device = config.device_config.device_type
    found[f"device {device}"] = device not in (*TESTED_DEVICES, options.untested_device)
    found["speculative_config"] = config.speculative_config is not None
    # The next step is scheduled before this one's failed load is known, and answers on its blocks.
    found["sync_load with async_scheduling"] = (
        options.sync_load and config.scheduler_config.async_scheduling
    )
    # vLLM leaves the blocks of a failed load that held up its step in its prefix cache until they are
    # computed again: other requests read there, and would store, what is not their tokens' KV.
    found["sync_load with enable_prefix_caching"] = (
        options.sync_load and config.cache_config.enable_prefix_caching
    )
    return [name for name, there in found.items() if there]


def _model_refusals(config) -> dict[str, bool]:
    model = config.model_config
    return {
        f"runner {model.runner_type}": model.runner_type != "generate",
        f"quantization {model.quantization}": model.quantization is not None,
        f"dtype {model.dtype}": str(model.dtype) not in TORCH_DTYPES,
        "hf_config_path": bool(getattr(model, "hf_config_path", None)),
        # The identity is made of the model's own files.
        "hf_overrides": bool(model.hf_overrides),
        f"load_format {config.load_config.load_format}": (
            config.load_config.load_format not in LOAD_FORMATS
        ),
        # Weights that change in place: the same files then stand for other KV.
        "enable_sleep_mode": model.enable_sleep_mode,
        "weight_transfer_config": getattr(config, "weight_transfer_config", None) is not None,
    }


def _parallel_refusals(parallel, model) -> dict[str, bool]:
    sizes = ("pipeline", "data", "prefill_context", "decode_context")
    found = {f"{name}_parallel_size": getattr(parallel, f"{name}_parallel_size") > 1 for name in sizes}
    ranks = parallel.tensor_parallel_size
    heads = model.get_total_num_kv_heads()
    found[f"{heads} kv heads on {ranks} ranks"] = heads % ranks != 0
    return found


def _cache_refusals(cache, cache_config, model) -> dict[str, bool]:
    groups = cache_config.kv_cache_groups
    kinds = {type(group.kv_cache_spec).__name__ for group in groups}
    specs = [group.kv_cache_spec for group in groups]
    marks = ("sliding_window", "attention_chunk_size", "non_causal")
    own = str(model.dtype).removeprefix("torch.")
    return {
        f"kv_cache_dtype {cache.cache_dtype}": cache.cache_dtype not in ("auto", own),
        f"block_size {cache.block_size}": page_tokens(cache.block_size) is None,
        f"kv cache of {', '.join(sorted(kinds))}": len(groups) != 1 or kinds != {"FullAttentionSpec"},
        **{m: any(getattr(spec, m, None) for spec in specs) for m in marks},
    }
