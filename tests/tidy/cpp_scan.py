"""Reads C++ as far as the house rules need: text without comments and literals, and blocks.

Not a parser: it relies on code that clang-format has laid out and on balanced braces.
"""

import dataclasses
import re

_LITERALS = re.compile(
    r"""
    (?P<raw>R"(?P<mark>[^()\s\\]{0,16})\(.*?\)(?P=mark)")
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<char>(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+')
  | (?P<line>//[^\n]*)
  | (?P<block>/\*.*?\*/)
    """,
    re.VERBOSE | re.DOTALL,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\\n|\\.)*", re.MULTILINE)
_SPECIFIER = re.compile(r"(\s*(public|private|protected):)*\s*")
_CONTAINER = re.compile(r"\b(namespace|class|struct|enum|union|extern)\b")


@dataclasses.dataclass
class Function:
    first_line: int
    lines: int
    signature: str


def _blank(match: re.Match) -> str:
    return re.sub(r"[^\n]", " ", match.group())


def code_only(text: str) -> str:
    """The text with comments, literals and preprocessor lines blanked, line numbers kept."""

    def literal(match):
        if match.group("string") or match.group("char"):
            return '"' + " " * (len(match.group()) - 2) + '"'
        return _blank(match)

    return _DIRECTIVE.sub(_blank, _LITERALS.sub(literal, text))


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def _is_container(head: str) -> bool:
    """Whether a block that `head` opens holds declarations: namespace, class, extern "C"."""
    head = re.sub(r"template\s*<.*?>\s*(?=\b(class|struct)\b)", "", head, flags=re.DOTALL)
    match = _CONTAINER.search(head)
    # `struct stat info {` and `enum Kind kind() {` are no containers: those have a name and ( or =.
    return bool(match) and "(" not in head[match.start() :] and "=" not in head


def functions(code: str) -> list[Function]:
    """The functions of code_only text: outermost blocks inside namespaces and classes."""
    found, depth_inside, start, opened, is_data = [], 0, 0, 0, False
    stack = []  # True for a container
    for match in re.finditer(r"[{};]", code):
        mark = match.group()
        if mark == "{":
            head = code[start : match.start()]
            if depth_inside == 0 and _is_container(head):
                stack.append(True)
            else:
                if depth_inside == 0:
                    is_data = head.rstrip().endswith(("=", "("))  # a table is as long as it is
                    opened = start + _SPECIFIER.match(head).end()
                stack.append(False)
                depth_inside += 1
        elif mark == "}" and stack:
            if not stack.pop():
                depth_inside -= 1
                if depth_inside == 0 and not is_data:
                    first, last = line_of(code, opened), line_of(code, match.start())
                    signature = " ".join(code[opened : opened + 80].split())
                    found.append(Function(first, last - first + 1, signature))
        if depth_inside == 0:
            start = match.end()
    return found


def _after_condition(code: str, start: int) -> int:
    """The offset behind the parentheses that open at or after `start`."""
    depth = 0
    for match in re.compile(r"[()]").finditer(code, start):
        depth += 1 if match.group() == "(" else -1
        if depth == 0:
            return match.end()
    return len(code)


def unbraced(code: str) -> list[int]:
    """Lines of if, for, while and else whose statement has no braces."""
    lines = []
    for match in re.finditer(r"\b(if|for|while|else)\b( constexpr)?", code):
        end = match.end()
        if match.group(1) != "else":
            end = _after_condition(code, end)
        rest = code[end:].lstrip()
        allowed = ("{",)
        if match.group(1) == "else":
            allowed = ("{", "if")
        elif match.group(1) == "while" and code[: match.start()].rstrip().endswith("}"):
            allowed = ("{", ";")  # the end of do
        if not rest.startswith(allowed):
            lines.append(line_of(code, match.start()))
    return lines


def risky_awaits(code: str) -> list[int]:
    """Lines where a co_await's own expression makes a lambda or a braced temporary."""
    lines = []
    for match in re.finditer(r"\bco_await\b", code):
        depth = 0
        for mark in re.compile(r"[()\[{;]").finditer(code, match.end()):
            depth += {"(": 1, ")": -1}.get(mark.group(), 0)
            if mark.group() == ";" or depth < 0:
                break
            if mark.group() == "{" or (mark.group() == "[" and _opens_lambda(code, mark.start())):
                lines.append(line_of(code, match.start()))
                break
    return lines


def _opens_lambda(code: str, offset: int) -> bool:
    before = code[:offset].rstrip()
    return not re.search(r"[\w\])]$", before) or before.endswith(("co_await", "return"))
