"""Two codecs on the same windows: how far apart their log KL is, with a bootstrap interval."""

import math
import random
from collections.abc import Sequence

DRAWS = 2000


def log_ratio(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float] | None:
    """Returns log(mean a / mean b) and the ends of its 95 % interval; None where one of them is 0.

    a, b: mean KL of each window, in the same order. Windows are drawn with their pairs.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} windows and {len(b)}: the same are needed")
    if min(a) <= 0 or min(b) <= 0:
        return None
    drawn = random.Random(1)
    found = []
    for _ in range(DRAWS):
        picks = drawn.choices(range(len(a)), k=len(a))
        found.append(math.log(sum(a[i] for i in picks) / sum(b[i] for i in picks)))
    found.sort()
    ends = found[round(0.025 * (DRAWS - 1))], found[round(0.975 * (DRAWS - 1))]
    return math.log(sum(a) / sum(b)), *ends
