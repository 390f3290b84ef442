"""Slot files of llama.cpp through a real daemon: written by its C API and by its server."""

import ctypes
import glob
import json
import os
import struct
import subprocess
import tempfile
import unittest

import harness
import slot_server
from sluice_kv.llama import PAGE_TOKENS

GOOD, NEGATIVE, USAGE, UNREACHABLE, FAILED = range(5)
PAGES = 4
WHOLE = PAGES * PAGE_TOKENS
TAIL = 13
GREEDY_TOKENS = 16
PUT_KEYS = {
    "tokens", "tokens_there", "pages", "kept", "bytes", "file_bytes", "flash_attention", "streams",
}  # fmt: skip
GET_KEYS = {"tokens", "tokens_there", "pages", "pages_damaged", "bytes", "miss_reason"}


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write(path: str, data: bytes) -> str:
    with open(path, "wb") as file:
        file.write(data)
    return path


class SlotFiles(unittest.TestCase):
    """What the tests share: a daemon with a disk, a folder, the command."""

    def setUp(self):
        self.daemon = harness.Daemon("--ram", "64MiB", "--disk", "DISK", "--disk-capacity", "1GiB")
        self.addCleanup(self.daemon.stop)
        folder = tempfile.TemporaryDirectory(prefix="sluice-slot.")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def tokens_file(self, tokens: list[int]) -> str:
        return write(self.path("tokens.json"), json.dumps(tokens).encode())

    def run_llama(self, verb: str, *arguments: str) -> tuple[int, dict]:
        """The exit code, and the document or the error."""
        done = subprocess.run(
            [
                os.environ["SLUICE_COMMAND"], "--json", "llama", verb,
                "--socket", self.daemon.socket, *arguments,
            ],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout or done.stderr)

    def sluice(self, code: int, verb: str, *arguments: str, model: str = harness.MODEL) -> dict:
        got, answer = self.run_llama(verb, "--model", model, *arguments)
        self.assertEqual(got, code, answer)
        if code in (GOOD, NEGATIVE) and "error" not in answer:
            self.assertEqual(set(answer), PUT_KEYS if verb == "put" else GET_KEYS)
        return answer

    def refused(self, code: int, verb: str, *arguments: str) -> tuple[str, str]:
        answer = self.sluice(code, verb, *arguments)
        return answer["error"], answer["text"]

    def restart(self) -> None:
        self.daemon.kill()
        self.daemon.start()


