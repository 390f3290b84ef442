#!/usr/bin/env python3
"""A second reader of progressive pages, written from codec/FORMAT.md alone: it takes its tables out of the
document and shares nothing with the library. It shows that the document says enough.

  format_decoder.py FORMAT.md PROFILE PAGE PAIRING TENSORS [SOURCE]

exits 1 if the lossy rows of PAGE do not decode to TENSORS, or all of its rows to SOURCE.
"""
import hashlib
import pathlib
import struct
import sys

BYTES = {1: 4, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1}  # of the dtypes


def signed(value, bits):
    return value - (1 << bits) if value >> (bits - 1) else value


def numbers(cell):
    return [int(n) for n in cell.split()]


def model(row):
    """What the first three cells and the last one of a row say."""
    first, last = row[2].split(" to ")
    symbols = range(int(first), int(last) + 1)
    return {"low_bits": int(row[1]), "symbols": symbols, "frequencies": numbers(row[-1])}


def clamped(scale):
    return max(0, min(31, scale))


class Document:
    """The tables of FORMAT.md that a decoder needs."""

    def __init__(self, path):
        self.lines = pathlib.Path(path).read_text().splitlines()
        self.scales = [model(row) for row in self.table("### Scales")]
        self.residuals = [model(row) for row in self.table("### Residuals")]
        self.offsets = [
            [[0, *numbers(cell)] for cell in row[3:6]] for row in self.table("### Scales")
        ]  # [scale][level - 1]
        self.refinements = [
            [numbers(cell) for cell in row[1:]] for row in self.table("### Refinements")
        ]
        constants = {row[0]: int(row[1]) for row in self.table("### Rotation")}
        self.sine = [constants[f"a{i}"] for i in range(5)]

    def table(self, heading):
        at = self.lines.index(heading)
        rows = []
        for line in self.lines[at + 1 :]:
            if line.startswith("#"):
                break
            if line.startswith("|"):
                rows.append([cell.strip() for cell in line.strip("|").split("|")])
        return rows[2:]


class Profile:
    def __init__(self, data, pairing):
        self.digest = hashlib.sha256(data).digest()
        assert data[:4] == b"SLPR" and struct.unpack_from("<I", data, 4)[0] == 1
        assert hashlib.sha256(data[16:]).digest()[:8] == data[8:16]
        assert struct.unpack_from("<I", data, 16)[0] == len(data)
        planes, rows, _, file_pairing = data[20:24]
        layers, _, _, pairs, rotations, note, extras = struct.unpack_from("<IIIIHHI", data, 56)
        at = 96
        self.planes = []
        for _ in range(planes):
            role, _, _, _, heads, _, dim, rotated = struct.unpack_from("<BBBBHHII", data, at)
            self.planes.append((role, heads, dim, rotated))
            at += 16
        self.rows = [struct.unpack_from("<B3xI", data, at + 8 * i) for i in range(rows)]
        at += 8 * rows
        lists = []
        for _ in range(rotations):
            lists.append(struct.unpack_from(f"<{pairs}Q", data, at))
            at += 8 * pairs
        self.frequencies = []  # of each layer, or None
        for _ in range(layers):
            number = data[at + 4]
            self.frequencies.append(None if number == 255 else lists[number])
            at += 8
        self.blocks = {}
        for layer in range(layers):
            for index, (role, heads, dim, rotated) in enumerate(self.planes):
                if role not in (1, 2, 3):
                    continue
                order = list(range(heads * dim))
                if rotated and file_pairing != pairing:
                    order = reordered(heads, dim, rotated, pairing)
                self.blocks[layer, index] = Block(data, at, order)
                at = self.blocks[layer, index].end
        assert len(data) - at == extras + note


