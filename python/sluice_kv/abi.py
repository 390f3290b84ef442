"""libsluice by ctypes: the library's functions and structures as src/client/sluice.h declares them.

Not for users: sluice_kv.api is made of these. The library is looked for at $SLUICE_LIBRARY, in this
package's folder, then where the system's loader looks.
"""

import ctypes as C
import os

ABI_VERSION = 3
KEY_BYTES = 32
TRACE_ID_BYTES = 16
KL_EXACT, KL_UNKNOWN = 0, 0xFFFFFFFF  # micro-nats
ACK_RAM, ACK_DISK = 0, 1

INVALID_ARGUMENT = 1
CONNECTION_LOST = 80
TIMED_OUT = 81
OVERLOADED = 83
DRAINING = 84

P, U32, U64, SIZE, STR = C.c_void_p, C.c_uint32, C.c_uint64, C.c_size_t, C.c_char_p


class Error(RuntimeError):
    """A call of libsluice failed; `name` and `status` are those of src/base/errc.h."""

    def __init__(self, status: int, name: str, text: str):
        super().__init__(text)
        self.status, self.name = status, name


class Unavailable(Error):
    """No daemon that answers in time: connection_lost, timed_out, overloaded, draining."""


_UNAVAILABLE = (CONNECTION_LOST, TIMED_OUT, OVERLOADED, DRAINING)


class Transfer(C.Structure):
    """What a store or load moved (sluice_transfer)."""

    _fields_ = [
        ("pages", U32),
        ("pages_kept", U32),
        ("tokens", U32),
        ("pages_damaged", U32),
        ("raw_bytes", U64),
        ("stored_bytes", U64),
    ]

    def __repr__(self) -> str:
        pairs = (f"{name}={getattr(self, name)}" for name, _ in self._fields_)
        return f"Transfer({', '.join(pairs)})"


class Fit(C.Structure):
    """The best that fits a budget of bytes (sluice_fit)."""

    _fields_ = [("pages", U32), ("max_kl", U32), ("stored_bytes", U64)]


class LlamaOptions(C.Structure):
    _fields_ = [
        ("flash_attention", U32),
        ("k_ggml_type", U32),
        ("v_ggml_type", U32),
        ("n_ctx", U32),
        ("page_tokens", U32),
        ("worst_kl", U32),
        ("put_kl", U32),
        ("exact_row", U32),
        ("salt", STR),
        ("salt_bytes", SIZE),
        ("lora_digest", STR),
    ]


_MOVED = C.POINTER(Transfer)
_OUT = C.POINTER(P)
SIGNATURES = {
    "sluice_abi_version": (U32, []),
    "sluice_version": (STR, []),
    "sluice_last_error": (STR, []),
    "sluice_error_name": (STR, [C.c_int]),
    "sluice_model_open": (C.c_int, [STR, _OUT]),
    "sluice_model_free": (None, [P]),
    "sluice_model_digest": (C.c_int, [P, U32, P]),
    "sluice_model_groups": (U32, [P]),
    "sluice_model_json": (STR, [P]),
    "sluice_client_open": (C.c_int, [STR, U32, _OUT]),
    "sluice_client_free": (None, [P]),
    "sluice_client_trace": (C.c_int, [P, STR]),
    "sluice_client_add_profile": (C.c_int, [P, STR, SIZE]),
    "sluice_stats": (C.c_int, [P, C.POINTER(STR)]),
    "sluice_miss_reason": (STR, [P]),
    "sluice_level_kl": (C.c_int, [P, STR, SIZE, STR, C.POINTER(U32)]),
    "sluice_space_open": (C.c_int, [P, STR, SIZE, U32, U32, U32, _OUT]),
    "sluice_space_free": (None, [P]),
    "sluice_space_page_bytes": (SIZE, [P]),
    "sluice_space_encoded_kl": (U32, [P]),
    "sluice_space_keys": (C.c_int, [P, P, SIZE, P, SIZE, C.POINTER(SIZE)]),
    "sluice_space_lookup": (C.c_int, [P, STR, SIZE, U32, C.POINTER(U32)]),
    "sluice_space_fit": (C.c_int, [P, STR, SIZE, U32, U64, C.POINTER(Fit)]),
    "sluice_space_put": (C.c_int, [P, STR, SIZE, U32, STR, P, SIZE, U32, _MOVED]),
    "sluice_space_get": (C.c_int, [P, STR, SIZE, U32, U32, P, SIZE, _MOVED]),
    "sluice_space_get_layers": (
        C.c_int,
        [P, STR, SIZE, U32, U32, U32, U32, P, SIZE, _MOVED],
    ),
    "sluice_page_get": (C.c_int, [P, STR, U32, U32, _OUT]),
    "sluice_page_free": (None, [P]),
    "sluice_page_refine": (C.c_int, [P, U32]),
    "sluice_page_decode": (C.c_int, [P, P, SIZE]),
    "sluice_page_kl": (U32, [P]),
    "sluice_page_stored_bytes": (U64, [P]),
    "sluice_llama_level_kl": (
        C.c_int,
        [P, P, C.POINTER(LlamaOptions), STR, C.POINTER(U32)],
    ),
    "sluice_llama_open": (C.c_int, [P, P, C.POINTER(LlamaOptions), _OUT]),
    "sluice_llama_free": (None, [P]),
    "sluice_llama_encoded_kl": (U32, [P]),
    "sluice_llama_lookup": (C.c_int, [P, P, SIZE, U32, C.POINTER(U32)]),
    "sluice_llama_fit": (C.c_int, [P, P, SIZE, U32, U64, C.POINTER(Fit)]),
    "sluice_llama_store": (C.c_int, [P, P, SIZE, P, SIZE, U32, _MOVED]),
    "sluice_llama_blob_bytes": (SIZE, [P, U32]),
    "sluice_llama_load": (C.c_int, [P, P, SIZE, U32, P, SIZE, C.POINTER(SIZE), _MOVED]),
    "sluice_llama_load_keys": (
        C.c_int,
        [P, STR, SIZE, U32, P, SIZE, C.POINTER(SIZE), _MOVED],
    ),
    "sluice_llama_keys": (C.c_int, [P, P, SIZE, P, SIZE, C.POINTER(SIZE)]),
}

_lib = None


def library():
    """Returns the loaded libsluice, checked once for its ABI version. Raises OSError."""
    global _lib
    if _lib is None:
        beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libsluice.so")
        path = os.environ.get("SLUICE_LIBRARY") or (
            beside if os.path.exists(beside) else "libsluice.so"
        )
        lib = C.CDLL(path)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        if lib.sluice_abi_version() != ABI_VERSION:
            raise OSError(f"{path} has ABI {lib.sluice_abi_version()}, this package {ABI_VERSION}")
        _lib = lib
    return _lib


def call(name: str, *arguments) -> None:
    status = getattr(library(), name)(*arguments)
    if status != 0:
        text = library().sluice_last_error().decode("utf-8", "replace")
        kind = Unavailable if status in _UNAVAILABLE else Error
        raise kind(status, library().sluice_error_name(status).decode(), text)
