"""llama.cpp's C structures and functions by ctypes, as the `xllamacpp` wheel's extension module exports them.

Not for users: sluice_kv.llama_api is made of these. The C API promises no stable struct layout, so one
wheel version is accepted, by name, and the defaults that the layout implies are checked before the first
call that passes a struct.
"""

import ctypes as C
import glob
import importlib.metadata
import importlib.util
import os

XLLAMACPP_VERSION = "2026.10.11549"
GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}


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
MODEL_DEFAULTS = {
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
CONTEXT_DEFAULTS = {
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

P, _I, _U, _Z, _S = C.c_void_p, C.c_int32, C.c_uint32, C.c_size_t, C.c_char_p
_SIGNATURES = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [P, P]),
    "llama_model_default_params": (ModelParams, []),
    "llama_context_default_params": (ContextParams, []),
    "llama_model_load_from_file": (P, [_S, ModelParams]),
    "llama_model_free": (None, [P]),
    "llama_model_get_vocab": (P, [P]),
    "llama_model_n_layer": (_I, [P]),
    "llama_model_n_head_kv": (_I, [P]),
    "llama_model_n_swa": (_I, [P]),
    "llama_model_n_ctx_train": (_I, [P]),
    "llama_model_rope_type": (_I, [P]),
    "llama_model_meta_count": (_I, [P]),
    "llama_model_meta_key_by_index": (_I, [P, _I, P, _Z]),
    "llama_model_meta_val_str_by_index": (_I, [P, _I, P, _Z]),
    "llama_vocab_n_tokens": (_I, [P]),
    "llama_vocab_is_eog": (C.c_bool, [P, _I]),
    "llama_tokenize": (_I, [P, _S, _I, P, _I, C.c_bool, C.c_bool]),
    "llama_token_to_piece": (_I, [P, _I, P, _I, _I, C.c_bool]),
    "llama_init_from_model": (P, [P, ContextParams]),
    "llama_free": (None, [P]),
    "llama_n_ctx": (_U, [P]),
    "llama_n_batch": (_U, [P]),
    "llama_n_ubatch": (_U, [P]),
    "llama_n_seq_max": (_U, [P]),
    "llama_n_threads": (_I, [P]),
    "llama_get_memory": (P, [P]),
    "llama_memory_clear": (None, [P, C.c_bool]),
    "llama_memory_seq_pos_max": (_I, [P, _I]),
    "llama_batch_get_one": (Batch, [P, _I]),
    "llama_decode": (_I, [P, Batch]),
    "llama_get_logits_ith": (P, [P, _I]),
    "llama_sampler_init_greedy": (P, []),
    "llama_sampler_sample": (_I, [P, P, _I]),
    "llama_sampler_free": (None, [P]),
    "llama_state_seq_get_size": (_Z, [P, _I]),
    "llama_state_seq_get_data": (_Z, [P, P, _Z, _I]),
    "llama_state_seq_set_data": (_Z, [P, P, _Z, _I]),
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


def fail(what: str):
    raise LlamaError(f"{what}; llama.cpp said: {' | '.join(_log_tail[-3:]) or 'nothing'}")


def check_defaults(struct, wanted: dict) -> None:
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
    check_defaults(lib.llama_model_default_params(), MODEL_DEFAULTS)
    check_defaults(lib.llama_context_default_params(), CONTEXT_DEFAULTS)
    lib.llama_log_set(C.cast(_on_log, P), None)
    lib.llama_backend_init()
    _lib = lib
    return lib