def reordered(heads, dim, rotated, pairing):
    """The old number of each channel."""
    out = list(range(heads * dim))
    for head in range(heads):
        for pair in range(rotated // 2):
            for half in range(2):
                split, together = head * dim + pair + half * rotated // 2, head * dim + 2 * pair + half
                to, source = (split, together) if pairing == 1 else (together, split)
                out[to] = source
    return out


class Block:
    """Channels and basis of a plane of a layer, in the order of channels that is wanted."""

    def __init__(self, data, at, order):
        exponent, self.finer, kind, stages, size = struct.unpack_from("<bBBBH", data, at)
        self.exponent, width, at = exponent, len(order), at + 8
        channels = [struct.unpack_from("<iHBB", data, at + 8 * i) for i in range(width)]
        self.channels, at = [channels[i] for i in order], at + 8 * width
        self.pairs, self.matrices, self.size = [], [], size
        new = {old: i for i, old in enumerate(order)}
        for _ in range(stages * width // 2 if kind == 1 else 0):
            first, second, cosine, sine = struct.unpack_from("<HHhh", data, at)
            self.pairs.append((new[first], new[second], cosine, sine))
            at += 8
        if kind == 2:
            factors = struct.unpack_from(f"<{width * size}h", data, at)
            at += 2 * width * size
            for i in order:  # a channel's row, by component
                group = i // size * size
                row = factors[i * size : (i + 1) * size]
                self.matrices.append([row[order[group + k] - group] for k in range(size)])
        self.end = at

    def channels_of(self, values):
        """y of each channel of one token, from coefficients of its components."""
        values = list(values)
        for first, second, cosine, sine in self.pairs:
            x, y = values[first], values[second]
            values[first] = signed16(rounded(x * cosine) - rounded(y * sine))
            values[second] = signed16(rounded(y * cosine) + rounded(x * sine))
        if not self.matrices:
            return values
        out = []
        for i, row in enumerate(self.matrices):
            group = i // self.size * self.size
            total = 2**14 + sum(m * c for m, c in zip(row, values[group : group + self.size]))
            out.append(signed16(signed(total % 2**32, 32) >> 15))
        return out


def signed16(value):
    return signed(value % 2**16, 16)


def rounded(product):
    return (product + 2**14) >> 15


class Lanes:
    def __init__(self, section, head_bytes, raw_bytes):
        states_end = head_bytes + 128
        self.states = list(struct.unpack_from("<32I", section, head_bytes))
        rest = raw_bytes - min(raw_bytes, 64)
        words_end = len(section) - rest
        self.words = list(struct.unpack_from(f"<{(words_end - states_end) // 2}H", section, states_end))
        self.rest, self.raw_bytes, self.drawn = section[words_end:], raw_bytes, 0

    def renormalise(self, lane):
        if self.states[lane] < 65536:
            self.states[lane] = self.states[lane] * 65536 + self.words[self.drawn]
            self.drawn += 1

    def symbols(self, tables):
        """The index of a symbol in every lane, each of which has its frequencies."""
        out = []
        for lane in range(32):
            slot = self.states[lane] % 4096
            below = 0
            for index, frequency in enumerate(tables[lane]):
                if slot < below + frequency:
                    break
                below += frequency
            self.states[lane] = frequency * (self.states[lane] // 4096) + slot - below
            self.renormalise(lane)
            out.append(index)
        return out

    def bits(self, lane, count):
        value = self.states[lane] % (1 << count)
        self.states[lane] >>= count
        self.renormalise(lane)
        return value

    def finish(self):
        """The raw bytes."""
        assert self.drawn == len(self.words)
        assert all(state // 65536 == 1 for state in self.states)
        seed = struct.pack("<32H", *(state - 65536 for state in self.states))
        travelling = min(self.raw_bytes, 64)
        assert not any(seed[travelling:])
        return self.rest + seed[:travelling]


class Turns:
    def __init__(self, sine):
        self.a = sine

    def s(self, x):
        t = x * x >> 30
        total = self.a[4]
        for i in (3, 2, 1, 0):
            total = (total * t >> 30) + self.a[i]
        return total * x >> 30

    def at(self, position, frequency):
        phase = position * frequency % 2**64
        quarter, f = phase >> 62, (phase >> 32) % 2**30
        c, s = self.s(2**30 - f), self.s(f)
        for _ in range(quarter):
            c, s = -s, c
        return c, s


def half_even(numerator, shift):
    """numerator / 2^shift, rounded; shift may be negative."""
    if shift <= 0:
        return numerator << -shift
    quotient, rest = numerator >> shift, numerator & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    return quotient + (rest > half or (rest == half and quotient & 1))


def element(value, exponent, dtype):
    """The bytes of value x 2^-exponent, from the definition of the formats."""
    mantissa_bits, bias, width = {1: (23, 127, 4), 2: (10, 15, 2), 3: (7, 127, 2)}[dtype]
    magnitude = abs(value)
    if magnitude == 0:
        return bytes(width)
    power = max(magnitude.bit_length() - 1 - exponent, 1 - bias)  # of the leading bit
    significand = half_even(magnitude, exponent + power - mantissa_bits)
    if significand >> (mantissa_bits + 1):
        significand, power = significand >> 1, power + 1
    normal = significand >> mantissa_bits
    bits = ((power + bias if normal else 0) << mantissa_bits) | (significand & ((1 << mantissa_bits) - 1))
    if dtype == 2:
        bits = min(bits, 0x7BFF)
    return (bits | (value < 0) << (8 * width - 1)).to_bytes(width, "little")


class Page:
    def __init__(self, data):
        assert data[:4] == b"SLPG" and data[20] == 3
        header_bytes = struct.unpack_from("<I", data, 16)[0]
        planes, rows = data[21], data[22]
        self.digest = data[56:88]
        self.layers, self.group, self.tokens, self.first = struct.unpack_from("<IIIQ", data, 92)
        self.planes = []
        at = 128
        for _ in range(planes):
            role, dtype, stored, _, heads, _, dim, rotated = struct.unpack_from("<BBBBHHII", data, at)
            self.planes.append((role, dtype, stored, heads, dim, rotated))
            at += 16
        self.rows = [struct.unpack_from("<B3xI", data, at + 8 * i) for i in range(rows)]
        at += 8 * rows
        self.sections = []
        offset = header_bytes
        while at < header_bytes:
            size, flags = struct.unpack_from("<II", data, at)
            self.sections.append((data[offset : offset + size], flags))
            offset += size
            at += 16
        assert offset == len(data)


class Decoder:
    def __init__(self, document, profile, page, pairing):
        self.document, self.profile, self.page, self.pairing = document, profile, page, pairing
        self.turns = Turns(document.sine)
        self.lossy = [row for row in page.rows if row[0] != 0]
        assert page.digest == profile.digest and self.lossy == profile.rows[: len(self.lossy)]

    def decode(self, rows):
        """The page's tensors from its first rows."""
        out = {}  # (layer, plane) -> bytes
        count = len(self.page.sections) // len(self.page.rows)
        sections = iter(range(count))
        for first in range(0, self.page.layers, self.page.group):
            layers = range(first, min(first + self.page.group, self.page.layers))
            for index, (_, dtype, _, heads, dim, _) in enumerate(self.page.planes):
                number = next(sections)
                parts = [self.page.sections[row * count + number] for row in range(rows)]
                size = self.page.tokens * heads * dim * BYTES[dtype]
                section, flags = parts[0]
                if not flags & 1:
                    section = self.decode_section([part for part, _ in parts], layers, index)
                for i, layer in enumerate(layers):
                    out[layer, index] = section[i * size : (i + 1) * size]
        keys = [(layer, i) for layer in range(self.page.layers) for i in range(len(self.page.planes))]
        return b"".join(out[key] for key in keys)

    def decode_section(self, parts, layers, index):
        _, dtype, stored, heads, dim, _ = self.page.planes[index]
        tokens, section = self.page.tokens, parts[0]
        bitmap = section[len(layers) : len(layers) * (1 + tokens // 8)]
        exact = [bitmap[i // 8] >> (i % 8) & 1 for i in range(len(layers) * tokens)]
        vector_bytes = heads * dim * BYTES[dtype]
        lanes = Lanes(section, len(layers) * (1 + tokens // 8), sum(exact) * vector_bytes)
        corrections = [signed(section[i], 8) for i in range(len(layers))]
        quantised = [self.first_row(lanes, layer, index, c) for layer, c in zip(layers, corrections)]
        raw = lanes.finish()
        level = self.page.rows[0][0]
        elements = None
        for (next_level, _), part in zip(self.page.rows[1:], parts[1:]):
            if next_level == 0:
                elements = [self.restore(q, level, layer, index) for q, layer in zip(quantised, layers)]
                elements = self.residuals(part, elements, level, layers, index)
            else:
                self.refine(part, quantised, corrections, level, layers, index)
                level = next_level
        elements = elements or [self.restore(q, level, layer, index) for q, layer in zip(quantised, layers)]
        out = b""
        for i in range(len(layers)):
            for token in range(tokens):
                vector = b"".join(widened(line[token], stored, dtype) for line in elements[i])
                if exact[i * tokens + token]:
                    vector, raw = raw[:vector_bytes], raw[vector_bytes:]
                out += vector
        assert not raw
        return out

    def values(self, lanes, tables, escape_bits):
        """A value in every lane; each has a model."""
        out = []
        symbols = lanes.symbols([table["frequencies"] for table in tables])
        for lane, (symbol, table) in enumerate(zip(symbols, tables)):
            if symbol == len(table["symbols"]):
                out.append(signed(lanes.bits(lane, escape_bits), escape_bits))
            else:
                low = lanes.bits(lane, table["low_bits"]) if table["low_bits"] else 0
                out.append((table["symbols"][symbol] << table["low_bits"]) + low)
        return out

    def first_row(self, lanes, layer, index, correction):
        """q as [component][token]."""
        out = []
        for _, _, _, scale in self.profile.blocks[layer, index].channels:
            table = self.document.scales[clamped(scale + correction)]
            row = []
            for _ in range(0, self.page.tokens, 32):
                row += self.values(lanes, [table] * 32, 13)
            assert -4096 not in row
            out.append(row)
        return out

    def refine(self, part, quantised, corrections, level, layers, index):
        """Takes q of a level to the next finer one, in place."""
        lanes = Lanes(part, 0, 0)
        between = 6 * (self.page.rows[0][0] - level)
        for layer, correction, components in zip(layers, corrections, quantised):
            channels = self.profile.blocks[layer, index].channels
            for (_, _, _, scale), row in zip(channels, components):
                sizes = self.document.refinements[clamped(clamped(scale + correction) + between)]
                for first in range(0, self.page.tokens, 32):
                    before = row[first : first + 32]
                    symbols = lanes.symbols([sizes[min(abs(q), 3)] for q in before])
                    row[first : first + 32] = [
                        signed16(3 * q + (s - 1) * (-1 if q < 0 else 1))
                        for q, s in zip(before, symbols)
                    ]
        lanes.finish()

    def residuals(self, part, elements, level, layers, index):
        """The source's elements, as [layer][channel][token], from those that the lossy rows give."""
        lanes = Lanes(part, len(layers), 0)
        digits, bias = (10, 15) if self.page.planes[index][2] == 2 else (7, 127)
        for i, layer in enumerate(layers):
            block, correction = self.profile.blocks[layer, index], signed(part[i], 8)
            for (_, mantissa, shift, _), line in zip(block.channels, elements[i]):
                step = 2 * (17 + block.finer - shift - block.exponent) + (mantissa >= 23170)
                least = max(1, min(2 * bias, (step + 3 * (level - 1)) // 2 + bias))
                for first in range(0, self.page.tokens, 32):
                    before = line[first : first + 32]
                    powers = [max(least, e % 32768 >> digits) for e in before]
                    widths = [step + 2 * (bias + digits - power) for power in powers]
                    scales = [clamped(max(-144, min(143, w)) + correction) for w in widths]
                    found = self.values(lanes, [self.document.residuals[s] for s in scales], 16)
                    cells = [
                        signed16(cell_of(e, power, digits) + r)
                        for e, power, r in zip(before, powers, found)
                    ]
                    line[first : first + 32] = [
                        shown(lanes, lane, cell, power, digits)
                        for lane, (cell, power) in enumerate(zip(cells, powers))
                    ]
        lanes.finish()
        return elements

    def restore(self, quantised, level, layer, index):
        """Elements as [channel][token], the bits of the stored dtype."""
        block = self.profile.blocks[layer, index]
        _, _, stored, heads, dim, rotated = self.page.planes[index]
        behind = 6 * (self.page.rows[0][0] - level)
        coefficients = []
        for (_, _, _, scale), row in zip(block.channels, quantised):
            offsets = self.document.offsets[clamped(scale + behind)][level - 1]
            unit = 3 ** (level - 1) * 2**block.finer
            coefficients.append(
                [signed16((8 * abs(q) - offsets[min(abs(q), 3)]) * (1 if q > 0 else -1) * unit) for q in row]
            )
        tokens = [block.channels_of(vector) for vector in zip(*coefficients)]
        values = [
            [((y * mantissa + 2 ** (shift - 1)) >> shift) + mean for y in row]
            for (mean, mantissa, shift, _), row in zip(block.channels, zip(*tokens))
        ]
        if self.profile.frequencies[layer] is not None:
            self.rotate(values, self.profile.frequencies[layer][: rotated // 2], heads, dim, rotated)
        return [
            [int.from_bytes(element(v, block.exponent, stored), "little") for v in line] for line in values
        ]

    def rotate(self, values, frequencies, heads, dim, rotated):
        for i, frequency in enumerate(frequencies):
            for token in range(self.page.tokens):
                c, s = self.turns.at(self.page.first + token, frequency)
                for head in range(heads):
                    x, y = (i, i + rotated // 2) if self.pairing == 1 else (2 * i, 2 * i + 1)
                    x, y = values[head * dim + x], values[head * dim + y]
                    x[token], y[token] = (
                        (x[token] * c - y[token] * s + 2**29) >> 30,
                        (y[token] * c + x[token] * s + 2**29) >> 30,
                    )


def cell_of(bits, power, digits):
    """Where an element stands on the grid of floats whose least exponent field is power."""
    magnitude = bits % 32768
    own = max(magnitude >> digits, 1)
    if own >= power:
        n = magnitude - ((power - 1) << digits)
    else:
        n = (magnitude - ((own - 1) << digits)) >> (power - own)
    return -1 - n if bits >> 15 else n


def shown(lanes, lane, cell, power, digits):
    """The element of a cell, with what the lane has of it."""
    n, sign = (-1 - cell, 32768) if cell < 0 else (cell, 0)
    b = 0 if n >= 2**digits else min(digits + 1 - n.bit_length(), power - 1) if n else 15
    hidden = lanes.bits(lane, b) if b else 0
    if n == 0:
        return sign + hidden
    return sign + ((n << b) + hidden + ((power - b - 1) << digits)) % 32768


def widened(bits, stored, dtype):
    """The bytes of an element: f32 takes the upper half from bf16, and f16 by value."""
    if dtype == stored:
        return bits.to_bytes(BYTES[dtype], "little")
    if stored == 3:
        return (bits << 16).to_bytes(4, "little")
    return struct.pack("<f", struct.unpack("<e", bits.to_bytes(2, "little"))[0])


def main():
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    document, profile, page, pairing, *expected = sys.argv[1:]
    number = {"neox": 1, "interleaved": 2}[pairing]
    parsed = Profile(pathlib.Path(profile).read_bytes(), number)
    decoder = Decoder(Document(document), parsed, Page(pathlib.Path(page).read_bytes()), number)
    for rows, path in zip((len(decoder.lossy), len(decoder.page.rows)), expected):
        got, wanted = decoder.decode(rows), pathlib.Path(path).read_bytes()
        if got != wanted:
            at = next((i for i, (g, w) in enumerate(zip(got, wanted)) if g != w), min(len(got), len(wanted)))
            sys.exit(f"{page}: byte {at} of {len(got)} differs from {path}, of {len(wanted)} bytes")


if __name__ == "__main__":
    main()
