"""The transformers connector: a DynamicCache that is stored in Sluice, and loaded instead of computed.

    cache = SluiceCache(client, model)             # an api.Client, an AutoModelForCausalLM
    cache.load(input_ids)                          # tokens that the cache now holds; 0 for a miss
    out = model.generate(input_ids, past_key_values=cache)
    cache.save(out)                                # or save(input_ids): the prompt alone

A failure on Sluice's side never reaches the model: load() then answers 0 with an empty cache, save()
answers None and `last_error` says why. What is not handled, or wrong use, raises ValueError: docs/python.md
has the list. One sequence without padding, positions from 0. The model's files are its identity:
weights that were changed in memory must not be used with this, nor weights that are not those that
from_pretrained() takes by default (variant, gguf_file, use_safetensors=False, state_dict, subfolder): the
model does not tell. Used by the client's thread.

load() loads what is faster to load: once prefills of the model were seen, a load that takes longer ends
early, and is not tried again for a while; until then it leaves 256 tokens to compute (load_choice.py).
"""

import dataclasses
import os
import time

import torch
from transformers import AutoConfig, DynamicCache

from sluice_kv import api, space_identity
from sluice_kv.failures import Failures
from sluice_kv.hf_checks import refusals
from sluice_kv.hf_pace import PREFILL_PROBE_TOKENS, Pace, pace_of
from sluice_kv.load_choice import LoadChoice
from sluice_kv.space_identity import TORCH_DTYPES

PAGE_TOKENS = 64
CHUNK_BYTES = 32 << 20  # of a load, between looks at the clock


class SluiceCache(DynamicCache):
    """A cache of one model, saved to and loaded from the daemon of one client."""

    def __init__(
        self,
        client: api.Client,
        model,
        *,
        files: str | None = None,
        salt: bytes = b"",
        max_kl: api.Kl = api.KL_EXACT,
        put_kl: api.Kl = api.KL_EXACT,
        exact_row: bool = False,
        max_bytes: int | None = None,
        always_load: bool = False,
    ):
        """files: the folder of the model's config.json and *.safetensors, where it is not the one
        that the model says it was loaded from. max_kl: the worst quality that load() may bring, in
        micro-nats or as a level's name; it is stamped on what is saved. put_kl: the worst that
        save() may leave, where a profile that the client was given keeps within it. exact_row:
        save() keeps beside it what gives the exact KV. max_bytes: the most that load() may move:
        the finest quality within max_kl at which all pages fit, else as many pages as do.
        always_load: also where computing is faster."""
        super().__init__(config=model.config)
        api.check_kl(max_kl, put_kl)
        api.check_bytes(max_bytes)
        pace = None if always_load else pace_of(model, client)
        quality = _Quality(max_kl, put_kl, exact_row, max_bytes)
        self._pages = _Pages(client, model, files, salt, quality, pace)
        self._loaded: list[int] = []

    @property
    def last_error(self) -> str | None:
        return self._pages.last_error

    @property
    def last_transfer(self) -> api.Transfer | None:
        """What the last load() or save() moved."""
        return self._pages.last_transfer

    def wait_ready(self, timeout_s: float = 600.0) -> bool:
        """Waits for the model's digest and the daemon; until then load() misses."""
        return self._pages.guard("open", lambda space: True, int(timeout_s * 1000)) is not None

    def miss_reason(self) -> str:
        """Returns why the last load() found nothing, naming the field that differs."""
        return self._pages.miss_reason()

    def load(self, input_ids) -> int:
        """Fills the empty cache with the longest stored prefix of a prompt; returns its tokens.

        At least one token is left to compute, since the logits come from there.
        """
        if self.get_seq_length() != 0:
            raise ValueError(f"the cache holds {self.get_seq_length()} tokens: reset() it first")
        tokens = _token_list(input_ids)[:-1]
        pages = self._pages.guard("load", lambda space: self._pages.load(space, tokens))
        if pages is None or len(pages) == 0:
            return 0
        for layer in range(pages.shape[1]):
            planes = (_joined(pages[:, layer, plane]) for plane in (0, 1))
            super().update(*planes, layer)
        self._loaded = tokens[: self.get_seq_length()]
        return len(self._loaded)

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        """A forward's, whose time is taken."""
        if self._pages.pace:
            self._pages.pace.updated(layer_idx, len(self.layers), key_states)
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)

    def save(self, input_ids, *, durable: bool = False) -> api.Transfer | None:
        """Stores the full pages of a sequence, as far as the cache holds it from position 0.

        durable: waits until a crash of the daemon or its machine cannot lose them, which needs a
        daemon with a disk tier.
        """
        tokens = _token_list(input_ids)
        if tokens[: len(self._loaded)] != self._loaded[: len(tokens)]:
            raise ValueError("the cache was loaded with other tokens")
        tokens = tokens[: self.get_seq_length()]
        kv = [(layer.keys, layer.values) for layer in self.layers if layer.is_initialized]
        self._pages.check(kv)
        return self._pages.guard("save", lambda space: self._pages.save(space, tokens, kv, durable))

    def reset(self) -> None:
        super().reset()
        for layer in self.layers:  # transformers 5.17 and older fill them with zeros
            layer.keys = layer.values = None
            layer.is_initialized = False
        self._loaded = []