class CApi(SlotFiles):
    """Files of llama_state_seq_save_file."""

    @classmethod
    def setUpClass(cls):
        cls.engine = harness.Engine()
        cls.document = cls.engine.document(WHOLE)
        cls.longer = cls.engine.document(WHOLE + TAIL)

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()

    def save(self, tokens: list[int], name: str = "slot.bin", engine=None) -> str:
        """Prefills the tokens and saves them as an engine does."""
        engine = engine or self.engine
        engine.fill(tokens)
        path, ids = self.path(name), (ctypes.c_int32 * len(tokens))(*tokens)
        save = engine.context._lib.llama_state_seq_save_file
        save.restype = ctypes.c_size_t
        save.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p,
                         ctypes.c_size_t]  # fmt: skip
        written = save(engine.context._handle, path.encode(), 0, ids, len(tokens))
        self.assertEqual(written, os.path.getsize(path))
        return path

    def load(self, path: str, engine=None) -> list[int]:
        """Loads a file into an empty context; returns the tokens that llama.cpp read, [] if none."""
        context = (engine or self.engine).context
        context.clear()
        room, count = (ctypes.c_int32 * 512)(), ctypes.c_size_t()
        load = context._lib.llama_state_seq_load_file
        load.restype = ctypes.c_size_t
        load.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p,
                         ctypes.c_size_t, ctypes.c_void_p]  # fmt: skip
        got = load(context._handle, path.encode(), 0, room, 512, ctypes.byref(count))
        if got == 0:
            return []
        self.assertEqual(got, os.path.getsize(path))
        return list(room[: count.value])

    def answer(self, path: str, tokens: list[int], engine=None) -> tuple[bytes, list[int]]:
        """Logits and greedy tokens after a loaded file and a question."""
        engine = engine or self.engine
        self.assertEqual(self.load(path, engine), tokens)
        self.assertEqual(len(engine.context), len(tokens))
        engine.context.decode(engine.model.tokenize(harness.QUESTION, add_special=False))
        return engine.context.logits(), engine.context.greedy(GREEDY_TOKENS)

    def test_whole_pages_come_back_byte_for_byte_after_a_kill(self):
        slot = self.save(self.document)
        put = self.sluice(GOOD, "put", "--durable", slot)
        self.assertEqual((put["tokens"], put["tokens_there"]), (WHOLE, WHOLE))
        self.assertEqual((put["pages"], put["kept"], put["flash_attention"]), (PAGES, 0, True))
        self.assertLess(put["bytes"], put["file_bytes"])
        original = read(slot)
        wanted = self.answer(slot, self.document)
        self.restart()
        for name, source in (("like", slot), ("tokens", self.tokens_file(self.document))):
            with self.subTest(name):
                out = self.path(name)
                got = self.sluice(GOOD, "get", f"--{name}", source, out)
                self.assertEqual((got["tokens_there"], got["pages"]), (WHOLE, PAGES))
                self.assertEqual(read(out), original)
                self.assertEqual(oct(os.stat(out).st_mode & 0o777), "0o600")
                self.assertEqual(self.answer(out, self.document), wanted)
        self.assertEqual(self.sluice(GOOD, "put", slot)["kept"], PAGES)

    def test_of_a_tail_the_whole_pages_are_kept(self):
        slot = self.save(self.longer)
        put = self.sluice(GOOD, "put", slot)
        self.assertEqual((put["tokens"], put["tokens_there"]), (WHOLE + TAIL, WHOLE))
        out = self.path("out.bin")
        got = self.sluice(GOOD, "get", "--like", slot, out)
        self.assertEqual((got["tokens"], got["tokens_there"]), (WHOLE + TAIL, WHOLE))
        self.assertEqual(self.load(out), self.document)
        wanted = self.answer(self.save(self.document, "short.bin"), self.document)
        self.assertEqual(self.answer(out, self.document), wanted)

    def test_a_prompt_gets_the_longest_prefix_that_is_there(self):
        slot = self.save(self.longer)
        self.sluice(GOOD, "put", slot)
        other = self.document[: 2 * PAGE_TOKENS + 5] + self.document[:40]
        out = self.path("out.bin")
        got = self.sluice(GOOD, "get", "--tokens", self.tokens_file(other), out)
        self.assertEqual(got["tokens_there"], 2 * PAGE_TOKENS)
        self.assertEqual(self.load(out), self.document[: 2 * PAGE_TOKENS])
        foreign = self.tokens_file(self.document[1:])
        none = self.path("none.bin")
        got = self.sluice(NEGATIVE, "get", "--tokens", foreign, "--like", slot, none)
        self.assertEqual((got["tokens_there"], os.path.exists(none)), (0, False))
        self.assertNotEqual(got["miss_reason"], "")

    def test_a_file_without_flash_attention_is_known_by_itself(self):
        engine = harness.Engine(flash_attn=False)
        self.addCleanup(engine.close)
        slot = self.save(self.document, engine=engine)
        self.assertFalse(self.sluice(GOOD, "put", slot)["flash_attention"])
        out, tokens = self.path("out.bin"), self.tokens_file(self.document)
        self.sluice(GOOD, "get", "--tokens", tokens, "--flash-attn", "off", out)
        self.assertEqual(read(out), read(slot))
        self.sluice(GOOD, "get", "--like", slot, out)
        self.assertEqual(read(out), read(slot))
        self.sluice(GOOD, "get", "--tokens", tokens, out)
        self.assertEqual(self.load(out, engine), [])  # llama.cpp refuses the other order of V

    def test_bad_files_are_refused_and_nothing_is_put(self):
        slot = self.save(self.document)
        good = read(slot)
        state = 12 + 4 * WHOLE
        cases = [
            (NEGATIVE, "damaged", "magic", b"\0" + good[1:]),
            (FAILED, "bad_version", "version 9", good[:4] + b"\x09" + good[5:]),
            (NEGATIVE, "damaged", "token list", good[:100]),
            (NEGATIVE, "damaged", "V", good[:-1]),
            (NEGATIVE, "damaged", "behind the state", good + bytes(8)),
            (FAILED, "unsupported", "image", good[:40] + b"\xff\xff\xff\xff" + good[44:]),
            (NEGATIVE, "damaged", "no token id", good[:40] + b"\xfe\xff\xff\xff" + good[44:]),
            (FAILED, "layout_mismatch", "cell 1 is position 7",
             good[: state + 20] + b"\x07" + good[state + 21 :]),
            (NEGATIVE, "damaged", f"{WHOLE - 1} tokens",
             struct.pack("<III", *struct.unpack_from("<II", good), WHOLE - 1)
             + good[12 : state - 4] + good[state:]),
        ]  # fmt: skip
        for code, error, text, data in cases:
            with self.subTest(text):
                path = write(self.path("bad.bin"), data)
                got = self.refused(code, "put", path)
                self.assertEqual(got[0], error)
                self.assertIn(path, got[1])
                self.assertIn(text, got[1])
        self.assertEqual(self.refused(FAILED, "put", "--kv-type", "f32", slot)[0], "layout_mismatch")
        none = self.path("none.bin")
        self.sluice(NEGATIVE, "get", "--like", slot, none)
        self.assertFalse(os.path.exists(none))

    def test_exit_codes_and_errors_are_those_of_the_other_commands(self):
        slot = self.save(self.document)
        out = self.path("out.bin")
        self.assertEqual(self.refused(USAGE, "get", out)[0], "invalid_argument")
        code, answer = self.run_llama("put", slot)
        self.assertEqual((code, answer["error"], answer["exit"]), (USAGE, "invalid_argument", USAGE))
        self.assertEqual(self.refused(FAILED, "put", self.path("none"))[0], "io_error")
        self.daemon.process.terminate()
        self.daemon.process.wait(30)
        self.assertEqual(self.refused(UNREACHABLE, "put", slot)[0], "connection_lost")
        self.assertEqual(self.refused(UNREACHABLE, "get", "--like", slot, out)[0], "connection_lost")

    def test_a_damaged_page_shortens_the_file(self):
        slot = self.save(self.document)
        self.sluice(GOOD, "put", "--durable", slot)
        self.daemon.kill()
        (segment,) = glob.glob(os.path.join(self.daemon.folder, "disk", "*.seg"))
        with open(segment, "r+b") as file:
            file.seek(1_500_000)  # in the second page
            byte = file.read(1)[0]
            file.seek(1_500_000)
            file.write(bytes([byte ^ 0x10]))
        self.daemon.start()
        out = self.path("out.bin")
        got = self.sluice(GOOD, "get", "--like", slot, out)
        self.assertEqual(got["tokens_there"], PAGE_TOKENS)
        self.assertEqual(read(out), read(self.save(self.document[:PAGE_TOKENS], "short.bin")))


