"""The connector's promises: a failure of Sluice never reaches the engine, a misuse is named."""

import importlib.metadata
import os
import struct
import unittest
from unittest import mock

import harness
from sluice_kv import api, llama_abi
from sluice_kv.llama import Connector
from sluice_kv.llama_api import Context, LlamaError, Model


class ConnectorPromises(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon()
        cls.engine = harness.Engine()
        cls.document = cls.engine.document(192)
        cls.cold = cls.engine.cold(cls.document)
        cls.engine.fill(cls.document)
        cls.state = cls.engine.context.state_get()
        with cls.engine.connect(cls.daemon.socket) as cache:
            cache.store(cls.document)

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()
        cls.daemon.stop()

    def connect(self, address=None, **options) -> Connector:
        cache = self.engine.connect(address or self.daemon.socket, **options)
        self.addCleanup(cache.close)
        return cache

    def assert_recomputes(self, cache: Connector, why: str) -> None:
        reused, answer = self.engine.warm(cache, self.document)
        self.assertEqual(reused, 0)
        self.assertEqual(answer, self.cold)
        self.assertIn(why, cache.last_error)

    def test_a_whole_prompt_leaves_one_token_to_decode(self):
        cache = self.connect()
        self.engine.context.clear()
        self.assertEqual(cache.lookup(self.document), 192)
        self.assertEqual(cache.restore(self.document), 128)

    def test_a_sequence_that_is_not_empty_is_refused(self):
        cache = self.connect()
        self.engine.fill(self.document[:10])
        with self.assertRaisesRegex(ValueError, "holds 10 tokens"):
            cache.restore(self.document)
        self.assertEqual(len(self.engine.context), 10)

    def test_storing_more_than_the_sequence_holds_is_refused(self):
        cache = self.connect()
        self.engine.fill(self.document[:10])
        with self.assertRaisesRegex(ValueError, "holds 10 tokens, not 192"):
            cache.store(self.document)

    def test_storing_twice_sends_nothing(self):
        cache = self.connect()
        moved = cache.store(self.document, self.state)
        self.assertEqual((moved.pages, moved.pages_kept, moved.tokens), (0, 3, 192))

    def test_a_document_shorter_than_a_page_is_a_miss(self):
        cache = self.connect()
        self.engine.fill(self.document[:63])
        self.assertEqual(cache.store(self.document[:63]).pages, 0)
        self.engine.context.clear()
        self.assertEqual(cache.restore(self.document[:63]), 0)
        self.assertIsNone(cache.last_error)

    def test_no_daemon_means_recompute(self):
        self.assert_recomputes(self.connect("/nonexistent/sluice.sock"), "connection_lost")

    def test_a_daemon_that_is_down_is_news_once(self):
        with self.assertLogs("sluice_kv", "WARNING") as logs:
            self.assert_recomputes(self.connect("/nonexistent/sluice.sock"), "connection_lost")
        self.assertEqual(len(logs.output), 1)

    def test_a_digest_that_is_not_there_means_recompute(self):
        missing = api.Error(api.TIMED_OUT, "timed_out", "timed_out: still computing")
        with mock.patch.object(api.Model, "digest", side_effect=missing):
            cache = Connector(self.engine.model, self.engine.context, self.daemon.socket)
            self.addCleanup(cache.close)
            self.assert_recomputes(cache, "digest")
        # The next call finds the digest.
        self.assertTrue(cache.wait_ready())
        self.assertEqual(self.engine.warm(cache, self.document), (192, self.cold))

    def assert_blob_refused(self, change, why: str) -> None:
        """A library that hands out a bad blob: llama.cpp would take most of these."""
        cache = self.connect()
        spaces = cache._spaces

        def load(tokens, blob, max_kl):
            written, moved = api.LlamaSpaces.load(spaces, tokens, blob, max_kl)
            return change(blob, written, moved), moved

        with mock.patch.object(spaces, "load", load):
            self.assert_recomputes(cache, why)

    def test_another_sequences_blob_is_refused(self):
        def change(blob, written, _):
            struct.pack_into("<i", blob, 4, 3)
            return written

        self.assert_blob_refused(change, "sequence 3")

    def test_a_blob_with_another_length_is_refused(self):
        self.assert_blob_refused(lambda blob, written, _: written - 4, "nothing was restored")

    def test_a_blob_of_other_tokens_than_said_is_refused(self):
        def change(_, written, moved):
            moved.tokens += 64
            return written

        self.assert_blob_refused(change, "nothing was restored")

    def test_what_llama_refuses_leaves_an_empty_sequence(self):
        def change(blob, written, _):
            struct.pack_into("<I", blob, 20 + 12 * 192, 1)  # claims that V is transposed
            return written

        self.assert_blob_refused(change, "the sequence was cleared")

    def test_a_load_that_fails_or_brings_nothing_counts(self):
        gone = api.Error(api.TIMED_OUT, "timed_out", "timed_out: gone")
        for load in ({"side_effect": gone}, {"return_value": (0, api.Transfer())}):
            cache = self.connect()
            with mock.patch.object(cache._spaces, "load", **load):
                self.assertEqual(self.engine.warm(cache, self.document), (0, self.cold))
            self.assertEqual(cache.choice.load_s, float("inf"))
            self.assertEqual(self.engine.warm(cache, self.document), (0, self.cold))

    def test_a_quantised_cache_is_refused_by_name(self):
        with Context(
            self.engine.model, n_ctx=512, threads=1, type_k="q8_0", type_v="q8_0"
        ) as context:
            with Connector(self.engine.model, context, self.daemon.socket) as cache:
                self.assertFalse(cache.wait_ready())
                self.assertIn("q8_0", cache.last_error)
                self.assertEqual(cache.restore(self.document), 0)

    def test_a_state_of_another_layout_is_refused_by_name(self):
        with Context(self.engine.model, n_ctx=512, threads=1, flash_attn=False) as context:
            context.decode(self.document)
            transposed = context.state_get()
        cache = self.connect()
        self.assertIsNone(cache.store(self.document, transposed))
        self.assertIn("layout_mismatch", cache.last_error)

    def test_a_state_with_trailing_bytes_stores_nothing(self):
        cache = self.connect(salt=os.urandom(8))
        self.assertIsNone(cache.store(self.document, self.state + b"\0"))
        self.assertEqual(cache.lookup(self.document), 0)

    def test_another_users_salt_is_a_miss_that_names_it(self):
        cache = self.connect(salt=b"someone else")
        self.assertEqual(cache.lookup(self.document), 0)
        self.assertIn("user_salt", cache.miss_reason())


class OtherModels(unittest.TestCase):
    def test_another_model_is_a_miss_that_names_the_field(self):
        daemon = harness.Daemon()
        self.addCleanup(daemon.stop)
        engine = harness.Engine()
        self.addCleanup(engine.close)
        document = engine.document(192)
        engine.fill(document)
        with engine.connect(daemon.socket) as cache:
            cache.store(document)
        # The same file with another RoPE base in its metadata.
        path = os.path.join(daemon.folder, "other.gguf")
        with open(harness.MODEL, "rb") as file:
            content = bytearray(file.read())
        at = content.index(b"llama.rope.freq_base") + len(b"llama.rope.freq_base") + 4
        self.assertEqual(struct.unpack_from("<f", content, at)[0], 100000.0)
        struct.pack_into("<f", content, at, 50000.0)
        with open(path, "wb") as file:
            file.write(content)
        other = harness.Engine(path=path)
        self.addCleanup(other.close)
        cold = other.cold(document)
        with other.connect(daemon.socket) as cache:
            reused, answer = other.warm(cache, document)
            self.assertEqual((reused, answer), (0, cold))
            self.assertIn("model_digest", cache.miss_reason())
            self.assertIn("rope", cache.miss_reason())


class OtherEngines(unittest.TestCase):
    def test_another_version_of_the_wheel_is_refused_by_name(self):
        with mock.patch.object(llama_abi, "_lib", None):
            with mock.patch.object(importlib.metadata, "version", return_value="2027.1.1"):
                with self.assertRaisesRegex(LlamaError, "2027.1.1.*" + llama_abi.XLLAMACPP_VERSION):
                    Model(harness.MODEL)

    def test_a_shifted_struct_is_noticed_before_use(self):
        params = llama_abi.library().llama_context_default_params()
        params.offload_kqv = False
        with self.assertRaisesRegex(LlamaError, "offload_kqv"):
            llama_abi.check_defaults(params, llama_abi.CONTEXT_DEFAULTS)


if __name__ == "__main__":
    unittest.main()
