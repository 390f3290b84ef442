"""The ctypes declarations against sluice.h, and what the ABI does with bad arguments."""

import ctypes
import os
import re
import unittest

import harness
import identity
from sluice_kv import abi, api

C_TYPES = {"uint32_t": 4, "uint64_t": 8, "size_t": 8, "const uint8_t*": 8}


def header() -> str:
    path = os.path.join(os.environ["SLUICE_SOURCE"], "src", "client", "sluice.h")
    with open(path) as file:
        return re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)


def struct_fields(name: str) -> list[tuple[str, int]]:
    body = re.search(r"typedef struct \{([^}]*)\} " + name + ";", header()).group(1)
    return [(n, C_TYPES[t.strip()]) for t, n in re.findall(r"([\w* ]+?)\s*\b(\w+);", body)]


class Abi(unittest.TestCase):
    def test_structs_have_the_headers_fields(self):
        for name, struct in (
            ("sluice_transfer", api.Transfer),
            ("sluice_fit", api.Fit),
            ("sluice_llama_options", abi.LlamaOptions),
        ):
            ours = [(n, ctypes.sizeof(t)) for n, t in struct._fields_]
            self.assertEqual(ours, struct_fields(name), name)

    def test_every_function_is_declared_with_as_many_arguments(self):
        found = {}
        for name, arguments in re.findall(r"SLUICE_API[^;(]*?\b(sluice_\w+)\(([^;]*)\);", header()):
            found[name] = 0 if arguments.strip() == "void" else arguments.count(",") + 1
        ours = {name: len(arguments) for name, (_, arguments) in abi.SIGNATURES.items()}
        self.assertEqual(ours, found)

    def test_abi_version_is_the_headers(self):
        self.assertIn(f"#define SLUICE_ABI_VERSION {api.ABI_VERSION}u", header())

    def test_error_numbers_are_the_headers(self):
        numbers = dict(re.findall(r"SLUICE_(\w+) = (\d+)", header()))
        names = "INVALID_ARGUMENT", "CONNECTION_LOST", "TIMED_OUT", "OVERLOADED", "DRAINING"
        for name in names:
            self.assertEqual(getattr(abi, name), int(numbers[name]))

    def test_a_missing_daemon_is_an_error_with_a_sentence(self):
        with api.Client("/nonexistent/sluice.sock", 200) as client:
            with self.assertRaises(api.Error) as caught:
                client.stats()
        self.assertEqual(caught.exception.name, "connection_lost")
        self.assertIn("/nonexistent/sluice.sock", str(caught.exception))

    def test_a_missing_model_is_an_error_with_its_path(self):
        with self.assertRaises(api.Error) as caught:
            api.Model("/nonexistent/model.gguf")
        self.assertIn("/nonexistent/model.gguf", str(caught.exception))

    def test_null_arguments_are_refused(self):
        lib = api.library()
        self.assertEqual(lib.sluice_model_open(None, None), api.INVALID_ARGUMENT)
        self.assertEqual(lib.sluice_stats(None, None), api.INVALID_ARGUMENT)
        self.assertEqual(lib.sluice_llama_lookup(None, None, 0, 0, None), api.INVALID_ARGUMENT)
        for free in (
            "sluice_model_free",
            "sluice_client_free",
            "sluice_space_free",
            "sluice_llama_free",
        ):
            getattr(lib, free)(None)

    def test_the_daemons_log_shows_the_trace_id_of_a_call(self):
        daemon = harness.Daemon()
        self.addCleanup(daemon.stop)
        with api.Client(daemon.socket) as client:
            client.trace(bytes(range(16)))
            with api.Space(client, identity.small_descriptor()) as space:
                key, raw = space.keys([1] * 64), bytearray(space.page_bytes)
                with self.assertRaises(api.Error):
                    space.put(key, raw, durable=True)  # this daemon has no disk tier
            self.assertIn("trace=000102030405060708090a0b0c0d0e0f op=put", daemon.log())
            with self.assertRaises(ValueError):
                client.trace(b"short")

    def test_a_damaged_descriptor_is_refused(self):
        daemon = harness.Daemon()
        self.addCleanup(daemon.stop)
        with api.Client(daemon.socket) as client, self.assertRaises(api.Error):
            api.Space(client, b"\x01\x00\xff\xff\xff\xff")


if __name__ == "__main__":
    unittest.main()
