"""llama.cpp's C API as objects: a small surface (Model, Context) for the connector, captures and tests.

What it is not: a general binding; only what they need is here, over llama_abi.py's functions.
Not thread safe: one thread at a time may use a Model and the Contexts made from it.
"""

import ctypes as C
import os
import time

from sluice_kv.llama_abi import GGML_TYPES, Batch, LlamaError, P, fail, library

CONTEXT_STEP = 256  # tokens
PREFILL_TOKENS_MIN = 64  # llama.cpp computes smaller batches, answers among them, in another way
ROPE_TYPES = {-1: "none", 0: "interleaved", 2: "half-split"}


class Model:
    """A GGUF file, loaded for the CPU."""

    def __init__(self, path: str, vocab_only: bool = False):
        self.path = os.fspath(path)
        self._lib = library()
        params = self._lib.llama_model_default_params()
        params.vocab_only = vocab_only
        self._handle = self._lib.llama_model_load_from_file(self.path.encode(), params)
        if not self._handle:
            fail(f"cannot load the model {self.path}")
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
            fail(f"cannot tokenize {len(raw)} bytes")
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
            fail(f"cannot make a context for {model.path}")
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
                fail(f"llama_decode of {len(piece)} tokens answered {status}")
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
        tokens, *rest = (C.cast(array, P) for array in arrays)
        status = self._lib.llama_decode(self._handle, Batch(count, tokens, None, *rest))
        if status != 0:
            fail(f"llama_decode of {count} tokens with all logits answered {status}")
        rows = (self._lib.llama_get_logits_ith(self._handle, i) for i in range(count))
        return b"".join(C.string_at(row, 4 * self.model.vocab_tokens) for row in rows)

    def logits(self) -> bytes:
        """Returns the last token's logits, float32 in machine order."""
        pointer = self._lib.llama_get_logits_ith(self._handle, -1)
        if not pointer:
            fail("there are no logits")
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
            fail(f"the state has {size} bytes, llama.cpp wrote {written}")
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
