"""The llama.cpp connector: stores a sequence's KV in Sluice and restores the longest known prefix.

    cache = Connector(model, context)      # a Model and a Context of sluice_kv.llama_api
    reused = cache.restore(prompt)         # tokens that the context now holds; 0 for a miss
    context.decode(prompt[reused:])
    cache.store(prompt)

A failure on Sluice's side never reaches the engine: restore() then answers 0 with an empty
sequence, store() answers None and `last_error` says why; a daemon that does not answer in time is
left alone for a while (sluice.h, "Deadlines"). Where loading is measured to be slower than computing, or
failed, restore() answers 0 too, but for a short prefix from time to time to see whether that still holds
(load_choice.py). store() encodes and sends in the caller's time. What
the caller does wrong (a sequence that is not empty) raises ValueError. Used by the thread that uses
the context.
"""

import struct
import time
from collections.abc import Sequence

from sluice_kv import api
from sluice_kv.failures import Failures
from sluice_kv.llama_abi import GGML_TYPES, LlamaError
from sluice_kv.llama_api import Context, Model
from sluice_kv.load_choice import LoadChoice

PAGE_TOKENS = 64
PROBE_TOKENS = 2 * PAGE_TOKENS  # the first load is one too: little of a prompt is loaded twice
# Until a prefill was measured: slower than this, computing is taken to be quicker, as the library
# does (src/client/client.h, kSlowestBytesPerS).
SLOWEST_BYTES_PER_S = 16 << 20
BLOB_MAGIC = 0xAF143CD8


class NotReady(RuntimeError):
    """The model's digest is still being computed."""


