#!/usr/bin/env python3
"""The tables of the `progressive` encoding (FORMAT.md, "Scales" to "Residuals"), from their definition.

A component is modelled as a normal variable of mean 0 whose deviation, in steps, is 0.08 x 1.2^scale.
The encoder quantises with a dead zone: |x| becomes floor(|x| + 0.42) at level q1, and coarser levels
follow by thirds, so that the rounding of q2 is 0.4733 and that of q3 0.4911. Symbols are the quantised
values without their low bits, which wide scales split off; narrow scales have 8 symbols, others 32, the
last an escape. One set of tables serves every level: a set for each saves 0.3 % of q3's bits. Offsets
are how far below |q| the mean of what became q lies.

A refinement is what three times the coarser value lacks, its sign turned towards that value's; its
tables are for a rounding between those of q2 and q1, which costs less than 0.3 %. A residual is a
normal variable of deviation 0.15 x 2^(scale / 2), rounded. Nothing is fitted to any model's data.

  progressive_tables.py cc         prints progressive_rom.cc
  progressive_tables.py markdown   prints the table rows of FORMAT.md
  progressive_tables.py check      exits 1 if progressive_rom.cc is not what `cc` prints
"""
import math
from statistics import NormalDist

from direct_tables import in_4096ths, main

SCALES = 32
NARROWEST = 0.08  # deviation of scale 0, in steps
RATIO = 1.2
ROUNDING = 27525 / 65536  # 0.42, at q1
LEVELS = 3
REFINEMENT_ROUNDING = (ROUNDING + (ROUNDING + 1) / 3) / 2  # of the finer level: between q1's and q2's
NARROWEST_RESIDUAL = 0.15  # deviation of residual scale 0, in units of the last place
EIGHT_SYMBOLS_BELOW = 1.0  # deviations
LOW_BITS_ABOVE = 3.5
NORMAL = NormalDist()


def deviation(scale):
    return NARROWEST * RATIO**scale


def residual_deviation(scale):
    return NARROWEST_RESIDUAL * 2 ** (scale / 2)


def rounding(level):
    return ROUNDING if level == 1 else (rounding(level - 1) + 1) / 3


def low_bits(sigma):
    return max(0, math.ceil(math.log2(sigma / LOW_BITS_ABOVE)))


def largest(sigma):
    """The largest symbol: the alphabet is -largest to largest, and an escape."""
    return 3 if sigma < EIGHT_SYMBOLS_BELOW else 15


def interval(n, up):
    """The magnitudes, in steps, that become n > 0 by floor(|x| + up)."""
    return n - up, n + 1 - up


def mass(sigma, n, up):
    """Probability that a normal variable becomes n."""
    below, above = interval(abs(n), up) if n else (up - 1, 1 - up)
    return NORMAL.cdf(above / sigma) - NORMAL.cdf(below / sigma)


def frequencies(sigma, up):
    """Of the symbols, ascending, then of the escape."""
    split = 1 << low_bits(sigma)
    symbols = [
        math.fsum(mass(sigma, symbol * split + low, up) for low in range(split))
        for symbol in range(-largest(sigma), largest(sigma) + 1)
    ]
    return in_4096ths(symbols + [max(0.0, 1 - math.fsum(symbols))])


def refinement(scale, size):
    """Frequencies of -1, 0 and 1 where the coarser value has this size, 3 standing for more too."""
    up = REFINEMENT_ROUNDING
    sigma = 3 * deviation(scale)
    coarser = range(3, max(4, math.ceil(4 * deviation(scale)))) if size == 3 else [size]
    masses = [math.fsum(mass(sigma, 3 * c + symbol, up) for c in coarser) for symbol in (-1, 0, 1)]
    # Where nothing ever falls, what falls lies at the near edge.
    return in_4096ths([m / sum(masses) for m in masses] if sum(masses) > 1e-12 else [1.0, 0.0, 0.0])


def mean_excess(scale, level, first, last):
    """E[|x| - n] of what became n in first..last, by the normal density's own integral."""
    sigma, up = deviation(scale), rounding(level)
    weight = excess = 0.0
    for n in range(first, last + 1):
        below, above = (edge / sigma for edge in interval(n, up))
        part = NORMAL.cdf(-below) - NORMAL.cdf(-above)
        weight += part
        excess += sigma * (NORMAL.pdf(below) - NORMAL.pdf(above)) - n * part
    # Where nothing ever falls, what falls lies at the near edge.
    return excess / weight if weight > 1e-12 else -up


