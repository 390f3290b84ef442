"""libsluice's C ABI (src/client/sluice.h) by ctypes: Model, Client, Space, Page, LlamaSpaces.

Each class mirrors one opaque type of the header, whose comments are the contract: threads,
deadlines and errors are said there. A failed call raises Error with the library's own sentence.
Tensors are anything that sluice_kv.buffers takes: bytes, numpy, torch, all else with DLPack.
The library is looked for at $SLUICE_LIBRARY, in this package's folder, then where the system's
loader looks.
"""

import ctypes as C
import json
import os

from sluice_kv.buffers import Buffer, Memory

ABI_VERSION = 3
KEY_BYTES = 32
TRACE_ID_BYTES = 16
KL_EXACT, KL_UNKNOWN = 0, 0xFFFFFFFF  # micro-nats
ACK_RAM, ACK_DISK = 0, 1

INVALID_ARGUMENT = 1
UNSUPPORTED = 2
CONNECTION_LOST = 80
TIMED_OUT = 81
OVERLOADED = 83
DRAINING = 84

_P, _U32, _U64, _SIZE, _STR = C.c_void_p, C.c_uint32, C.c_uint64, C.c_size_t, C.c_char_p
LEVELS = ("q3", "q2", "q1", "exact")  # names of qualities, the worst first

# Micro-nats of mean next-token KL, or one of LEVELS.
Kl = int | str


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
        ("pages", _U32),
        ("pages_kept", _U32),
        ("tokens", _U32),
        ("pages_damaged", _U32),
        ("raw_bytes", C.c_uint64),
        ("stored_bytes", C.c_uint64),
    ]

    def __repr__(self) -> str:
        pairs = (f"{name}={getattr(self, name)}" for name, _ in self._fields_)
        return f"Transfer({', '.join(pairs)})"


class Fit(C.Structure):
    """The best that fits a budget of bytes (sluice_fit)."""

    _fields_ = [("pages", _U32), ("max_kl", _U32), ("stored_bytes", C.c_uint64)]


class _LlamaOptions(C.Structure):
    _fields_ = [
        ("flash_attention", _U32),
        ("k_ggml_type", _U32),
        ("v_ggml_type", _U32),
        ("n_ctx", _U32),
        ("page_tokens", _U32),
        ("worst_kl", _U32),
        ("put_kl", _U32),
        ("exact_row", _U32),
        ("salt", _STR),
        ("salt_bytes", _SIZE),
        ("lora_digest", _STR),
    ]


