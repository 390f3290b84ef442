"""The vLLM connector: a prompt's KV is stored in Sluice, and loaded instead of computed again.

    vllm serve MODEL --kv-transfer-config '{"kv_connector": "SluiceConnector",
      "kv_connector_module_path": "sluice_kv.vllm", "kv_role": "kv_both",
      "kv_load_failure_policy": "recompute"}'

docs/vllm.md has the options and what is refused. A failure on Sluice's side never reaches the
engine: it is a miss, or a load that failed, whose tokens the engine computes again. A configuration
that is not handled stops the start with a sentence that names it.
"""

import sys
import os
from dataclasses import dataclass, field

import torch
from vllm.config import get_layers_from_vllm_config
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
    KVConnectorWorkerMetadata,
)
from vllm.logger import init_logger
from vllm.model_executor.layers.attention import Attention

from sluice_kv import api, space_identity
from sluice_kv.load_choice import LoadChoice
from sluice_kv.space_identity import TORCH_DTYPES
from sluice_kv.vllm_checks import Options, page_tokens, refusals
from sluice_kv.vllm_layout import LayoutError, PagedCache, probe
from sluice_kv.vllm_plan import PREFILL_PROBE_TOKENS, Planner, Shape, StepPlan, Timings
from sluice_kv.vllm_worker import Connection, Mover, Quality

# A lookup holds up the engine's scheduler, and all requests with it.
LOOKUP_DEADLINE_MS = 1000

_log = init_logger("vllm.sluice_kv")


@dataclass
class StepMetadata(KVConnectorMetadata):
    """The scheduler's plan for the workers, which learn their spaces from it."""

    plan: StepPlan = field(default_factory=StepPlan)
    descriptors: list[bytes] = field(default_factory=list)  # [rank]


@dataclass
class WorkerMetadata(KVConnectorWorkerMetadata):
    timings: Timings

    def aggregate(self, other: "WorkerMetadata") -> "WorkerMetadata":
        return WorkerMetadata(self.timings.joined(other.timings))


class SluiceConnector(KVConnectorBase_V1):
    def __init__(self, vllm_config, role, kv_cache_config):
        super().__init__(vllm_config, role, kv_cache_config)
        self._config, self._cache_config = vllm_config, kv_cache_config
        self._options = Options.parse(self._kv_transfer_config.kv_connector_extra_config)
        refused = refusals(vllm_config, kv_cache_config, self._options)
        if refused:
            raise ValueError(f"sluice: not handled: {'; '.join(refused)} (docs/vllm.md)")
        self._mover: Mover | None = None
        self._cache: PagedCache | None = None
        self._scheduler: _Scheduler | None = None
        if role == KVConnectorRole.SCHEDULER:
            self._scheduler = _Scheduler(vllm_config, self._options)

    @property
    def requires_kv_delivery(self) -> bool:
        return False

    # ---- scheduler -----------------------------------------------------------------------------

    def get_num_new_matched_tokens(self, request, num_computed_tokens):
        tokens = self._scheduler.matched_tokens(request, num_computed_tokens)
        return tokens, tokens > 0 and self._scheduler.is_async

    def update_state_after_alloc(self, request, blocks, num_external_tokens):
        if self._scheduler.planner is not None and num_external_tokens:
            block_ids = blocks.get_block_ids()[0]
            self._scheduler.planner.allocated(request.request_id, block_ids, num_external_tokens)

    def build_connector_meta(self, scheduler_output):
        return self._scheduler.step(scheduler_output)

    def update_connector_output(self, connector_output):
        measured, planner = connector_output.kv_connector_worker_meta, self._scheduler.planner
        if isinstance(measured, WorkerMetadata) and planner is not None:
            planner.measured(measured.timings)

    def request_finished(self, request, block_ids):
        if self._scheduler.planner is not None:
            self._scheduler.planner.finished(request.request_id)
        return False, None

    # ---- worker --------------------------------------------------------------------------------

    def register_kv_caches(self, kv_caches):
        layers = get_layers_from_vllm_config(self._config, Attention, list(kv_caches))
        self._cache = paged_cache(kv_caches, layers, self._config, self._cache_config)
        _log.info("sluice: cache layout %s, %s", self._cache.fingerprint, self._cache.shape)

    def bind_connector_metadata(self, connector_metadata):
        super().bind_connector_metadata(connector_metadata)
        if self._mover is None and connector_metadata.descriptors:
            self._mover = self._make_mover(connector_metadata.descriptors)
        if self._mover is not None:
            self._mover.begin()

    def start_load_kv(self, forward_context, **kwargs):
        if self._mover is not None:
            has_forward = getattr(forward_context, "attn_metadata", None) is not None
            self._mover.start(self._get_connector_metadata().plan, has_forward)

    def wait_for_layer_load(self, layer_name):
        pass  # what a forward needs is loaded before it

    def save_kv_layer(self, layer_name, kv_layer, attn_metadata, **kwargs):
        pass  # pages are taken from the cache after the forward

    def wait_for_save(self):
        # vLLM calls this in a `finally`: after a forward that raised the blocks were not computed.
        if self._mover is not None and sys.exc_info()[0] is None:
            self._mover.save(self._get_connector_metadata().plan)

    def get_finished(self, finished_req_ids):
        loaded = self._mover.finished(finished_req_ids) if self._mover is not None else None
        return None, loaded or None

    def get_block_ids_with_load_errors(self):
        return self._mover.take_bad_blocks() if self._mover is not None else set()

    def build_connector_worker_meta(self):
        if self._mover is None:
            return None
        timings = self._mover.take_timings()
        return WorkerMetadata(timings) if timings.prefill_tokens or timings.loads else None

    def shutdown(self):
        if self._mover is not None:
            self._mover.close()
            self._mover = None
        if self._scheduler is not None:
            self._scheduler.close()

    def _make_mover(self, descriptors: list[bytes]) -> Mover:
        options, rank = self._options, self._config.parallel_config.rank
        return Mover(
            self._cache,
            rank,
            lambda: Connection(
                options.socket, options.deadline_ms, descriptors[rank], _quality(options)
            ),
            options.save_buffer_bytes,
            _synchronizer(self._cache.device),
        )


