"""Model, Client, Space, Page, LlamaSpaces: libsluice for Python.

Each class mirrors one opaque type of src/client/sluice.h, whose comments are the contract: threads,
deadlines and errors are said there. A failed call raises Error with the library's own sentence.
Tensors are anything that sluice_kv.buffers takes: bytes, numpy, torch, all else with DLPack.
"""

import ctypes as C
import json
import os
import weakref
from collections.abc import Sequence

from sluice_kv.abi import (
    ABI_VERSION, ACK_DISK, ACK_RAM, INVALID_ARGUMENT, KEY_BYTES, KL_EXACT, KL_UNKNOWN, TIMED_OUT,
    TRACE_ID_BYTES, Error, Fit, LlamaOptions, Transfer, Unavailable, call, library,
)  # fmt: skip
from sluice_kv.buffers import Buffer, Memory

__all__ = [
    "ABI_VERSION", "INVALID_ARGUMENT", "KL_EXACT", "KL_UNKNOWN", "LEVELS", "TIMED_OUT",
    "Client", "Error", "Fit", "Kl", "LlamaSpaces", "Model", "Page", "Space", "Transfer", "Unavailable",
    "check_bytes", "check_kl", "library", "read_profiles",
]  # fmt: skip

LEVELS = ("q3", "q2", "q1", "exact")  # names of qualities, the worst first

# Micro-nats of mean next-token KL, or one of LEVELS.
Kl = int | str


def check_kl(*values: Kl) -> None:
    """Raises ValueError for what is neither a level's name nor micro-nats."""
    for kl in values:
        if isinstance(kl, str) and kl not in LEVELS:
            raise ValueError(f"sluice: level {kl!r}, expected one of {', '.join(LEVELS)}")
        if not isinstance(kl, str) and not KL_EXACT <= kl <= KL_UNKNOWN:
            raise ValueError(f"sluice: a KL of {kl} micro-nats, expected 0 to {KL_UNKNOWN}")


def check_bytes(budget_bytes: int | None) -> None:
    """Raises ValueError for what is no budget: C would take a negative number for a vast one."""
    if budget_bytes is not None and not 0 <= budget_bytes < 1 << 64:
        raise ValueError(f"sluice: a budget of {budget_bytes} bytes, expected 0 or more")


def read_profiles(paths: Sequence[str]) -> list[bytes]:
    """Returns the files' bytes; raises ValueError for one that is no profile, and names it."""
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise ValueError(f"sluice: profiles is {paths!r}, expected a list of paths")
    files = []
    for path in paths:
        with open(path, "rb") as file:
            files.append(file.read())
        try:
            with Client() as client:  # connects to nothing
                client.add_profile(files[-1])
        except Error as error:
            raise ValueError(f"sluice: {os.fspath(path)}: {error}") from error
    return files


def _resolved(kl: Kl, level_kl) -> int:
    """Returns micro-nats: of a level's name what level_kl(name) says, which asks a profile."""
    check_kl(kl)
    return level_kl(kl) if isinstance(kl, str) else kl


def _ids(tokens):
    return (C.c_uint32 * len(tokens))(*tokens), len(tokens)


