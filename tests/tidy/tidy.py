#!/usr/bin/env python3
"""House rules as a test: who may include whom, how long things are, what must not be there.

usage: tidy.py [--root FOLDER]    exits with 1 and one line a finding, each with its fix
"""

import argparse
import ast
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

import cpp_scan

# What the files of a folder may include beside their own. A value ending in .h is one header.
MAY_INCLUDE = {
    "src/base": [],
    "src/model": ["src/base"],
    "src/metrics": ["src/base"],
    "codec": ["src/base", "src/model"],
    "store": ["src/base"],
    "transport": ["src/base"],
    "src/retrieval": ["src/base", "src/model", "codec", "store", "transport"],
    "kernels": ["src/base", "src/model", "codec", "src/retrieval"],
    "src/cache": ["src/base", "src/model", "codec/page.h", "store", "transport", "src/retrieval"],
    "src/control": ["src/base", "src/model", "store/policy.h"],
    "src/client": ["src/base", "src/model", "codec", "transport", "src/retrieval", "kernels"],
    "src/daemon": [
        "src/base", "src/model", "codec", "store", "transport", "src/retrieval", "kernels",
        "src/cache", "src/control", "src/client", "src/metrics",
    ],
    "src/cli": ["src/base", "src/model", "codec", "src/client", "src/control"],
}  # fmt: skip

# Libraries that stay behind one folder's edge, and out of every header.
LIBRARIES = [
    ("liburing", re.compile(r"liburing"), ["store"]),
    ("Asio", re.compile(r"boost/asio"), ["transport", "store", "src/daemon"]),
    ("hiredis", re.compile(r"hiredis"), ["store"]),
    ("CUDA", re.compile(r"cuda|cooperative_groups|nvtx|cub/"), ["kernels"]),
    ("Prometheus", re.compile(r"prometheus/"), ["src/metrics"]),
]

SKIPPED = {".git", ".sluice", "build", "__pycache__", ".cache", "node_modules"}
CPP = {".h", ".cc", ".cu", ".cuh"}
TEXT = CPP | {".py", ".sh", ".md", ".cmake", ".txt", ".toml", ".json"}
FILE_LINES, TEST_LINES, FUNCTION_LINES = 600, 1000, 70
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
_CITATION = re.compile(r'\b([A-Z]+\.md),\s+(?:\W*)((?:"[^"]+"(?:, | and | to )?)+)')
# Put together here so that this file does not break its own rule.
_MARKS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|^[ \t]*#if " + "0", re.MULTILINE)


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.text}"


@dataclasses.dataclass
class File:
    path: str  # from the root, with slashes
    text: str

    @property
    def suffix(self):
        return pathlib.PurePath(self.path).suffix

    @property
    def is_cpp(self):
        return self.suffix in CPP

    @property
    def folder(self):
        """The layer that the file belongs to, or None (tests, bench, ...)."""
        parent = pathlib.PurePath(self.path).parent.as_posix()
        return next((f for f in MAY_INCLUDE if parent == f or parent.startswith(f + "/")), None)


def read_tree(root: pathlib.Path) -> list[File]:
    files = []
    for folder, names, entries in os.walk(root):
        names[:] = sorted(n for n in names if n not in SKIPPED and not n.endswith(".egg-info"))
        for name in sorted(entries):
            path = pathlib.Path(folder) / name
            if path.suffix in TEXT:
                text = path.read_text(encoding="utf-8", errors="replace")
                files.append(File(path.relative_to(root).as_posix(), text))
    return files


def includes(file: File):
    """(line, quote, name) of each include of a C++ file."""
    for match in _INCLUDE.finditer(file.text):
        yield cpp_scan.line_of(file.text, match.start()), match.group(1), match.group(2)


def _allowed(folder: str, name: str) -> bool:
    edges = MAY_INCLUDE[folder] + [folder]
    return any(name == edge or name.startswith(edge + "/") for edge in edges)


def check_ranks(files: list[File]):
    paths = {file.path for file in files}
    for file in filter(lambda f: f.is_cpp, files):
        for line, quote, name in includes(file):
            if quote == '"' and name not in paths:
                yield Finding(file.path, line, f'"{name}" is no path from the root; write the path')
            elif quote == '"' and file.folder and not _allowed(file.folder, name):
                edges = ", ".join(MAY_INCLUDE[file.folder]) or "nothing else"
                yield Finding(
                    file.path,
                    line,
                    f"forbidden edge {file.folder} -> {name}: {file.folder} may include {edges}; "
                    "move what both need down, or pass it in",
                )


def check_libraries(files: list[File]):
    for file in filter(lambda f: f.is_cpp, files):
        for line, _, name in includes(file):
            for library, pattern, folders in LIBRARIES:
                if not pattern.match(name):
                    continue
                where = " and ".join(folders)
                if file.suffix in {".h", ".cuh"}:
                    fix = f"{library} in a header; include it in a .cc of {where}, behind a pimpl"
                    yield Finding(file.path, line, fix)
                elif file.folder and file.folder not in folders:
                    yield Finding(file.path, line, f"{library} belongs to {where} alone")


def check_lengths(files: list[File]):
    for file in files:
        if not file.is_cpp and file.suffix != ".py":
            continue
        limit = TEST_LINES if file.path.startswith("tests/") else FILE_LINES
        lines = file.text.count("\n")
        if lines > limit:
            yield Finding(file.path, limit + 1, f"{lines} lines, at most {limit}; split it")
        for function in _functions(file):
            if function.lines > FUNCTION_LINES:
                yield Finding(
                    file.path,
                    function.first_line,
                    f"function of {function.lines} lines, at most {FUNCTION_LINES}; move a part "
                    f"out: {function.signature[:50]}",
                )


