"""Takes codecs through the windows and needles of one text, and adds up what they cost."""

import sys
import time

import torch

from codec_list import Codec
from metrics import Tally
from needle import Needle
from reference import Reference


class Judge:
    def __init__(self, model: Reference, codecs: list[Codec], greedy_tokens: int):
        self._model, self._codecs, self._greedy_tokens = model, codecs, greedy_tokens
        self._tallies = [Tally() for _ in codecs]

    def window(self, prefix: list[int], forced: list[int]) -> None:
        kv = self._model.prefill(prefix)
        exact = self._model.answer(kv, forced)
        greedy = self._model.greedy(kv, forced[:1], self._greedy_tokens)
        for codec, tally in zip(self._codecs, self._tallies):
            began = time.monotonic()
            back, bits = coded(codec, kv)
            tally.add_size(bits, kv.numel())
            same = torch.equal(back, kv)  # then all answers are, too
            tally.add_answers(exact, exact if same else self._model.answer(back, forced), forced)
            if greedy:
                found = len(greedy) if same else self._model.follows(back, forced[:1], greedy)
                tally.followed.append(found / len(greedy))
            kl, seconds = tally.windows[-1].kl.mean(), time.monotonic() - began
            print(f"  {codec}: KL {kl:.5f}, {seconds:.1f} s", file=sys.stderr, flush=True)

    def needle(self, needle: Needle) -> None:
        kv = self._model.prefill(needle.context)
        if not self._finds(kv, needle):
            return
        for codec, tally in zip(self._codecs, self._tallies):
            back, _ = coded(codec, kv)
            tally.needles.append(torch.equal(back, kv) or self._finds(back, needle))

    def _finds(self, kv: torch.Tensor, needle: Needle) -> bool:
        found = self._model.follows(kv, needle.question, needle.answer)
        return found == len(needle.answer)

    def rows(self, about: dict) -> list[dict]:
        """about: what all rows say of model and text."""
        return [
            {"codec": codec.name, "level": codec.level, **about, **tally.row()}
            for codec, tally in zip(self._codecs, self._tallies)
        ]


def coded(codec: Codec, kv: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Returns KV as a cache of bf16 holds it after a codec, and the bits between."""
    back, bits = codec.code(kv)
    if back.shape != kv.shape or not torch.isfinite(back).all():
        raise SystemExit(f"{codec} gives no KV back")
    return back.bfloat16().float(), bits
