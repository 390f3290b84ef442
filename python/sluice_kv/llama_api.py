"""llama.cpp's C API by plain ctypes, as the `xllamacpp` wheel's extension module exports it.

What it is for: a small surface (Model, Context) that the connector, the capture script and the
tests share. What it is not: a general binding; only what they need is here.

The C API promises no stable struct layout, so one wheel version is accepted, by name, and the
defaults that the layout implies are checked before the first call that passes a struct.
Not thread safe: one thread at a time may use a Model and the Contexts made from it.
"""

import ctypes as C
import glob
import importlib.metadata
import importlib.util
import os
import time

XLLAMACPP_VERSION = "2026.10.11549"
GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}
CONTEXT_STEP = 256  # tokens
PREFILL_TOKENS_MIN = 64  # llama.cpp computes smaller batches, answers among them, in another way
ROPE_TYPES = {-1: "none", 0: "interleaved", 2: "half-split"}


class LlamaError(RuntimeError):
    """llama.cpp could not be loaded, or refused a call."""


class ModelParams(C.Structure):
    """struct llama_model_params of b11549."""

    _fields_ = [
        ("devices", C.c_void_p),
        ("tensor_buft_overrides", C.c_void_p),
        ("n_gpu_layers", C.c_int32),
        ("split_mode", C.c_int32),
        ("load_mode", C.c_int32),
        ("lazy_mode", C.c_int32),
        ("main_gpu", C.c_int32),
        ("tensor_split", C.c_void_p),
        ("progress_callback", C.c_void_p),
        ("progress_callback_user_data", C.c_void_p),
        ("kv_overrides", C.c_void_p),
        ("vocab_only", C.c_bool),
        ("check_tensors", C.c_bool),
        ("use_extra_bufts", C.c_bool),
        ("no_host", C.c_bool),
        ("no_alloc", C.c_bool),
        ("load_mtp", C.c_bool),
    ]


class ContextParams(C.Structure):
    """struct llama_context_params of b11549."""

    _fields_ = [
        ("n_ctx", C.c_uint32),
        ("n_batch", C.c_uint32),
        ("n_ubatch", C.c_uint32),
        ("n_seq_max", C.c_uint32),
        ("n_rs_seq", C.c_uint32),
        ("n_outputs_max", C.c_uint32),
        ("n_outputs_max_per_seq", C.c_uint32),
        ("n_threads", C.c_int32),
        ("n_threads_batch", C.c_int32),
        ("ctx_type", C.c_int32),
        ("rope_scaling_type", C.c_int32),
        ("pooling_type", C.c_int32),
        ("attention_type", C.c_int32),
        ("flash_attn_type", C.c_int32),
        ("rope_freq_base", C.c_float),
        ("rope_freq_scale", C.c_float),
        ("yarn_ext_factor", C.c_float),
        ("yarn_attn_factor", C.c_float),
        ("yarn_beta_fast", C.c_float),
        ("yarn_beta_slow", C.c_float),
        ("yarn_orig_ctx", C.c_uint32),
        ("defrag_thold", C.c_float),
        ("cb_eval", C.c_void_p),
        ("cb_eval_user_data", C.c_void_p),
        ("type_k", C.c_int32),
        ("type_v", C.c_int32),
        ("moe_cache_size", C.c_size_t),
        ("abort_callback", C.c_void_p),
        ("abort_callback_data", C.c_void_p),
        ("embeddings", C.c_bool),
        ("offload_kqv", C.c_bool),
        ("no_perf", C.c_bool),
        ("op_offload", C.c_bool),
        ("swa_full", C.c_bool),
        ("kv_unified", C.c_bool),
        ("samplers", C.c_void_p),
        ("n_samplers", C.c_size_t),
        ("ctx_other", C.c_void_p),
    ]


