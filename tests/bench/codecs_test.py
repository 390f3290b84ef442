"""Codecs of the quality bench on drawn KV: how far what comes back is off, and which bits count.

tests/python/run_hf.sh runs this. What each does to a real model is in bench/quality.
"""

import math
import os
import sys
import unittest

import torch

SOURCE = os.environ["SLUICE_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "bench", folder) for folder in ("quality", "")]

import codec_list
import codecs_cachegen
import codecs_fixed
import codecs_ggml
import codecs_kvtc
import codecs_lossless
import codecs_sluice
from reference import SINKS

LAYERS, HEADS, TOKENS, DIM = 12, 3, 512, 64
ELEMENTS = LAYERS * 2 * HEADS * TOKENS * DIM


def drawn(seed: int = 1) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(LAYERS, 2, HEADS, TOKENS, DIM).bfloat16().float()


class Unrotated:
    """A model without RoPE, whose KV is drawn."""

    def prefill(self, seed: int) -> torch.Tensor:
        mixed = drawn(seed) @ torch.diag(torch.linspace(0.01, 2, DIM))
        return (mixed + 3).bfloat16().float()

    def turned(self, kv: torch.Tensor, back: bool = False) -> torch.Tensor:
        return kv


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean square, as a share of b's."""
    return ((a - b).pow(2).mean() / b.pow(2).mean()).item()


class Shapes(unittest.TestCase):
    def test_reorders_are_undone(self):
        kv = drawn()
        self.assertTrue(torch.equal(codec_list.by_head(codec_list.by_token(kv), HEADS), kv))
        pages = codecs_sluice.pages_of(kv, 64)
        self.assertEqual(pages.shape, (TOKENS // 64, LAYERS, 2, 64, HEADS, DIM))
        self.assertTrue(torch.equal(pages[3, 5, 1, 7, 2], kv[5, 1, 2, 3 * 64 + 7]))
        self.assertTrue(torch.equal(codecs_sluice.context_of(pages), kv))

    def test_codecs_are_chosen_as_a_shell_does(self):
        codecs = [*codecs_cachegen.codecs(), *codecs_fixed.codecs()]
        found = codec_list.chosen(codecs, ["cachegen 2*", "kivi 4"])
        self.assertEqual(list(map(str, found)), ["cachegen 2 chunk256", "cachegen 2 whole", "kivi 4"])
        with self.assertRaises(SystemExit):
            codec_list.chosen(codecs, ["no such"])


class Sizes(unittest.TestCase):
    """Bits an element, by hand."""

    def bits(self, codec: codec_list.Codec, kv: torch.Tensor) -> float:
        return codec.code(kv)[1] / ELEMENTS

    def test_fixed_ones_have_their_numbers(self):
        kv = drawn()
        wanted = {
            "fp8 unscaled": 8,
            "fp8 scaled": 8 + 32 / (TOKENS * DIM),
            "kivi 2": 3,
            "kivi 4": 5,
            "kivi 2 recent": 3 + 13 * 128 / TOKENS,
            "turboquant 3": 3.25,
            "turboquant 4": 4.25,
            "turboquant 4 skip": 4.25 + (16 - 4.25) * 4 / LAYERS,
            "turboquant 4bit_nc skip": 4.375 + (16 - 4.375) * 4 / LAYERS,
            "q8_0 plain": 8.5,
            "q4_0 rotated": 4.5,
        }
        codecs = {str(c): c for c in [*codecs_fixed.codecs(), *codecs_ggml.codecs()]}
        for name, bits in wanted.items():
            self.assertAlmostEqual(self.bits(codecs[name], kv), bits, msg=name)

    def test_cachegen_counts_tables_lengths_and_maxima(self):
        symbols = torch.tensor([0.0, 0, 0, 1]).repeat(TOKENS // 4)
        kv = symbols[None, None, None, :, None].expand(LAYERS, 2, HEADS, TOKENS, DIM)
        entropy = 2 - 0.75 * math.log2(3)
        for chunk, chunks in ((256, 2), (1 << 30, 1)):
            _, bits = codecs_cachegen.code(kv, 2, chunk)
            side = 33 * 16 * chunks / TOKENS + 32 * 2 / TOKENS + 16 / (HEADS * DIM)
            self.assertAlmostEqual(bits / ELEMENTS, entropy + side, places=5)

    def test_zstd_is_of_the_bytes(self):
        zeros = torch.zeros(LAYERS, 2, HEADS, TOKENS, DIM)
        self.assertLess(codecs_lossless.code(64, 1, False, zeros)[1] / ELEMENTS, 0.01)
        raw, planes = (codecs_lossless.code(64, 1, split, drawn())[1] for split in (False, True))
        self.assertLess(planes, raw)  # exponents pack better alone
        self.assertLess(raw / ELEMENTS, 16.1)


class Errors(unittest.TestCase):
    """What comes back, against the theory of each quantiser on a normal distribution."""

    def test_lloyd_and_max_reach_their_known_distortion(self):
        for bits, distortion in ((3, 0.03454), (4, 0.009497)):  # Max 1960, table I
            levels = codecs_fixed.normal_levels(bits)
            samples = torch.randn(200_000, generator=torch.Generator().manual_seed(3))
            found = levels[torch.bucketize(samples, (levels[1:] + levels[:-1]) / 2)]
            self.assertAlmostEqual((found - samples).pow(2).mean().item(), distortion, delta=2e-4)

    def test_codecs_come_back_as_near_as_their_bits_allow(self):
        kv = drawn()
        nearest = {
            "q8_0 plain": 1e-4, "q8_0 rotated": 1e-4, "q4_0 plain": 0.012, "q4_0 rotated": 0.012,
            "turboquant 4": 0.0105, "turboquant 3": 0.037, "fp8 unscaled": 0.0008,
            "fp8 scaled": 0.0008, "kivi 4": 0.008, "kivi 2": 0.2,
        }  # fmt: skip
        codecs = {str(c): c for c in [*codecs_fixed.codecs(), *codecs_ggml.codecs()]}
        for name, most in nearest.items():
            found = error(codecs[name].code(kv)[0], kv)
            self.assertLess(found, most, name)
            self.assertGreater(found, most / 4, name)

    def test_q4_0_keeps_the_greatest_of_a_block(self):
        block = torch.tensor([[8.0, -4, 0, 1] + [0.0] * 28])
        self.assertEqual(codecs_ggml.q4_0(block)[0, :4].tolist(), [8.0, -4.0, 0.0, 1.0])

    def test_rotation_is_of_the_tiles_that_llama_cpp_takes(self):
        self.assertEqual(
            [codecs_ggml.tiles(dim) for dim in (64, 96, 128, 192, 256)],
            [(64, 64), (1, 1), (128, 64), (64, 64), (256, 64)],
        )
        values = torch.randn(5, 128)
        twice = codecs_ggml.turn(codecs_ggml.turn(values, 64), 64)
        self.assertTrue(torch.allclose(twice, values, atol=1e-5))

    def test_layers_that_are_skipped_and_recent_tokens_stay(self):
        kv = drawn()
        skipped = codecs_fixed.turboquant(kv, 3, 2, True)[0]
        self.assertTrue(torch.equal(skipped[[0, 1, -2, -1]], kv[[0, 1, -2, -1]]))
        self.assertFalse(torch.equal(skipped[2], kv[2]))
        recent = codecs_fixed.kivi(kv, 2, 128)[0]
        self.assertTrue(torch.equal(recent[..., -128:, :], kv[..., -128:, :]))

    def test_cachegen_has_its_levels_bins(self):
        for level, bins in {
            1: {(0, 0): 16, (19, 0): 16, (20, 0): 12, (1, 1): 16, (2, 1): 12},
            2: {(9, 0): 32, (10, 0): 16, (1, 1): 32, (2, 1): 16},
            3: {(0, 0): 32, (29, 1): 32},
        }.items():
            found = codecs_cachegen.bins_of(level, 30)
            self.assertEqual({at: int(found[at]) for at in bins}, bins)
        self.assertEqual(codecs_cachegen.bins_of(1, 9).unique().tolist(), [32])


class KvtcLike(unittest.TestCase):
    def test_more_bits_for_less_error_and_sinks_are_exact(self):
        model = Unrotated()
        codecs = codecs_kvtc.codecs(model, [2, 3])
        kv = model.prefill(4)
        found = [codec.code(kv) for codec in codecs]
        errors = [error(back, kv) for back, _ in found]
        self.assertEqual(errors, sorted(errors))
        self.assertEqual([bits for _, bits in found], sorted((bits for _, bits in found), reverse=True))
        self.assertLess(errors[0], 0.003)
        for back, bits in found:
            self.assertTrue(torch.equal(back[..., :SINKS, :], kv[..., :SINKS, :]))
            self.assertGreater(bits / ELEMENTS, 16 * SINKS / TOKENS)

    def test_symbols_are_packed_densely(self):
        symbols = torch.tensor([[1.0, 2, 3, 0], [3, 3, 3, 3]])
        self.assertEqual(codecs_kvtc.pack(symbols, 2), bytes([0b00111001, 0xFF]))
        self.assertEqual(codecs_kvtc.pack(symbols, 4), bytes([0x21, 0x03, 0x33, 0x33]))


if __name__ == "__main__":
    unittest.main()
