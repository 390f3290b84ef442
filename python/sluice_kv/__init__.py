"""Sluice for Python: KV-cache pages stored and restored over libsluice's C ABI."""