class Batch(C.Structure):
    """struct llama_batch."""

    _fields_ = [
        ("n_tokens", C.c_int32),
        ("token", C.c_void_p),
        ("embd", C.c_void_p),
        ("pos", C.c_void_p),
        ("n_seq_id", C.c_void_p),
        ("seq_id", C.c_void_p),
        ("logits", C.c_void_p),
    ]


# What the two structs hold by default. A shifted field shows here before it can do harm.
_MODEL_DEFAULTS = {
    "n_gpu_layers": -1,
    "split_mode": 1,
    "load_mode": -1,
    "lazy_mode": 1,
    "main_gpu": 0,
    "kv_overrides": None,
    "vocab_only": False,
    "check_tensors": False,
    "use_extra_bufts": True,
    "no_host": False,
    "no_alloc": False,
    "load_mtp": False,
}
_CONTEXT_DEFAULTS = {
    "n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_rs_seq": 0,
    "n_outputs_max": 0, "n_outputs_max_per_seq": 1, "ctx_type": 0, "rope_scaling_type": -1,
    "pooling_type": -1, "attention_type": -1, "flash_attn_type": -1, "rope_freq_base": 0.0,
    "rope_freq_scale": 0.0, "yarn_ext_factor": -1.0, "yarn_attn_factor": -1.0,
    "yarn_beta_fast": -1.0, "yarn_beta_slow": -1.0, "yarn_orig_ctx": 0, "defrag_thold": -1.0,
    "cb_eval": None, "cb_eval_user_data": None, "type_k": GGML_TYPES["f16"],
    "type_v": GGML_TYPES["f16"], "moe_cache_size": 0, "abort_callback": None,
    "abort_callback_data": None,
    "embeddings": False, "offload_kqv": True, "no_perf": True, "op_offload": True,
    "swa_full": True, "kv_unified": False, "samplers": None, "n_samplers": 0, "ctx_other": None,
}  # fmt: skip

_P, _I, _U, _Z, _S = C.c_void_p, C.c_int32, C.c_uint32, C.c_size_t, C.c_char_p
_SIGNATURES = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [_P, _P]),
    "llama_model_default_params": (ModelParams, []),
    "llama_context_default_params": (ContextParams, []),
    "llama_model_load_from_file": (_P, [_S, ModelParams]),
    "llama_model_free": (None, [_P]),
    "llama_model_get_vocab": (_P, [_P]),
    "llama_model_n_layer": (_I, [_P]),
    "llama_model_n_head_kv": (_I, [_P]),
    "llama_model_n_swa": (_I, [_P]),
    "llama_model_n_ctx_train": (_I, [_P]),
    "llama_model_rope_type": (_I, [_P]),
    "llama_model_meta_count": (_I, [_P]),
    "llama_model_meta_key_by_index": (_I, [_P, _I, _P, _Z]),
    "llama_model_meta_val_str_by_index": (_I, [_P, _I, _P, _Z]),
    "llama_vocab_n_tokens": (_I, [_P]),
    "llama_vocab_is_eog": (C.c_bool, [_P, _I]),
    "llama_tokenize": (_I, [_P, _S, _I, _P, _I, C.c_bool, C.c_bool]),
    "llama_token_to_piece": (_I, [_P, _I, _P, _I, _I, C.c_bool]),
    "llama_init_from_model": (_P, [_P, ContextParams]),
    "llama_free": (None, [_P]),
    "llama_n_ctx": (_U, [_P]),
    "llama_n_batch": (_U, [_P]),
    "llama_n_ubatch": (_U, [_P]),
    "llama_n_seq_max": (_U, [_P]),
    "llama_n_threads": (_I, [_P]),
    "llama_get_memory": (_P, [_P]),
    "llama_memory_clear": (None, [_P, C.c_bool]),
    "llama_memory_seq_pos_max": (_I, [_P, _I]),
    "llama_batch_get_one": (Batch, [_P, _I]),
    "llama_decode": (_I, [_P, Batch]),
    "llama_get_logits_ith": (_P, [_P, _I]),
    "llama_sampler_init_greedy": (_P, []),
    "llama_sampler_sample": (_I, [_P, _P, _I]),
    "llama_sampler_free": (None, [_P]),
    "llama_state_seq_get_size": (_Z, [_P, _I]),
    "llama_state_seq_get_data": (_Z, [_P, _P, _Z, _I]),
    "llama_state_seq_set_data": (_Z, [_P, _P, _Z, _I]),
}

