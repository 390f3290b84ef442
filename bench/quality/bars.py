"""The bars of quality per bit, and which rows of a result reach them.

A bar is a line through points of a model: bits an element at a mean KL, straight in log KL, its ends
prolonged. A lossy row of Sluice reaches it where it lies on or under the line, or no more than an
allowance above.
"""

import dataclasses
import math
from collections.abc import Callable

Point = tuple[float, float]  # bits an element, mean KL in nats

# Dense transforms at 256-token pages, all overhead counted.
BARS: dict[str, list[Point]] = {
    "SmolLM2": [(1.70, 0.026), (2.62, 0.0055), (2.95, 0.003), (4.4, 0.0003)],
    "Qwen2.5-Coder-0.5B": [(1.75, 0.0105), (3.0, 0.0013), (4.5, 0.00015)],
    "Gemma3-270M": [(1.6, 0.056), (2.62, 0.011), (4.0, 0.0015)],
}
SHORT_PAGE_TOKENS, SHORT_ALLOWED = 64, 1.04  # times the line
# For profiles whose name says givens, times the line through one that says dense, where a result has
# both; times that of the points where it has not.
GIVENS_ALLOWED = 1.12
# A profile whose name says NAME-single has one level, which is coded at once: times its bits, NAME's
# levels, which are coded as what each adds to the one before, on their line at its KL.
SINGLE = "-single"
EMBEDDED_ALLOWED = 1.03
EXACT_MAX = {"exact on q3": 9.7, "exact on q1": 10.3}  # bits an element


@dataclasses.dataclass(frozen=True)
class Verdict:
    codec: str
    level: str
    page_tokens: int
    bpe: float
    kl: float
    bar: float  # bits an element, allowance included

    @property
    def reached(self) -> bool:
        return self.bpe <= self.bar


def points_of(model: str) -> list[Point] | None:
    """Returns the points of the model whose name is part of this one, in whatever spelling."""
    plain = _letters(model)
    return next((points for name, points in BARS.items() if _letters(name) in plain), None)


def bits_at(points: list[Point], kl: float) -> float:
    """Returns the bits an element of the line through two points or more at a mean KL above 0."""
    line = sorted((math.log(at), bits) for bits, at in points)
    x = math.log(kl)
    right = next((i for i in range(1, len(line) - 1) if x <= line[i][0]), len(line) - 1)
    (x0, y0), (x1, y1) = line[right - 1], line[right]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def verdicts(rows: list[dict], points: list[Point]) -> list[Verdict]:
    """Judges the rows of Sluice on one text: lossy ones, and exact ones behind a profile's rows."""
    out = []
    for row in filter(is_ours, rows):
        if SINGLE in row["codec"]:
            out += _embedded(row, rows)
            continue
        if row["kl_mean"] > 0:
            bar = _lossy_bar(row, rows, points)
        elif row["level"] in EXACT_MAX:
            bar = EXACT_MAX[row["level"]]
        else:
            continue  # `direct` has bars of its own (bench/check_bars.py)
        found = (row[name] for name in ("codec", "level", "page_tokens", "bpe", "kl_mean"))
        out.append(Verdict(*found, bar))
    return out


def is_ours(row: dict) -> bool:
    return row["codec"].startswith("sluice ")


def _lossy_bar(row: dict, rows: list[dict], points: list[Point]) -> float:
    if "givens" in row["codec"]:
        dense = _line(rows, row["page_tokens"], lambda codec: "dense" in codec and SINGLE not in codec)
        if len(dense) > 1:
            return GIVENS_ALLOWED * bits_at(dense, row["kl_mean"])
    allowed = SHORT_ALLOWED if row["page_tokens"] <= SHORT_PAGE_TOKENS else 1.0
    allowed *= GIVENS_ALLOWED if "givens" in row["codec"] else 1.0
    return allowed * bits_at(points, row["kl_mean"])


def _embedded(row: dict, rows: list[dict]) -> list[Verdict]:
    """Judges a profile's levels by one that has the row's alone; nothing where there are none."""
    name = row["codec"].split(SINGLE)[0]
    line = _line(rows, row["page_tokens"], lambda codec: codec == name)
    if len(line) < 2 or row["kl_mean"] == 0:
        return []
    bpe, bar = bits_at(line, row["kl_mean"]), EMBEDDED_ALLOWED * row["bpe"]
    return [Verdict(name, f"against {row['codec']}", row["page_tokens"], bpe, row["kl_mean"], bar)]


def _line(rows: list[dict], page_tokens: int, is_part: Callable[[str], bool]) -> list[Point]:
    """Returns the lossy levels of codecs whose name is_part, in the same pages."""
    return [
        (row["bpe"], row["kl_mean"])
        for row in filter(is_ours, rows)
        if is_part(row["codec"]) and row["kl_mean"] > 0 and row["page_tokens"] == page_tokens
    ]


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
