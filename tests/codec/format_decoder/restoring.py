"""From what rows say to elements: offsets, bases and rotation."""
from elements import element
from integers import clamped, signed16


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


class Values:
    """From q to elements."""

    def __init__(self, document, profile, page, pairing):
        self.document, self.profile, self.page, self.pairing = document, profile, page, pairing
        self.turns = Turns(document.sine)

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
