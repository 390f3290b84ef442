"""Whole pages: sections put together, exact tokens put in."""
from elements import widened
from integers import BYTES, signed
from lanes import Lanes
from restoring import Values
from rows import Rows


class Decoder:
    def __init__(self, document, profile, page, pairing):
        self.profile, self.page = profile, page
        self.rows, self.values = Rows(document, profile, page), Values(document, profile, page, pairing)
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
        quantised = [self.rows.first_row(lanes, layer, index, c) for layer, c in zip(layers, corrections)]
        raw = lanes.finish()
        level = self.page.rows[0][0]
        elements = None

        def restored():
            return [self.values.restore(q, level, layer, index) for q, layer in zip(quantised, layers)]

        for (next_level, _), part in zip(self.page.rows[1:], parts[1:]):
            if next_level == 0:
                elements = self.rows.residuals(part, restored(), level, layers, index)
            else:
                self.rows.refine(part, quantised, corrections, level, layers, index)
                level = next_level
        elements = elements or restored()
        out = b""
        for i in range(len(layers)):
            for token in range(tokens):
                vector = b"".join(widened(line[token], stored, dtype) for line in elements[i])
                if exact[i * tokens + token]:
                    vector, raw = raw[:vector_bytes], raw[vector_bytes:]
                out += vector
        assert not raw
        return out
