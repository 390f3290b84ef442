"""Integers of some bits, and the sizes of elements."""
BYTES = {1: 4, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1}  # of the dtypes


def signed(value, bits):
    return value - (1 << bits) if value >> (bits - 1) else value


def signed16(value):
    return signed(value % 2**16, 16)


def rounded(product):
    return (product + 2**14) >> 15


def clamped(scale):
    return max(0, min(31, scale))
