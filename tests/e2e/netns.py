"""Two network namespaces joined by a veth pair, for tests and benches of TCP. Needs root."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import unittest

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def require() -> None:
    """Skips the test where namespaces cannot be made."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"):
        raise unittest.SkipTest("network namespaces need root and iproute2 (ip, tc)")


class Link:
    """Namespaces `a` and `b`, each with one address on its end of the link."""

    def __init__(self):
        mark = f"slc{os.getpid()}"
        self.a, self.b = f"{mark}a", f"{mark}b"
        self.address = {self.a: "10.231.7.1", self.b: "10.231.7.2"}
        for name in (self.a, self.b):
            _run("ip", "netns", "add", name)
        ends = ("veth", "netns", self.a, "type", "veth", "peer", "name", "veth", "netns", self.b)
        _run("ip", "link", "add", *ends)
        for name in (self.a, self.b):
            _run("ip", "-n", name, "address", "add", f"{self.address[name]}/24", "dev", "veth")
            _run("ip", "-n", name, "link", "set", "lo", "up")
            _run("ip", "-n", name, "link", "set", "veth", "up")

    def set_rate(self, sender: str, bytes_per_s: float) -> None:
        """Bounds what a namespace sends."""
        rate = f"{int(bytes_per_s * 8)}bit"
        shape = ("root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms")
        _run("tc", "-n", sender, "qdisc", "replace", "dev", "veth", *shape)

    def cut(self, name: str) -> None:
        """Takes an end of the link down: what is on its way is lost, and nobody is told."""
        _run("ip", "-n", name, "link", "set", "veth", "down")

    @contextlib.contextmanager
    def inside(self, name: str):
        """Sockets that this thread makes meanwhile are in the namespace."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def close(self) -> None:
        for name in (self.a, self.b):
            _run("ip", "netns", "delete", name)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
