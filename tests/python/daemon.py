"""A sluiced of its own for a test, from $SLUICED."""

import os
import shutil
import socket
import subprocess
import tempfile
import time


class Daemon:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="sluice-py.")
        self.socket = os.path.join(self.folder, "s.sock")
        self._process = subprocess.Popen(
            [os.environ["SLUICED"], "--socket", self.socket, "--log-level", "error"]
        )
        until = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError("sluiced did not start")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)
