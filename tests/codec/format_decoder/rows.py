"""The rows of a section, out of its lanes."""
from elements import cell_of, shown
from integers import clamped, signed, signed16
from lanes import Lanes


class Rows:
    """What the rows of a section say: q of every component, and the source's elements."""

    def __init__(self, document, profile, page):
        self.document, self.profile, self.page = document, profile, page

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
