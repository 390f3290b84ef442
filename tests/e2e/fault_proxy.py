"""A TCP proxy that does to a connection's bytes what a broken network or middlebox may do.

Fault model, drawn from a seed for each connection and direction, at random offsets, none to
two of: a pause, shorter or longer than a deadline; a cut of the connection; one corrupted byte; two
neighbouring chunks that change places. What TCP itself prevents (lost and repeated
bytes) comes out as corruption too: the receiver sees other bytes than were sent.
"""

import random
import socket
import threading
import time

CHUNK_BYTES = 1 << 14
FAULTS = ("pause", "cut", "corrupt", "reorder")


class _Direction:
    """One way of one connection, and what happens on it."""

    def __init__(self, rng: random.Random, span_bytes: int, pause_s: float):
        self._rng, self._pause_s = rng, pause_s
        kinds = rng.choices(FAULTS, k=rng.choice((0, 0, 1, 1, 2)))
        # Half of them in the first kilobyte, where the messages are.
        self.plan = sorted(
            (int(rng.random() * rng.choice((1 << 10, span_bytes))), kind) for kind in kinds
        )
        self._passed, self._held = 0, b""

    def take(self, data: bytes) -> bytes | None:
        """Returns what passes on of `data`; None cuts the connection."""
        start, self._passed = self._passed, self._passed + len(data)
        held, self._held = self._held, b""
        while self.plan and self.plan[0][0] < self._passed:
            at, kind = self.plan.pop(0)
            at = max(at - start, 0)
            if kind == "pause":
                time.sleep(self._rng.random() * self._pause_s)
            elif kind == "cut":
                return None
            elif kind == "corrupt":
                data = data[:at] + bytes([data[at] ^ self._rng.randrange(1, 256)]) + data[at + 1 :]
            elif kind == "reorder" and not held:
                data, self._held = data[:at], data[at:]
        return data + held


class FaultProxy:
    """Passes each connection on to `upstream` (tcp://IP:PORT) with faults of its own."""

    def __init__(self, upstream: str, seed: int, span_bytes: int, pause_s: float):
        host, _, port = upstream.removeprefix("tcp://").rpartition(":")
        self._upstream, self._rng = (host, int(port)), random.Random(seed)
        self._span_bytes, self._pause_s = span_bytes, pause_s
        self.faults = dict.fromkeys(FAULTS, 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        shut(self._listener)
        self._acceptor.join(10)  # no more sockets and pumps after this
        self._listener.close()
        for end in self._sockets:
            shut(end)
        for pump in self._pumps:
            pump.join(10)
        for end in self._sockets:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                daemon = socket.create_connection(self._upstream)
            except OSError:
                return
            self._sockets += [client, daemon]
            for source, sink in ((client, daemon), (daemon, client)):
                way = _Direction(
                    random.Random(self._rng.random()), self._span_bytes, self._pause_s
                )
                for _, kind in way.plan:
                    self.faults[kind] += 1
                pump = threading.Thread(target=_pump, args=(source, sink, way), daemon=True)
                self._pumps.append(pump)
                pump.start()


def _pump(source: socket.socket, sink: socket.socket, way: _Direction) -> None:
    try:
        while data := source.recv(CHUNK_BYTES):
            passed = way.take(data)
            if passed is None:
                break
            sink.sendall(passed)
    except OSError:
        pass
    shut(source)
    shut(sink)


def shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