class _Scheduler:
    """The scheduler's side: off until the model's digest is there."""

    def __init__(self, config, options: Options):
        self._config, self._options = config, options
        self.planner: Planner | None = None
        self.is_async = not options.sync_load
        self._warned: set[str] = set()
        self._model = api.Model(_model_folder(config))
        groups = self._model.manifest()["groups"]
        refused = space_identity.group_refusals(groups)
        if refused:
            raise ValueError(f"sluice: not handled: {'; '.join(refused)} (docs/vllm.md)")
        self._group = groups[0]
        self._descriptors: list[bytes] = []
        self._connections: list[Connection] = []
        policy = config.kv_transfer_config.kv_load_failure_policy
        if policy != "recompute":
            _log.warning(
                "sluice: kv_load_failure_policy is %r: a request whose pages cannot be loaded will"
                ' FAIL. Set "kv_load_failure_policy": "recompute" in --kv-transfer-config.',
                policy,
            )

    def matched_tokens(self, request, local_tokens: int) -> int:
        if not self._ready() or not self._handles(request):
            return 0
        return self.planner.matched_tokens(
            request.request_id, request.all_token_ids, local_tokens, request.cache_salt
        )

    def step(self, output) -> StepMetadata:
        if self.planner is None:
            return StepMetadata()
        counts = output.num_scheduled_tokens
        computed = {new.req_id: new.num_computed_tokens for new in output.scheduled_new_reqs}
        cached = output.scheduled_cached_reqs
        computed.update(zip(cached.req_ids, cached.num_computed_tokens))
        blocks = output.kv_connector_block_state
        plan = self.planner.step(
            [(name, done, counts[name]) for name, done in computed.items()],
            lambda name: blocks.get_block_ids(name)[0],
        )
        return StepMetadata(plan, self._descriptors)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._model.close()

    def _handles(self, request) -> bool:
        """Whether a request's KV is decided by what its keys say."""
        reasons = {
            "LoRA": request.lora_request is not None,
            "multimodal inputs": bool(request.mm_features),
            "prompt embeddings": request.prompt_embeds is not None,
            "streamed prompts": request.resumable,
        }
        for reason in (reason for reason, there in reasons.items() if there):
            if reason not in self._warned:
                _log.warning("sluice: requests with %s are neither stored nor loaded", reason)
                self._warned.add(reason)
            return False
        return not request.skip_reading_prefix_cache

    def _ready(self) -> bool:
        if self.planner is None:
            try:
                digest = self._model.digest()
            except api.Error as error:
                if error.status != api.TIMED_OUT and "digest" not in self._warned:
                    _log.warning("sluice: off: the model's digest: %s", error)
                    self._warned.add("digest")
                return False
            self._open(digest)
        return True

    def _open(self, digest: bytes) -> None:
        options, config = self._options, self._config
        ranks = config.parallel_config.tensor_parallel_size
        dtype = TORCH_DTYPES[str(config.model_config.dtype)]
        heads = self._group["planes"][0]["heads"] // ranks
        size = page_tokens(config.cache_config.block_size)
        self._descriptors = [
            space_identity.encode_descriptor(
                {
                    **space_identity.group_fields(
                        self._group, dtype=dtype, first_head=rank * heads, heads=heads
                    ),
                    "model_digest": digest,
                    "user_salt": options.salt.encode(),
                    "compute_dtype": dtype,
                    "page_tokens": size,
                }
            )
            for rank in range(ranks)
        ]
        deadline_ms = min(options.deadline_ms, LOOKUP_DEADLINE_MS)
        self._connections = [
            Connection(options.socket, deadline_ms, descriptor, _quality(options))
            for descriptor in self._descriptors
        ]
        role = config.kv_transfer_config
        self.planner = Planner(
            [space_identity.space_id(descriptor) for descriptor in self._descriptors],
            page_tokens=size,
            block_tokens=config.cache_config.block_size,
            lookup=self._lookup,
            choice=LoadChoice(prefill_probe_tokens=PREFILL_PROBE_TOKENS),
            is_async=self.is_async,
            can_recompute=role.kv_load_failure_policy == "recompute",
            may_load=role.is_kv_consumer,
            may_save=role.is_kv_producer,
        )

    def _lookup(self, keys: list[list[bytes]]) -> int | None:
        """Returns how many pages every rank can load, from the first on."""
        common = len(keys[0])
        for connection, own in zip(self._connections, keys):
            wanted = own[:common]
            if wanted:
                pages = connection.quality.pages
                found = connection.call("lookup", lambda space: pages(space, wanted), None)
                if found is None:
                    return None
                common = found
        return common


