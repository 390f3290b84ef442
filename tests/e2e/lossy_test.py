"""Lossy pages from end to end with llama.cpp: who gets them, what they replace, what they cost."""

import hashlib
import json
import math
import os
import shutil
import struct
import subprocess
import unittest

import harness
import made_up_profile
import numpy as np
from sluice_kv import api, llama_quality, profile_file, quality
from sluice_kv.llama import Connector
from sluice_kv.llama_api import Context

PROFILES = os.path.join(os.environ["SLUICE_SOURCE"], "deploy", "profiles")
PROFILE = os.path.join(PROFILES, "smollm2-135m-q4_1.profile")
FLOOR = 10_000  # micro-nats: what these readers accept
MODEL_DIGEST_AT, CHECK_FROM = 24, 16  # codec/FORMAT.md, "Profile header"


class Measure(unittest.TestCase):
    def test_kl_is_that_of_the_exact_distribution_against_the_other(self):
        exact = np.log(np.array([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]]))
        lossy = np.log(np.array([[0.25, 0.5, 0.25], [0.8, 0.1, 0.1]])) + 7  # softmax ignores a shift
        found = quality.compare(exact, lossy)
        self.assertAlmostEqual(found.kl[0], 0.5 * math.log(2) - 0.25 * math.log(2))
        self.assertAlmostEqual(found.kl[1], 0)
        self.assertEqual(found.agrees.tolist(), [False, True])

    def test_the_interval_is_that_of_the_windows_means(self):
        windows = [quality.Window(np.array([kl]), np.array([True])) for kl in (1.0, 2.0, 3.0)]
        found = quality.summary(windows)
        self.assertAlmostEqual(found["kl_mean"], 2.0)
        self.assertAlmostEqual(found["kl_interval"][1], 2.0 + 4.303 / math.sqrt(3), places=3)

    def test_a_lossy_quality_is_rounded_up_and_never_exact(self):
        self.assertEqual([quality.micro_nats(kl) for kl in (0, 1e-9, 2.1e-6)], [1, 1, 3])


class ProfileFile(unittest.TestCase):
    def test_steps_and_means_are_written_as_closely_as_the_format_can(self):
        rng = np.random.default_rng(7)
        mean = rng.normal(0, 20, 64)
        step = np.exp(rng.normal(-3, 1.5, 64))
        head = profile_file._block(profile_file.Block(mean, step, np.zeros(64)))
        unit = 2.0 ** -struct.unpack_from("b", head)[0]
        channels = [struct.unpack_from("<iHBB", head, 8 + 8 * i) for i in range(64)]
        for i, (fixed, mantissa, shift, _) in enumerate(channels):
            self.assertLessEqual(abs(fixed), 1 << 22)
            self.assertLessEqual(abs(fixed * unit - mean[i]), unit / 2)
            self.assertTrue(1 << 14 <= mantissa < 1 << 15)
            written = 8 * mantissa * 2.0**-shift * unit
            self.assertLess(abs(written / step[i] - 1), 2.0**-14)
        # The exponent is the largest that both bounds allow.
        self.assertTrue(
            np.abs(mean).max() / unit * 2 > 1 << 22 or step.max() / unit * 2 >= 1 << 10
        )


