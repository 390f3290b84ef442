"""The wheel in a fresh venv: installed without an index, used as docs/python.md says, typed."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
import zipfile

from daemon import Daemon

SOURCE = os.environ["SLUICE_SOURCE"]
LIBRARY = os.environ["SLUICE_LIBRARY"]


def examples(kind: str) -> str:
    """Returns the document's code blocks of a kind, as one program."""
    with open(os.path.join(SOURCE, "docs", "python.md")) as file:
        return "\n".join(re.findall(rf"^```{kind}\n(.*?)^```$", file.read(), re.M | re.S))


def build(out: str) -> str:
    command = [sys.executable, "-B", os.path.join(SOURCE, "python", "build_wheel.py")]
    command += ["--library", LIBRARY, "--out", out]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.wheel = build(cls.folder.name)
        venv = os.path.join(cls.folder.name, "venv")
        cls.python = os.path.join(venv, "bin", "python")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        install = [cls.python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, "--no-index", cls.wheel], check=True)

    def run_python(self, program: str, **env) -> str:
        """Runs a program in the venv, where nothing of the source tree is seen."""
        done = subprocess.run(
            [self.python, "-I", "-c", program],
            env={"PATH": os.environ["PATH"], **env},
            cwd=self.folder.name,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_the_documents_examples_run(self):
        server = Daemon()
        self.addCleanup(server.stop)
        printed = self.run_python(examples("python"), SLUICE_SOCKET=server.socket)
        self.assertIn("65536 bytes of KV", printed)
        self.assertIn("/nonexistent/sluice.sock", printed)

    def test_the_library_is_the_wheels_own(self):
        program = "import sluice_kv.api as a; print(a.library()._name)"
        self.assertIn("site-packages/sluice_kv/libsluice.so", self.run_python(program))

    def test_type_checkers_see_the_annotations(self):
        program = "import importlib.resources as r; print(r.files('sluice_kv') / 'py.typed')"
        self.assertTrue(os.path.exists(self.run_python(program).strip()))

    def test_pip_finds_every_file_as_it_was_recorded(self):
        self.run_python("import subprocess, sys; subprocess.check_call([sys.executable, '-m',"
                        " 'pip', 'check'])")  # fmt: skip
        with zipfile.ZipFile(self.wheel) as wheel:
            names = set(wheel.namelist())
            recorded = wheel.read("sluice_kv-%s.dist-info/RECORD" % self.version()).decode()
        self.assertEqual({line.split(",")[0] for line in recorded.splitlines()}, names)
        package = os.path.join(SOURCE, "python", "sluice_kv")
        modules = {f"sluice_kv/{name}" for name in os.listdir(package) if name.endswith(".py")}
        self.assertLessEqual(modules, names)

    def version(self) -> str:
        program = "import importlib.metadata as m; print(m.version('sluice-kv'))"
        found = self.run_python(program).strip()
        library = "import sluice_kv.api as a; print(a.library().sluice_version().decode())"
        self.assertEqual(self.run_python(library).strip(), found)
        return found

    def test_the_same_files_give_the_same_wheel(self):
        with tempfile.TemporaryDirectory() as other, open(self.wheel, "rb") as first:
            with open(build(other), "rb") as second:
                self.assertEqual(first.read(), second.read())


if __name__ == "__main__":
    unittest.main()