def paged_cache(kv_caches, layers, config, cache_config) -> PagedCache:
    """Measures the layout of a rank's cache tensors. Raises LayoutError."""
    spec = cache_config.kv_cache_groups[0].kv_cache_spec
    block_tokens = config.cache_config.block_size
    names = sorted(kv_caches, key=_layer_index)
    shape = Shape(
        layers=len(names),
        heads=spec.num_kv_heads,
        dim=spec.head_size,
        block_tokens=block_tokens,
        page_tokens=page_tokens(block_tokens),
    )
    caches = [kv_caches[name] for name in names]
    found = None
    for name, cache in zip(names, caches):
        if cache.dtype != config.model_config.dtype or len(cache) != cache_config.num_blocks:
            raise LayoutError(
                f"{name}: {tuple(cache.shape)} of {cache.dtype}, expected {cache_config.num_blocks}"
                f" blocks of {config.model_config.dtype}"
            )
        layer = layers[name]
        where = probe(
            lambda k, v, c, s, layer=layer: layer.impl.do_kv_cache_update(layer, k, v, c, s),
            cache,
            shape,
        )
        if found is not None and not torch.equal(where, found):
            raise LayoutError(f"{name} has another layout than {names[0]}")
        found = where
    return PagedCache(caches, found, shape)


def _quality(options: Options) -> Quality:
    api.read_profiles(options.profiles)  # a bad one ends the start, and is named
    return Quality(
        options.max_kl, options.put_kl, options.exact_row, options.max_bytes, tuple(options.profiles)
    )


def _layer_index(name: str) -> int:
    """Returns the number in "model.layers.7.self_attn.attn"."""
    numbers = [int(part) for part in name.split(".") if part.isdigit()]
    if len(numbers) != 1:
        raise LayoutError(f"no transformer layer is known for the cache {name}")
    return numbers[0]


def _model_folder(config) -> str:
    """Returns the folder of the model's files; a model named by its hub id lies in the hub's cache."""
    name = config.model_config.model
    if os.path.isdir(name):
        return name
    from huggingface_hub import snapshot_download

    return snapshot_download(
        name,
        revision=config.model_config.revision,
        cache_dir=config.load_config.download_dir,
        local_files_only=True,
    )


def _synchronizer(device: torch.device):
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(device)