class Connector:
    """Connects one context (sequence 0) with the daemon."""

    def __init__(
        self,
        model: Model,
        context: Context,
        socket: str | None = None,
        *,
        deadline_ms: int = 5000,
        salt: bytes = b"",
        max_kl: api.Kl = api.KL_EXACT,
        put_kl: api.Kl = api.KL_EXACT,
        exact_row: bool = False,
        max_bytes: int | None = None,
        profiles: Sequence[str] = (),
    ):
        """max_kl: the worst quality that restore() may bring, put_kl that store() may leave, both in
        micro-nats of mean next-token KL or as a level's name. exact_row: store() keeps beside it
        what gives the exact KV. max_bytes: the most that restore() may move: then it brings the
        finest within max_kl that fits. profiles: files of sluice_kv.calibrate."""
        api.check_kl(max_kl, put_kl)
        api.check_bytes(max_bytes)
        self.context, self.max_kl, self.max_bytes = context, max_kl, max_bytes
        self._put_kl, self._exact_row = put_kl, exact_row
        self._profiles = api.read_profiles(profiles)
        self._failures = Failures(LlamaError, NotReady)
        self.last_transfer: api.Transfer | None = None
        self._path, self._model = model.path, None
        self._socket, self._deadline_ms, self._salt = socket, deadline_ms, salt
        self._client: api.Client | None = None
        self._spaces: api.LlamaSpaces | None = None
        self.choice: LoadChoice | None = None
        self._seen_prefill = (context.prefilled_tokens, context.prefilled_s)

    @property
    def last_error(self) -> str | None:
        """What failed in the last call, if anything did."""
        return self._failures.last

    def wait_ready(self, timeout_s: float = 60.0) -> bool:
        """Waits for the model's digest and opens the spaces; until then Sluice is off."""
        return self._guard("open", lambda spaces: True, int(timeout_s * 1000)) is not None

    def encoded_kl(self) -> int:
        """Returns what store() costs, micro-nats: that of the profile that fits, 0 for exact."""
        return self._guard("open", lambda spaces: spaces.encoded_kl) or 0

    def lookup(self, tokens) -> int:
        """Returns how many tokens, from the first, restore() would bring."""
        return (self._guard("lookup", lambda spaces: self._found(spaces, tokens)) or (0, 0))[0]

    def miss_reason(self) -> str:
        """Returns why the last lookup found nothing, naming the field that differs."""
        return self._client.miss_reason() if self._client else (self.last_error or "")

    def store(
        self, tokens, state: bytearray | None = None, *, durable: bool = False
    ) -> api.Transfer | None:
        """Stores the full pages of `tokens`, which the sequence holds from position 0.

        durable: waits until a crash of the daemon or its machine cannot lose them, which needs a
        daemon with a disk tier.

        `state`: what context.state_get() gave when the sequence held them. A layer with a window
        forgets: for such models take the state at the last page boundary of `tokens`.
        """
        if state is None and len(self.context) < len(tokens):
            raise ValueError(f"the sequence holds {len(self.context)} tokens, not {len(tokens)}")
        return self._guard(
            "store", lambda spaces: spaces.store(tokens, state or self.context.state_get(), durable)
        )

    def restore(self, tokens) -> int:
        """Restores the longest stored prefix of a prompt and returns its tokens.

        At least one token is left to decode, since the logits come from there.
        """
        self._require_empty()
        prefix = tokens[: max(len(tokens) - 1, 0)]
        return self._guard("restore", lambda spaces: self._restore(spaces, prefix)) or 0

    def restore_keys(self, keys: list[bytes]) -> int:
        """Restores pages by key, [group][page], whether or not they belong together: for tests."""
        self._require_empty()
        return self._guard("restore", lambda spaces: self._restore_keys(spaces, keys)) or 0

    def keys(self, tokens) -> list[bytes]:
        """Returns the page keys of a token sequence, [group][page]; [] while Sluice is off."""
        return self._guard("keys", lambda spaces: spaces.keys(tokens)) or []

    def stats(self) -> dict:
        """Returns the daemon's counters; {} while it is not there."""
        return self._guard("stats", lambda spaces: self._client.stats()) or {}

    def close(self) -> None:
        for handle in (self._spaces, self._client, self._model):
            if handle:
                handle.close()
        self._spaces = self._client = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _require_empty(self) -> None:
        if len(self.context) != 0:
            raise ValueError(f"the sequence holds {len(self.context)} tokens: clear it first")

    def _open(self, digest_wait_ms: int) -> api.LlamaSpaces:
        if self._model is None:
            self._model = api.Model(self._path)
        try:
            self._model.digest(digest_wait_ms)
        except api.Error as error:
            raise NotReady(f"the model's digest is not there: {error}") from error
        if self._client is None:
            client = api.Client(self._socket, self._deadline_ms)
            for profile in self._profiles:
                client.add_profile(profile)
            self._client = client
        if self._spaces is None:
            self._spaces = api.LlamaSpaces(
                self._client,
                self._model,
                flash_attention=self.context.flash_attn,
                k_ggml_type=GGML_TYPES[self.context.type_k],
                v_ggml_type=GGML_TYPES[self.context.type_v],
                n_ctx=self.context.n_ctx,
                page_tokens=PAGE_TOKENS,
                worst_kl=self.max_kl,
                put_kl=self._put_kl,
                exact_row=self._exact_row,
                salt=self._salt,
            )
            token_bytes = self._spaces.blob_bytes(PAGE_TOKENS) / PAGE_TOKENS
            self.choice = LoadChoice(
                probe_tokens=PROBE_TOKENS, assumed_prefill_s=token_bytes / SLOWEST_BYTES_PER_S
            )
        return self._spaces

    def _restore(self, spaces: api.LlamaSpaces, tokens) -> int:
        self._measure_prefill()
        found, kl = self._found(spaces, tokens)
        try:
            return self._load_what_is_worth_it(spaces, tokens[:found], kl)
        except BaseException:
            self.context.clear()  # of a probe that came before
            raise

    def _found(self, spaces: api.LlamaSpaces, tokens) -> tuple[int, api.Kl]:
        """Returns how many tokens to load, and within which quality."""
        if self.max_bytes is None:
            return spaces.lookup(tokens, self.max_kl), self.max_kl
        fit = spaces.fit(tokens, self.max_bytes, self.max_kl)
        return fit.pages * PAGE_TOKENS, fit.max_kl

    def _load_what_is_worth_it(self, spaces: api.LlamaSpaces, tokens, kl: api.Kl) -> int:
        """Loads a prefix; after a probe that turns out to be worth it, the whole."""
        before = held = 0
        while held < (wanted := self._wanted(len(tokens))):
            self.choice.begun(wanted)
            before, held = held, self._load(spaces, tokens[:wanted], kl) or held
            if held <= before:
                break
        return held

    def _wanted(self, found: int) -> int:
        return self.choice.tokens_to_load(found) // PAGE_TOKENS * PAGE_TOKENS

    def _load(self, spaces: api.LlamaSpaces, tokens, kl: api.Kl) -> int:
        """Replaces the sequence by stored tokens; what that takes is measured, also if it fails."""
        started, loaded = time.monotonic(), 0
        try:
            blob = bytearray(spaces.blob_bytes(len(tokens)))
            written, self.last_transfer = spaces.load(tokens, blob, kl)
            if written:
                self.context.clear()
                loaded = self._set(spaces, blob, written)
        finally:
            self.choice.loaded(loaded, time.monotonic() - started)
        return loaded

    def _measure_prefill(self) -> None:
        """Takes over what the context has computed since the last time."""
        now = (self.context.prefilled_tokens, self.context.prefilled_s)
        tokens, seconds = (after - before for after, before in zip(now, self._seen_prefill))
        self._seen_prefill = now
        if tokens:
            self.choice.prefilled(tokens, seconds)

    def _restore_keys(self, spaces: api.LlamaSpaces, keys: list[bytes]) -> int:
        pages = len(keys) // self._model.groups
        blob = bytearray(spaces.blob_bytes(pages * PAGE_TOKENS))
        written, self.last_transfer = spaces.load_keys(keys, blob, self.max_kl)
        return self._set(spaces, blob, written)

    def _set(self, spaces: api.LlamaSpaces, blob: bytearray, written: int) -> int:
        """Gives a blob to llama.cpp, which accepts what it should not: all is checked before."""
        if written == 0:
            return 0
        tokens = self.last_transfer.tokens
        wanted = spaces.blob_bytes(tokens)
        magic, sequence = struct.unpack_from("<Ii", blob)
        if (written, magic, sequence) != (wanted, BLOB_MAGIC, 0) or tokens > self.context.n_ctx:
            raise LlamaError(
                f"the blob of {tokens} tokens has {written} bytes, magic {magic:#x}, sequence"
                f" {sequence}; expected {wanted}, {BLOB_MAGIC:#x}, 0 and at most"
                f" {self.context.n_ctx} tokens; nothing was restored"
            )
        read = self.context.state_set(memoryview(blob)[:written])
        if read != written or len(self.context) != tokens:
            held = len(self.context)
            self.context.clear()
            raise LlamaError(
                f"llama.cpp read {read} of {written} bytes and then held {held} tokens of {tokens};"
                " the sequence was cleared"
            )
        return tokens

    def _guard(self, what: str, work, digest_wait_ms: int = 0):
        """Runs work on the open spaces; on Sluice's failure returns None."""
        return self._failures.guard(what, lambda: work(self._open(digest_wait_ms)))
