"""The disk tier under a real daemon: kill -9, restart, damage on disk, and what may never return."""

import glob
import hashlib
import os
import random
import subprocess
import tempfile
import threading
import time
import unittest

import harness
import identity
import numpy as np
from sluice_kv import api
from sluice_kv.llama import PAGE_TOKENS, PROBE_TOKENS

KILLS = int(os.environ.get("SLUICE_KILLS", "100"))
SEED = int(os.environ.get("SLUICE_SEED", "1"))


def disk_daemon(ram: str = "64MiB", capacity: str = "1GiB") -> harness.Daemon:
    return harness.Daemon("--ram", ram, "--disk", "DISK", "--disk-capacity", capacity)


class Engine(harness.StoredDocument):
    def setUp(self):
        self.daemon = disk_daemon()
        self.addCleanup(self.daemon.stop)

    def connect(self):
        cache = self.engine.connect(self.daemon.socket)
        self.addCleanup(cache.close)
        return cache

    def store(self, cache, durable: bool) -> None:
        moved = cache.store(self.document, self.state, durable=durable)
        self.assertIsNotNone(moved, cache.last_error)
        self.assertEqual(moved.pages, 4)

    def restart(self) -> None:
        self.daemon.kill()
        self.daemon.start()

    def assert_warm(self, cache, tokens: int) -> None:
        self.assertEqual(self.engine.warm(cache, self.document), (tokens, self.cold))

    def test_acked_pages_are_served_from_disk_after_a_kill(self):
        cache = self.connect()
        self.store(cache, durable=True)
        self.restart()
        self.assert_warm(cache, 256)
        stats = cache.stats()
        # What the connector tried first, to learn how fast loading is, came again: from RAM.
        tried = PROBE_TOKENS // PAGE_TOKENS
        self.assertEqual((stats["disk_hits"], stats["ram_hits"]), (4, tried))
        self.assert_warm(cache, 256)  # promoted
        stats = cache.stats()
        self.assertEqual((stats["disk_hits"], stats["ram_hits"]), (4, tried + 4))

    def test_a_daemon_that_is_told_to_end_keeps_what_was_put(self):
        cache = self.connect()
        self.store(cache, durable=False)
        self.daemon.process.terminate()
        self.assertEqual(self.daemon.process.wait(30), 0)
        self.daemon.start()
        self.assert_warm(cache, 256)

    def test_storing_again_with_an_ack_sends_what_only_ram_has(self):
        cache = self.connect()
        self.store(cache, durable=False)
        moved = cache.store(self.document, self.state, durable=True)
        self.assertEqual((moved.pages, moved.pages_kept), (0, 4))
        self.restart()
        self.assert_warm(cache, 256)

    def test_a_deleted_page_stays_deleted(self):
        cache = self.connect()
        self.store(cache, durable=True)
        tokens = os.path.join(self.daemon.folder, "tokens")
        with open(tokens, "w") as file:
            file.write(" ".join(map(str, self.document)))
        self.daemon.command("rm", "--model", harness.MODEL, "--tokens", tokens)
        self.restart()
        self.assert_warm(cache, 0)

    def test_a_page_damaged_on_disk_is_counted_named_and_recomputed(self):
        cache = self.connect()
        self.store(cache, durable=True)
        self.daemon.kill()
        (segment,) = glob.glob(os.path.join(self.daemon.folder, "disk", "*.seg"))
        with open(segment, "r+b") as file:
            file.seek(1_500_000)  # in the second page
            byte = file.read(1)
            file.seek(1_500_000)
            file.write(bytes([byte[0] ^ 0x10]))
        self.daemon.start()
        self.assert_warm(cache, 64)
        self.assertRegex(self.daemon.log(), r"level=warn\w* .*segment 0000000000000001 offset \d+")
        self.store_again(cache)

    def store_again(self, cache) -> None:
        self.assertEqual(cache.store(self.document, self.state, durable=True).pages, 1)
        self.restart()
        self.assert_warm(cache, 256)

    def test_one_folder_has_one_daemon(self):
        self.store(self.connect(), durable=True)
        disk = os.path.join(self.daemon.folder, "disk")

        def log() -> dict[str, tuple[int, int]]:
            files = {entry.name: entry.stat() for entry in os.scandir(disk)}
            return {name: (at.st_size, at.st_mtime_ns) for name, at in files.items()}

        before = log()
        for socket in (self.daemon.socket, self.daemon.socket + "2"):
            second = [os.environ["SLUICED"], "--socket", socket, "--disk", disk]
            done = subprocess.run(second, capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, 1)
            self.assertIn("a sluiced that runs already", done.stderr)
            self.assertEqual(log(), before)

    def test_an_ack_that_no_tier_can_give_is_refused(self):
        daemon = harness.Daemon()
        self.addCleanup(daemon.stop)
        cache = self.engine.connect(daemon.socket)
        self.addCleanup(cache.close)
        self.assertIsNone(cache.store(self.document, self.state, durable=True))
        self.assertIn("unsupported", cache.last_error)


