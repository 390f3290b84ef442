"""The command line against a real daemon with an engine's pages: copies, damage, answers, codes."""

import glob
import json
import os
import pty
import random
import signal
import subprocess
import tempfile
import unittest

import harness
import identity
from sluice_kv import api
from sluice_kv.llama import PAGE_TOKENS

TOKENS = 5 * PAGE_TOKENS + 7
PAGES = TOKENS // PAGE_TOKENS
GOOD, NEGATIVE, USAGE, UNREACHABLE, FAILED = range(5)
ANSWER_KEYS = {
    "ping": {"daemon", "client", "round_trip_us"},
    "lookup": {"tokens", "tokens_there", "miss_reason"},
    "explain-miss": {"tokens", "tokens_there", "hit", "groups"},
    "verify": {"whole", "damaged", "unreadable"},
    "get": {"folder", "pages", "bytes", "missing", "damaged", "profiles_unsaved"},
    "put": {"pages", "kept", "bytes", "refused", "unreadable"},
    "rm": {"named", "pages", "dry_run"},
    "doctor": {"good", "version", "checks"},
}
GROUP_KEYS = {
    "group", "attention", "window", "layers", "pages", "pages_there", "first_missing",
    "miss_reason",
}  # fmt: skip
PAGE_KEYS = {
    "key", "encoding", "first_position", "tokens", "layers", "layers_per_section",
    "provenance_kl", "bytes", "bits_per_element", "sections", "rows", "planes",
}  # fmt: skip
CHECK_KEYS = {"name", "status", "found", "expected", "what_to_do"}


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [os.environ["SLUICE_COMMAND"], *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def contents(folder: str) -> dict[str, bytes]:
    out = {}
    for path in glob.glob(os.path.join(folder, "*")):
        with open(path, "rb") as file:
            out[os.path.basename(path)] = file.read()
    return out


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon()
        engine = harness.Engine()
        cls.document = engine.document(TOKENS)
        engine.fill(cls.document)
        cache = engine.connect(cls.daemon.socket)
        stored = cache.store(cls.document)
        assert stored is not None, cache.last_error
        cls.keys = [key.hex() for key in cache.keys(cls.document)]
        cache.close()
        engine.close()
        cls.tokens = os.path.join(cls.daemon.folder, "tokens")
        with open(cls.tokens, "w") as file:
            json.dump(cls.document, file)
        cls.sequence = ["--model", harness.MODEL, "--tokens", cls.tokens]

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()

    def setUp(self):
        self.assertIsNone(self.daemon.process.poll(), f"sluiced ended: {self.daemon.log()}")
        folder = tempfile.TemporaryDirectory(prefix="sluice-cli.")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def sluice(self, code: int, *arguments: str) -> dict | list:
        """Runs a command with --json; returns its document."""
        done = run("--json", *arguments, "--socket", self.daemon.socket)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def saved(self, name: str = "pages") -> str:
        """A folder with all pages of the sequence."""
        out = os.path.join(self.folder, name)
        answer = self.sluice(GOOD, "get", *self.sequence, "--out", out)
        self.assertEqual((answer["pages"], answer["missing"]), (PAGES, 0))
        self.assertEqual(answer["damaged"], [])
        return out

    def test_pages_that_were_saved_removed_and_put_back_are_the_same_files(self):
        first = self.saved()
        files = contents(first)
        pages = {name for name in files if name.endswith(".page")}
        self.assertEqual(pages, {f"{key}.page" for key in self.keys})
        self.assertEqual(self.sluice(GOOD, "verify", first)["whole"], PAGES)
        dry = self.sluice(GOOD, "rm", *self.sequence, "--dry-run")
        self.assertEqual((dry["pages"], dry["dry_run"]), (PAGES, True))
        self.assertEqual(self.sluice(GOOD, "rm", *self.sequence)["pages"], PAGES)
        self.assertEqual(self.sluice(NEGATIVE, "rm", *self.sequence)["pages"], 0)
        self.assertEqual(self.sluice(NEGATIVE, "lookup", *self.sequence)["tokens_there"], 0)
        self.sluice(NEGATIVE, "get", *self.sequence, "--out", os.path.join(self.folder, "none"))
        put = self.sluice(GOOD, "put", *self.sequence, first)
        self.assertEqual((put["pages"], put["kept"], put["refused"]), (PAGES, 0, []))
        self.assertEqual(put["bytes"], sum(len(files[name]) for name in pages))
        again = self.sluice(GOOD, "put", *self.sequence, first)
        self.assertEqual((again["pages"], again["kept"], again["bytes"]), (0, PAGES, 0))
        self.assertEqual(contents(self.saved("again")), files)
        self.assertEqual(oct(os.stat(os.path.join(first, pages.pop())).st_mode & 0o777), "0o600")

    def test_a_descriptor_that_get_saved_stands_for_the_model(self):
        first = self.saved()
        (descriptor,) = glob.glob(os.path.join(first, "*.descriptor"))
        space = ["--descriptor", descriptor]
        out = os.path.join(self.folder, "two")
        answer = self.sluice(GOOD, "get", *space, self.keys[1], self.keys[3], "--out", out)
        self.assertEqual(answer["pages"], 2)
        self.assertEqual(self.sluice(GOOD, "rm", *space, self.keys[3])["pages"], 1)
        missing = self.sluice(NEGATIVE, "get", *space, *self.keys[2:4], "--out", out)
        self.assertEqual((missing["pages"], missing["missing"]), (1, 1))
        page = os.path.join(first, f"{self.keys[3]}.page")
        put = self.sluice(GOOD, "put", *space, "--anchor", self.keys[2], page)
        self.assertEqual(put["pages"], 1)
        verified = self.sluice(GOOD, "verify", *space, "--tokens", self.tokens)
        self.assertEqual(verified, {"whole": PAGES, "damaged": [], "unreadable": []})

    def test_a_flipped_byte_is_refused_with_section_and_offset_and_the_rest_goes_on(self):
        first = self.saved()
        page = os.path.join(first, f"{self.keys[2]}.page")
        with open(page, "r+b") as file:
            file.seek(-100, os.SEEK_END)
            byte = file.read(1)[0]
            file.seek(-100, os.SEEK_END)
            file.write(bytes([byte ^ 0x10]))
        answer = self.sluice(NEGATIVE, "put", *self.sequence, first)
        self.assertEqual(answer["pages"] + answer["kept"], PAGES - 1)
        (refused,) = answer["refused"]
        self.assertEqual(refused["page"], page)
        self.assertRegex(refused["error"], r"section \d+ at offset \d+")
        self.assertEqual(len(self.sluice(NEGATIVE, "verify", first)["damaged"]), 1)
        self.assertEqual(self.sluice(GOOD, "verify", *self.sequence)["whole"], PAGES)

    def test_names_that_cannot_be_read_are_told_and_the_rest_goes_on(self):
        first = self.saved()
        self.sluice(GOOD, "rm", *self.sequence)
        os.mkfifo(os.path.join(first, "a pipe.page"))
        os.symlink("nowhere", os.path.join(first, "loose.page"))
        empty = os.path.join(self.folder, "empty")
        os.mkdir(empty)
        for command in (["put", *self.sequence], ["verify"]):
            with self.subTest(command[0]):
                answer = self.sluice(FAILED, *command, empty, first)
                self.assertEqual(answer.get("pages", answer.get("whole")), PAGES)
                self.assertEqual(
                    [os.path.basename(one["page"]) for one in answer["unreadable"]],
                    ["empty", "a pipe.page", "loose.page"],
                )
        pages = self.sluice(FAILED, "inspect", first)
        self.assertEqual(len([page for page in pages if "key" in page]), PAGES)
        self.assertEqual(len([page for page in pages if "error" in page]), 2)

    def test_a_short_sequence_and_a_space_without_pages_are_wrong_usage(self):
        (descriptor,) = glob.glob(os.path.join(self.saved(), "*.descriptor"))
        here = ["--socket", self.daemon.socket]
        short = os.path.join(self.folder, "short")
        with open(short, "w") as file:
            json.dump(self.document[:5], file)
        for command in ("verify", "inspect", "rm"):
            for arguments, text in [
                (["--descriptor", descriptor], "name pages of it too"),
                (["--model", harness.MODEL, "--tokens", short], "no full page of 64 tokens"),
            ]:
                with self.subTest((command, text)):
                    done = run(command, *arguments, *here)
                    self.assertEqual(done.returncode, USAGE, done.stderr)
                    self.assertIn(text, done.stderr)

    def test_a_page_of_another_sequence_is_refused(self):
        first = self.saved()
        other = os.path.join(self.folder, "other")
        with open(other, "w") as file:
            json.dump(self.document[1:], file)
        answer = self.sluice(
            NEGATIVE, "put", "--model", harness.MODEL, "--tokens", other,
            os.path.join(first, f"{self.keys[0]}.page"),
        )  # fmt: skip
        self.assertIn("none of this sequence", answer["refused"][0]["error"])

    def test_explain_miss_names_the_field_that_differs(self):
        hit = self.sluice(GOOD, "explain-miss", *self.sequence)
        self.assertEqual((hit["hit"], hit["tokens_there"]), (True, PAGES * PAGE_TOKENS))
        (group,) = hit["groups"]
        self.assertEqual((group["pages_there"], group["first_missing"]), (PAGES, PAGES))
        miss = self.sluice(NEGATIVE, "explain-miss", *self.sequence, "--kv-type", "f32")
        self.assertFalse(miss["hit"])
        self.assertIn("kv_dtype", miss["groups"][0]["miss_reason"])
        text = run("explain-miss", *self.sequence, "--salt", "aa", "--socket", self.daemon.socket)
        self.assertEqual(text.returncode, NEGATIVE)
        self.assertIn("user_salt", text.stdout)

    def test_every_document_has_its_keys(self):
        first = self.saved()
        arguments = {
            "lookup": self.sequence,
            "explain-miss": self.sequence,
            "verify": self.sequence,
            "get": [*self.sequence, "--out", first],
            "put": [*self.sequence, first],
            "rm": [*self.sequence, "--dry-run"],
            "doctor": ["--disk", self.folder],
        }
        for name, keys in ANSWER_KEYS.items():
            with self.subTest(name):
                answer = self.sluice(GOOD, name, *arguments.get(name, []))
                self.assertEqual(set(answer), keys)
                for group in answer.get("groups", []):
                    self.assertEqual(set(group), GROUP_KEYS)
                for check in answer.get("checks", []):
                    self.assertEqual(set(check), CHECK_KEYS)
        for page in self.sluice(GOOD, "inspect", *self.sequence):
            self.assertEqual(set(page), PAGE_KEYS)
        self.assertIn("ram_capacity_bytes", self.sluice(GOOD, "stat"))

    def test_exit_codes_say_what_happened(self):
        nowhere = ["--socket", os.path.join(self.folder, "none.sock")]
        here = ["--socket", self.daemon.socket]
        for code, error, arguments in [
            (USAGE, "invalid_argument", ["get", *self.sequence, *here]),
            (USAGE, "invalid_argument", ["lookup", "--kv-type", "q4", *here]),
            (USAGE, "invalid_argument", ["lookup", *here]),
            (USAGE, "invalid_argument", ["rm", "abc", *here]),
            (UNREACHABLE, "connection_lost", ["ping", *nowhere]),
            (UNREACHABLE, "connection_lost", ["get", *self.sequence, "--out", "x", *nowhere]),
            (FAILED, "io_error", ["lookup", "--model", "/none", "--tokens", self.tokens, *here]),
        ]:
            with self.subTest(arguments):
                done = run("--json", *arguments)
                self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
                document = json.loads(done.stderr)
                self.assertEqual(set(document), {"error", "text", "exit"})
                self.assertEqual((document["error"], document["exit"]), (error, code))

    def test_a_daemon_that_hangs_is_left_at_the_deadline(self):
        self.daemon.process.send_signal(signal.SIGSTOP)
        try:
            done = run("ping", "--deadline-ms", "300", "--socket", self.daemon.socket)
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)
        self.assertEqual(done.returncode, UNREACHABLE, done.stderr)

    def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(self):
        work = ["verify"] + 80 * glob.glob(os.path.join(self.saved(), "*.page"))
        plain = run(*work)
        self.assertEqual((plain.returncode, plain.stderr), (GOOD, ""))
        for flags, drawn in (([], True), (["--quiet"], False), (["--json"], False)):
            with self.subTest(flags):
                seen = self.on_terminal([*flags, *work])
                self.assertEqual(b"verify [" in seen, drawn, seen)
                self.assertEqual(b"/s " in seen and b" left" in seen, drawn, seen)

    def on_terminal(self, arguments: list[str]) -> bytes:
        """What a command writes to a terminal that is its standard error."""
        terminal, end = pty.openpty()
        command = [os.environ["SLUICE_COMMAND"], *arguments]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=end) as process:
            os.close(end)
            seen = b""
            try:  # read as it writes: a terminal that is full would hold it up
                while part := os.read(terminal, 1 << 16):
                    seen += part
            except OSError:  # nobody has the other end any more
                pass
            os.close(terminal)
        self.assertEqual(process.returncode, GOOD)
        return seen


