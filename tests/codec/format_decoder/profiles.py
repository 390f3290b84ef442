"""Profiles: channels and bases of every block, in the order of channels that is wanted."""
import hashlib
import struct

from integers import rounded, signed, signed16


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
