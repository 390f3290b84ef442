"""Elements: as numbers of a float format, as cells of a grid, as bytes."""
import struct

from integers import BYTES


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
