"""What errors in KV cost, without gradients: for keys how large queries are, for values how much of them
the output projection passes on. Needs torch and transformers.
"""

import contextlib

import numpy as np
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def energies(model: torch.nn.Module, ids: torch.Tensor, heads: int, dim: int, rotated: int) -> np.ndarray:
    """Returns [layer][plane k,v][channel] for one forward of ids [1][token].

    Keys are those before rotation: the two channels of a pair see the same queries on average.
    """
    found: dict[int, np.ndarray] = {}

    def look(module: torch.nn.Module, query: torch.Tensor) -> None:
        per_head = query[0].double().pow(2).mean(1).unflatten(0, (heads, -1)).sum(1)  # [head][dim]
        half = rotated // 2
        pairs = (per_head[:, :half] + per_head[:, half:rotated]) / 2
        keys = torch.cat([pairs, pairs, per_head[:, rotated:]], 1)
        output = module.dense if hasattr(module, "dense") else module.o_proj
        passed = output.weight.double().pow(2).sum(0).reshape(heads, -1, dim).sum(1)
        found[module.layer_idx] = torch.stack([keys, passed]).flatten(1).numpy()

    with torch.no_grad(), _watched(model.config, look):
        model(input_ids=ids, logits_to_keep=1)
    return np.stack([found[layer] for layer in sorted(found)])


@contextlib.contextmanager
def _watched(config, look):
    """Calls look(module, query) before each attention, query rotated, [1][head][token][dim]."""
    name = config._attn_implementation  # transformers has no public name for it
    attend = ALL_ATTENTION_FUNCTIONS[name]

    def watched(module, query, *arguments, **options):
        look(module, query)
        return attend(module, query, *arguments, **options)

    ALL_ATTENTION_FUNCTIONS[name] = watched
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS[name] = attend
