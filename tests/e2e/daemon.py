"""A sluiced of its own for a test: $SLUICED, and $SLUICE_COMMAND where command() is used."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time


class Daemon:
    """A sluiced in a folder of its own, with its embedded defaults; DISK is a folder in there."""

    def __init__(self, *flags: str):
        self.folder = tempfile.mkdtemp(prefix="sluice-e2e.")
        self.socket = os.path.join(self.folder, "s.sock")
        self.log_path = os.path.join(self.folder, "log")
        self.flags = [os.path.join(self.folder, "disk") if f == "DISK" else f for f in flags]
        self.start()

    def start(self) -> None:
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.environ["SLUICED"], "--socket", self.socket, *self.flags], stderr=log
            )
        until = time.monotonic() + 20
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"sluiced did not start: {self.log()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    def kill(self, what: int = signal.SIGKILL) -> None:
        os.kill(self.process.pid, what)
        if what == signal.SIGKILL:
            self.process.wait()

    def log(self) -> str:
        with open(self.log_path) as log:
            return log.read()

    def command(self, *arguments: str) -> dict | list:
        """Returns what `sluice --json` prints."""
        done = subprocess.run(
            [os.environ["SLUICE_COMMAND"], "--json", *arguments, "--socket", self.socket],
            capture_output=True,
            text=True,
        )
        if not done.stdout:
            raise RuntimeError(f"sluice {arguments}: {done.stderr}")
        return json.loads(done.stdout)

    def stop(self) -> int:
        """Ends the daemon as an operator would; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
