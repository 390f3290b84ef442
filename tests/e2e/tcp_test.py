"""TCP: two network namespaces, a link that dies, the token, and a network that lies.

Needs no engine: pages of random tensors, whose hashes are kept here, outside Sluice.
"""

import hashlib
import json
import os
import random
import socket
import subprocess
import threading
import time
import unittest

import fault_proxy
import identity
import netns
from daemon import Daemon, TokenDaemon
from sluice_kv import api

DEADLINE_MS = 1000
SLACK_S = 3.0  # on a machine where other tests run
PEER_GONE_S = 30  # transport/socket_address.h, kPeerGoneMs
ROUNDS = 300
FAULT_DEADLINE_MS = 250


def chain(rng: random.Random, pages: int) -> tuple[list[int], bytes]:
    """Tokens of so many pages, and tensors for them."""
    return [rng.randrange(1 << 16) for _ in range(64 * pages)], rng.randbytes(pages * 32768)


class Pages:
    """A space of 32 KiB pages at a daemon's address."""

    def __init__(self, address: str, deadline_ms: int = DEADLINE_MS):
        self._client = api.Client(address, deadline_ms)
        self._space = api.Space(self._client, identity.small_descriptor())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._space.close()
        self._client.close()

    def put(self, tokens: list[int], tensors: bytes) -> api.Transfer:
        return self._space.put(self._space.keys(tokens), bytearray(tensors))

    def get(self, tokens: list[int]) -> bytes:
        """Returns the tensors of the pages that are whole, from the first on."""
        keys = self._space.keys(tokens)
        out = bytearray(len(keys) * self._space.page_bytes)
        whole = self._space.get(keys, out).pages
        return bytes(out[: whole * self._space.page_bytes])


def ask(address: str) -> dict:
    with api.Client(address) as client:
        return client.stats()


class Loopback(unittest.TestCase):
    def test_pages_go_there_and_back_over_both_families_and_the_socket(self):
        daemon = Daemon("--listen", "tcp://127.0.0.1:0", "--listen", "tcp://[::1]:0")
        self.addCleanup(daemon.stop)
        tokens, tensors = chain(random.Random(1), 100)
        with Pages(daemon.tcp) as pages:
            self.assertEqual(pages.put(tokens, tensors).pages, 100)
        for address in (daemon.tcp, "tcp://[::1]:" + daemon.log().split("[::1]:")[1].split('"')[0]):
            with Pages(address) as pages:
                self.assertEqual(pages.get(tokens), tensors)
        with Pages(daemon.socket) as pages:
            self.assertEqual(pages.get(tokens), tensors)
        self.assertIn("event=open address=tcp://127.0.0.1:", daemon.log())
        checks = {c["name"]: c["status"] for c in sluice("doctor", "--socket", daemon.tcp)["checks"]}
        self.assertEqual((checks["socket"], checks["daemon"]), ("ok", "ok"))