class PutDurable(unittest.TestCase):
    def test_pages_put_back_durably_outlive_a_killed_daemon(self):
        for ram in ("64MiB", "16MiB"):
            with self.subTest(ram):
                self.put_back("--ram", ram, "--disk", "DISK", "--disk-capacity", "64MiB")

    def put_back(self, *arguments: str):
        daemon = harness.Daemon(*arguments)
        self.addCleanup(daemon.stop)
        tokens = list(range(12 * 64))
        paths = [os.path.join(daemon.folder, name) for name in ("descriptor", "tokens")]
        with open(paths[0], "wb") as file:
            file.write(identity.small_descriptor())
        with open(paths[1], "w") as file:
            json.dump(tokens, file)
        space = ["--descriptor", paths[0], "--tokens", paths[1]]
        with api.Client(daemon.socket) as client:
            opened = api.Space(client, identity.small_descriptor())
            opened.put(opened.keys(tokens), bytearray(random.randbytes(12 * opened.page_bytes)))
        pages = os.path.join(daemon.folder, "pages")
        daemon.command("get", *space, "--out", pages)
        daemon.command("rm", *space)
        self.assertEqual(daemon.command("put", *space, "--durable", pages)["pages"], 12)
        daemon.process.kill()
        daemon.process.wait()
        daemon.start()
        self.assertEqual(daemon.command("verify", *space)["whole"], 12)

    def test_a_daemon_without_a_disk_says_so(self):
        daemon = harness.Daemon()
        self.addCleanup(daemon.stop)
        descriptor = os.path.join(daemon.folder, "descriptor")
        with open(descriptor, "wb") as file:
            file.write(identity.small_descriptor())
        tokens = list(range(64))
        with api.Client(daemon.socket) as client:
            opened = api.Space(client, identity.small_descriptor())
            opened.put(opened.keys(tokens), bytearray(random.randbytes(opened.page_bytes)))
            key = opened.keys(tokens)[0].hex()
        pages = os.path.join(daemon.folder, "pages")
        space = ["--descriptor", descriptor]
        daemon.command("get", *space, key, "--out", pages)
        done = run("put", *space, "--durable", pages, "--socket", daemon.socket)
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn(f"{key}.page", done.stderr)
        self.assertIn("disk", done.stderr)