_LOG_KEPT = 20
_log_tail: list[str] = []
_lib = None


@C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)
def _on_log(level, text, _user):
    """Keeps warnings and errors for the exceptions' texts: the engine itself stays silent."""
    if level >= 3:
        _log_tail.append(text.decode("utf-8", "replace").strip())
        del _log_tail[:-_LOG_KEPT]


def _fail(what: str):
    raise LlamaError(f"{what}; llama.cpp said: {' | '.join(_log_tail[-3:]) or 'nothing'}")


def _check_defaults(struct, wanted: dict) -> None:
    name = type(struct).__name__
    for field, value in wanted.items():
        got = getattr(struct, field)
        if got != value:
            raise LlamaError(
                f"llama.cpp's {name}.{field} is {got!r} by default, expected {value!r}: the struct"
                f" layout is not that of xllamacpp {XLLAMACPP_VERSION}; install that version"
            )


def library():
    """Returns the loaded llama.cpp library, checked once for version and struct layouts."""
    global _lib
    if _lib is not None:
        return _lib
    try:
        version = importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        raise LlamaError(
            f"xllamacpp is not installed: pip install --no-deps xllamacpp=={XLLAMACPP_VERSION}"
        ) from None
    if version != XLLAMACPP_VERSION:
        raise LlamaError(
            f"xllamacpp {version} is installed, but the struct layouts here are those of"
            f" {XLLAMACPP_VERSION}: pip install --no-deps xllamacpp=={XLLAMACPP_VERSION}"
        )
    folder = importlib.util.find_spec("xllamacpp").submodule_search_locations[0]
    paths = glob.glob(os.path.join(folder, "xllamacpp*.so"))
    if len(paths) != 1:
        raise LlamaError(f"expected one xllamacpp*.so in {folder}, found {len(paths)}")
    lib = C.CDLL(paths[0])
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    _check_defaults(lib.llama_model_default_params(), _MODEL_DEFAULTS)
    _check_defaults(lib.llama_context_default_params(), _CONTEXT_DEFAULTS)
    lib.llama_log_set(C.cast(_on_log, _P), None)
    lib.llama_backend_init()
    _lib = lib
    return lib


