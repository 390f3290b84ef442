"""Takes codecs through the windows and needles of one text, and keeps in a journal what they cost."""

import hashlib
import sys
import time

import torch

import metrics
from codec_list import Codec
from journal import Journal
from needle import Needle
from reference import Reference


class Judge:
    def __init__(
        self, model: Reference, codecs: list[Codec], journal: Journal, text: str, greedy_tokens: int
    ):
        self._model, self._codecs, self._greedy_tokens = model, codecs, greedy_tokens
        self._journal, self._text = journal, text
        self._places: list[str] = []  # of what was judged

    def window(self, index: int, prefix: list[int], forced: list[int]) -> None:
        left = self._left(f"window {index}")
        if not left:
            return
        kv = self._model.prefill(prefix)
        exact = self._model.answer(kv, forced)
        greedy = self._model.greedy(kv, forced[:1], self._greedy_tokens)
        known: dict[bytes, dict] = {}  # what is answered on KV that was seen already
        for codec in left:
            began = time.monotonic()
            back, bits = coded(codec, kv)
            name = digest(back)
            if name not in known:
                answers = exact if torch.equal(back, kv) else self._model.answer(back, forced)
                known[name] = metrics.answered(exact, answers, forced)
                if greedy:
                    found = self._model.follows(back, forced[:1], greedy)
                    known[name]["followed"] = found / len(greedy)
            entry = {"bits": bits, "elements": kv.numel(), **known[name]}
            self._journal.add(entry, self._text, f"window {index}", codec.key)
            kl, seconds = sum(entry["kl"]) / len(entry["kl"]), time.monotonic() - began
            print(f"  {codec}: KL {kl:.5f}, {seconds:.1f} s", file=sys.stderr, flush=True)

    def needle(self, index: int, needle: Needle) -> None:
        left = self._left(f"needle {index}")
        if not left:
            return
        kv = self._model.prefill(needle.context)
        counts = self._finds(kv, needle)
        for codec in left:
            found = counts and self._finds(coded(codec, kv)[0], needle)
            entry = {"needle": found} if counts else {}
            self._journal.add(entry, self._text, f"needle {index}", codec.key)

    def _left(self, place: str) -> list[Codec]:
        self._places.append(place)
        return [c for c in self._codecs if self._journal.get(self._text, place, c.key) is None]

    def _finds(self, kv: torch.Tensor, needle: Needle) -> bool:
        found = self._model.follows(kv, needle.question, needle.answer)
        return found == len(needle.answer)

    def rows(self, about: dict) -> list[dict]:
        """about: what all rows say of model and text."""
        out = []
        for codec in self._codecs:
            found = [self._journal.get(self._text, place, codec.key) for place in self._places]
            row = metrics.row([entry for entry in found if entry is not None])
            pages = {"page_tokens": codec.page_tokens} if codec.page_tokens else {}
            out.append({"codec": codec.name, "level": codec.level, **pages, **about, **row})
        return out


def coded(codec: Codec, kv: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Returns KV as a cache of bf16 holds it after a codec, and the bits between."""
    back, bits = codec.code(kv)
    if back.shape != kv.shape or not torch.isfinite(back).all():
        raise SystemExit(f"{codec} gives no KV back")
    return back.bfloat16().float(), bits


def digest(kv: torch.Tensor) -> bytes:
    return hashlib.sha256(kv.bfloat16().contiguous().view(torch.int16).numpy()).digest()