class Numbered(unittest.TestCase):
    """Tests of pages whose tensors come from their number, so that they are known outside Sluice."""

    descriptor = identity.small_descriptor()

    def tensors(self, number: int, page_bytes: int) -> bytearray:
        values = np.random.default_rng(number).normal(size=page_bytes // 2)
        return bytearray(values.astype(np.float16).tobytes())

    def key(self, space: api.Space, number: int) -> bytes:
        (key,) = space.keys([number] * 64)
        return key


class FullDisk(Numbered):
    """A file system of its own that others fill. Needs root."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.folder)
        mount = ("mount", "-t", "tmpfs", "-o", "size=100m", "none", self.folder)
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
            self.skipTest("a file system can be mounted by root only")
        self.addCleanup(subprocess.run, ("umount", self.folder), check=True)

    def test_the_oldest_pages_make_room_on_a_disk_that_others_filled(self):
        disk = os.path.join(self.folder, "disk")
        daemon = harness.Daemon("--ram", "16MiB", "--disk", disk, "--disk-capacity", "64MiB")
        self.addCleanup(daemon.stop)
        with open(os.path.join(self.folder, "others"), "wb") as file:
            file.write(bytes(70 << 20))
        with api.Client(daemon.socket) as client, api.Space(client, self.descriptor) as space:
            count = (60 << 20) // space.page_bytes
            for number in range(count):
                raw = self.tensors(number, space.page_bytes)
                space.put([self.key(space, number)], raw, durable=True)
            back = bytearray(space.page_bytes)
            for number in range(count - (12 << 20) // space.page_bytes, count):
                self.assertEqual(space.get([self.key(space, number)], back).pages, 1)
                self.assertEqual(back, self.tensors(number, space.page_bytes))
            stats = client.stats()
        self.assertGreater(stats["disk_dropped_segments"], 4)
        self.assertEqual(stats["disk_failed_writes"], 0)


class Kills(Numbered):
    """Puts pages, kills the daemon at a random moment, and looks at every page that was acked."""

    def setUp(self):
        self.random = random.Random(SEED)
        # Small enough that segments are dropped during the test.
        self.daemon = disk_daemon(ram="16MiB", capacity="64MiB")
        self.addCleanup(self.daemon.stop)
        self.acked: list[int] = []  # in the order of their acks
        self.put = 0
        self.kept: dict[int, str] = {}  # SHA-256 of the tensors by page number

    def put_until_killed(self) -> None:
        killer = threading.Timer(self.random.uniform(0.01, 0.2), self.daemon.kill)
        killer.start()
        with api.Client(self.daemon.socket) as client:
            try:
                space = api.Space(client, self.descriptor)
                while True:
                    number = self.put = self.put + 1
                    durable = self.random.random() < 0.7
                    raw = self.tensors(number, space.page_bytes)
                    self.kept[number] = hashlib.sha256(raw).hexdigest()
                    space.put([self.key(space, number)], raw, durable=durable)
                    if durable:
                        self.acked.append(number)
            except api.Error:
                pass
        killer.join()

    def look(self) -> None:
        missing, present = [], []
        acked = set(self.acked)
        with api.Client(self.daemon.socket) as client, api.Space(client, self.descriptor) as space:
            back = bytearray(space.page_bytes)
            # All of the last rounds, and some of those before.
            recent = range(max(1, self.put - 300), self.put + 1)
            for number in sorted({*self.random.sample(range(1, self.put + 1), min(50, self.put)), *recent}):
                if space.get([self.key(space, number)], back).pages == 0:
                    missing += [number] if number in acked else []
                    continue
                present += [number] if number in acked else []
                self.assertEqual(hashlib.sha256(back).hexdigest(), self.kept[number])
            dropped = client.stats()
        if missing:
            # Only what went with the oldest segments may be missing.
            self.assertLess(max(missing), min(present), f"of {len(acked)} acked pages")
            self.assertGreater(self.put * space_bytes(dropped), 48 << 20)

    def test_every_acked_page_comes_back_after_every_kill(self):
        started = time.monotonic()
        for kill in range(KILLS):
            with self.subTest(kill=kill, seed=SEED):
                self.put_until_killed()
                self.daemon.start()
                self.look()
        self.assertGreater(len(self.acked), KILLS)
        print(
            f"\n{KILLS} kills, {self.put} pages put, {len(self.acked)} acked as durable, in"
            f" {time.monotonic() - started:.0f} s"
        )


def space_bytes(stats: dict) -> float:
    """Returns the log bytes that a page takes."""
    return stats["disk_page_bytes"] / max(stats["disk_pages"], 1)


if __name__ == "__main__":
    unittest.main()