class Server(SlotFiles):
    """Files of llama.cpp's server, whose token list is packed and whose slots have streams."""

    SLOTS = 2

    def server(self) -> slot_server.Server:
        server = slot_server.Server(harness.MODEL, self.folder, self.SLOTS)
        self.addCleanup(server.close)
        return server

    def test_a_new_server_goes_on_from_pages_as_from_its_own_file(self):
        server = self.server()
        text = read(os.path.join(harness.LICENSES, "GPL-3"))[: 16 * WHOLE].decode()
        document = server.tokenize(text)[:WHOLE]
        prompt = document + server.tokenize(harness.QUESTION)
        for slot in range(self.SLOTS):
            server.complete(slot, document, 1)
            self.assertEqual(server.slot(slot, "save", f"slot{slot}")["n_saved"], WHOLE)
            put = self.sluice(GOOD, "put", "--durable", self.path(f"slot{slot}"))
            self.assertEqual((put["tokens_there"], put["streams"]), (WHOLE, self.SLOTS))
            self.assertEqual(put["kept"] > 0, slot > 0)  # the pages do not depend on the slot
        server.close()
        self.restart()
        server = self.server()
        server.slot(0, "restore", "slot1")
        wanted = server.complete(0, prompt, GREEDY_TOKENS)
        self.assertEqual(wanted[0], WHOLE)
        tokens = self.tokens_file(prompt)
        ways = {
            "like": ["--like", self.path("slot1")],
            "tokens": ["--tokens", tokens, "--streams", str(self.SLOTS)],
            "both": ["--tokens", tokens, "--like", self.path("slot0")],
        }
        for name, arguments in ways.items():
            for slot in range(self.SLOTS):
                with self.subTest(name, slot=slot):
                    self.sluice(GOOD, "get", *arguments, self.path(name))
                    server.slot(slot, "erase")
                    self.assertEqual(server.slot(slot, "restore", name)["n_restored"], WHOLE)
                    self.assertEqual(server.complete(slot, prompt, GREEDY_TOKENS), wanted)
        self.assertEqual(read(self.path("like")), read(self.path("slot1")))
        self.assertEqual(read(self.path("both")), read(self.path("slot0")))


if __name__ == "__main__":
    unittest.main()
