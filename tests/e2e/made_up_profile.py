"""A profile of three levels that nobody measured: for tests of what travels, not of quality."""

import numpy as np
from sluice_kv import profile_file

KL = {"q3": 26000, "q2": 1500, "q1": 100, "exact": 0}  # micro-nats
STEP = 0.02  # of q1
SCALE = 20  # number of the ROM's table: components of a few steps


def encode(
    model_digest: bytes, planes: list[dict], layers: list[int], rope_base: float = 0
) -> bytes:
    """Returns the file: channels of mean 0 as they are."""
    half = max(plane["rotated_dims"] for plane in planes) // 2
    rotation = 0 if half else profile_file.NOT_ROTATED

    def block(plane: dict) -> profile_file.Block:
        width = plane["heads"] * plane["dim"]
        return profile_file.Block(np.zeros(width), np.full(width, STEP), np.full(width, SCALE))

    return profile_file.Profile(
        model_digest=model_digest,
        planes=planes,
        layers=layers,
        rotations=[rotation] * len(layers),
        frequencies=[rope_base ** (-np.arange(half) / half)] if half else [],
        blocks=[[block(plane) for plane in planes] for _ in layers],
        sinks=0,
        note="made up",
        kl=[KL[level] for level in ("q3", "q2", "q1")],
    ).encode()
