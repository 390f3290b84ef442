"""Faults around a running engine: damage, death, silence, cut connections, a full memory.

Each one ends the same way: the engine recomputes what is missing and answers what it would without
Sluice, to the bit.
"""

import os
import signal
import time
import unittest

import harness

DEADLINE_MS = 1000
# On top of the deadline: encoding, and a machine where other tests run.
SLACK_S = 3.0
PAUSE_S = 4 * DEADLINE_MS / 1000 + SLACK_S
# A stored page has about 1.24 MB, so this many bytes end within the third.
IN_THIRD_PAGE = 3_000_000


class Faults(harness.StoredDocument):
    def setUp(self):
        self.daemon = harness.Daemon("--ram", "64MiB")
        self.addCleanup(self.daemon.stop)

    def connect(self, address=None, **options):
        cache = self.engine.connect(
            address or self.daemon.socket, **{"deadline_ms": DEADLINE_MS, **options}
        )
        self.addCleanup(cache.close)
        return cache

    def proxy(self) -> harness.CuttingProxy:
        proxy = harness.CuttingProxy(self.daemon)
        self.addCleanup(proxy.close)
        return proxy

    def store(self, cache):
        moved = cache.store(self.document, self.state)
        self.assertIsNotNone(moved, cache.last_error)
        self.assertEqual(moved.pages, 4)

    def assert_warm(self, cache, tokens: int) -> None:
        reused, answer = self.engine.warm(cache, self.document)
        self.assertEqual(reused, tokens, cache.last_error)
        self.assertEqual(answer, self.cold)

    def flip_stored_page(self, cache, index: int) -> None:
        """Flips a byte in the middle of a stored page, in the daemon's memory."""
        tokens = os.path.join(self.daemon.folder, "tokens")
        with open(tokens, "w") as file:
            file.write(" ".join(map(str, self.document)))
        self.daemon.command(
            "inspect", "--model", harness.MODEL, "--tokens", tokens, "--save", self.daemon.folder
        )
        key = cache.keys(self.document)[index].hex()
        with open(os.path.join(self.daemon.folder, f"{key}.page"), "rb") as file:
            page = file.read()
        wanted = page[len(page) // 2 : len(page) // 2 + 64]
        pid = self.daemon.process.pid
        with open(f"/proc/{pid}/maps") as maps:
            spans = [line.split()[0].split("-") for line in maps if " rw-p " in line]
        hits = 0
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            for start, end in ((int(a, 16), int(b, 16)) for a, b in spans):
                hits += _flip_in(memory, start, end, wanted)
        self.assertGreater(hits, 0, "the page was not found in the daemon's memory")

    def test_a_damaged_page_is_counted_quarantined_and_recomputed(self):
        cache = self.connect()
        self.store(cache)
        self.assert_warm(cache, 256)
        self.flip_stored_page(cache, 2)
        self.assert_warm(cache, 128)
        stats = cache.stats()
        self.assertEqual(stats["ram_damaged"], 1)
        self.assertEqual(cache.lookup(self.document), 128)
        self.assertIn("level=warn", self.daemon.log())
        # Storing again heals it.
        self.assertEqual(cache.store(self.document, self.state).pages, 1)
        self.assert_warm(cache, 256)

    def test_a_first_page_that_is_damaged_is_a_whole_miss(self):
        cache = self.connect()
        self.store(cache)
        self.flip_stored_page(cache, 0)
        self.assert_warm(cache, 0)
        self.assertEqual(cache.stats()["ram_damaged"], 1)

    def timed(self, work):
        started = time.monotonic()
        result = work()
        self.assertLess(time.monotonic() - started, DEADLINE_MS / 1000 + SLACK_S)
        return result

    def get_fails(self, action, why: str, then=lambda cache: None):
        """Acts while the third page is on its way to the client; returns the connector. `then`
        comes at once, while the pause lasts: the engine's own answer takes seconds."""
        proxy = self.proxy()
        cache = self.connect(proxy.address)
        self.store(cache)
        proxy.arm("get", IN_THIRD_PAGE, lambda: action(proxy))
        self.engine.context.clear()
        prompt = self.engine.prompt(self.document)
        self.assertEqual(self.timed(lambda: cache.restore(prompt)), 0)
        self.assertIn(why, cache.last_error)
        then(cache)
        self.assertEqual(len(self.engine.context), 0)
        self.assertEqual(self.engine.answer(self.document), self.cold)
        cache.choice._paused_until = None  # of the load that failed: the next one is a probe
        return cache

    def put_fails(self, action, why: str):
        """Acts while the third page is on its way to the daemon; returns the connector."""
        proxy = self.proxy()
        cache = self.connect(proxy.address)
        proxy.arm("put", IN_THIRD_PAGE, lambda: action(proxy))
        self.assertIsNone(self.timed(lambda: cache.store(self.document, self.state)))
        self.assertIn(why, cache.last_error)
        return cache

    def assert_torn_put_left_nothing(self, cache) -> None:
        """Two pages are whole, of the third there is no trace."""
        until = time.monotonic() + 10
        while cache.stats()["ram_reserved_bytes"] != 0 and time.monotonic() < until:
            time.sleep(0.05)
        stats = cache.stats()
        self.assertEqual((stats["ram_pages"], stats["ram_reserved_bytes"]), (2, 0))
        self.assertEqual(cache.lookup(self.document), 128)
        self.assert_warm(cache, 128)
        self.assertEqual(cache.store(self.document, self.state).pages, 2)
        self.assert_warm(cache, 256)

    def assert_left_alone(self, cache) -> None:
        """The daemon just cost a deadline: asking again costs nothing, and later it is asked."""
        started = time.monotonic()
        self.assertEqual(cache.lookup(self.document), 0)
        self.assertLess(time.monotonic() - started, DEADLINE_MS / 1000 / 4)
        self.assertIn("asked again", cache.last_error)
        until = time.monotonic() + PAUSE_S
        while not cache.stats() and time.monotonic() < until:
            time.sleep(0.1)
        self.assertIsNone(cache.last_error)

    def kill(self, _proxy) -> None:
        self.daemon.kill()

    def silence(self, _proxy) -> None:
        self.daemon.kill(signal.SIGSTOP)

    def test_a_daemon_killed_in_mid_get(self):
        cache = self.get_fails(self.kill, "connection_lost")
        self.daemon.start()
        self.assert_warm(cache, 0)  # what was in RAM went with the process
        self.store(cache)
        self.assert_warm(cache, 256)

    def test_a_daemon_silent_in_mid_get(self):
        def go_on(cache):
            self.daemon.kill(signal.SIGCONT)
            self.assert_left_alone(cache)

        cache = self.get_fails(self.silence, "timed_out", go_on)
        self.assert_warm(cache, 256)

    def test_a_connection_cut_in_mid_get(self):
        cache = self.get_fails(harness.CuttingProxy.cut, "connection_lost")
        self.assert_warm(cache, 256)

    def test_a_daemon_killed_in_mid_put(self):
        cache = self.put_fails(self.kill, "connection_lost")
        self.daemon.start()
        self.assert_warm(cache, 0)

    def test_a_daemon_silent_in_mid_put(self):
        cache = self.put_fails(self.silence, "timed_out")
        self.daemon.kill(signal.SIGCONT)
        self.assert_left_alone(cache)
        self.assert_torn_put_left_nothing(cache)

    def test_a_connection_cut_in_mid_put(self):
        cache = self.put_fails(harness.CuttingProxy.cut, "connection_lost")
        self.assert_torn_put_left_nothing(cache)

    def test_a_byte_that_flips_on_the_way_to_the_client_is_fetched_again(self):
        proxy = self.proxy()
        cache = self.connect(proxy.address)
        self.store(cache)
        proxy.flip("get", IN_THIRD_PAGE)
        self.assert_warm(cache, 256)
        self.assertEqual(cache.last_transfer.pages_damaged, 1)
        stats = cache.stats()
        # The daemon's own copy is whole: it was looked at and stays.
        self.assertEqual(
            (stats["damage_reports"], stats["ram_damaged"], stats["ram_pages"]), (1, 0, 4)
        )

    def test_a_byte_that_flips_on_the_way_to_the_daemon_is_refused(self):
        proxy = self.proxy()
        cache = self.connect(proxy.address)
        proxy.flip("put", IN_THIRD_PAGE)
        self.assertIsNone(cache.store(self.document, self.state))
        self.assertIn("bad_checksum", cache.last_error)
        self.assertEqual(cache.stats()["puts_refused"], 1)
        self.assert_torn_put_left_nothing(cache)


class FullMemory(unittest.TestCase):
    def setUp(self):
        self.daemon = harness.Daemon("--ram", "16MiB")  # 13 pages
        self.addCleanup(self.daemon.stop)
        self.engine = harness.Engine(n_ctx=1280)
        self.addCleanup(self.engine.close)

    def connect(self, salt: bytes):
        cache = self.engine.connect(self.daemon.socket, salt=salt)
        self.addCleanup(cache.close)
        return cache

    def test_old_leaves_make_room_and_prefixes_stay(self):
        document = self.engine.document(260)
        cold = self.engine.cold(document)
        self.engine.fill(document)
        state = self.engine.context.state_get()
        users = [self.connect(bytes([65 + i])) for i in range(4)]
        for cache in users:
            self.assertEqual(cache.store(document, state).pages, 4)
        self.assertEqual(self.engine.warm(users[3], document), (256, cold))
        reused, answer = self.engine.warm(users[0], document)
        self.assertEqual(answer, cold)
        self.assertIn(reused, (0, 64, 128, 192))
        stats = users[0].stats()
        self.assertEqual(stats["ram_evicted_leaves"], 16 - stats["ram_pages"])
        self.assertLessEqual(stats["ram_bytes"], 16 << 20)
        # Nothing that is left hangs in the air: every page that was kept can be reached.
        self.assertEqual(sum(cache.lookup(document) for cache in users), 64 * stats["ram_pages"])

    def test_a_document_larger_than_the_memory_is_refused_and_its_front_served(self):
        document = self.engine.document(1030)  # 16 pages
        cold = self.engine.cold(document)
        self.engine.fill(document)
        cache = self.connect(b"")
        self.assertIsNone(cache.store(document))
        self.assertIn("no_space", cache.last_error)
        pages = cache.stats()["ram_pages"]
        self.assertGreaterEqual(pages, 12)
        self.assertEqual(self.engine.warm(cache, document), (64 * pages, cold))


def _flip_in(memory, start: int, end: int, wanted: bytes) -> int:
    """Flips a byte of each place in [start, end) that holds the wanted bytes; returns how many."""
    if end - start > 1 << 32:  # a sanitizer's shadow, terabytes of nothing
        return 0
    try:
        memory.seek(start)
        content = memory.read(end - start)
    except OSError:
        return 0
    hits, at = 0, content.find(wanted)
    while at >= 0:
        memory.seek(start + at)
        memory.write(bytes([content[at] ^ 0xFF]))
        hits, at = hits + 1, content.find(wanted, at + 1)
    return hits


if __name__ == "__main__":
    unittest.main()
