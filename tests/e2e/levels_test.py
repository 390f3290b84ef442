"""One page, every quality: what readers of each level get over the wire, from RAM and from disk."""

import hashlib
import os
import re
import shutil
import tempfile
import unittest
import urllib.request

import made_up_profile
import numpy as np
from daemon import Daemon
from sluice_kv import api, space_identity

PAGE_TOKENS, PAGES = 128, 3
LAYERS = [0, 1, 2, 3]  # two groups of sections
DIGEST = bytes(range(32))
PLANES = [
    {"role": role, "dtype": "f16", "heads": 2, "dim": 64, "rotated_dims": 0} for role in ("k", "v")
]
LEVELS = list(made_up_profile.KL)
TOKENS = list(range(PAGE_TOKENS * PAGES))


def descriptor() -> bytes:
    return space_identity.encode_descriptor(
        {
            "model_digest": DIGEST,
            "compute_dtype": "f16",
            "attention": "full",
            "window": 0,
            "layers": LAYERS,
            "head_range": (0, 2),
            "planes": PLANES,
            "rope": {"pairing": "none", "base": 0.0, "scaling": "none"},
            "page_tokens": PAGE_TOKENS,
        }
    )


class Levels(unittest.TestCase):
    def setUp(self):
        flags = "--disk", "DISK", "--disk-capacity", "1GiB", "--admin", "127.0.0.1:0"
        self.daemon = Daemon(*flags)
        self.addCleanup(self.daemon.stop)
        self.starts = 1
        self.profile = made_up_profile.encode(DIGEST, PLANES, LAYERS)
        rng = np.random.default_rng(7)
        self.source = rng.normal(0, 0.3, PAGES * self.page_elements).astype(np.float16)

    page_elements = len(LAYERS) * 2 * PAGE_TOKENS * 2 * 64

    def space(self, worst_kl: api.Kl = api.KL_EXACT, **options) -> api.Space:
        client = api.Client(self.daemon.socket)
        client.add_profile(self.profile)
        space = api.Space(client, descriptor(), worst_kl, **options)
        self.addCleanup(client.close)
        self.addCleanup(space.close)
        return space

    def put(self, **options) -> list[bytes]:
        space = self.space(**options)
        keys = space.keys(TOKENS)
        moved = space.put(keys, self.source, durable=True)
        self.assertEqual(moved.pages, PAGES)
        return keys

    def sent_bytes(self) -> int:
        """Page bytes that the daemon has sent to clients."""
        ready = []
        while len(ready) < self.starts:  # it says so just after its socket answers
            ready = re.findall(r"event=ready .*?admin=(\S+)", self.daemon.log())
        address = ready[-1]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
            text = reply.read().decode()
        return int(float(re.search(r"^sluice_get_page_bytes_total (\S+)", text, re.M).group(1)))

    def get(self, level: api.Kl) -> tuple[np.ndarray, int]:
        """Returns the tensors, and the bytes that came for them."""
        space = self.space(worst_kl=level)
        out = np.zeros_like(self.source)
        moved = space.get(space.keys(TOKENS), out, max_kl=level)
        self.assertEqual(moved.pages, PAGES, level)
        return out, moved.stored_bytes

    def restart(self) -> None:
        self.daemon.kill()
        self.daemon.start()
        self.starts += 1

    def check_levels(self) -> dict:
        found = {}
        for level in LEVELS:
            before = self.sent_bytes()
            tensors, moved = self.get(level)
            self.assertEqual(self.sent_bytes() - before, moved, f"{level}: on the wire")
            found[level] = tensors, moved
        self.assertEqual([moved for _, moved in found.values()], sorted(m for _, m in found.values()))
        errors = [np.abs(tensors - self.source).max() for tensors, _ in found.values()]
        self.assertTrue(errors[0] > errors[1] > errors[2] > errors[3] == 0, errors)
        return found

    def test_every_reader_gets_its_rows_and_no_byte_more_also_after_a_restart(self):
        self.put(put_kl="q1", exact_row=True)
        first = self.check_levels()
        for _ in range(2):  # from disk, then out of RAM
            self.restart()
            again = self.check_levels()
            for level in LEVELS:
                self.assertEqual(first[level][1], again[level][1])
                self.assertTrue(np.array_equal(first[level][0], again[level][0]), level)
            self.restart()
            exact, _ = self.get("exact")
            self.assertEqual(exact.tobytes(), self.source.tobytes())

    def test_what_is_not_stored_is_a_miss_and_a_later_put_adds_it(self):
        keys = self.put(put_kl="q2")
        exact = self.space()
        self.assertEqual(exact.lookup(keys), 0)
        self.assertEqual(exact.lookup(keys, "q1"), 0)
        self.assertEqual(exact.lookup(keys, "q2"), PAGES)
        self.put(put_kl="q2", exact_row=True)
        self.restart()
        self.assertEqual(self.get("exact")[0].tobytes(), self.source.tobytes())

    def test_a_page_is_refined_with_nothing_sent_again(self):
        keys = self.put(put_kl="q1", exact_row=True)
        levels = self.check_levels()
        self.restart()
        space = self.space(worst_kl="q3")
        page = space.page(keys[1], 1, "q3")
        self.addCleanup(page.close)
        out = np.zeros(self.page_elements, np.float16)
        one = slice(self.page_elements, 2 * self.page_elements)
        for level in LEVELS:
            before, held = self.sent_bytes(), page.stored_bytes
            page.refine(level)
            self.assertEqual(page.kl, made_up_profile.KL[level])
            page.decode(out)
            self.assertTrue(np.array_equal(out, levels[level][0][one]), level)
            header = self.sent_bytes() - before - (page.stored_bytes - held)
            self.assertLess(header, 1500, "the header comes with each answer, the rows do not")

    def test_layers_come_alone(self):
        keys = self.put(put_kl="q1", exact_row=True)
        whole, all_bytes = self.get("q2")
        whole = whole.reshape(PAGES, len(LAYERS), -1)
        self.restart()
        space = self.space(worst_kl="q2")
        for layers in (range(0, 2), range(2, 4), range(1, 2)):
            out = np.zeros((PAGES, len(layers), whole.shape[2]), np.float16)
            before = self.sent_bytes()
            moved = space.get_layers(keys, out, layers, max_kl="q2")
            self.assertEqual(self.sent_bytes() - before, moved.stored_bytes)
            self.assertLess(moved.stored_bytes, 0.6 * all_bytes)
            self.assertTrue(np.array_equal(out, whole[:, layers.start : layers.stop]))

    def test_what_was_made_from_a_closed_handle_is_closed(self):
        space = self.space(worst_kl="q3")
        client = space._client
        client.close()
        with self.assertRaises(api.Error) as raised:
            space.lookup([bytes(32)])
        self.assertEqual(raised.exception.status, api.INVALID_ARGUMENT)

    def test_a_get_of_worse_than_the_space_may_load_is_refused(self):
        space = self.space(worst_kl="q2")
        with self.assertRaises(api.Error) as raised:
            space.get([bytes(32)], bytearray(space.page_bytes), max_kl="q3")
        self.assertEqual(raised.exception.status, api.INVALID_ARGUMENT)

    def test_a_budget_gets_the_finest_level_that_fits(self):
        keys = self.put(put_kl="q1", exact_row=True)
        space = self.space(worst_kl=api.KL_UNKNOWN)
        for level in LEVELS:
            _, moved = self.get(level)
            fit = space.fit(keys, moved)
            self.assertEqual((fit.pages, fit.stored_bytes), (PAGES, moved), level)
            out = np.zeros_like(self.source)
            self.assertEqual(space.get(keys, out, max_kl=fit.max_kl).stored_bytes, moved)
        self.assertEqual(space.fit(keys, self.get("q3")[1] - 1).pages, PAGES - 1)

    def test_damage_in_a_refinement_is_a_miss_for_who_asks_for_it_alone(self):
        keys = self.put(put_kl="q1", exact_row=True)
        whole = self.get("q3")[0]
        which = "--descriptor", self.file(descriptor()), keys[2].hex()
        self.daemon.command("get", *which, "--out", self.folder())
        with open(os.path.join(self.saved, f"{keys[2].hex()}.page"), "rb") as page:
            tail = page.read()[-64:]
        self.daemon.process.terminate()  # with its segment sealed: a scan would find the damage
        self.daemon.process.wait(30)
        self.damage_on_disk(tail)
        self.daemon.start()
        self.assertTrue(np.array_equal(self.get("q3")[0], whole))
        out = np.zeros_like(self.source)
        self.assertEqual(self.space().get(keys, out).pages, 2)
        self.assertIn("damaged", self.daemon.log())
        self.assertEqual(self.space().lookup(keys), 2, "it is out of the disk's index")

    def damage_on_disk(self, tail: bytes) -> None:
        (path,) = (entry.path for entry in os.scandir(os.path.join(self.daemon.folder, "disk"))
                   if entry.name.endswith(".seg"))
        with open(path, "r+b") as file:
            at = file.read().index(tail)
            file.seek(at)
            file.write(bytes([tail[0] ^ 1]))

    def folder(self) -> str:
        self.saved = tempfile.mkdtemp(dir=self.daemon.folder)
        return self.saved

    def file(self, content: bytes) -> str:
        with tempfile.NamedTemporaryFile(dir=self.daemon.folder, delete=False) as file:
            file.write(content)
        return file.name

    def test_the_command_saves_levels_and_puts_them_back(self):
        keys = self.put(put_kl="q1", exact_row=True)
        sizes = {level: self.get(level)[1] for level in LEVELS}
        which = "--descriptor", self.file(descriptor()), *(key.hex() for key in keys)
        profile = "--profile", self.file(self.profile)
        for level in LEVELS:
            for wanted in (
                ("--level", level, *profile),
                ("--max-kl", str(made_up_profile.KL[level])),
                ("--bytes", str(sizes[level])),
            ):
                saved = self.daemon.command("get", *which, "--out", self.folder(), *wanted)
                self.assertEqual((saved["pages"], saved["bytes"]), (PAGES, sizes[level]), wanted)
        all_rows = self.daemon.command("get", *which, "--out", self.folder())
        self.assertEqual(all_rows["bytes"], sizes["exact"])
        whole = self.saved
        self.daemon.command("get", *which, "--out", self.folder(), "--max-kl", "1500")
        rows = self.daemon.command("inspect", self.saved)[0]["rows"]
        self.assertEqual([row["level"] for row in rows], LEVELS)
        self.assertEqual([row["stored"] for row in rows], [True, True, False, False])
        self.assertEqual(self.daemon.command("verify", self.saved)["whole"], PAGES)
        self.daemon.command("rm", *which)
        space = self.space(worst_kl="q2")
        for folder, taken, best in ((self.saved, PAGES, "q2"), (whole, PAGES, "exact")):
            done = self.daemon.command("put", "--descriptor", which[1], folder)
            self.assertEqual((done["pages"], done["kept"], done["refused"]), (taken, 0, []))
            self.assertEqual(space.lookup(keys, best), PAGES)
            self.assertEqual(space.lookup(keys, "exact"), PAGES if best == "exact" else 0)

    def test_the_command_takes_the_profile_along(self):
        keys = self.put(put_kl="q1", exact_row=True)
        which = "--descriptor", self.file(descriptor())
        self.daemon.command("get", *which, *map(bytes.hex, keys), "--out", self.folder())
        profile = os.path.join(self.saved, f"{hashlib.sha256(self.profile).hexdigest()}.profile")
        away = os.path.join(self.daemon.folder, "away")
        os.rename(profile, away)
        with open(profile, "wb") as cut:
            cut.write(self.profile[:-1])
        other = Daemon()
        self.addCleanup(other.stop)
        refused = other.command("put", *which, self.saved)
        self.assertEqual((refused["pages"], len(refused["refused"])), (0, PAGES))
        self.assertEqual([file["page"] for file in refused["unreadable"]], [profile])
        self.assertIn("put the profile first", refused["refused"][0]["error"])
        done = other.command("put", *which, "--profile", away, self.saved)
        self.assertEqual(done["pages"], PAGES)
        self.assertEqual(other.command("stat")["profiles"], 1)
        client = api.Client(other.socket)
        space = api.Space(client, descriptor())
        self.addCleanup(client.close)
        self.addCleanup(space.close)
        tensors = np.empty_like(self.source)
        self.assertEqual(space.get(keys, tensors).pages, PAGES)
        np.testing.assert_array_equal(tensors.view(np.uint16), self.source.view(np.uint16))
        os.rename(away, profile)
        third = Daemon()
        self.addCleanup(third.stop)
        apart = tempfile.mkdtemp(dir=self.daemon.folder)  # the first page, without the profile
        os.rename(f"{self.saved}/{keys[0].hex()}.page", f"{apart}/{keys[0].hex()}.page")
        self.assertEqual(third.command("put", *which, apart, self.saved)["pages"], PAGES)
        self.daemon.kill()
        shutil.rmtree(os.path.join(self.daemon.folder, "disk", "profiles"))
        self.daemon.start()
        for named, unsaved in (((), 1), (("--profile", profile), 0)):
            get = "get", *which, *map(bytes.hex, keys), "--out", tempfile.mkdtemp(dir=self.saved)
            got = self.daemon.command(*get, *named)
            self.assertEqual((got["pages"], len(got["profiles_unsaved"])), (PAGES, unsaved))

    def test_a_level_without_a_profile_says_so(self):
        client = api.Client(self.daemon.socket)
        self.addCleanup(client.close)
        with self.assertRaises(api.Error) as raised:
            api.Space(client, descriptor(), put_kl="q2")
        self.assertEqual(raised.exception.name, "not_found")
        with self.assertRaisesRegex(ValueError, "q3, q2, q1, exact"):
            client.kl(descriptor(), "q9")


if __name__ == "__main__":
    unittest.main()
