"""The model that codecs are judged by: rotation, windows, greedy tokens, needles.

tests/python/run_hf.sh runs this. $SLUICE_HF_MODEL is SmolLM2-135M; models of other kinds are small and
have random weights.
"""

import os
import sys
import unittest

import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config

SOURCE = os.environ["SLUICE_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "bench", folder) for folder in ("quality", "")]

from needle import needles
from reference import Reference
from sluice_kv.kv_model import read_text

GPL = "/usr/share/common-licenses/GPL-3"
SIZES = {
    "hidden_size": 64, "intermediate_size": 64, "vocab_size": 256, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "max_position_embeddings": 512,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 128}
WINDOW = 16
KINDS = {
    "llama": LlamaConfig(**SIZES),
    "llama with yarn": LlamaConfig(**SIZES, rope_parameters=YARN),
    "qwen2": Qwen2Config(**SIZES),
    "gemma3": Gemma3TextConfig(
        **SIZES,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
    ),
}


class Small(Reference):
    """Without files: the identity of pages is not what is tested here."""

    def __init__(self, config):
        torch.manual_seed(1)
        self._model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        self.rotated = SIZES["head_dim"]

    def keys_before_rotation(self, tokens: list[int]) -> torch.Tensor:
        """Returns [layer][head][token][dim], caught where they come from."""
        caught = []
        for layer in self._model.model.layers:
            source = getattr(layer.self_attn, "k_norm", None) or layer.self_attn.k_proj
            source.register_forward_hook(lambda _, __, out: caught.append(out[0]))
        with torch.no_grad():
            self._model(torch.tensor(tokens)[None])
        shape = len(tokens), SIZES["num_key_value_heads"], SIZES["head_dim"]
        return torch.stack(
            [k if k.dim() == 3 else k.reshape(shape).transpose(0, 1) for k in caught]
        )


class Kinds(unittest.TestCase):
    def setUp(self):
        self.tokens = torch.randint(0, 256, (72,), generator=torch.Generator().manual_seed(1)).tolist()

    def test_keys_turn_back_to_what_they_were_before_rotation(self):
        for name, config in KINDS.items():
            with self.subTest(name):
                model = Small(config)
                kv = model.prefill(self.tokens)
                back = model.turned(kv, back=True)
                before = model.keys_before_rotation(self.tokens)
                share = back[:, 0].norm() / before.norm()  # yarn scales keys, too
                self.assertLess((back[:, 0] - share * before).abs().max(), 0.02 * before.abs().max())
                self.assertTrue(torch.equal(back[:, 1], kv[:, 1]))
                self.assertLess((model.turned(back) - kv).abs().max(), 1e-4)

    def test_answers_on_a_prefix_are_those_of_the_whole(self):
        for name, config in KINDS.items():
            with self.subTest(name):
                model = Small(config)
                with torch.no_grad():
                    whole = model._model(torch.tensor(self.tokens)[None]).logits[0, 64:]
                found = torch.from_numpy(model.answer(model.prefill(self.tokens[:64]), self.tokens[64:]))
                # KV was rounded to bf16.
                self.assertLess((found - whole).abs().max(), 0.02 * whole.abs().max())


class RealModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = Reference(os.environ["SLUICE_HF_MODEL"])
        cls.tokens = cls.model.windows([read_text(GPL)], 1, 192)[0]
        cls.kv = cls.model.prefill(cls.tokens[:128])

    def test_keys_turn_back_to_what_profiles_are_made_of(self):
        back = self.model.turned(self.kv, back=True)
        flat = torch.from_numpy(self.model.unrotated(self.kv)).float()
        self.assertLess((back.transpose(2, 3).flatten(3) - flat).abs().max(), 1e-3)
        self.assertLess((self.model.turned(back) - self.kv).abs().max(), 1e-4)

    def test_greedy_tokens_are_followed_up_to_the_first_that_differs(self):
        lead = self.tokens[128:130]
        greedy = self.model.greedy(self.kv, lead, 12)
        self.assertEqual(self.model.follows(self.kv, lead, greedy), 12)
        other = [*greedy[:5], greedy[5] + 1, *greedy[6:]]
        self.assertEqual(self.model.follows(self.kv, lead, other), 5)
        ruined = torch.zeros_like(self.kv)
        again = self.model.greedy(ruined, lead, 12)
        same = next((i for i, (a, b) in enumerate(zip(greedy, again)) if a != b), 12)
        self.assertEqual(self.model.follows(ruined, lead, greedy), same)

    def test_needles_lie_at_rising_depths_of_contexts_as_long_as_before(self):
        hidden = needles(self.model, [self.tokens] * 3)
        at = []
        for needle in hidden:
            self.assertEqual(len(needle.context), len(self.tokens))
            text = self.model.text(needle.context)
            fact = self.model.text(needle.question) + self.model.text(needle.answer)
            self.assertIn(fact, text)
            at.append(text.index(fact) / len(text))
        self.assertEqual(at, sorted(at))
        self.assertLess(at[0], 0.3)
        self.assertGreater(at[2], 0.5)


if __name__ == "__main__":
    unittest.main()
