"""Carries a context's KV through libsluice and a daemon, and measures what the model makes of it then."""

import os
import sys

import torch

from sluice_kv import api, quality, space_identity
from sluice_kv.kv_model import KvModel

PREFIX_TOKENS, FORCED_TOKENS = 1024, 128
PAGE_TOKENS = 64


class Carrier:
    """Takes a context's KV through libsluice and a daemon, in pages put within kl micro-nats."""

    def __init__(self, model: KvModel, socket: str, files: list[bytes], kl: int):
        self.model, self.kl = model, kl
        self.client = api.Client(socket)
        for file in files:
            self.client.add_profile(file)
        self.bytes = self.elements = 0

    def carry(self, kv: torch.Tensor, tokens: list[int]) -> torch.Tensor:
        """Returns the KV [layer][plane][head][token][dim] as it comes back."""
        out = torch.empty_like(kv)
        for group in self.model.groups:
            fields = {
                **space_identity.group_fields(
                    group, dtype="bf16", first_head=0, heads=group["planes"][0]["heads"]
                ),
                # transformers' order of channels, which a GGUF need not have
                "rope": {**group["rope"], "pairing": "neox" if self.model.rotated else "none"},
                "model_digest": self.model.digest,
                "user_salt": os.urandom(16),  # no page of before, none for others
                "compute_dtype": "f32",
                "page_tokens": PAGE_TOKENS,
            }
            descriptor = space_identity.encode_descriptor(fields)
            with api.Space(self.client, descriptor, self.kl, put_kl=self.kl) as space:
                keys = space.keys(tokens)
                pages = self._pages(kv[group["layers"]]).bfloat16()
                moved = space.put(keys, pages)
                self.bytes += moved.stored_bytes
                self.elements += pages.numel()
                back = torch.empty_like(pages)
                if space.get(keys, back, max_kl=self.kl).pages != len(keys):
                    raise SystemExit("sluiced did not give back what it was given")
                out[group["layers"]] = self._joined(back).float()
        return out

    @staticmethod
    def _pages(kv: torch.Tensor) -> torch.Tensor:
        """From [layer][plane][head][token][dim] to [page][layer][plane][token][head][dim]."""
        layers, planes, heads, tokens, dim = kv.shape
        split = kv.reshape(layers, planes, heads, tokens // PAGE_TOKENS, PAGE_TOKENS, dim)
        return split.permute(3, 0, 1, 4, 2, 5).contiguous()

    @staticmethod
    def _joined(pages: torch.Tensor) -> torch.Tensor:
        joined = pages.permute(1, 2, 4, 0, 3, 5)
        return joined.reshape(*joined.shape[:3], -1, joined.shape[-1])


def measure(model: KvModel, carriers: list[Carrier], windows: list[list[int]]) -> list[dict]:
    """Returns the quality and size of each carrier's pages, over teacher-forced windows."""
    found: list[list[quality.Window]] = [[] for _ in carriers]
    for index, tokens in enumerate(windows, 1):
        prefix, forced = tokens[:PREFIX_TOKENS], tokens[PREFIX_TOKENS:]
        kv = model.prefill(prefix)
        exact = model.answer(kv, forced)
        for carrier, own in zip(carriers, found):
            own.append(quality.compare(exact, model.answer(carrier.carry(kv, prefix), forced)))
        means = ", ".join(f"{own[-1].kl.mean():.5f}" for own in found)
        print(f"window {index} of {len(windows)}: KL {means}", file=sys.stderr)
    return [
        {**quality.summary(own), "bits_per_element": 8 * carrier.bytes / carrier.elements}
        for carrier, own in zip(carriers, found)
    ]