@dataclasses.dataclass(frozen=True)
class _Quality:
    max_kl: api.Kl
    put_kl: api.Kl
    exact_row: bool
    max_bytes: int | None


class _Pages:
    """The model's space, opened when first needed, and its pages."""

    def __init__(
        self,
        client: api.Client,
        model,
        files: str | None,
        salt: bytes,
        quality: _Quality,
        pace: Pace | None,
    ):
        folder = files or _model_folder(model.config)
        refused = refusals(model, AutoConfig.from_pretrained(folder).to_dict())
        self._files = api.Model(folder)
        groups = self._files.manifest()["groups"]
        refused += space_identity.group_refusals(groups)
        if refused:
            raise ValueError(f"sluice: not handled: {'; '.join(refused)} (docs/python.md)")
        self._client, self._model = client, model
        self._quality, self.pace = quality, pace
        self._dtype = next(model.parameters()).dtype
        self._device = next(model.parameters()).device
        self._layers = len(groups[0]["layers"])
        self._heads, self._dim = (groups[0]["planes"][0][name] for name in ("heads", "dim"))
        dtype = TORCH_DTYPES[str(self._dtype)]
        self._fields = {
            **space_identity.group_fields(
                groups[0], dtype=dtype, first_head=0, heads=self._heads
            ),
            "user_salt": salt,
            "compute_dtype": dtype,
            "page_tokens": PAGE_TOKENS,
        }
        self._space: api.Space | None = None
        self._failures = Failures()
        self.last_transfer: api.Transfer | None = None
        self._not_worth_it = ""

    @property
    def last_error(self) -> str | None:
        return self._failures.last

    def __deepcopy__(self, memo) -> "_Pages":
        return self  # copies of a cache share it: what it holds is the model's

    def guard(self, what: str, work, digest_wait_ms: int = 0):
        """Runs work(space); returns None where Sluice fails."""
        self.last_transfer = None
        return self._failures.guard(what, lambda: work(self._open(digest_wait_ms)))

    def miss_reason(self) -> str:
        return self.last_error or self._not_worth_it or self._client.miss_reason()

    def load(self, space: api.Space, tokens: list[int]) -> torch.Tensor | None:
        """Returns the pages that are there, [page][layer][plane][token][head][dim], or as many of
        them as came before computing would have been faster."""
        if self.pace is None:
            keys, max_kl = self._found(space, tokens)
            return self._fetch(space, keys, max_kl, None).to(self._device)
        self.pace.take_prefill()
        choice = self.pace.choice
        self._not_worth_it = ""
        if choice.tokens_to_load(len(tokens)) < PAGE_TOKENS <= len(tokens):
            self._not_worth_it = _why_not(choice)  # whatever is there
            return None
        keys, max_kl = self._found(space, tokens)
        wanted = choice.tokens_to_load(len(keys) * PAGE_TOKENS) // PAGE_TOKENS
        if wanted == 0:
            self._not_worth_it = _why_not(choice) if keys else ""
            return None
        return self._measured_fetch(space, keys[:wanted], max_kl)

    def _measured_fetch(self, space: api.Space, keys: list[bytes], max_kl: int) -> torch.Tensor:
        choice, tokens = self.pace.choice, len(keys) * PAGE_TOKENS
        choice.begun(tokens)
        started, loaded = time.monotonic(), 0
        try:
            pages = self._fetch(space, keys, max_kl, choice.patience_s(tokens)).to(self._device)
            loaded = len(pages) * PAGE_TOKENS
        finally:  # also of one that failed
            choice.loaded(loaded, time.monotonic() - started)
        return pages

    def _found(self, space: api.Space, tokens: list[int]) -> tuple[list[bytes], int]:
        """Returns the pages to get, and the quality to get them with."""
        keys, max_kl = space.keys(tokens), space.kl(self._quality.max_kl)
        if self._quality.max_bytes is None:
            return keys[: space.lookup(keys, max_kl)], max_kl
        fit = space.fit(keys, self._quality.max_bytes, max_kl)
        return keys[: fit.pages], fit.max_kl

    def _fetch(
        self, space: api.Space, keys: list[bytes], max_kl: int, patience_s: float | None
    ) -> torch.Tensor:
        """Gets pages until one is missing, or patience has ended."""
        started, held = time.monotonic(), 0
        pages = self._staging(len(keys))
        step = max(1, CHUNK_BYTES // max(1, pages[:1].nbytes))
        while held < len(keys) and (
            held == 0 or patience_s is None or time.monotonic() - started < patience_s
        ):
            wanted = keys[held : held + step]
            moved = space.get(wanted, pages[held : held + step], held, max_kl=max_kl)
            self.last_transfer = _sum(self.last_transfer, moved)
            held += moved.pages
            if moved.pages < len(wanted):
                break
        return pages[:held]

    def save(self, space: api.Space, tokens: list[int], kv, durable: bool) -> api.Transfer:
        """Puts the pages that the daemon has not, or all where they must be durable."""
        keys = space.keys(tokens)
        kept = space.lookup(keys, space.encoded_kl) if keys and not durable else 0
        moved = api.Transfer()
        if kept < len(keys):
            pages = self._staging(len(keys) - kept)
            span = slice(kept * PAGE_TOKENS, len(keys) * PAGE_TOKENS)
            for layer, planes in enumerate(kv):
                for plane, tensor in enumerate(planes):
                    pages[:, layer, plane] = _split(tensor.detach()[0, :, span])
            anchor = keys[kept - 1] if kept else None
            moved = space.put(keys[kept:], pages, kept, anchor, durable=durable)
        moved.pages_kept += kept
        moved.tokens = len(keys) * PAGE_TOKENS
        self.last_transfer = moved
        return moved

    def check(self, kv) -> None:
        """Raises ValueError for tensors that are not what the space says."""
        if self._model.training:
            raise ValueError("the model is in training mode, where dropout changes K and V: eval()")
        if kv and len(kv[0][0]) != 1:
            raise ValueError(f"the cache holds {len(kv[0][0])} sequences, one can be saved")
        wanted = self._layers, self._dtype, self._heads, self._dim
        for tensor in (tensor for planes in kv for tensor in planes):
            if tensor.shape[2] != kv[0][0].shape[2]:
                raise ValueError("the cache's layers hold different tokens: a forward failed half-way")
            found = len(kv), tensor.dtype, tensor.shape[1], tensor.shape[3]
            if found != wanted:
                raise ValueError(
                    f"the cache has layers, dtype, kv heads, dim = {found}, the model's files say"
                    f" {wanted}"
                )

    def _open(self, digest_wait_ms: int) -> api.Space:
        if self._space is None:
            digest = self._files.digest(digest_wait_ms)
            descriptor = space_identity.encode_descriptor({**self._fields, "model_digest": digest})
            quality = self._quality
            self._space = api.Space(
                self._client,
                descriptor,
                quality.max_kl,
                put_kl=quality.put_kl,
                exact_row=quality.exact_row,
            )
        return self._space

    def _staging(self, pages: int) -> torch.Tensor:
        shape = pages, self._layers, 2, PAGE_TOKENS, self._heads, self._dim
        return torch.empty(shape, dtype=self._dtype)


def _why_not(choice: LoadChoice) -> str:
    """Returns why nothing is loaded of what could be."""
    if choice.load_loses:
        load_ms, prefill_ms = 1e3 * choice.load_s, 1e3 * choice.prefill_s
        return f"loading loses: {load_ms:.3f} ms a token, computing {prefill_ms:.3f}"
    return f"the last {PREFILL_PROBE_TOKENS} tokens are computed, to time a prefill"


def _sum(a: api.Transfer | None, b: api.Transfer) -> api.Transfer:
    if a is None:
        return b
    return api.Transfer(*(getattr(a, name) + getattr(b, name) for name, _ in b._fields_))


def _split(tensor: torch.Tensor) -> torch.Tensor:
    """From transformers' [head][token][dim] to [page][token][head][dim]."""
    heads, _, dim = tensor.shape
    return tensor.reshape(heads, -1, PAGE_TOKENS, dim).permute(1, 2, 0, 3)


def _joined(pages: torch.Tensor) -> torch.Tensor:
    """From [page][token][head][dim] to transformers' [1][head][token][dim]."""
    return pages.flatten(0, 1).transpose(0, 1).unsqueeze(0)


def _token_list(input_ids) -> list[int]:
    if not isinstance(input_ids, torch.Tensor):
        return list(input_ids)
    if input_ids.dim() == 2 and len(input_ids) != 1:
        raise ValueError(f"input_ids has {len(input_ids)} sequences, expected one")
    return input_ids.flatten().tolist()


def _model_folder(config) -> str:
    """Returns the folder of the model's files; a model named by its hub id lies in the hub's cache."""
    name = config._name_or_path
    if os.path.isdir(name):
        return name
    from huggingface_hub import snapshot_download

    return snapshot_download(
        name, revision=getattr(config, "_commit_hash", None), local_files_only=True
    )
