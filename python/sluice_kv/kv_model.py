"""A transformers model as calibration sees it: its KV, what its answers' likelihood makes of it.

KV of a context is one tensor, float32, [layer][plane k,v][head][token][dim], keys rotated, as bf16
would hold it. Needs torch and transformers.
"""

import os

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from sluice_kv import api, attention_energy

SINKS = 4  # first tokens of a context: they travel exactly and are no sample of the others
CHUNK_TOKENS = 512


def read_text(path: str) -> str:
    """Returns a text; SystemExit for a file that is none, since what is measured on it says nothing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError as error:
        raise SystemExit(f"text {path}: {error.strerror}") from error
    if "\0" in text or text.count("\ufffd") > len(text) / 100:
        raise SystemExit(f"text {path} is not UTF-8; convert it")
    return text


class KvModel:
    """A model of one or more KV groups of equal planes, in float32 on the CPU."""

    def __init__(self, path: str):
        files = api.Model(path)
        self.digest, self.groups = files.digest(600_000), files.manifest()["groups"]
        planes = {
            (p["role"], p["heads"], p["dim"]) for group in self.groups for p in group["planes"]
        }
        if [role for role, _, _ in sorted(planes)] != ["k", "v"]:
            raise SystemExit(f"planes {sorted(planes)}: one k and one v of the same shape expected")
        (_, self.heads, self.dim), (_, v_heads, v_dim) = sorted(planes)
        if (v_heads, v_dim) != (self.heads, self.dim):
            raise SystemExit("k and v differ in heads or dim")
        self.channels = self.heads * self.dim
        self.layers = sorted(layer for group in self.groups for layer in group["layers"])
        self.rotated = max(plane["rotated_dims"] for plane in self.groups[0]["planes"])
        self._model, self._tokenizer = _load(path)

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of a text that goes on, without those that begin one."""
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def windows(self, texts: list[str], count: int, tokens: int) -> list[list[int]]:
        """Cuts windows of so many tokens out of the texts in turn, evenly over each."""
        out = []
        for index in range(count):
            text, turn = texts[index % len(texts)], index // len(texts)
            turns = -(-count // len(texts))
            at = int(len(text) * (0.03 + 0.9 * turn / turns))
            ids = self._tokenizer(text[at : at + 12 * tokens])["input_ids"][:tokens]
            if len(ids) < tokens:
                raise SystemExit(f"a text has {len(ids)} tokens from {at} on, {tokens} are needed")
            out.append(ids)
        return out

    @torch.no_grad()
    def prefill(self, tokens: list[int]) -> torch.Tensor:
        cache = DynamicCache()  # without a config it keeps every token of a window's layers too
        for start in range(0, len(tokens), CHUNK_TOKENS):
            ids = torch.tensor(tokens[start : start + CHUNK_TOKENS])[None]
            self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        kv = torch.stack([torch.stack([l.keys[0], l.values[0]]) for l in cache.layers])
        return kv.bfloat16().float()

    def answer(self, kv: torch.Tensor, tokens: list[int]) -> np.ndarray:
        """Returns the logits [token][vocabulary] of teacher-forced tokens behind a context."""
        with torch.no_grad():
            return self._forced(kv, tokens).numpy()

    def gradients(self, kv: torch.Tensor, tokens: list[int], labels: int):
        """Yields d log p / d KV, [layer][plane][token][channel], keys before rotation, for labels drawn
        from the model's own distribution; scaled to one label a forced token."""
        leaf = kv.clone().requires_grad_(True)
        logp = torch.log_softmax(self._forced(leaf, tokens), -1)
        drawn = torch.multinomial(
            logp.detach().exp(), labels, replacement=True, generator=torch.Generator().manual_seed(1)
        )
        for i in range(labels):
            loss = logp.gather(1, drawn[:, i : i + 1]).sum()
            (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=i + 1 < labels)
            yield self.unrotated(gradient) / np.sqrt(len(tokens))

    def energies(self, tokens: list[int]) -> np.ndarray:
        """Returns what an error costs without gradients, [layer][plane][channel], in no unit."""
        ids = torch.tensor(tokens)[None]
        return attention_energy.energies(self._model, ids, self.heads, self.dim, self.rotated)

    def unrotated(self, kv: torch.Tensor) -> np.ndarray:
        """Returns [layer][plane][token][channel] in float64, keys turned back to position 0."""
        out = kv.double().clone()
        positions = torch.arange(kv.shape[3], dtype=torch.float64)
        half = self.rotated // 2
        for layer in self.layers:
            frequencies = self._frequencies(layer)
            if frequencies is None:
                continue
            angle = positions[:, None] * frequencies[None]
            cos, sin = angle.cos(), angle.sin()
            low = kv[layer, 0, :, :, :half].double()
            high = kv[layer, 0, :, :, half : self.rotated].double()
            out[layer, 0, :, :, :half] = low * cos + high * sin
            out[layer, 0, :, :, half : self.rotated] = high * cos - low * sin
        return out.permute(0, 1, 3, 2, 4).flatten(3).numpy()

    def rotations(self, layers: list[int]) -> tuple[list[np.ndarray], list[int | None]]:
        """Returns the distinct lists of frequencies, and for each layer the number of its list."""
        lists, numbers = [], []
        for layer in layers:
            own = self._frequencies(layer)
            if own is None:
                numbers.append(None)
                continue
            same = [i for i, other in enumerate(lists) if np.array_equal(other, own.numpy())]
            if not same:
                lists.append(own.numpy())
            numbers.append(same[0] if same else len(lists) - 1)
        return lists, numbers

    def _frequencies(self, layer: int) -> torch.Tensor | None:
        """Radians a position of each pair of a layer's keys."""
        if self.rotated == 0:
            return None
        rotary = self._model.model.rotary_emb
        kind = "" if hasattr(rotary, "inv_freq") else f"{self._model.config.layer_types[layer]}_"
        found = getattr(rotary, f"{kind}inv_freq").double()
        if 2 * len(found) != self.rotated:
            raise SystemExit(f"{2 * len(found)} channels of layer {layer} rotate, {self.rotated} expected")
        return found

    def _forced(self, kv: torch.Tensor, tokens: list[int]) -> torch.Tensor:
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(kv):
            cache.update(keys[None], values[None], layer)
        first = kv.shape[3]
        positions = torch.arange(first, first + len(tokens))[None]
        out = self._model(
            input_ids=torch.tensor(tokens)[None],
            past_key_values=cache,
            use_cache=True,
            position_ids=positions,
        )
        return out.logits[0].float()


def _load(path: str):
    """Returns model and tokenizer of a folder or a GGUF, whose weights are dequantised."""
    folder, name = (path, None) if os.path.isdir(path) else os.path.split(path)
    file = {} if name is None else {"gguf_file": name}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **file).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model, AutoTokenizer.from_pretrained(folder, **file)
