"""Pages against a parse of the engine's blob, keys against IDENTITY.md, both in Python."""

import os
import unittest

import harness
import identity
import llama_blob
import numpy as np
from sluice_kv import api
from sluice_kv.llama import PAGE_TOKENS, Connector

TOKENS = 200  # three pages and a tail
DTYPES = {"f16": np.float16, "f32": np.float32}


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()

    def engine(self, **options) -> harness.Engine:
        engine = harness.Engine(**options)
        self.addCleanup(engine.close)
        return engine

    def descriptor(self, engine: harness.Engine, salt: bytes) -> bytes:
        metadata = engine.model.metadata()
        return identity.descriptor(
            identity.model_digest(harness.MODEL),
            dtype=engine.context.type_k,
            salt=salt,
            layers=range(engine.model.layers),
            heads=engine.model.kv_heads,
            dim=64,
            rope=engine.model.rope,
            base=float(metadata["llama.rope.freq_base"]),
        )

    def stored(self, engine: harness.Engine, salt: bytes) -> tuple[list[int], bytearray, Connector]:
        """Stores a document; returns its tokens, the engine's blob, the connector."""
        document = engine.document(TOKENS)
        engine.fill(document)
        cache = engine.connect(self.daemon.socket, salt=salt)
        self.addCleanup(cache.close)
        self.assertIsNotNone(cache.store(document), cache.last_error)
        return document, engine.context.state_get(), cache

    def check_pages(self, flash_attn: bool, type_kv: str) -> None:
        salt = os.urandom(8)
        engine = self.engine(flash_attn=flash_attn, type_kv=type_kv)
        document, blob, cache = self.stored(engine, salt)
        (parsed,) = llama_blob.read(blob)
        self.assertEqual(parsed.v_transposed, not flash_attn)
        expected = llama_blob.pages(parsed, engine.model.kv_heads, PAGE_TOKENS)

        descriptor = self.descriptor(engine, salt)
        keys = identity.page_keys(identity.space_id(descriptor), document)
        self.assertEqual(cache.keys(document), keys)
        client = api.Client(self.daemon.socket)
        space = api.Space(client, descriptor)
        self.assertEqual(space.keys(document), keys)
        self.assertEqual(space.page_bytes, expected[0].nbytes)
        tensors = bytearray(space.page_bytes * len(keys))
        moved = space.get(keys, tensors)
        self.assertEqual(moved.pages, len(expected))
        decoded = np.frombuffer(tensors, DTYPES[type_kv]).reshape(expected.shape)
        self.assertEqual(decoded.tobytes(), expected.tobytes())
        space.close()
        client.close()

    def test_decoded_pages_are_the_blobs_f16_with_flash_attention(self):
        self.check_pages(True, "f16")

    def test_decoded_pages_are_the_blobs_f16_without_flash_attention(self):
        self.check_pages(False, "f16")

    def test_decoded_pages_are_the_blobs_f32_with_flash_attention(self):
        self.check_pages(True, "f32")

    def test_decoded_pages_are_the_blobs_f32_without_flash_attention(self):
        self.check_pages(False, "f32")

    def test_pages_that_one_side_puts_the_other_restores_in_its_own_layout(self):
        """Flash attention is no part of the identity: the same tensors, V transposed or not."""
        salt = os.urandom(8)
        engine = self.engine(flash_attn=True)
        document, blob, _ = self.stored(engine, salt)
        (parsed,) = llama_blob.read(blob)
        other = self.engine(flash_attn=False)
        cache = other.connect(self.daemon.socket, salt=salt)
        self.addCleanup(cache.close)
        restored = cache.restore(document)
        self.assertEqual(restored, 192, cache.last_error)
        (again,) = llama_blob.read(other.context.state_get())
        self.assertTrue(again.v_transposed)
        self.assertEqual(again.k.tobytes(), parsed.k[:, :192].tobytes())
        self.assertEqual(again.v.tobytes(), parsed.v[:, :192].tobytes())

    def test_the_models_digest_is_that_of_the_specification(self):
        with api.Model(harness.MODEL) as model:
            self.assertEqual(model.digest(60000), identity.model_digest(harness.MODEL))
            self.assertEqual(model.groups, 1)
            self.assertEqual(model.manifest()["layers"], 30)

    def test_canonical_tensors_that_python_puts_come_back(self):
        engine = self.engine()
        salt = os.urandom(8)
        document = engine.document(TOKENS)
        with api.Client(self.daemon.socket) as client:
            with api.Space(client, self.descriptor(engine, salt)) as space:
                keys = space.keys(document)
                tensors = np.random.default_rng(7).normal(size=space.page_bytes * 3 // 2)
                raw = bytearray(tensors.astype(np.float16).tobytes())
                self.assertEqual(space.lookup(keys), 0)
                self.assertEqual(space.put(keys, raw).pages, 3)
                self.assertEqual(space.lookup(keys), 3)
                self.assertEqual(space.put(keys, raw).pages_kept, 3)
                back = bytearray(len(raw))
                self.assertEqual(space.get(keys, back).pages, 3)
                self.assertEqual(back, raw)
                short = bytearray(len(raw) // 3)
                with self.assertRaises(api.Error) as caught:
                    space.get(keys, short)
                self.assertEqual(caught.exception.name, "output_too_small")

    def test_a_space_without_any_page_names_the_nearest(self):
        engine = self.engine(type_kv="f16")
        self.stored(engine, b"")
        other = self.engine(type_kv="f32")
        cache = other.connect(self.daemon.socket)
        self.addCleanup(cache.close)
        self.assertEqual(cache.lookup(other.document(TOKENS)), 0)
        self.assertIn("kv_dtype", cache.miss_reason())
        self.assertIn("f16", cache.miss_reason())


if __name__ == "__main__":
    unittest.main()
