"""Writes profiles (codec/FORMAT.md, "Profile"): what `progressive` pages of one KV group are coded with.

libsluice parses and checks every profile; what is made here is the same format. Needs numpy.
"""

import dataclasses
import hashlib
import struct

import numpy as np

from sluice_kv.basis import ONE, Givens, Matrices
from sluice_kv.space_identity import PAIRINGS, ROLES

KL_UNKNOWN = 0xFFFFFFFF  # micro-nats: not measured yet
MEAN_MAX = 1 << 22
COEFFICIENT_MAX = 1 << 7
MANTISSA_BITS = 15
SHIFTS = range(8, 31)
EXPONENTS = -64, 126
NOT_ROTATED = 255
_HEADER_BYTES = 96
_NOTE_BYTES_AT = 74  # extras_bytes follows
_MARKS = 1  # kind of an extra


@dataclasses.dataclass
class Block:
    """One plane of one layer; arrays hold a value a channel, in the model's units."""

    mean: np.ndarray
    step: np.ndarray  # of level q1
    scale: np.ndarray  # numbers of the ROM's tables, of components
    basis: Givens | Matrices | None = None
    finer: int = 0  # a step is 2^(3 + finer) coefficients


@dataclasses.dataclass
class Profile:
    model_digest: bytes
    planes: list[dict]  # as in a manifest
    layers: list[int]
    rotations: list[int]  # a layer: index into frequencies, or NOT_ROTATED
    frequencies: list[np.ndarray]  # radians a position, a pair
    blocks: list[list[Block]]  # [layer][plane]
    sinks: int
    note: str
    kl: list[int]  # micro-nats, a row: of the levels that end with q1
    marks: set[int] = dataclasses.field(default_factory=set)  # of the calibration text

    def encode(self) -> bytes:
        """Returns the file."""
        extras, note = _extras(self.marks), self.note.encode()
        body = b"".join(
            (
                *(_plane(plane) for plane in self.planes),
                *(struct.pack("<B3xI", len(self.kl) - i, kl) for i, kl in enumerate(self.kl)),
                *(_turns(list_) for list_ in self.frequencies),
                *(struct.pack("<IB3x", *pair) for pair in zip(self.layers, self.rotations)),
                *(_block(block) for layer in self.blocks for block in layer),
                extras,
                note,
            )
        )
        pairs = len(self.frequencies[0]) if self.frequencies else 0
        fixed = struct.pack(
            "<I4B32s4I2HI16x",
            _HEADER_BYTES + len(body),
            len(self.planes),
            len(self.kl),
            0,
            PAIRINGS["neox" if pairs else "none"],
            self.model_digest,
            len(self.layers),
            0,  # first head
            self.sinks,
            pairs,
            len(self.frequencies),
            len(note),
            len(extras),
        )
        return b"SLPR" + struct.pack("<I", 1) + hashlib.sha256(fixed + body).digest()[:8] + fixed + body


def marks_of(file: bytes) -> set[int]:
    """Returns the marks of the text that a profile was calibrated on; none for files without any."""
    note, extras = struct.unpack_from("<HI", file, _NOTE_BYTES_AT)
    rest = file[len(file) - note - extras : len(file) - note]
    while rest:
        kind, size = struct.unpack_from("<II", rest)
        if kind == _MARKS:
            return set(struct.unpack_from(f"<{size // 8}Q", rest, 8))
        rest = rest[8 + size :]
    return set()


def _extras(marks: set[int]) -> bytes:
    if not marks:
        return b""
    return struct.pack(f"<II{len(marks)}Q", _MARKS, 8 * len(marks), *sorted(marks))


def _plane(plane: dict) -> bytes:
    shape = plane["heads"], plane["dim"], plane["rotated_dims"]
    return struct.pack("<B3xH2xII", ROLES[plane["role"]], *shape)


def _turns(radians: np.ndarray) -> bytes:
    turns = np.asarray(radians, np.float64) / (2 * np.pi)
    return b"".join(struct.pack("<Q", round(float(turn) * 2.0**64) % 2**64) for turn in turns)


def _block(block: Block) -> bytes:
    mean = np.asarray(block.mean, np.float64)
    # mantissa x 2^-shift is a coefficient; the exponent is the largest that both bounds allow.
    coefficient = np.asarray(block.step, np.float64) / 2 ** (3 + block.finer)
    exponent = _exponent(mean, coefficient)
    units = coefficient * 2.0**exponent
    shift = MANTISSA_BITS - np.frexp(units)[1]
    shift = np.clip(shift, SHIFTS[0], SHIFTS[-1])
    mantissa = np.clip(np.rint(units * 2.0**shift), 1 << (MANTISSA_BITS - 1), (1 << MANTISSA_BITS) - 1)
    out = np.zeros(len(mean), [("mean", "<i4"), ("mantissa", "<u2"), ("shift", "u1"), ("scale", "u1")])
    out["mean"], out["mantissa"] = np.rint(mean * 2.0**exponent), mantissa
    out["shift"], out["scale"] = shift, block.scale
    kind, stages, size, data = _basis(block.basis)
    return struct.pack("<b3BH2x", exponent, block.finer, kind, stages, size) + out.tobytes() + data


def _basis(found: Givens | Matrices | None) -> tuple[int, int, int, bytes]:
    """Returns kind, stages, matrix_channels and what follows the channels."""
    if found is None:
        return 0, 0, 0, b""
    if isinstance(found, Matrices):
        return 2, 0, found.groups.shape[1], _factors(found.groups).tobytes()
    out = np.zeros(found.pairs.shape, [("first", "<u2"), ("second", "<u2"), ("cosine", "<i2"), ("sine", "<i2")])
    out["first"], out["second"] = found.pairs["first"], found.pairs["second"]
    out["cosine"], out["sine"] = (_factors(f(found.pairs["angle"])) for f in (np.cos, np.sin))
    return 1, len(out), 0, out.tobytes()


def _factors(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values * 2**15), -ONE, ONE).astype("<i2")


def _exponent(mean: np.ndarray, coefficient: np.ndarray) -> int:
    widest = max(float(coefficient.max()), 2.0**-140)
    room = np.ceil(np.log2(COEFFICIENT_MAX / widest)) - 1
    if (top := float(np.abs(mean).max())) > 0:
        room = min(room, np.floor(np.log2(MEAN_MAX / top)))
    return int(np.clip(room, *EXPONENTS))