class LossyPages(harness.StoredDocument):
    def setUp(self):
        self.daemon = harness.Daemon("--disk", "DISK", "--disk-capacity", "1GiB")
        self.addCleanup(self.daemon.stop)

    def test_a_profile_says_what_it_is_for(self):
        command = [os.environ["SLUICE_COMMAND"], "--json", "profile", PROFILE]
        (found,) = json.loads(subprocess.check_output(command))
        with open(PROFILE, "rb") as file:
            self.assertEqual(found["digest"], hashlib.sha256(file.read()).hexdigest())
        self.assertEqual([row["level"] for row in found["levels"]], ["q3", "q2", "q1"])
        self.assertEqual(found["levels"][2]["kl"], self.connect(put_kl="q1").encoded_kl())

    def test_a_note_that_steers_terminals_is_printed_as_text(self):
        with open(PROFILE, "rb") as file:
            content = bytearray(file.read())
        at = content.rindex(b"handbook")
        content[at : at + 4] = b"\x1b[2J"
        content[8:16] = hashlib.sha256(content[16:]).digest()[:8]
        path = os.path.join(self.daemon.folder, "steers.profile")
        with open(path, "wb") as file:
            file.write(content)
        printed = subprocess.check_output([os.environ["SLUICE_COMMAND"], "profile", path])
        self.assertNotIn(b"\x1b", printed)
        self.assertIn(rb"\u001b[2Jbook", printed)

    def test_options_that_are_none_are_refused(self):
        broken = os.path.join(self.daemon.folder, "broken.profile")
        with open(PROFILE, "rb") as whole, open(broken, "wb") as cut:
            cut.write(whole.read()[:1000])
        for wrong, text in (
            ({"max_kl": -5}, "-5 micro-nats"),
            ({"put_kl": 1 << 32}, "micro-nats"),
            ({"max_bytes": -4}, "-4 bytes"),
            ({"profiles": [broken]}, broken),
            ({"profiles": PROFILE}, "list of paths"),
        ):
            with self.subTest(wrong), self.assertRaisesRegex(ValueError, text):
                self.connect(**wrong)

    def connect(self, *, profiles=(PROFILE,), max_kl=FLOOR, put_kl=FLOOR, **more) -> Connector:
        cache = self.engine.connect(
            self.daemon.socket, profiles=profiles, max_kl=max_kl, put_kl=put_kl, **more
        )
        self.addCleanup(cache.close)
        return cache

    def exact(self) -> Connector:
        return self.connect(profiles=(), max_kl=api.KL_EXACT, put_kl=api.KL_EXACT)

    def stored(self, cache: Connector, durable: bool = False) -> api.Transfer:
        moved = cache.store(self.document, self.state, durable=durable)
        self.assertIsNone(cache.last_error)
        return moved

    def test_pages_are_small_and_answers_close(self):
        cache = self.connect()
        self.assertGreater(cache.encoded_kl(), 0)
        texts = []
        for name in ("MPL-2.0", "Apache-2.0"):
            with open(f"{harness.LICENSES}/{name}", encoding="utf-8") as file:
                texts.append(file.read())
        windows = llama_quality.cut(self.engine.model, texts, prefix_tokens=256)
        writer = self.connect(max_kl=api.KL_EXACT)
        own = self.engine.context
        with Context(self.engine.model, n_ctx=own.n_ctx, flash_attn=not own.flash_attn) as other:
            measured, rounding = llama_quality.measure(own, other, writer, {"lossy": cache}, windows)
        found = measured["lossy"]
        self.assertGreater(rounding["kl_mean"], 0)
        self.assertLess(rounding["kl_mean"], 0.02)
        self.assertLess(found["bits_per_element"], 6)
        # Fewer and shorter windows than the profile was measured on: the order of magnitude.
        self.assertLess(found["kl_mean"], 5 * cache.encoded_kl() / 1e6)
        self.assertGreater(found["kl_mean"], 0)
        self.assertGreater(found["top1"], 0.9)

    def test_an_exact_reader_never_gets_them(self):
        self.stored(self.connect())
        cache = self.exact()
        self.assertEqual(cache.lookup(self.document), 0)
        self.assertIn("micro-nats", cache.miss_reason())
        reused, answer = self.engine.warm(cache, self.document)
        self.assertEqual((reused, answer), (0, self.cold))

    def test_a_reader_of_better_quality_never_gets_them(self):
        writer = self.connect(max_kl=api.KL_EXACT)
        self.stored(writer)
        kl = writer.encoded_kl()
        self.assertEqual(self.connect(max_kl=kl - 1).lookup(self.document), 0)
        self.assertEqual(self.connect(max_kl=kl).lookup(self.document), 256)

    def test_one_store_serves_readers_of_every_level(self):
        model = api.Model(harness.MODEL)
        (group,) = model.manifest()["groups"]
        path = os.path.join(self.daemon.folder, "levels.profile")
        with open(path, "wb") as file:
            what = model.digest(60_000), group["planes"], group["layers"]
            file.write(made_up_profile.encode(*what, group["rope"]["base"]))
        writer = self.connect(
            profiles=[path], max_kl=api.KL_EXACT, put_kl="q1", exact_row=True
        )
        self.assertEqual(self.stored(writer).pages, 4)
        self.assertEqual(writer.encoded_kl(), 0)
        moved = []
        for level in ("q3", "q2", "q1", "exact"):
            reader = self.connect(profiles=[path], max_kl=level)
            self.engine.context.clear()
            restored = reader.restore_keys(reader.keys(self.document))  # however slow it is
            self.assertEqual(restored, 256, reader.last_error)
            moved.append(reader.last_transfer.stored_bytes)
        self.assertEqual(moved, sorted(set(moved)))
        for budget, tokens in ((moved[1], 256), (moved[0], 256), (moved[0] - 1, 192)):
            reader = self.connect(profiles=[path], max_kl="q3", max_bytes=budget)
            self.assertEqual(reader.lookup(self.document), tokens)
        # The context holds what the last of them, the exact reader, restored.
        self.assertEqual(self.engine.answer(self.document, 256), self.cold)
        without = self.exact()  # the daemon has the profile
        self.engine.context.clear()
        self.assertEqual(without.restore_keys(without.keys(self.document)), 256, without.last_error)
        self.assertEqual(self.engine.answer(self.document, 256), self.cold)
        nameless = self.connect(max_kl="q3", profiles=())
        self.assertEqual(nameless.lookup(self.document), 0)
        self.assertIn("level q3", nameless.last_error)
        self.check_command(path)
        self.check_what_a_slot_file_is_stored_as()

    def check_what_a_slot_file_is_stored_as(self) -> None:
        model = "--model", harness.MODEL
        which = *model, "--tokens", os.path.join(self.daemon.folder, "tokens")
        slot = os.path.join(self.daemon.folder, "slot.bin")
        self.daemon.command("llama", "get", *which, slot)
        self.daemon.command("rm", *which)
        self.daemon.command("llama", "put", *model, "--worst-kl", "7000", slot)
        for kl, tokens in ((6999, 0), (7000, 256)):
            found = self.daemon.command("lookup", *which, "--max-kl", str(kl))
            self.assertEqual(found["tokens_there"], tokens, kl)

    def check_command(self, profile: str) -> None:
        """What the command finds and restores of the document at a level."""
        tokens = os.path.join(self.daemon.folder, "tokens")
        with open(tokens, "w") as file:
            file.write(" ".join(map(str, self.document)))
        which = "--model", harness.MODEL, "--tokens", tokens, "--profile", profile
        slot = os.path.join(self.daemon.folder, "slot.bin")
        patient = "--deadline-ms", "60000"  # other processes take the cores
        sizes = []
        for level in ("q3", "exact"):
            found = self.daemon.command("lookup", *which, "--level", level)
            self.assertEqual(found["tokens_there"], 256)
            got = self.daemon.command("llama", "get", *which, "--level", level, slot)
            self.assertEqual(got["tokens_there"], 256)
            sizes.append(got["bytes"])
            self.daemon.command("rm", *which[:4])
            put = self.daemon.command(
                "llama", "put", *which[:2], *which[4:], *patient, "--level", "q1", "--exact-row", slot
            )
            self.assertEqual((put["pages"], put["tokens_there"]), (4, 256))
        self.assertLess(sizes[0], sizes[1])
        q3 = self.daemon.command("llama", "get", *which, "--level", "q3", slot)["bytes"]
        for budget, tokens in ((q3, 256), (q3 - 1, 192)):
            got = self.daemon.command("llama", "get", *which, "--bytes", str(budget), slot)
            self.assertEqual(got["tokens_there"], tokens)
            self.assertLessEqual(got["bytes"], budget)
            pages = os.path.join(self.daemon.folder, f"pages-{budget}")
            got = self.daemon.command("get", *which, "--bytes", str(budget), "--out", pages)
            self.assertEqual(got["pages"], tokens // 64)
            self.assertLessEqual(got["bytes"], budget)

    def test_an_exact_put_replaces_them_and_never_the_reverse(self):
        lossy = self.connect()
        self.stored(lossy)
        better = self.exact()
        self.assertEqual(self.stored(better).pages, 4)
        self.assertEqual(self.stored(lossy).pages_kept, 4)
        for cache in (better, lossy):
            reused, answer = self.engine.warm(cache, self.document)
            self.assertEqual((reused, answer), (256, self.cold))

    def test_what_a_process_that_may_load_lossy_stores_is_stamped(self):
        self.stored(self.connect(put_kl=api.KL_EXACT))
        self.assertEqual(self.exact().lookup(self.document), 0)
        self.assertEqual(self.connect().lookup(self.document), 256)
        pages = self.exact()
        self.assertEqual(self.stored(pages).pages, 4)
        self.assertEqual(pages.lookup(self.document), 256)

    def test_a_reader_without_the_profile_has_it_from_the_daemon(self):
        self.stored(self.connect(), durable=True)
        before = self.engine.warm(self.connect(), self.document)
        self.assertEqual(self.engine.warm(self.connect(profiles=()), self.document), before)
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.engine.warm(self.connect(profiles=()), self.document), before)
        self.assertEqual(before[0], 256)

    def lose_profile(self) -> Connector:
        """Returns a reader that found the pages and could not read them."""
        self.daemon.kill()
        shutil.rmtree(os.path.join(self.daemon.folder, "disk", "profiles"))
        self.daemon.start()
        cache = self.exact()
        self.engine.context.clear()
        self.assertEqual(cache.restore(self.engine.prompt(self.document)), 0)
        self.assertIn("profile", cache.miss_reason())
        return cache

    def check_restored(self, *readers: Connector) -> None:
        for reader in readers:
            self.engine.context.clear()
            restored = reader.restore_keys(reader.keys(self.document))  # however slow it is
            self.assertEqual(restored, 256, reader.last_error)
            self.assertEqual(self.engine.answer(self.document, 256), self.cold)

    def test_a_profile_that_is_lost_comes_back_with_a_put_of_whoever_has_it(self):
        writer = self.connect(put_kl=FLOOR, exact_row=True, max_kl=api.KL_EXACT)
        self.stored(writer, durable=True)
        cache = self.lose_profile()
        self.assertEqual(self.stored(writer).pages_kept, 4)
        self.assertEqual(cache.lookup(self.document), 256)
        self.check_restored(cache, self.exact())

    def test_a_profile_that_is_lost_is_a_miss_and_the_next_put_is_for_everybody(self):
        writer = self.connect(put_kl=FLOOR, exact_row=True, max_kl=api.KL_EXACT)
        self.stored(writer, durable=True)
        cache = self.lose_profile()
        self.assertEqual(writer.lookup(self.document), 256, "the pages are not damaged")
        self.assertEqual(self.stored(cache).pages, 4)
        self.check_restored(cache, self.exact(), writer)

    def test_a_profile_of_another_model_stores_exactly(self):
        with open(PROFILE, "rb") as file:
            raw = bytearray(file.read())
        raw[MODEL_DIGEST_AT] ^= 1
        struct.pack_into("8s", raw, 8, hashlib.sha256(raw[CHECK_FROM:]).digest()[:8])
        path = os.path.join(self.daemon.folder, "other.profile")
        with open(path, "wb") as file:
            file.write(raw)
        cache = self.connect(profiles=(path,))
        self.assertEqual(cache.encoded_kl(), 0)
        self.stored(cache)
        reused, answer = self.engine.warm(cache, self.document)
        self.assertEqual((reused, answer), (256, self.cold))

    def test_a_damaged_profile_is_refused_by_name(self):
        path = os.path.join(self.daemon.folder, "damaged.profile")
        with open(PROFILE, "rb") as whole, open(path, "wb") as file:
            raw = bytearray(whole.read())
            raw[len(raw) // 2] ^= 4
            file.write(raw)
        with self.assertRaisesRegex(ValueError, path):
            self.connect(profiles=[path])

    def test_they_come_back_from_disk_the_same(self):
        cache = self.connect()
        self.stored(cache, durable=True)
        before = self.engine.warm(cache, self.document)
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(self.engine.warm(self.connect(), self.document), before)
        self.assertEqual(before[0], 256)


if __name__ == "__main__":
    unittest.main()