class Model:
    """A GGUF file, loaded for the CPU."""

    def __init__(self, path: str, vocab_only: bool = False):
        self.path = os.fspath(path)
        self._lib = library()
        params = self._lib.llama_model_default_params()
        params.vocab_only = vocab_only
        self._handle = self._lib.llama_model_load_from_file(self.path.encode(), params)
        if not self._handle:
            _fail(f"cannot load the model {self.path}")
        self._vocab = self._lib.llama_model_get_vocab(self._handle)
        self.layers = self._lib.llama_model_n_layer(self._handle)
        self.kv_heads = self._lib.llama_model_n_head_kv(self._handle)
        self.window = self._lib.llama_model_n_swa(self._handle)
        self.context_tokens = self._lib.llama_model_n_ctx_train(self._handle)
        self.vocab_tokens = self._lib.llama_vocab_n_tokens(self._vocab)
        rope = self._lib.llama_model_rope_type(self._handle)
        self.rope = ROPE_TYPES.get(rope, f"type {rope}")

    def metadata(self) -> dict[str, str]:
        """Returns the GGUF's scalar metadata as llama.cpp prints it."""
        pairs = {}
        for index in range(self._lib.llama_model_meta_count(self._handle)):
            key = self._string(self._lib.llama_model_meta_key_by_index, index)
            pairs[key] = self._string(self._lib.llama_model_meta_val_str_by_index, index)
        return pairs

    def _string(self, function, index: int) -> str:
        size = function(self._handle, index, None, 0) + 1
        buffer = C.create_string_buffer(size)
        function(self._handle, index, buffer, size)
        return buffer.value.decode("utf-8", "replace")

    def tokenize(self, text: str, add_special: bool = True) -> list[int]:
        """Returns the token ids of `text`; `add_special` adds the model's BOS where it has one."""
        raw = text.encode()
        room = len(raw) + 8
        ids = (C.c_int32 * room)()
        count = self._lib.llama_tokenize(self._vocab, raw, len(raw), ids, room, add_special, False)
        if count < 0:
            _fail(f"cannot tokenize {len(raw)} bytes")
        return ids[:count]

    def text(self, ids) -> str:
        """Returns the text of token ids."""
        out = b""
        for token in ids:
            buffer = C.create_string_buffer(256)
            size = self._lib.llama_token_to_piece(self._vocab, token, buffer, 256, 0, True)
            out += buffer.raw[: max(size, 0)]
        return out.decode("utf-8", "replace")

    def ends(self, token: int) -> bool:
        """Returns whether the token ends a generation."""
        return self._lib.llama_vocab_is_eog(self._vocab, token)

    def close(self) -> None:
        if self._handle:
            self._lib.llama_model_free(self._handle)
            self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Context:
    """One sequence (id 0) over a model: decode, logits, greedy tokens, state."""

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int = 4096,
        n_batch: int = 2048,
        n_ubatch: int = 512,
        threads: int = 2,
        flash_attn: bool = True,
        type_k: str = "f16",
        type_v: str = "f16",
    ):
        self.model, self._lib = model, model._lib
        params = self._lib.llama_context_default_params()
        # llama.cpp pads n_ctx itself, but cuts n_batch and n_ubatch to what was asked for.
        n_ctx = -(-n_ctx // CONTEXT_STEP) * CONTEXT_STEP
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, n_batch, n_ubatch
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = 1 if flash_attn else 0
        params.type_k, params.type_v = GGML_TYPES[type_k], GGML_TYPES[type_v]
        self._handle = self._lib.llama_init_from_model(model._handle, params)
        if not self._handle:
            _fail(f"cannot make a context for {model.path}")
        self.n_ctx = self._lib.llama_n_ctx(self._handle)
        self.n_batch = self._lib.llama_n_batch(self._handle)
        self.n_ubatch = self._lib.llama_n_ubatch(self._handle)
        self.threads = self._lib.llama_n_threads(self._handle)
        self.flash_attn, self.type_k, self.type_v = flash_attn, type_k, type_v
        # A layout that differs from ours would have put these values elsewhere.
        n_batch = min(n_batch, self.n_ctx)
        wanted = (n_batch, min(n_ubatch, n_batch), 1, threads)
        got = (self.n_batch, self.n_ubatch, self._lib.llama_n_seq_max(self._handle), self.threads)
        if got != wanted or self.n_ctx != n_ctx:
            self.close()
            raise LlamaError(
                f"asked for n_batch, n_ubatch, n_seq_max, threads = {wanted} and n_ctx {n_ctx},"
                f" got {got} and n_ctx {self.n_ctx}"
            )
        self._memory = self._lib.llama_get_memory(self._handle)
        # Of all prompts' pieces so far; decode() waits until each is computed.
        self.prefilled_tokens, self.prefilled_s = 0, 0.0
        self._sampler = self._lib.llama_sampler_init_greedy()

    def __len__(self) -> int:
        """Number of tokens that the sequence holds."""
        return self._lib.llama_memory_seq_pos_max(self._memory, 0) + 1

    def clear(self) -> None:
        """Empties the sequence."""
        self._lib.llama_memory_clear(self._memory, True)

    def decode(self, ids) -> None:
        """Appends tokens, in pieces of n_batch: one llama_decode with more aborts the process."""
        if len(self) + len(ids) > self.n_ctx:
            raise LlamaError(f"{len(self)} + {len(ids)} tokens do not fit n_ctx {self.n_ctx}")
        for start in range(0, len(ids), self.n_batch):
            piece = ids[start : start + self.n_batch]
            tokens = (C.c_int32 * len(piece))(*piece)
            batch = self._lib.llama_batch_get_one(tokens, len(piece))
            started = time.monotonic()
            status = self._lib.llama_decode(self._handle, batch)
            if status != 0:
                _fail(f"llama_decode of {len(piece)} tokens answered {status}")
            if len(piece) >= PREFILL_TOKENS_MIN:
                self.prefilled_tokens += len(piece)
                self.prefilled_s += time.monotonic() - started

    def forced(self, ids) -> bytes:
        """Appends tokens in one batch; returns the logits behind each, float32 [token][vocabulary]."""
        if len(ids) > self.n_batch or len(self) + len(ids) > self.n_ctx:
            raise LlamaError(
                f"{len(ids)} tokens behind {len(self)} do not fit n_batch {self.n_batch},"
                f" n_ctx {self.n_ctx}"
            )
        count, first = len(ids), len(self)
        sequence = (C.c_int32 * 1)(0)
        arrays = (
            (C.c_int32 * count)(*ids),
            (C.c_int32 * count)(*range(first, first + count)),
            (C.c_int32 * count)(*[1] * count),
            (C.c_void_p * count)(*[C.addressof(sequence)] * count),
            (C.c_int8 * count)(*[1] * count),
        )
        tokens, *rest = (C.cast(array, _P) for array in arrays)
        status = self._lib.llama_decode(self._handle, Batch(count, tokens, None, *rest))
        if status != 0:
            _fail(f"llama_decode of {count} tokens with all logits answered {status}")
        rows = (self._lib.llama_get_logits_ith(self._handle, i) for i in range(count))
        return b"".join(C.string_at(row, 4 * self.model.vocab_tokens) for row in rows)

    def logits(self) -> bytes:
        """Returns the last token's logits, float32 in machine order."""
        pointer = self._lib.llama_get_logits_ith(self._handle, -1)
        if not pointer:
            _fail("there are no logits")
        return C.string_at(pointer, 4 * self.model.vocab_tokens)

    def argmax(self) -> int:
        """Returns the likeliest next token."""
        return self._lib.llama_sampler_sample(self._sampler, self._handle, -1)

    def greedy(self, count: int) -> list[int]:
        """Generates up to `count` tokens after the decoded ones; an end token is the last."""
        out = []
        while len(out) < count:
            token = self.argmax()
            out.append(token)
            if self.model.ends(token) or len(out) == count:
                break
            self.decode([token])
        return out

    def state_size(self) -> int:
        """Returns the bytes that state_get writes."""
        return self._lib.llama_state_seq_get_size(self._handle, 0)

    def state_get(self) -> bytearray:
        """Returns the sequence's state as llama.cpp writes it."""
        size = self.state_size()
        blob = bytearray(size)
        written = self._lib.llama_state_seq_get_data(
            self._handle, (C.c_uint8 * size).from_buffer(blob), size, 0
        )
        if written != size:
            _fail(f"the state has {size} bytes, llama.cpp wrote {written}")
        return blob

    def state_set(self, blob) -> int:
        """Replaces the sequence by a state; returns the bytes that llama.cpp read, 0 if refused.

        llama.cpp accepts trailing bytes, another sequence's id and a sequence that is not empty:
        the caller checks these.
        """
        view = (C.c_uint8 * len(blob)).from_buffer(blob)
        return self._lib.llama_state_seq_set_data(self._handle, view, len(blob), 0)

    def close(self) -> None:
        if self._handle:
            if getattr(self, "_sampler", None):
                self._lib.llama_sampler_free(self._sampler)
            self._lib.llama_free(self._handle)
            self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