class _Handle:
    """An opaque object of the library, freed by close() or with its last reference.

    It holds those that it was made from, and is closed with the first of them: the library must
    free it first.
    """

    _free = ""
    _as_parameter_ = None

    def __init__(self, name: str, *arguments):
        self._made = weakref.WeakSet()  # from this one
        self._owners = [owner for owner in arguments if isinstance(owner, _Handle)]
        handle = C.c_void_p()
        call(name, *arguments, C.byref(handle))
        self._as_parameter_ = handle
        for owner in self._owners:
            owner._made.add(self)

    def close(self) -> None:
        if self._as_parameter_:
            for made in list(self._made):
                made.close()
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
        call("sluice_model_digest", self, wait_ms, out)
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
        call("sluice_client_trace", self, trace_id)

    def add_profile(self, file: bytes) -> None:
        """Takes what lossy pages are decoded and, within put_kl, encoded with by spaces opened later."""
        call("sluice_client_add_profile", self, file, len(file))

    def kl(self, descriptor: bytes, kl: Kl) -> int:
        """Returns micro-nats: the number, or what the level of that name costs in this space.

        Raises Error not_found where no profile of the client says what it costs.
        """
        out = C.c_uint32()

        def level_kl(name: str) -> int:
            packed = descriptor, len(descriptor), name.encode()
            call("sluice_level_kl", self, *packed, C.byref(out))
            return out.value

        return _resolved(kl, level_kl)

    def stats(self) -> dict:
        text = C.c_char_p()
        call("sluice_stats", self, C.byref(text))
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
        pages, packed = C.c_uint32(), (b"".join(keys), len(keys))
        call("sluice_space_lookup", self, *packed, self.kl(max_kl), C.byref(pages))
        return pages.value

    def fit(self, keys: list[bytes], budget_bytes: int, max_kl: Kl = KL_UNKNOWN) -> Fit:
        """Returns what to get with no more than so many bytes: `pages`, the first so many keys; `max_kl`
        to get them within, a bound that what comes may be better than; and their `stored_bytes`."""
        check_bytes(budget_bytes)
        out, packed = Fit(), (b"".join(keys), len(keys))
        call("sluice_space_fit", self, *packed, self.kl(max_kl), budget_bytes, C.byref(out))
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
            call(
                "sluice_space_put", self, *packed, first_page, anchor, *memory, ack, C.byref(moved)
            )
        return moved

    def get(
        self, keys: list[bytes], tensors: Buffer, first_page: int = 0, max_kl: Kl = KL_EXACT
    ) -> Transfer:
        moved, packed, kl = Transfer(), (b"".join(keys), len(keys)), self.kl(max_kl)
        with Memory(tensors, writable=True) as memory:
            call("sluice_space_get", self, *packed, first_page, kl, *memory, C.byref(moved))
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
            call("sluice_space_get_layers", self, *packed, *wanted, *memory, C.byref(moved))
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
        call("sluice_page_refine", self, self._space.kl(max_kl))

    def decode(self, tensors: Buffer) -> None:
        """Writes the tensors of what is there, the same as of a page that came at once."""
        with Memory(tensors, writable=True) as memory:
            call("sluice_page_decode", self, *memory)

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
        options = LlamaOptions(
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
        out = C.c_uint32()

        def level_kl(name: str) -> int:
            packed = self._client, self._model, C.byref(self._options), name.encode()
            call("sluice_llama_level_kl", *packed, C.byref(out))
            return out.value

        return _resolved(kl, level_kl)

    @property
    def encoded_kl(self) -> int:
        """What store() costs, micro-nats; 0 where it is exact or has the exact row."""
        return library().sluice_llama_encoded_kl(self)

    def lookup(self, tokens, max_kl: Kl = KL_EXACT) -> int:
        found = C.c_uint32()
        call("sluice_llama_lookup", self, *_ids(tokens), self.kl(max_kl), C.byref(found))
        return found.value

    def fit(self, tokens, budget_bytes: int, max_kl: Kl = KL_UNKNOWN) -> Fit:
        """Returns what to load with no more than so many bytes, as Space.fit."""
        check_bytes(budget_bytes)
        out = Fit()
        wanted = *_ids(tokens), self.kl(max_kl), budget_bytes
        call("sluice_llama_fit", self, *wanted, C.byref(out))
        return out

    def store(self, tokens, blob: Buffer, durable: bool = False) -> Transfer:
        moved, ack = Transfer(), ACK_DISK if durable else ACK_RAM
        with Memory(blob, writable=False) as memory:
            call("sluice_llama_store", self, *_ids(tokens), *memory, ack, C.byref(moved))
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
        moved, written, kl = Transfer(), C.c_size_t(), self.kl(max_kl)
        with Memory(blob, writable=True) as memory:
            call(name, self, what, count, kl, *memory, C.byref(written), C.byref(moved))
        return written.value, moved

    def keys(self, tokens) -> list[bytes]:
        """Returns the page keys, [group][page]."""
        return _keys("sluice_llama_keys", self, tokens, len(tokens) * self._groups)


def _keys(name: str, handle, tokens, room: int) -> list[bytes]:
    out, count = C.create_string_buffer(max(room, 1) * KEY_BYTES), C.c_size_t()
    call(name, handle, *_ids(tokens), out, room, C.byref(count))
    raw = C.string_at(out, count.value * KEY_BYTES)
    return [raw[at : at + KEY_BYTES] for at in range(0, len(raw), KEY_BYTES)]
