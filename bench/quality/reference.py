"""The model that codecs are judged by: exact KV, and what it answers on KV that was coded.

In float32 on the CPU, with KV as bf16 holds it. Layers with a window are coded whole, as they are stored.
"""

import torch
from transformers import DynamicCache

from sluice_kv.kv_model import SINKS, KvModel

__all__ = ["SINKS", "Reference"]


class Reference(KvModel):
    def text(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens)

    def turned(self, kv: torch.Tensor, back: bool = False) -> torch.Tensor:
        """Returns KV with its keys rotated to their positions, or back to position 0."""
        out = kv.clone()
        for layer in range(len(kv)):
            cos, sin = self._cos_sin(layer, kv.shape[3])
            width = cos.shape[-1]
            keys = kv[layer, 0, ..., :width]
            other = torch.cat([-keys[..., width // 2 :], keys[..., : width // 2]], -1)
            out[layer, 0, ..., :width] = keys * cos + other * (-sin if back else sin)
        return out

    @torch.no_grad()
    def greedy(self, kv: torch.Tensor, lead: list[int], count: int) -> list[int]:
        """Returns the likeliest tokens behind a context and the tokens `lead`, one after another."""
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(kv):
            cache.update(keys[None], values[None], layer)
        out, position, ids = [], kv.shape[3], lead
        while len(out) < count:
            step = self._model(
                input_ids=torch.tensor(ids)[None],
                past_key_values=cache,
                use_cache=True,
                position_ids=torch.arange(position, position + len(ids))[None],
            )
            position += len(ids)
            ids = [int(step.logits[0, -1].argmax())]
            out += ids
        return out

    def follows(self, kv: torch.Tensor, lead: list[int], expected: list[int]) -> int:
        """Returns how many of the expected tokens greedy() gives on this KV, from the first on.

        One forward: as long as they agree, greedy decoding feeds these same tokens.
        """
        logits = self.answer(kv, [*lead, *expected[:-1]])[len(lead) - 1 :]
        pairs = zip(logits.argmax(axis=1).tolist(), expected)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), len(expected))

    def _cos_sin(self, layer: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """By transformers' own module, without the factor on amplitudes that some scalings have."""
        if self.rotated == 0:
            return torch.ones(tokens, 0), torch.zeros(tokens, 0)
        rotary, positions = self._model.model.rotary_emb, torch.arange(tokens)[None]
        kind = [] if hasattr(rotary, "inv_freq") else [self._model.config.layer_types[layer]]
        cos, sin = rotary(torch.ones(1), positions, *kind)
        amplitude = (cos**2 + sin**2).sqrt()
        return (cos / amplitude)[0], (sin / amplitude)[0]