def offsets(scale, level):
    """In eighths of the level's step, for |q| of 1, 2, and 3 or more."""
    ranges = [(1, 1), (2, 2), (3, 4095)]
    return [max(-4, min(4, round(-8 * mean_excess(scale, level, *r)))) for r in ranges]


def sine_coefficients():
    """a_0..a_4 in 1/2^30: sin(pi/2 f) = f (a_0 + a_1 f^2 + ... + a_4 f^8) through five Chebyshev nodes."""
    nodes = [(1 + math.cos((2 * i + 1) * math.pi / 10)) / 2 for i in range(5)]
    values = [math.sin(math.pi / 2 * math.sqrt(t)) / math.sqrt(t) for t in nodes]
    for order in range(1, 5):  # Newton's divided differences
        for i in range(4, order - 1, -1):
            values[i] = (values[i] - values[i - 1]) / (nodes[i] - nodes[i - order])
    polynomial = [0.0] * 5
    for i in range(4, -1, -1):
        shifted = [0.0] + polynomial[:4]
        polynomial = [s - nodes[i] * p for s, p in zip(shifted, polynomial)]
        polynomial[0] += values[i]
    return [round(a * 2**30) for a in polynomial]


def scale_models(name, sigmas, up):
    lines = [f"const std::array<ScaleModel, kScales> {name} = {{{{"]
    for sigma in sigmas:
        table = frequencies(sigma, up)
        gap = 15 - largest(sigma)
        padded = [0] * gap + table[:-1] + [0] * gap + table[-1:]
        lines += [f"    // deviation {sigma:.3f}", f"    {{{low_bits(sigma)},"]
        for j in range(0, 32, 16):
            part = ", ".join(str(f) for f in padded[j : j + 16])
            lines.append(f"     {'{{' if j == 0 else '  '}{part}{'}}},' if j else ','}")
    return [*lines, "}};", ""]


def nested(values):
    """A C++ initialiser of arrays of arrays."""
    if isinstance(values, int):
        return str(values)
    return "{{" + ", ".join(nested(v) for v in values) + "}}"


def cc():
    lines = [
        "// Generated by codec/rom/progressive_tables.py. DO NOT EDIT: part of the page format.",
        '#include "codec/progressive_rom.h"',
        "",
        "namespace sluice::codec {",
        "",
        "// clang-format off",
        *scale_models("kScaleModels", map(deviation, range(SCALES)), ROUNDING),
        *scale_models("kResidualModels", map(residual_deviation, range(SCALES)), 0.5),
    ]
    lines.append("const std::array<std::array<std::array<int8_t, 3>, kScales>, 3> kOffsets = {{")
    for level in range(1, LEVELS + 1):
        lines.append(f"    // q{level}\n    " + nested([offsets(s, level) for s in range(SCALES)]) + ",")
    lines += ["}};", "", "const std::array<std::array<std::array<uint16_t, 3>, 4>, kScales> kRefinements = {{"]
    lines += ["    " + nested([refinement(s, c) for c in range(4)]) + "," for s in range(SCALES)]
    text = ", ".join(str(a) for a in sine_coefficients())
    lines += ["}};", "", f"const std::array<int32_t, 5> kSine = {{{{{text}}}}};"]
    lines += ["// clang-format on", "", "}  // namespace sluice::codec"]
    return "\n".join(lines) + "\n"


def row(*cells):
    texts = [" ".join(map(str, c)) if isinstance(c, list) else str(c) for c in cells]
    return "| " + " | ".join(texts) + " |"


def markdown():
    rows = []
    for scale in range(SCALES):
        sigma = deviation(scale)
        levels = [offsets(scale, level) for level in range(1, LEVELS + 1)]
        alphabet = f"-{largest(sigma)} to {largest(sigma)}"
        rows.append(row(scale, low_bits(sigma), alphabet, *levels, frequencies(sigma, ROUNDING)))
    rows.append("")
    rows += [row(s, *(refinement(s, c) for c in range(4))) for s in range(SCALES)]
    rows.append("")
    for scale in range(SCALES):
        sigma = residual_deviation(scale)
        alphabet = f"-{largest(sigma)} to {largest(sigma)}"
        rows.append(row(scale, low_bits(sigma), alphabet, frequencies(sigma, 0.5)))
    return "\n".join(rows) + "\n" + " ".join(str(a) for a in sine_coefficients()) + "\n"


if __name__ == "__main__":
    main(__doc__, "progressive_rom.cc", cc, markdown)