def _functions(file: File) -> list[cpp_scan.Function]:
    if file.is_cpp:
        return cpp_scan.functions(cpp_scan.code_only(file.text))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        cpp_scan.Function(node.lineno, node.end_lineno - node.lineno + 1, node.name)
        for node in ast.walk(ast.parse(file.text))
        if isinstance(node, kinds)
    ]


def check_names(files: list[File]):
    first = {}
    for file in files:
        name = pathlib.PurePath(file.path).name
        if (file.is_cpp or file.suffix == ".py") and name != "__init__.py":
            if name in first:
                yield Finding(file.path, 1, f"the name is taken by {first[name]}; rename one")
            first.setdefault(name, file.path)


def check_errors_are_provoked(files: list[File]):
    """Every enumerator of Errc is named by a test."""
    errc = next((file for file in files if file.path == "src/base/errc.h"), None)
    if errc is None:
        return
    tests = "\n".join(f.text for f in files if f.path.startswith("tests/") and f.is_cpp)
    for match in re.finditer(r"^  ([a-z_]+) = \d+,", errc.text, re.MULTILINE):
        if not re.search(rf"\bErrc::{match.group(1)}\b", tests):
            yield Finding(
                errc.path,
                cpp_scan.line_of(errc.text, match.start()),
                f"no test names Errc::{match.group(1)}; write the one that provokes it",
            )


def check_marks(files: list[File]):
    for file in files:
        for match in _MARKS.finditer(file.text):
            line = cpp_scan.line_of(file.text, match.start())
            fix = f"{match.group().strip()} is banned; do it, or open an issue"
            yield Finding(file.path, line, fix)
        tab = file.text.find("\t")
        if tab >= 0:
            yield Finding(file.path, cpp_scan.line_of(file.text, tab), "tab; use spaces")


def check_code(files: list[File]):
    for file in filter(lambda f: f.is_cpp, files):
        code = cpp_scan.code_only(file.text)
        guards = ("#pragma once", "#ifndef", "HWY_TARGET_TOGGLE")
        if file.suffix == ".h" and not any(guard in file.text for guard in guards):
            yield Finding(file.path, 1, "no #pragma once")
        for line in cpp_scan.unbraced(code):
            yield Finding(file.path, line, "statement without braces; add them")
        for line in cpp_scan.risky_awaits(code):
            yield Finding(
                file.path,
                line,
                "GCC 12 destroys temporaries of a co_await twice; name the lambda or braced "
                "value in a statement before it",
            )
        if file.folder:
            for match in re.finditer(r"\.value\(\)", code):
                line = cpp_scan.line_of(code, match.start())
                yield Finding(file.path, line, ".value() throws; use SLUICE_TRY, or * when checked")


def check_built(files: list[File]):
    """Every .cc is named by a CMake file: one that is not compiles for nobody."""
    lists = "\n".join(
        f.text for f in files if f.path.endswith("CMakeLists.txt") or f.suffix == ".cmake"
    )
    for file in filter(lambda f: f.suffix in {".cc", ".cu"}, files):
        stem = pathlib.PurePath(file.path).stem
        if not re.search(rf"\b{re.escape(stem)}\b", lists):
            yield Finding(file.path, 1, "no CMake file names it; add it to one, or delete it")


def check_citations(files: list[File]):
    """Headings that sources cite, a file's name and quoted ones behind it, are there."""
    headings: dict[str, set[str]] = {}
    for file in filter(lambda f: f.suffix == ".md", files):
        found = re.findall(r"^#+ (.+?)$", file.text, re.MULTILINE)
        headings.setdefault(pathlib.PurePath(file.path).name, set()).update(found)
    for file in files:
        for match in _CITATION.finditer(file.text):
            known = headings.get(match.group(1), set())
            for heading in re.findall(r'"([^"]+)"', match.group(2)):
                name = re.sub(r"\s*\n\W*", " ", heading)  # over two lines of a comment
                if known and name not in known:
                    yield Finding(
                        file.path,
                        cpp_scan.line_of(file.text, match.start()),
                        f'{match.group(1)} has no heading "{name}"; cite one that it has',
                    )


def check_format(files: list[File], root: pathlib.Path):
    """clang-format 14 has nothing to change; without the program the rule is passed over."""
    if not (root / ".clang-format").exists():
        return
    program = shutil.which("clang-format-14")
    if program is None:
        print("tidy: there is no clang-format-14: layout is not checked")
        return
    paths = [file.path for file in files if file.is_cpp]
    command = [program, "--dry-run", "--ferror-limit=1", *paths]
    output = subprocess.run(command, cwd=root, capture_output=True, text=True).stderr
    for match in re.finditer(r"^(\S+?):(\d+):\d+: (?:warning|error): code should", output, re.M):
        fix = f"layout; run clang-format-14 -i {match.group(1)}"
        yield Finding(match.group(1), int(match.group(2)), fix)


def check_tree(root: pathlib.Path) -> list[Finding]:
    files = read_tree(root)
    rules = [
        check_ranks, check_libraries, check_lengths, check_names, check_errors_are_provoked,
        check_marks, check_code, check_built, check_citations,
    ]  # fmt: skip
    findings = {finding for rule in rules for finding in rule(files)}
    findings.update(check_format(files, root))
    return sorted(findings)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = pathlib.Path(__file__).resolve()
    parser.add_argument("--root", type=pathlib.Path, default=here.parents[2])
    findings = check_tree(parser.parse_args().root)
    print("\n".join(map(str, findings)) or "tidy: no findings")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
