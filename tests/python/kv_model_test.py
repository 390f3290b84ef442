"""What calibration sees of a model: keys before rotation under every scaling, and what errors cost.

tests/python/run_hf.sh runs this. The models are small and have random weights.
"""

import os
import tempfile
import unittest

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    Gemma3TextConfig,
    LlamaConfig,
    Phi3Config,
    Qwen3Config,
)

from sluice_kv import api, kv_statistics
from sluice_kv.kv_model import KvModel

HEADS, DIM = 2, 16
SIZES = {
    "hidden_size": 64, "intermediate_size": 64, "vocab_size": 256, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": HEADS, "head_dim": DIM,
    "max_position_embeddings": 512, "pad_token_id": 0,
}  # fmt: skip


def rope(kind: str, **fields) -> dict:
    return {"rope_type": kind, "rope_theta": 1e4, **fields}


def longrope(pairs: int) -> dict:
    lists = {"short_factor": [1.0 + 0.2 * i for i in range(pairs)], "long_factor": [4.0] * pairs}
    return rope("longrope", **lists, original_max_position_embeddings=256)


KINDS = {
    "default": LlamaConfig(**SIZES),
    "linear": LlamaConfig(**SIZES, rope_parameters=rope("linear", factor=3.0)),
    "llama3": LlamaConfig(
        **SIZES,
        rope_parameters=rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
    ),
    "yarn": LlamaConfig(
        **SIZES, rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=128)
    ),
    "longrope": LlamaConfig(**SIZES, rope_parameters=longrope(DIM // 2)),
    "partial": Phi3Config(**SIZES, rope_parameters=rope("default", partial_rotary_factor=0.5)),
    "normed keys": Qwen3Config(**SIZES),
    "per layer": Gemma3TextConfig(
        **SIZES, sliding_window=32, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
    ),
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}


def of_type(model_type: str) -> object:
    """Returns the config of a small model, with what its type has by default of windows and RoPE."""
    default = AutoConfig.for_model(model_type)
    known = default.to_dict().keys() | default.attribute_map.keys()
    named = {**SIZES, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, **EXPERTS}
    return AutoConfig.for_model(model_type, **{k: v for k, v in named.items() if k in known})


TYPES = (
    "llama", "mistral", "mixtral", "starcoder2", "olmo", "olmo2", "olmoe", "granite", "granitemoe", "phi",
    "stablelm", "phi3", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "gemma", "gemma2", "gemma3_text",
)  # fmt: skip


class Small(KvModel):
    """Without files."""

    def __init__(self, config, rotated: int = DIM):
        torch.manual_seed(1)
        self._model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        self.layers, self.heads, self.dim = list(range(config.num_hidden_layers)), HEADS, DIM
        self.channels, self.rotated = HEADS * DIM, rotated

    def projected_keys(self, tokens: list[int]) -> np.ndarray:
        """Returns [layer][token][channel], caught where they come from."""
        caught = []
        for layer in self._model.model.layers:
            attention = layer.self_attn
            if source := getattr(attention, "k_norm", None):
                take = lambda out: out[0].transpose(0, 1) if out.shape[1] == HEADS else out[0]
            else:
                source = getattr(attention, "k_proj", None) or attention.qkv_proj
                first = 0 if hasattr(attention, "k_proj") else 4 * DIM
                take = lambda out, first=first: out[0, :, first : first + HEADS * DIM]
            source.register_forward_hook(lambda _, __, out, take=take: caught.append(take(out)))
        self.prefill(tokens)
        return torch.stack([keys.reshape(len(tokens), -1) for keys in caught]).double().numpy()


TOKENS = torch.randint(0, 256, (96,), generator=torch.Generator().manual_seed(1)).tolist()


class Unrotated(unittest.TestCase):
    def test_keys_come_back_to_what_they_were_under_every_scaling(self):
        for name in KINDS:
            with self.subTest(name):
                model = Small(KINDS[name], DIM // 2 if name == "partial" else DIM)
                before = model.projected_keys(TOKENS)
                found = model.unrotated(model.prefill(TOKENS))[:, 0]
                if name in ("yarn", "longrope"):  # these scale the amplitude, which stays in the data
                    found *= np.linalg.norm(before) / np.linalg.norm(found)
                # KV was rounded to bf16.
                np.testing.assert_allclose(found, before, atol=0.01 * np.abs(before).max())

    def test_a_model_that_rotates_other_channels_than_its_files_say_is_refused(self):
        model = Small(KINDS["default"])
        model.rotated = DIM // 2
        with self.assertRaisesRegex(SystemExit, "16 channels of layer 0 rotate, 8 expected"):
            model.unrotated(model.prefill(TOKENS))


class Types(unittest.TestCase):
    """What src/model/manifest_hf.cc says of a model's files against transformers' own code."""

    def test_the_files_say_what_the_model_does(self):
        for model_type in TYPES:
            with self.subTest(model_type), tempfile.TemporaryDirectory() as folder:
                config = of_type(model_type)
                model = Small(config)
                model._model.save_pretrained(folder)
                groups = api.Model(folder).manifest()["groups"]
                for layer, kv in enumerate(self.cached(model)):
                    (group,) = (g for g in groups if layer in g["layers"])
                    self.assertEqual(group["attention"] == "window", kv.is_sliding)
                    for plane, held in zip(group["planes"], (kv.keys, kv.values)):
                        self.assertEqual((plane["heads"], plane["dim"]), (held.shape[1], held.shape[3]))
                rotated = model.rotated = groups[0]["planes"][0]["rotated_dims"]
                before = model.projected_keys(TOKENS)
                found = model.unrotated(model.prefill(TOKENS))[:, 0]
                np.testing.assert_allclose(found, before, atol=0.01 * np.abs(before).max())
                for group in groups:
                    lists, _ = model.rotations(group["layers"])
                    wanted = group["rope"]["base"] ** (-np.arange(0, rotated, 2) / rotated)
                    np.testing.assert_allclose(lists[0], wanted, rtol=1e-6)
                self.assertEqual(model.energies(TOKENS).shape, (len(model.layers), 2, HEADS * DIM))

    @staticmethod
    def cached(model: Small) -> list:
        cache = DynamicCache(config=model._model.config)
        with torch.no_grad():
            model._model(input_ids=torch.tensor([TOKENS]), past_key_values=cache, use_cache=True)
        return cache.layers


class Energies(unittest.TestCase):
    def test_they_are_those_of_queries_and_of_the_output_projection(self):
        model = Small(KINDS["default"])
        found = model.energies(TOKENS)
        attention = model._model.model.layers[0].self_attn
        with torch.no_grad():
            embedded = model._model.model.embed_tokens(torch.tensor(TOKENS)[None])
            normed = model._model.model.layers[0].input_layernorm(embedded)
            queries = attention.q_proj(normed)[0].double()  # a pair's energy does not depend on its angle
        squares = queries.pow(2).mean(0).reshape(HEADS, 2, 2, DIM // 2).sum(1).mean(1)  # [kv head][pair]
        wanted = squares[:, None].expand(HEADS, 2, DIM // 2).flatten()
        np.testing.assert_allclose(found[0, 0], wanted.numpy(), rtol=1e-3)
        columns = attention.o_proj.weight.detach().double().pow(2).sum(0).reshape(HEADS, 2, DIM).sum(1)
        np.testing.assert_allclose(found[0, 1], columns.flatten().numpy(), rtol=1e-6)


class Resumed(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "partial")
        kv_statistics.PREFIX_TOKENS, kept = 64, kv_statistics.PREFIX_TOKENS
        self.addCleanup(setattr, kv_statistics, "PREFIX_TOKENS", kept)

    def test_statistics_go_on_from_their_file(self):
        for metric in (kv_statistics.GRADIENTS, kv_statistics.ENERGY):
            with self.subTest(metric):
                whole = kv_statistics.Statistics(Small(KINDS["default"]), metric)
                whole.add(TOKENS)
                whole.save(self.path, {"run": metric})
                whole.add(TOKENS[::-1])
                again = kv_statistics.Statistics(Small(KINDS["default"]), metric)
                self.assertTrue(again.load(self.path, {"run": metric}))
                again.add(TOKENS[::-1])
                for name in ("mean", "covariance", "costs"):
                    np.testing.assert_allclose(getattr(again, name)(), getattr(whole, name)())
                np.testing.assert_array_equal(again.samples, whole.samples)
                self.assertEqual(again.marks, whole.marks)
                self.assertEqual(len(again.marks), 2 * len(TOKENS) // 16)

    def test_a_file_of_another_run_is_not_taken(self):
        statistics = kv_statistics.Statistics(Small(KINDS["default"]))
        statistics.save(self.path, {"windows": 1})
        self.assertFalse(statistics.load(self.path, {"windows": 2}))
        self.assertFalse(statistics.load(self.path + ".none", {"windows": 1}))


if __name__ == "__main__":
    unittest.main()
