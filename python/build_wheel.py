#!/usr/bin/env python3
"""Builds the wheel: the package and libsluice.so in it. Needs nothing but Python.

    python/build_wheel.py --library build/release/src/client/libsluice.so --out FOLDER

One wheel for every Python (py3-none), since the library is called by ctypes. The same input gives
the same bytes. The library's own libraries (libcrypto, libfmt, libhwy, libxxhash) come from the system, so
the platform tag is plain linux.
"""

import argparse
import base64
import hashlib
import os
import platform
import re
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = "sluice_kv"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows


def version() -> str:
    with open(os.path.join(HERE, "..", "CMakeLists.txt")) as file:
        return re.search(r"project\(sluice VERSION ([\d.]+)", file.read()).group(1)


def contents(library: str) -> dict[str, bytes]:
    """Returns the package's files by their names in the wheel."""
    folder = os.path.join(HERE, PACKAGE)
    paths = {f"{PACKAGE}/libsluice.so": library}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py") or name == "py.typed":
            paths[f"{PACKAGE}/{name}"] = os.path.join(folder, name)
    files = {}
    for name, path in paths.items():
        with open(path, "rb") as file:
            files[name] = file.read()
    return files


def metadata(tag: str) -> dict[str, bytes]:
    about = f"Metadata-Version: 2.1\nName: {PACKAGE.replace('_', '-')}\nVersion: {version()}\n"
    about += "Summary: KV-cache pages stored and restored through sluiced\nRequires-Python: >=3.11\n"
    kind = f"Wheel-Version: 1.0\nGenerator: sluice\nRoot-Is-Purelib: false\nTag: {tag}\n"
    return {"METADATA": about.encode(), "WHEEL": kind.encode()}


def record(files: dict[str, bytes], name: str) -> bytes:
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{name},,\n"]).encode()


def build(library: str, out: str) -> str:
    """Returns the path of the wheel."""
    tag = f"py3-none-linux_{platform.machine()}"
    info = f"{PACKAGE}-{version()}.dist-info"
    files = contents(library)
    files.update({f"{info}/{name}": content for name, content in metadata(tag).items()})
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD")
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, f"{PACKAGE}-{version()}-{tag}.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            wheel.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Builds the Python wheel.")
    parser.add_argument("--library", required=True)
    parser.add_argument("--out", required=True)
    print(build(**vars(parser.parse_args())))
