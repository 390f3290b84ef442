"""What a codec is to the quality bench, and the list of those that it knows.

A codec is one function. It takes the KV of a context, float32 [layer][plane k,v][head][token][dim] of
bf16 values, keys rotated, tokens from position 0; it returns the KV as it comes back and the bits of
all that had to be stored for that. What is stored once a model (profiles, bases) does not count.
"""

import dataclasses
import fnmatch
from collections.abc import Callable

import torch

Code = Callable[[torch.Tensor], tuple[torch.Tensor, float]]
SOURCE_BITS = 16  # an element of bf16


@dataclasses.dataclass(frozen=True)
class Codec:
    name: str
    level: str
    code: Code
    page_tokens: int = 0  # of a codec of pages
    material: str = ""  # digest of what else decides what it does

    def __str__(self) -> str:
        return " ".join(map(str, filter(None, (self.name, self.level, self.page_tokens))))

    @property
    def key(self) -> str:
        """What it is in a journal."""
        return f"{self} {self.material}".strip()


def by_token(kv: torch.Tensor) -> torch.Tensor:
    """Returns [layer][plane][token][channel], the heads of a token behind one another."""
    return kv.transpose(2, 3).flatten(3)


def by_head(flat: torch.Tensor, heads: int) -> torch.Tensor:
    """The inverse of by_token()."""
    return flat.unflatten(3, (heads, -1)).transpose(2, 3)


def chosen(codecs: list[Codec], patterns: list[str]) -> list[Codec]:
    """Returns those whose "name level" fits a pattern as the shell has them, or does with the tokens of
    a page behind it; SystemExit for none."""
    found = [
        codec
        for codec in codecs
        for names in [(str(codec), f"{codec.name} {codec.level}".strip())]
        if any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)
    ]
    if not found:
        known = ", ".join(map(str, codecs))
        raise SystemExit(f"no codec fits {' '.join(patterns)}; there are: {known}")
    return found
