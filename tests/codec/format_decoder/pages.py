"""Pages: the header, and the bytes of each section."""
import struct


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
