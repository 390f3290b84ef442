#!/usr/bin/env python3
"""A second reader of progressive pages, written from codec/FORMAT.md alone: it takes its tables out of the
document and shares nothing with the library. It shows that the document says enough.

  format_decoder.py FORMAT.md PROFILE PAGE PAIRING TENSORS    exits 1 if PAGE does not decode to TENSORS
"""
import hashlib
import pathlib
import struct
import sys

BYTES = {1: 4, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1}  # of the dtypes


def signed(value, bits):
    return value - (1 << bits) if value >> (bits - 1) else value


class Document:
    """The tables of FORMAT.md that a decoder needs."""

    def __init__(self, path):
        self.lines = pathlib.Path(path).read_text().splitlines()
        rows = self.table("### Scales")
        self.scales = [
            {
                "low_bits": int(row[1]),
                "symbols": range(int(row[2].split(" to ")[0]), int(row[2].split(" to ")[1]) + 1),
                "offsets": [0] + [int(o) for o in row[3].split()],
                "frequencies": [int(f) for f in row[4].split()],
            }
            for row in rows
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
        planes, rows, basis, file_pairing = data[20:24]
        assert rows == 1 and basis == 0
        layers, _, _, pairs, rotations, note = struct.unpack_from("<IIIIHH", data, 56)
        at = 96
        self.planes = []
        for _ in range(planes):
            role, _, _, _, heads, _, dim, rotated = struct.unpack_from("<BBBBHHII", data, at)
            self.planes.append((role, heads, dim, rotated))
            at += 16
        self.kl = struct.unpack_from("<I", data, at + 4)[0]
        at += 8
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
                exponent = signed(data[at], 8)
                at += 8
                channels = []
                for _ in range(heads * dim):
                    channels.append(struct.unpack_from("<iHBB", data, at))
                    at += 8
                if rotated and file_pairing != pairing:
                    channels = permuted(channels, heads, dim, rotated, pairing)
                self.blocks[layer, index] = exponent, channels
        assert len(data) - at == note


def permuted(channels, heads, dim, rotated, pairing):
    out = list(channels)
    for head in range(heads):
        for pair in range(rotated // 2):
            for half in range(2):
                split, together = head * dim + pair + half * rotated // 2, head * dim + 2 * pair + half
                to, source = (split, together) if pairing == 1 else (together, split)
                out[to] = channels[source]
    return out


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

    def symbols(self, frequencies):
        """The index of a symbol in every lane."""
        out = []
        for lane in range(32):
            slot = self.states[lane] % 4096
            below = 0
            for index, frequency in enumerate(frequencies):
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
            role, dtype, _, _, heads, _, dim, rotated = struct.unpack_from("<BBBBHHII", data, at)
            self.planes.append((role, dtype, heads, dim, rotated))
            at += 16
        assert rows == 1 and data[at] == 1
        self.kl = struct.unpack_from("<I", data, at + 4)[0]
        at += 8
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
        assert page.digest == profile.digest and page.kl == profile.kl

    def decode(self):
        """The page's tensors."""
        out = {}  # (layer, plane) -> bytes
        sections = iter(self.page.sections)
        for first in range(0, self.page.layers, self.page.group):
            layers = range(first, min(first + self.page.group, self.page.layers))
            for index, (_, dtype, heads, dim, _) in enumerate(self.page.planes):
                section, flags = next(sections)
                size = self.page.tokens * heads * dim * BYTES[dtype]
                if not flags & 1:
                    section = self.decode_section(section, layers, index)
                for i, layer in enumerate(layers):
                    out[layer, index] = section[i * size : (i + 1) * size]
        keys = [(layer, i) for layer in range(self.page.layers) for i in range(len(self.page.planes))]
        return b"".join(out[key] for key in keys)

    def decode_section(self, section, layers, index):
        _, dtype, heads, dim, _ = self.page.planes[index]
        tokens = self.page.tokens
        bitmap = section[len(layers) : len(layers) * (1 + tokens // 8)]
        exact = [bitmap[i // 8] >> (i % 8) & 1 for i in range(len(layers) * tokens)]
        vector_bytes = heads * dim * BYTES[dtype]
        head_bytes = len(layers) * (1 + tokens // 8)
        lanes = Lanes(section, head_bytes, sum(exact) * vector_bytes)
        quantised = [self.decode_layer(lanes, layer, index, signed(section[i], 8)) for i, layer in enumerate(layers)]
        raw = lanes.finish()
        out = b""
        for i, layer in enumerate(layers):
            vectors = self.restore(quantised[i], layer, index)
            for token in range(tokens):
                if exact[i * tokens + token]:
                    out, raw = out + raw[:vector_bytes], raw[vector_bytes:]
                else:
                    out += vectors[token]
        assert not raw
        return out

    def decode_layer(self, lanes, layer, index, correction):
        """q as [channel][token]."""
        _, channels = self.profile.blocks[layer, index]
        out = []
        for _, _, _, scale in channels:
            table = self.document.scales[max(0, min(31, scale + correction))]
            row = []
            for _ in range(0, self.page.tokens, 32):
                symbols = lanes.symbols(table["frequencies"])
                for lane, symbol in enumerate(symbols):
                    if symbol == len(table["symbols"]):
                        row.append(signed(lanes.bits(lane, 13), 13))
                        assert row[-1] != -4096
                    else:
                        low = lanes.bits(lane, table["low_bits"]) if table["low_bits"] else 0
                        row.append((table["symbols"][symbol] << table["low_bits"]) + low)
            out.append(row)
        return out

    def restore(self, quantised, layer, index):
        """The elements of every token's vector."""
        exponent, channels = self.profile.blocks[layer, index]
        _, dtype, heads, dim, rotated = self.page.planes[index]
        values = []
        for (mean, mantissa, shift, scale), row in zip(channels, quantised):
            offsets = self.document.scales[scale]["offsets"]
            line = []
            for q in row:
                coefficient = (8 * abs(q) - offsets[min(abs(q), 3)]) * (1 if q > 0 else -1)
                line.append(((coefficient * mantissa + 2 ** (shift - 1)) >> shift) + mean)
            values.append(line)
        if self.profile.frequencies[layer] is not None:
            for i, frequency in enumerate(self.profile.frequencies[layer][: rotated // 2]):
                for token in range(self.page.tokens):
                    c, s = self.turns.at(self.page.first + token, frequency)
                    for head in range(heads):
                        x, y = (i, i + rotated // 2) if self.pairing == 1 else (2 * i, 2 * i + 1)
                        x, y = values[head * dim + x], values[head * dim + y]
                        x[token], y[token] = (
                            (x[token] * c - y[token] * s + 2**29) >> 30,
                            (y[token] * c + x[token] * s + 2**29) >> 30,
                        )
        return [
            b"".join(element(line[token], exponent, dtype) for line in values)
            for token in range(self.page.tokens)
        ]


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    document, profile, page, pairing, tensors = sys.argv[1:]
    number = {"neox": 1, "interleaved": 2}[pairing]
    parsed = Profile(pathlib.Path(profile).read_bytes(), number)
    decoder = Decoder(Document(document), parsed, Page(pathlib.Path(page).read_bytes()), number)
    got, expected = decoder.decode(), pathlib.Path(tensors).read_bytes()
    if got != expected:
        at = next((i for i, (g, e) in enumerate(zip(got, expected)) if g != e), min(len(got), len(expected)))
        sys.exit(f"{page}: byte {at} of {len(got)} differs from {tensors}, of {len(expected)} bytes")


if __name__ == "__main__":
    main()