class Token(unittest.TestCase):
    def start(self) -> TokenDaemon:
        daemon = TokenDaemon("127.0.0.1")
        self.addCleanup(daemon.stop)
        return daemon

    def test_only_who_has_the_token_is_served(self):
        daemon = self.start()
        self.assertEqual(os.stat(daemon.token_file).st_mode & 0o777, 0o600)
        self.assertEqual(daemon.token_line(), daemon.token_line())  # one that is there stays
        self.assertIn("connections", ask(daemon.tcp))
        os.environ["SLUICE_TOKEN_FILE"] = ""
        named = ("--socket", daemon.tcp, "--token-file", daemon.token_file)
        self.assertIn("round_trip_us", sluice("ping", *named))
        with open(daemon.token_file) as file:
            secret = file.read().strip()
        with self.assertRaisesRegex(api.Error, "asks for a token"):
            ask(daemon.tcp)
        self.assertNotIn(secret, daemon.log())

    def test_a_stranger_is_let_go_in_time(self):
        daemon = self.start()
        host, port = daemon.tcp.removeprefix("tcp://").rsplit(":", 1)
        with socket.create_connection((host, int(port)), 20) as silent:
            started = time.monotonic()
            while silent.recv(4096):
                pass
            self.assertLess(time.monotonic() - started, 10 + SLACK_S)
        self.assertIn("HELLO did not come within", daemon.log())

    def test_other_machines_need_token_and_insecure(self):
        open_to_all = ["--listen", "tcp://0.0.0.0:0", "--check-config"]
        done = subprocess.run(
            [os.environ["SLUICED"], *open_to_all], capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("make one with `sluice token FILE`", done.stderr)


class Namespaces(unittest.TestCase):
    def setUp(self):
        netns.require()
        self.link = netns.Link()
        self.addCleanup(self.link.close)

    def daemon_in(self, name: str) -> TokenDaemon:
        daemon = TokenDaemon(self.link.address[name], netns=name)
        self.addCleanup(daemon.stop)
        return daemon

    def test_what_one_side_puts_the_other_gets(self):
        link = self.link
        for home, away, seed in ((link.a, link.b, 1), (link.b, link.a, 2)):
            daemon = self.daemon_in(home)
            tokens, tensors = chain(random.Random(seed), 200)
            with link.inside(away), Pages(daemon.tcp) as pages:
                self.assertEqual(pages.put(tokens, tensors).pages, 200)
            for name in (home, away):
                with link.inside(name), Pages(daemon.tcp) as pages:
                    self.assertEqual(pages.get(tokens), tensors)

    def test_a_link_that_dies_costs_a_deadline_and_the_daemon_lets_go(self):
        daemon = self.daemon_in(self.link.a)
        tokens, tensors = chain(random.Random(3), 3000)
        with Pages(daemon.socket, 60_000) as pages:
            pages.put(tokens, tensors)
        self.link.set_rate(self.link.a, 48 << 20)  # the get takes 2 s
        with self.link.inside(self.link.b):
            idle = Pages(daemon.tcp)
            self.addCleanup(idle.__exit__)
            self.assertEqual(idle.get(tokens[:64]), tensors[:32768])
            with Pages(daemon.tcp, 4 * DEADLINE_MS) as busy:
                self.assertEqual(busy.get(tokens[:64]), tensors[:32768])
                threading.Timer(0.4, self.link.cut, [self.link.b]).start()
                started = time.monotonic()
                with self.assertRaises(api.Unavailable):
                    busy.get(tokens)
                took = time.monotonic() - started
        self.assertGreater(took, 0.4)
        self.assertLess(took, 0.4 + 4 * DEADLINE_MS / 1000 + SLACK_S)
        self.assertEqual(ask(daemon.socket)["connections"], 3)  # two that it cannot know are dead
        started = time.monotonic()
        while ask(daemon.socket)["connections"] > 1:
            self.assertLess(time.monotonic() - started, PEER_GONE_S + 10)
            time.sleep(0.5)

    def test_a_host_that_is_not_there_costs_a_deadline(self):
        with self.link.inside(self.link.b), api.Client("tcp://10.231.7.9:7440", 500) as client:
            started = time.monotonic()
            with self.assertRaises(api.Unavailable):
                client.stats()
            self.assertLess(time.monotonic() - started, 0.5 + SLACK_S)


class LyingNetwork(unittest.TestCase):
    """Put and get through a proxy with faults; what comes is right or is not there."""

    def setUp(self):
        self.daemon = Daemon("--listen", "tcp://127.0.0.1:0", "--ram", "128MiB")
        self.addCleanup(self.daemon.stop)
        self.put_hashes: dict[int, list[bytes]] = {}  # by seed: of each page's tensors
        self.whole_puts = self.whole_gets = 0

    def timed(self, work):
        """Returns work(), or None where Sluice says that it failed; never late."""
        started = time.monotonic()
        try:
            return work()
        except api.Error:
            return None
        finally:
            took = time.monotonic() - started
            self.assertLess(took, FAULT_DEADLINE_MS / 1000 + SLACK_S)

    def check(self, seed: int, tensors: bytes) -> int:
        """Compares what came with the hashes of what was made; returns how many pages came."""
        came = [hashlib.sha256(p).digest() for p in _split(tensors)]
        self.assertEqual(came, self.put_hashes[seed][: len(came)], f"wrong bytes, seed {seed}")
        return len(came)

    def round(self, seed: int, faults: dict) -> None:
        rng = random.Random(seed)
        tokens, tensors = chain(rng, rng.randrange(1, 5))
        self.put_hashes[seed] = [hashlib.sha256(p).digest() for p in _split(tensors)]
        proxy = fault_proxy.FaultProxy(
            self.daemon.tcp, seed, len(tensors), 2 * FAULT_DEADLINE_MS / 1000
        )
        stored = self.timed(lambda: self.through(proxy, lambda pages: pages.put(tokens, tensors)))
        with Pages(self.daemon.tcp) as pages:
            there = self.check(seed, pages.get(tokens))
            pages.put(tokens, tensors)  # what did not arrive
        if stored is not None:
            self.whole_puts += 1
            self.assertEqual(there, len(self.put_hashes[seed]), f"an acked page is gone, {seed}")
        got = self.timed(lambda: self.through(proxy, lambda pages: pages.get(tokens)))
        proxy.close()
        for kind, count in proxy.faults.items():
            faults[kind] += count
        if got is not None:
            self.whole_gets += self.check(seed, got) == len(self.put_hashes[seed])

    def through(self, proxy: fault_proxy.FaultProxy, work):
        with Pages(proxy.address, FAULT_DEADLINE_MS) as pages:
            return work(pages)

    def test_no_wrong_byte_no_hang_and_a_daemon_that_goes_on(self):
        first = int(os.environ.get("SLUICE_SEED", "1"))
        faults = dict.fromkeys(fault_proxy.FAULTS, 0)
        for seed in range(first, first + ROUNDS):
            self.round(seed, faults)
        # The faults were there, and not all that was left to go right went wrong.
        self.assertTrue(all(count > ROUNDS // 10 for count in faults.values()), faults)
        self.assertGreater(self.whole_puts, ROUNDS // 10)
        self.assertGreater(self.whole_gets, ROUNDS // 10)
        self.assertLess(self.whole_puts, ROUNDS * 9 // 10)
        self.assertLess(self.whole_gets, ROUNDS * 9 // 10)
        stats = ask(self.daemon.socket)
        self.assertEqual((stats["ram_damaged"], stats["ram_reserved_bytes"]), (0, 0))
        for seed in range(first, first + ROUNDS, 7):
            rng = random.Random(seed)
            tokens, _ = chain(rng, rng.randrange(1, 5))
            with Pages(self.daemon.socket) as pages:
                self.check(seed, pages.get(tokens))


def _split(tensors: bytes) -> list[bytes]:
    return [tensors[at : at + 32768] for at in range(0, len(tensors), 32768)]


def sluice(*arguments: str) -> dict:
    """Returns what `sluice --json` prints."""
    command = [os.environ["SLUICE_COMMAND"], "--json", *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    unittest.main()