class DamageOnDisk(unittest.TestCase):
    def test_verify_tells_that_the_daemon_found_it(self):
        daemon = harness.Daemon("--disk", "DISK", "--disk-capacity", "64MiB")
        self.addCleanup(daemon.stop)
        tokens = list(range(3 * 64))
        paths = [os.path.join(daemon.folder, name) for name in ("descriptor", "tokens")]
        with open(paths[0], "wb") as file:
            file.write(identity.small_descriptor())
        with open(paths[1], "w") as file:
            json.dump(tokens, file)
        space = ["--descriptor", paths[0], "--tokens", paths[1]]
        with api.Client(daemon.socket) as client:
            opened = api.Space(client, identity.small_descriptor())
            keys = opened.keys(tokens)
            opened.put(keys, bytearray(random.randbytes(3 * opened.page_bytes)), durable=True)
        pages = os.path.join(daemon.folder, "pages")
        self.assertEqual(daemon.command("get", *space, "--out", pages)["pages"], 3)
        with open(os.path.join(pages, f"{keys[1].hex()}.page"), "rb") as file:
            middle = file.read()[8000:8100]
        daemon.process.terminate()  # which leaves a footer: the next start reads no page
        self.assertEqual(daemon.process.wait(30), 0)
        (segment,) = glob.glob(os.path.join(daemon.folder, "disk", "*.seg"))
        with open(segment, "r+b") as file:
            file.seek(file.read().index(middle))
            file.write(bytes([middle[0] ^ 0x10]))
        daemon.start()
        answer = daemon.command("verify", *space)
        (damaged,) = answer["damaged"]
        self.assertEqual((answer["whole"], damaged["page"]), (2, keys[1].hex()))
        self.assertIn("the daemon found it damaged", damaged["error"])


