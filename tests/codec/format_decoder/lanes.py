"""The 32 lanes of a section."""
import struct


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