_MOVED = C.POINTER(Transfer)
_OUT = C.POINTER(_P)
_SIGNATURES = {
    "sluice_abi_version": (_U32, []),
    "sluice_version": (_STR, []),
    "sluice_last_error": (_STR, []),
    "sluice_error_name": (_STR, [C.c_int]),
    "sluice_model_open": (C.c_int, [_STR, _OUT]),
    "sluice_model_free": (None, [_P]),
    "sluice_model_digest": (C.c_int, [_P, _U32, _P]),
    "sluice_model_groups": (_U32, [_P]),
    "sluice_model_json": (_STR, [_P]),
    "sluice_client_open": (C.c_int, [_STR, _U32, _OUT]),
    "sluice_client_free": (None, [_P]),
    "sluice_client_trace": (C.c_int, [_P, _STR]),
    "sluice_client_add_profile": (C.c_int, [_P, _STR, _SIZE]),
    "sluice_stats": (C.c_int, [_P, C.POINTER(_STR)]),
    "sluice_miss_reason": (_STR, [_P]),
    "sluice_level_kl": (C.c_int, [_P, _STR, _SIZE, _STR, C.POINTER(_U32)]),
    "sluice_space_open": (C.c_int, [_P, _STR, _SIZE, _U32, _U32, _U32, _OUT]),
    "sluice_space_free": (None, [_P]),
    "sluice_space_page_bytes": (_SIZE, [_P]),
    "sluice_space_encoded_kl": (_U32, [_P]),
    "sluice_space_keys": (C.c_int, [_P, _P, _SIZE, _P, _SIZE, C.POINTER(_SIZE)]),
    "sluice_space_lookup": (C.c_int, [_P, _STR, _SIZE, _U32, C.POINTER(_U32)]),
    "sluice_space_fit": (C.c_int, [_P, _STR, _SIZE, _U32, _U64, C.POINTER(Fit)]),
    "sluice_space_put": (C.c_int, [_P, _STR, _SIZE, _U32, _STR, _P, _SIZE, _U32, _MOVED]),
    "sluice_space_get": (C.c_int, [_P, _STR, _SIZE, _U32, _U32, _P, _SIZE, _MOVED]),
    "sluice_space_get_layers": (
        C.c_int,
        [_P, _STR, _SIZE, _U32, _U32, _U32, _U32, _P, _SIZE, _MOVED],
    ),
    "sluice_page_get": (C.c_int, [_P, _STR, _U32, _U32, _OUT]),
    "sluice_page_free": (None, [_P]),
    "sluice_page_refine": (C.c_int, [_P, _U32]),
    "sluice_page_decode": (C.c_int, [_P, _P, _SIZE]),
    "sluice_page_kl": (_U32, [_P]),
    "sluice_page_stored_bytes": (_U64, [_P]),
    "sluice_llama_level_kl": (
        C.c_int,
        [_P, _P, C.POINTER(_LlamaOptions), _STR, C.POINTER(_U32)],
    ),
    "sluice_llama_open": (C.c_int, [_P, _P, C.POINTER(_LlamaOptions), _OUT]),
    "sluice_llama_free": (None, [_P]),
    "sluice_llama_encoded_kl": (_U32, [_P]),
    "sluice_llama_lookup": (C.c_int, [_P, _P, _SIZE, _U32, C.POINTER(_U32)]),
    "sluice_llama_store": (C.c_int, [_P, _P, _SIZE, _P, _SIZE, _U32, _MOVED]),
    "sluice_llama_blob_bytes": (_SIZE, [_P, _U32]),
    "sluice_llama_load": (C.c_int, [_P, _P, _SIZE, _U32, _P, _SIZE, C.POINTER(_SIZE), _MOVED]),
    "sluice_llama_load_keys": (
        C.c_int,
        [_P, _STR, _SIZE, _U32, _P, _SIZE, C.POINTER(_SIZE), _MOVED],
    ),
    "sluice_llama_keys": (C.c_int, [_P, _P, _SIZE, _P, _SIZE, C.POINTER(_SIZE)]),
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
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        if lib.sluice_abi_version() != ABI_VERSION:
            raise OSError(f"{path} has ABI {lib.sluice_abi_version()}, this package {ABI_VERSION}")
        _lib = lib
    return _lib


def _call(name: str, *arguments) -> None:
    status = getattr(library(), name)(*arguments)
    if status != 0:
        text = library().sluice_last_error().decode("utf-8", "replace")
        kind = Unavailable if status in _UNAVAILABLE else Error
        raise kind(status, library().sluice_error_name(status).decode(), text)


def check_kl(*values: Kl) -> None:
    """Raises ValueError for a name that is no level's."""
    for kl in values:
        if isinstance(kl, str) and kl not in LEVELS:
            raise ValueError(f"sluice: level {kl!r}, expected one of {', '.join(LEVELS)}")


def _resolved(kl: Kl, level_kl) -> int:
    """Returns micro-nats: of a level's name what level_kl(name) says, which asks a profile."""
    check_kl(kl)
    return level_kl(kl) if isinstance(kl, str) else kl


def _ids(tokens):
    return (_U32 * len(tokens))(*tokens), len(tokens)


class _Handle:
    """An opaque object of the library, freed by close() or with its last reference."""

    _free = ""
    _as_parameter_ = None

    def __init__(self, name: str, *arguments):
        handle = _P()
        _call(name, *arguments, C.byref(handle))
        self._as_parameter_ = handle

    def close(self) -> None:
        if self._as_parameter_:
            getattr(library(), self._free)(self._as_parameter_)
            self._as_parameter_ = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()


class Model(_Handle):
    """A model's manifest, and its digest, which is computed in the background."""

    _free = "sluice_model_free"

    def __init__(self, path):
        super().__init__("sluice_model_open", os.fsencode(path))

    def digest(self, wait_ms: int = 0) -> bytes:
        """Returns the 32-byte digest; raises Error timed_out while it is being computed."""
        out = C.create_string_buffer(KEY_BYTES)
        _call("sluice_model_digest", self, wait_ms, out)
        return out.raw

    @property
    def groups(self) -> int:
        return library().sluice_model_groups(self)

    def manifest(self) -> dict:
        return json.loads(library().sluice_model_json(self))


class Client(_Handle):
    """One connection to sluiced, made when first needed and again after a failure."""

    _free = "sluice_client_free"

    def __init__(self, address=None, deadline_ms: int = 5000):
        super().__init__("sluice_client_open", os.fsencode(address) if address else None, deadline_ms)

    def trace(self, trace_id: bytes | None) -> None:
        """Sets the 16-byte trace id of the calls that follow; None: one is drawn for each."""
        if trace_id is not None and len(trace_id) != TRACE_ID_BYTES:
            raise ValueError(f"a trace id of {len(trace_id)} bytes, expected {TRACE_ID_BYTES}")
        _call("sluice_client_trace", self, trace_id)

    def add_profile(self, file: bytes) -> None:
        """Takes what lossy pages are decoded and, within put_kl, encoded with by spaces opened later."""
        _call("sluice_client_add_profile", self, file, len(file))

    def kl(self, descriptor: bytes, kl: Kl) -> int:
        """Returns micro-nats: the number, or what the level of that name costs in this space.

        Raises Error not_found where no profile of the client says what it costs.
        """
        out = _U32()

        def level_kl(name: str) -> int:
            packed = descriptor, len(descriptor), name.encode()
            _call("sluice_level_kl", self, *packed, C.byref(out))
            return out.value

        return _resolved(kl, level_kl)

    def stats(self) -> dict:
        text = _STR()
        _call("sluice_stats", self, C.byref(text))
        return json.loads(text.value)

    def miss_reason(self) -> str:
        return library().sluice_miss_reason(self).decode("utf-8", "replace")


class Space(_Handle):
    """Pages by key, for engines that hold canonical tensors."""

    _free = "sluice_space_free"

    def __init__(
        self,
        client: Client,
        descriptor: bytes,
        worst_kl: Kl = KL_EXACT,
        *,
        put_kl: Kl = KL_EXACT,
        exact_row: bool = False,
    ):
        """worst_kl, put_kl and max_kl below are micro-nats or the name of a level."""
        self._client, self._descriptor = client, descriptor
        packed = descriptor, len(descriptor), client.kl(descriptor, worst_kl)
        put = client.kl(descriptor, put_kl), int(exact_row)
        super().__init__("sluice_space_open", client, *packed, *put)

    def kl(self, kl: Kl) -> int:
        """Returns micro-nats, as Client.kl."""
        return self._client.kl(self._descriptor, kl)

    @property
    def encoded_kl(self) -> int:
        """What put() costs, micro-nats; 0 where it is exact or has the exact row."""
        return library().sluice_space_encoded_kl(self)

    @property
    def page_bytes(self) -> int:
        return library().sluice_space_page_bytes(self)

    def keys(self, tokens) -> list[bytes]:
        return _keys("sluice_space_keys", self, tokens, len(tokens))

    def lookup(self, keys: list[bytes], max_kl: Kl = KL_EXACT) -> int:
        pages, packed = _U32(), (b"".join(keys), len(keys))
        _call("sluice_space_lookup", self, *packed, self.kl(max_kl), C.byref(pages))
        return pages.value

    def fit(self, keys: list[bytes], budget_bytes: int, max_kl: Kl = KL_UNKNOWN) -> Fit:
        """Returns what to get with no more than so many bytes: as many pages as there are, fine."""
        out, packed = Fit(), (b"".join(keys), len(keys))
        _call("sluice_space_fit", self, *packed, self.kl(max_kl), budget_bytes, C.byref(out))
        return out

    def put(
        self,
        keys: list[bytes],
        tensors: Buffer,
        first_page: int = 0,
        anchor: bytes | None = None,
        *,
        durable: bool = False,
    ) -> Transfer:
        moved, ack = Transfer(), ACK_DISK if durable else ACK_RAM
        packed = b"".join(keys), len(keys)
        with Memory(tensors, writable=False) as memory:
            _call(
                "sluice_space_put", self, *packed, first_page, anchor, *memory, ack, C.byref(moved)
            )
        return moved

    def get(
        self, keys: list[bytes], tensors: Buffer, first_page: int = 0, max_kl: Kl = KL_EXACT
    ) -> Transfer:
        moved, packed, kl = Transfer(), (b"".join(keys), len(keys)), self.kl(max_kl)
        with Memory(tensors, writable=True) as memory:
            _call("sluice_space_get", self, *packed, first_page, kl, *memory, C.byref(moved))
        return moved

    def get_layers(
        self,
        keys: list[bytes],
        tensors: Buffer,
        layers: range,
        first_page: int = 0,
        max_kl: Kl = KL_EXACT,
    ) -> Transfer:
        """The same of some layers, counted within the pages: no more is fetched than holds them."""
        moved, packed = Transfer(), (b"".join(keys), len(keys))
        wanted = first_page, self.kl(max_kl), layers.start, len(layers)
        with Memory(tensors, writable=True) as memory:
            _call("sluice_space_get_layers", self, *packed, *wanted, *memory, C.byref(moved))
        return moved

    def page(self, key: bytes, page_index: int, max_kl: Kl = KL_EXACT) -> "Page":
        """Gets a page to refine later: number page_index of its chain."""
        return Page(self, key, page_index, max_kl)


class Page(_Handle):
    """A page as it is stored, no more of it than somebody asked for so far."""

    _free = "sluice_page_free"

    def __init__(self, space: Space, key: bytes, page_index: int, max_kl: Kl = KL_EXACT):
        super().__init__("sluice_page_get", space, key, page_index, space.kl(max_kl))
        self._space = space

    def refine(self, max_kl: Kl = KL_EXACT) -> None:
        """Gets what is missing for a better quality, and nothing again."""
        _call("sluice_page_refine", self, self._space.kl(max_kl))

    def decode(self, tensors: Buffer) -> None:
        """Writes the tensors of what is there, the same as of a page that came at once."""
        with Memory(tensors, writable=True) as memory:
            _call("sluice_page_decode", self, *memory)

    @property
    def kl(self) -> int:
        """How good it is, micro-nats."""
        return library().sluice_page_kl(self)

    @property
    def stored_bytes(self) -> int:
        return library().sluice_page_stored_bytes(self)


class LlamaSpaces(_Handle):
    """The spaces of one llama.cpp context, one a KV group; moves whole state blobs."""

    _free = "sluice_llama_free"

    def __init__(
        self,
        client: Client,
        model: Model,
        *,
        flash_attention: bool,
        k_ggml_type: int,
        v_ggml_type: int,
        n_ctx: int = 0,
        page_tokens: int = 0,
        worst_kl: Kl = KL_EXACT,
        put_kl: Kl = KL_EXACT,
        exact_row: bool = False,
        salt: bytes = b"",
        lora_digest: bytes | None = None,
    ):
        if lora_digest is not None and len(lora_digest) != KEY_BYTES:
            raise ValueError(f"lora_digest has {len(lora_digest)} bytes, expected {KEY_BYTES}")
        options = _LlamaOptions(
            int(flash_attention),
            k_ggml_type,
            v_ggml_type,
            n_ctx,
            page_tokens,
            0,
            0,
            int(exact_row),
            salt or None,
            len(salt),
            lora_digest,
        )
        self._client, self._model, self._options = client, model, options
        options.worst_kl, options.put_kl = self.kl(worst_kl), self.kl(put_kl)
        super().__init__("sluice_llama_open", client, model, C.byref(options))
        self._groups = model.groups

    def kl(self, kl: Kl) -> int:
        """Returns micro-nats, as Client.kl, of the worst KV group."""
        out = _U32()

        def level_kl(name: str) -> int:
            packed = self._client, self._model, C.byref(self._options), name.encode()
            _call("sluice_llama_level_kl", *packed, C.byref(out))
            return out.value

        return _resolved(kl, level_kl)

    @property
    def encoded_kl(self) -> int:
        """What store() costs, micro-nats; 0 where it is exact or has the exact row."""
        return library().sluice_llama_encoded_kl(self)

    def lookup(self, tokens, max_kl: Kl = KL_EXACT) -> int:
        found = _U32()
        _call("sluice_llama_lookup", self, *_ids(tokens), self.kl(max_kl), C.byref(found))
        return found.value

    def store(self, tokens, blob: Buffer, durable: bool = False) -> Transfer:
        moved, ack = Transfer(), ACK_DISK if durable else ACK_RAM
        with Memory(blob, writable=False) as memory:
            _call("sluice_llama_store", self, *_ids(tokens), *memory, ack, C.byref(moved))
        return moved

    def blob_bytes(self, n_tokens: int) -> int:
        return library().sluice_llama_blob_bytes(self, n_tokens)

    def load(self, tokens, blob: Buffer, max_kl: Kl = KL_EXACT) -> tuple[int, Transfer]:
        """Writes a state blob into `blob`; returns its length, 0 for a miss, and what moved."""
        return self._load("sluice_llama_load", *_ids(tokens), max_kl, blob)

    def load_keys(
        self, keys: list[bytes], blob: Buffer, max_kl: Kl = KL_EXACT
    ) -> tuple[int, Transfer]:
        """The same for explicit keys, [group][page]: they are not checked to belong together."""
        return self._load("sluice_llama_load_keys", b"".join(keys), len(keys), max_kl, blob)

    def _load(self, name: str, what, count: int, max_kl: Kl, blob) -> tuple[int, Transfer]:
        moved, written, kl = Transfer(), _SIZE(), self.kl(max_kl)
        with Memory(blob, writable=True) as memory:
            _call(name, self, what, count, kl, *memory, C.byref(written), C.byref(moved))
        return written.value, moved

    def keys(self, tokens) -> list[bytes]:
        """Returns the page keys, [group][page]."""
        return _keys("sluice_llama_keys", self, tokens, len(tokens) * self._groups)


def _keys(name: str, handle, tokens, room: int) -> list[bytes]:
    out, count = C.create_string_buffer(max(room, 1) * KEY_BYTES), _SIZE()
    _call(name, handle, *_ids(tokens), out, room, C.byref(count))
    raw = C.string_at(out, count.value * KEY_BYTES)
    return [raw[at : at + KEY_BYTES] for at in range(0, len(raw), KEY_BYTES)]
