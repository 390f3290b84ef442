"""A sluiced of its own for a test: $SLUICED, and $SLUICE_COMMAND where command() is used."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time


class Daemon:
    """A sluiced in a folder of its own, with its embedded defaults; DISK is a folder in there."""

    def __init__(self, *flags: str, netns: str = ""):
        self._prefix = ["ip", "netns", "exec", netns] if netns else []
        self.folder = tempfile.mkdtemp(prefix="sluice-e2e.")
        self.socket = os.path.join(self.folder, "s.sock")
        self.log_path = os.path.join(self.folder, "log")
        self.flags = [os.path.join(self.folder, "disk") if f == "DISK" else f for f in flags]
        self.start()

    def start(self) -> None:
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, os.environ["SLUICED"], "--socket", self.socket, *self.flags],
                stderr=log,
            )
        until = time.monotonic() + 20
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"sluiced did not start: {self.log()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    @property
    def tcp(self) -> str:
        """Its first TCP address, with the port that was free."""
        return re.findall(r"event=ready .*?(tcp://[^ \"]+)", self.log())[-1]

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


class TokenDaemon(Daemon):
    """A daemon at tcp://HOST, with a token that this process has too until it ends."""

    def __init__(self, host: str, netns: str = ""):
        self._files = tempfile.TemporaryDirectory(prefix="sluice-token.")
        self.token_file = os.path.join(self._files.name, "token")
        config = os.path.join(self._files.name, "sluice.toml")
        with open(config, "w") as out:
            out.write(f'[listen]\n{self.token_line()}addresses = ["tcp://{host}:0"]\n')
            if netns:  # other machines could reach it
                out.write("insecure = true\n")
        os.environ["SLUICE_TOKEN_FILE"] = self.token_file
        super().__init__("--config", config, netns=netns)

    def token_line(self) -> str:
        """What `sluice token` prints; it makes the file at first."""
        command = [os.environ["SLUICE_COMMAND"], "token", self.token_file]
        return subprocess.check_output(command, text=True)

    def stop(self) -> int:
        os.environ.pop("SLUICE_TOKEN_FILE", None)
        self._files.cleanup()
        return super().stop()