class Doctor(unittest.TestCase):
    """The daemon's own tests are above; this one looks at a machine without a daemon."""

    def doctor(self, *arguments: str) -> tuple[int, dict]:
        done = run("--json", "doctor", *arguments)
        answer = json.loads(done.stdout)
        return done.returncode, {check["name"]: check for check in answer["checks"]}

    def test_it_says_to_start_the_daemon_that_is_not_there(self):
        with tempfile.TemporaryDirectory() as folder:
            code, checks = self.doctor("--socket", os.path.join(folder, "s.sock"))
            self.assertEqual(code, NEGATIVE)
            self.assertEqual(checks["socket"]["status"], "fail")
            self.assertIn("Start sluiced", checks["socket"]["what_to_do"])
            for check in checks.values():
                self.assertEqual(check["status"] == "ok", check["what_to_do"] == "", check)
            for name in ("kernel", "cpu", "memory", "open_files", "clock"):
                self.assertIn(name, checks)

    def test_it_tries_direct_io_in_the_folder_and_leaves_nothing_there(self):
        with tempfile.TemporaryDirectory() as folder:
            _, checks = self.doctor("--disk", folder)
            self.assertIn(checks["disk_direct_io"]["status"], ("ok", "warn"))
            self.assertEqual(checks["disk_folder"]["status"], "ok")
            self.assertEqual(os.listdir(folder), [])
            code, checks = self.doctor("--disk", os.path.join(folder, "none"))
            self.assertEqual((code, checks["disk_folder"]["status"]), (NEGATIVE, "fail"))
            self.assertIn("mkdir", checks["disk_folder"]["what_to_do"])

    def test_a_socket_that_others_may_use_is_a_warning(self):
        daemon = harness.Daemon()
        self.addCleanup(daemon.stop)
        code, checks = self.doctor("--socket", daemon.socket)
        self.assertEqual((code, checks["daemon"]["status"]), (GOOD, "ok"), checks)
        self.assertEqual(checks["socket_rights"]["status"], "ok")
        os.chmod(daemon.socket, 0o666)
        code, checks = self.doctor("--socket", daemon.socket)
        self.assertEqual((code, checks["socket_rights"]["status"]), (GOOD, "warn"))


if __name__ == "__main__":
    unittest.main()
