"""The address of a tensor in host memory, without a copy and without importing its library.

What has the buffer protocol (bytes, bytearray, memoryview, numpy) is taken by it, all else by DLPack
(torch, jax, cupy's pinned memory, ...), in any dtype, bf16 too. The elements must lie in order and
without gaps; what does not is refused, never copied.
"""

import ctypes as C
from typing import Any

Buffer = Any  # the buffer protocol, or __dlpack__

_HOST_DEVICES = (1, 3)  # kDLCPU, kDLCUDAHost
_READ_ONLY_FLAG = 1
_VERSION = (1, 0)


class _PyBuffer(C.Structure):
    """Py_buffer."""

    _fields_ = [
        ("buf", C.c_void_p),
        ("obj", C.c_void_p),
        ("len", C.c_ssize_t),
        ("itemsize", C.c_ssize_t),
        ("readonly", C.c_int),
        ("ndim", C.c_int),
        ("format", C.c_char_p),
        ("shape", C.c_void_p),
        ("strides", C.c_void_p),
        ("suboffsets", C.c_void_p),
        ("internal", C.c_void_p),
    ]


class _Tensor(C.Structure):
    """DLTensor."""

    _fields_ = [
        ("data", C.c_void_p),
        ("device_type", C.c_int32),
        ("device_id", C.c_int32),
        ("ndim", C.c_int32),
        ("code", C.c_uint8),
        ("bits", C.c_uint8),
        ("lanes", C.c_uint16),
        ("shape", C.POINTER(C.c_int64)),
        ("strides", C.POINTER(C.c_int64)),
        ("byte_offset", C.c_uint64),
    ]


class _Versioned(C.Structure):
    """DLManagedTensorVersioned. The older DLManagedTensor begins with its tensor."""

    _fields_ = [
        ("major", C.c_uint32),
        ("minor", C.c_uint32),
        ("manager", C.c_void_p),
        ("deleter", C.c_void_p),
        ("flags", C.c_uint64),
        ("tensor", _Tensor),
    ]


_get_buffer = C.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = [C.py_object, C.POINTER(_PyBuffer), C.c_int]
_release_buffer = C.pythonapi.PyBuffer_Release
_release_buffer.argtypes, _release_buffer.restype = [C.POINTER(_PyBuffer)], None
_capsule_pointer = C.pythonapi.PyCapsule_GetPointer
_capsule_pointer.argtypes, _capsule_pointer.restype = [C.py_object, C.c_char_p], C.c_void_p
_capsule_is = C.pythonapi.PyCapsule_IsValid
_capsule_is.argtypes = [C.py_object, C.c_char_p]


class Memory:
    """A buffer's address and bytes, for `with`: valid inside. Raises BufferError or TypeError."""

    def __init__(self, buffer: Buffer, *, writable: bool):
        self._buffer, self._writable = buffer, writable
        self._view: _PyBuffer | None = None
        self._capsule = None  # frees the export with its last reference

    def __enter__(self) -> tuple[int | None, int]:
        try:
            memoryview(self._buffer).release()
        except TypeError:
            return self._dlpack()
        self._view = _PyBuffer()
        try:
            _get_buffer(self._buffer, C.byref(self._view), int(self._writable))
        except (BufferError, ValueError) as error:
            self._view = None
            raise BufferError(f"{type(self._buffer).__name__}: {error}") from error
        return self._view.buf, self._view.len

    def __exit__(self, *_) -> None:
        if self._view is not None:
            _release_buffer(C.byref(self._view))
            self._view = None
        self._capsule = None

    def _dlpack(self) -> tuple[int | None, int]:
        name = type(self._buffer).__name__
        if not hasattr(self._buffer, "__dlpack__"):
            raise TypeError(f"{name} has neither the buffer protocol nor __dlpack__")
        try:
            self._capsule = self._buffer.__dlpack__(max_version=_VERSION)
        except TypeError:
            self._capsule = self._buffer.__dlpack__()
        tensor, read_only = self._exported(name)
        if self._writable and read_only:
            raise BufferError(f"{name} is read-only")
        if tensor.device_type not in _HOST_DEVICES:
            raise BufferError(f"{name} is on a device (DLPack type {tensor.device_type}), not on the host")
        size = _contiguous_bytes(tensor, name)
        return (tensor.data or 0) + tensor.byte_offset, size

    def _exported(self, name: str) -> tuple[_Tensor, bool]:
        if _capsule_is(self._capsule, b"dltensor"):
            return _Tensor.from_address(_capsule_pointer(self._capsule, b"dltensor")), False
        managed = _Versioned.from_address(_capsule_pointer(self._capsule, b"dltensor_versioned"))
        if managed.major != _VERSION[0]:
            raise BufferError(f"{name} exports DLPack {managed.major}, known is {_VERSION[0]}")
        return managed.tensor, bool(managed.flags & _READ_ONLY_FLAG)


def _contiguous_bytes(tensor: _Tensor, name: str) -> int:
    """Returns the tensor's bytes. Raises BufferError where its elements have gaps between them."""
    shape = tensor.shape[: tensor.ndim] if tensor.ndim else []
    strides = tensor.strides[: tensor.ndim] if tensor.ndim and tensor.strides else None
    elements = 1
    for axis in range(tensor.ndim - 1, -1, -1):
        if strides and shape[axis] > 1 and strides[axis] != elements and 0 not in shape:
            raise BufferError(f"{name} of shape {shape} has strides {strides}: not contiguous")
        elements *= shape[axis]
    bits = elements * tensor.bits * tensor.lanes
    if bits % 8:
        raise BufferError(f"{name} has elements of {tensor.bits} bits")
    return bits // 8
