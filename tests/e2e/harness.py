"""What the end-to-end tests share: a daemon of their own, an engine, a proxy that cuts.

The environment comes from run_e2e.sh: SLUICED, SLUICE_COMMAND, SLUICE_LIBRARY, SLUICE_MODEL.
One thread for the engine: on a busy machine llama.cpp's threads wait for each other.
"""

import json
import os
import socket
import subprocess
import threading
import unittest

from daemon import Daemon
from sluice_kv.llama import PAGE_TOKENS, Connector
from sluice_kv.llama_api import Context, Model

MODEL = os.environ["SLUICE_MODEL"]
LICENSES = "/usr/share/common-licenses"
QUESTION = "\n\nQuestion: What does this license allow?\nAnswer:"
ANSWER_TOKENS = 24


class Engine:
    """One loaded model with one empty context, and what a cold prefill answers."""

    def __init__(
        self, flash_attn: bool = True, type_kv: str = "f16", n_ctx: int = 512, path: str = MODEL
    ):
        self.model = Model(path)
        self.context = Context(
            self.model,
            n_ctx=n_ctx,
            threads=1,
            flash_attn=flash_attn,
            type_k=type_kv,
            type_v=type_kv,
        )

    def document(self, tokens: int, name: str = "GPL-3") -> list[int]:
        with open(os.path.join(LICENSES, name), encoding="utf-8") as file:
            return self.model.tokenize(file.read()[: 16 * tokens])[:tokens]

    def prompt(self, document: list[int]) -> list[int]:
        return document + self.model.tokenize(QUESTION, add_special=False)

    def answer(self, document: list[int], reused: int = 0) -> tuple[bytes, list[int]]:
        """Prefills what the context lacks, cut at the last page boundary."""
        split = len(document) // PAGE_TOKENS * PAGE_TOKENS
        prompt = self.prompt(document)
        if reused < split:
            self.context.decode(prompt[reused:split])
        self.context.decode(prompt[split:])
        return self.context.logits(), self.context.greedy(ANSWER_TOKENS)

    def cold(self, document: list[int]) -> tuple[bytes, list[int]]:
        self.context.clear()
        return self.answer(document)

    def warm(self, cache: Connector, document: list[int]) -> tuple[int, tuple[bytes, list[int]]]:
        self.context.clear()
        reused = cache.restore(self.prompt(document))
        return reused, self.answer(document, reused)

    def fill(self, document: list[int]) -> None:
        """Leaves the context with the document's KV alone."""
        self.context.clear()
        self.context.decode(document)

    def connect(self, address: str, **options) -> Connector:
        cache = Connector(self.model, self.context, address, **options)
        cache.wait_ready()
        return cache

    def close(self) -> None:
        self.context.close()
        self.model.close()


class StoredDocument(unittest.TestCase):
    """Tests of one document of four pages and a tail: its KV, and what a cold prefill answers."""

    @classmethod
    def setUpClass(cls):
        cls.engine = Engine()
        cls.document = cls.engine.document(260)
        cls.cold = cls.engine.cold(cls.document)
        cls.engine.fill(cls.document)
        cls.state = cls.engine.context.state_get()

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()


class CuttingProxy:
    """Passes a client's bytes on to the daemon and back, and acts once after a number of bytes.

    A direction is "get" (what the daemon sends) or "put" (what the client sends).
    """

    def __init__(self, daemon: Daemon):
        self.address = os.path.join(daemon.folder, "proxy.sock")
        self._upstream = daemon.socket
        self._lock = threading.Lock()
        self._direction, self._left, self._action = "", 0, None
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, direction: str, after_bytes: int, action) -> None:
        """Runs action after so many bytes of a direction; nothing more passes that way then."""
        with self._lock:
            self._direction, self._left, self._action = direction, after_bytes, action

    def flip(self, direction: str, after_bytes: int) -> None:
        """Flips the bits of one byte."""
        self.arm(direction, after_bytes, None)

    def cut(self) -> None:
        """Drops the connections there are, as a broken network would."""
        for end in self._sockets:
            _shutdown(end)

    def close(self) -> None:
        self._listener.close()
        self.cut()
        for end in self._sockets:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX)
            self._sockets += [client, daemon]
            if daemon.connect_ex(self._upstream) != 0:
                _shutdown(client)
                continue
            for source, sink, direction in ((client, daemon, "put"), (daemon, client, "get")):
                threading.Thread(
                    target=self._pump, args=(source, sink, direction), daemon=True
                ).start()

    def _pump(self, source, sink, direction: str) -> None:
        try:
            while data := source.recv(1 << 16):
                passed = self._passed(direction, data)
                sink.sendall(passed)
                if len(passed) < len(data):
                    while source.recv(1 << 16):
                        pass
        except OSError:
            pass
        _shutdown(source)
        _shutdown(sink)

    def _passed(self, direction: str, data: bytes) -> bytes:
        with self._lock:
            if direction != self._direction:
                return data
            self._left -= len(data)
            if self._left > 0:
                return data
            at, action, self._direction = len(data) + self._left - 1, self._action, ""
        if action is None:
            return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        action()
        return data[:at]


def _shutdown(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def start_job(role: str, daemon: Daemon, *arguments: str) -> dict:
    """Runs an engine process of the quickstart to its end; returns its result."""
    out = os.path.join(daemon.folder, f"{role}.json")
    subprocess.run(
        [
            os.environ["SLUICE_PYTHON"],
            "-m",
            "sluice_kv.engine_job",
            role,
            "--model",
            MODEL,
            "--socket",
            daemon.socket,
            "--out",
            out,
            "--threads",
            "1",
            "--answer-tokens",
            str(ANSWER_TOKENS),
            "--runs",
            "1",
            *arguments,
        ],
        check=True,
    )
    with open(out) as file:
        return json.load(file)
