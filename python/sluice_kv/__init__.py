"""Sluice for Python: KV-cache pages stored and restored over libsluice's C ABI (docs/python.md)."""

from sluice_kv.api import Client, Error, Model, Space, Transfer, Unavailable

__all__ = ["Client", "Error", "Model", "Space", "Transfer", "Unavailable"]
