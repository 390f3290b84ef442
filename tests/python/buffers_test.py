"""Addresses of buffers: the buffer protocol, and DLPack from a producer made here."""

import array
import ctypes
import sys
import unittest

from sluice_kv import buffers

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_new_capsule.restype = ctypes.py_object


class Producer:
    """A tensor of bf16 elements with __dlpack__, of the old or the versioned kind."""

    def __init__(self, shape, strides=None, *, device=1, flags=0, major=1, bits=16, offset=0):
        self._storage = (ctypes.c_uint8 * 256)()
        self.address = ctypes.addressof(self._storage) + offset
        self._shape = (ctypes.c_int64 * len(shape))(*shape)
        self._strides = (ctypes.c_int64 * len(shape))(*strides) if strides else None
        tensor = buffers._Tensor(
            self.address - offset, device, 0, len(shape), 4, bits, 1, self._shape, self._strides, offset
        )
        self._managed = buffers._Versioned(major, 0, None, None, flags, tensor)

    def __dlpack__(self, *, max_version):
        return _new_capsule(ctypes.addressof(self._managed), b"dltensor_versioned", None)


class OldProducer(Producer):
    def __dlpack__(self):
        return _new_capsule(ctypes.addressof(self._managed.tensor), b"dltensor", None)


def memory(buffer, writable: bool = True) -> tuple[int, int]:
    with buffers.Memory(buffer, writable=writable) as found:
        return found


class BufferProtocol(unittest.TestCase):
    def test_the_address_is_that_of_the_memory_itself(self):
        raw = array.array("H", [1, 2, 3])
        for buffer in (raw, memoryview(raw)):
            with buffers.Memory(buffer, writable=True) as (address, size):
                self.assertEqual((address, size), (raw.buffer_info()[0], 6))
                ctypes.memset(address, 0xFF, 2)
        self.assertEqual(raw.tolist(), [0xFFFF, 2, 3])

    def test_read_only_memory_may_be_read_alone(self):
        self.assertEqual(memory(b"four", writable=False)[1], 4)
        with self.assertRaisesRegex(BufferError, "bytes"):
            memory(b"four")

    def test_memory_with_gaps_is_refused(self):
        with self.assertRaises(BufferError):
            memory(memoryview(bytearray(8))[::2])

    def test_the_buffer_is_let_go(self):
        raw = bytearray(8)
        before = sys.getrefcount(raw)
        memory(raw)
        raw.append(1)  # which a buffer that is still exported refuses
        self.assertEqual(sys.getrefcount(raw), before)

    def test_what_has_no_memory_is_refused_by_its_type(self):
        with self.assertRaisesRegex(TypeError, "list has neither"):
            memory([1, 2])


class DlPack(unittest.TestCase):
    def test_both_kinds_of_export_are_taken(self):
        for kind in (Producer, OldProducer):
            for strides in (None, (3, 1)):
                tensor = kind((2, 3), strides)
                self.assertEqual(memory(tensor), (tensor.address, 12))

    def test_offsets_scalars_and_dimensions_of_one_or_none(self):
        tensor = Producer((4,), offset=8)
        self.assertEqual(memory(tensor), (tensor.address, 8))
        self.assertEqual(memory(Producer(()))[1], 2)
        self.assertEqual(memory(Producer((2, 1, 3), (3, 77, 1)))[1], 12)
        self.assertEqual(memory(Producer((2, 0), (5, 5)))[1], 0)

    def test_what_would_need_a_copy_is_refused(self):
        refused = {
            "strides": Producer((2, 3), (1, 2)),
            "strides.*not contiguous": Producer((2, 3), (4, 1)),
            "on a device": Producer((2,), device=2),
            "read-only": Producer((2,), flags=1),
            "DLPack 2": Producer((2,), major=2),
            "elements of 4 bits": Producer((3,), bits=4),
        }
        for text, tensor in refused.items():
            with self.assertRaisesRegex(BufferError, text):
                memory(tensor)
        self.assertEqual(memory(Producer((2,), flags=1), writable=False)[1], 4)


if __name__ == "__main__":
    unittest.main()
