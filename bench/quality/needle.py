"""Needles: a sentence with a number hidden in a text, and the question for it behind the text.

Only needles that the model finds on exact KV count: a small model does not find all.
"""

import dataclasses
import random

from reference import Reference

PLACES = ("Zanzibar", "Lisbon", "Kyoto", "Quito", "Oslo", "Dakar", "Perth", "Riga")


@dataclasses.dataclass
class Needle:
    context: list[int]
    question: list[int]
    answer: list[int]


def needles(model: Reference, haystacks: list[list[int]]) -> list[Needle]:
    """Hides one needle in each haystack, at depths from the start to the end; lengths stay."""
    drawn = random.Random(1)
    out = []
    for index, hay in enumerate(haystacks):
        lead = f"\n\nThe secret number of {PLACES[index % len(PLACES)]} is"
        number = f" {drawn.randrange(10_000, 100_000)}"
        fact = model.encode(f"{lead}{number}.\n\n")
        at = int((len(hay) - len(fact)) * (index + 0.5) / len(haystacks))
        context = hay[:at] + fact + hay[at : len(hay) - len(fact)]
        out.append(Needle(context, model.encode(lead), model.encode(number)))
    return out
