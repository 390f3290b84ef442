"""Measures a model's KV on texts of yours, and writes the profiles that lossy pages are coded with.

    python -m sluice_kv.calibrate --model GGUF|FOLDER --out NAME --socket PATH \
        --text A --text B --test C [--target-kl NATS]

One file a KV group: NAME.profile, or NAME.0.profile, NAME.1.profile. Statistics come from the --text
files (take two or more domains), the quality that the profile names from the --test files, which
must be others: their KV goes through libsluice and a daemon, and the model answers on what comes
back. Needs torch and transformers; minutes on a CPU for a small model.

Steps follow DESIGN, "Order of work": channels are scaled by the root of the diagonal Fisher metric
(second moment of d log p / d K,V) and transformed to components; one step a layer and plane, blended
towards relative precision. The target is that of the finest lossy level, q1; each coarser one has
about nine times its KL.
"""

import argparse
import json
import math
import os
import sys

import numpy as np
import torch

from sluice_kv import api, basis, quality, space_identity
from sluice_kv.kv_model import SINKS, KvModel, read_text
from sluice_kv.profile_file import KL_UNKNOWN, NOT_ROTATED, Block, Profile

PREFIX_TOKENS, FORCED_TOKENS = 1024, 128
PAGE_TOKENS = 64
SAMPLED_LABELS = 2  # a token, for the Fisher metric
FISHER_FLOOR = 0.05  # of the mean: what no sampled label moved still matters
RELATIVE_PRECISION = 0.85  # beta: 1 is Fisher steps alone, which ruin the first layers' newest tokens
PLANE_WEIGHTS = {"k": 1.12, "v": 1 / 1.12}
MODEL_TOKENS = 2048  # the context length that --target-kl speaks of
SCALE_FIRST, SCALE_RATIO, SCALES = 0.08, 1.2, 32  # the ROM (codec/FORMAT.md, "Scales")
HISTOGRAM_TOKENS = 4096
ROWS = 3  # q3, q2, q1
ENERGY_MAX = 2.0**29  # of a token, in coefficients; above it travels exactly (FORMAT.md, "Encoding")
EXACT_TOKENS_MAX = 1e-3  # of the samples
FINER = range(5)


class Statistics:
    """Moments, Fisher metric and samples of each layer and plane, keys before rotation."""

    def __init__(self, model: KvModel):
        self.model, self.windows = model, 0
        shape = len(model.layers), 2, model.channels
        self.sums, self.fisher = np.zeros(shape), np.zeros(shape)
        self.products = np.zeros((*shape, model.channels))
        self.tokens = 0
        self.samples: list[np.ndarray] = []  # [layer][plane][token][channel]

    def add(self, tokens: list[int]) -> None:
        kv = self.model.prefill(tokens[:PREFIX_TOKENS])
        flat = self.model.unrotated(kv)[:, :, SINKS:]
        self.sums += flat.sum(axis=2)
        self.products += flat.swapaxes(2, 3) @ flat
        self.tokens += flat.shape[2]
        kept = sum(sample.shape[2] for sample in self.samples)
        if kept < HISTOGRAM_TOKENS:
            self.samples.append(flat[:, :, :: 2].astype(np.float32))
        for gradient in self.model.gradients(kv, tokens[PREFIX_TOKENS:], SAMPLED_LABELS):
            self.fisher += (gradient[:, :, SINKS:] ** 2).sum(axis=2) / PREFIX_TOKENS
        self.windows += 1

    def blocks(self, target_kl: float, kind: str) -> list[list[Block]]:
        """Returns [layer][plane] for steps that shall cost target_kl nats."""
        mean = self.sums / self.tokens
        covariance = self.products / self.tokens - mean[..., None] * mean[..., None, :]
        variance = np.maximum(np.diagonal(covariance, axis1=2, axis2=3), 0)
        fisher = self.fisher / (self.windows * SAMPLED_LABELS)
        fisher += FISHER_FLOOR * fisher.mean(axis=2, keepdims=True)
        samples = np.concatenate(self.samples, axis=2)
        # KL = 1/2 sum F e^2 with e^2 = step^2 / 12, over the elements of a context.
        elements = mean.size * MODEL_TOKENS
        base = math.sqrt(24 * target_kl / elements)
        weight = fisher.mean(axis=2) * variance.mean(axis=2)
        weight = (weight / np.exp(np.log(weight).mean())) ** ((1 - RELATIVE_PRECISION) / 2)
        out = []
        for layer in range(mean.shape[0]):
            planes = []
            for plane, role in enumerate(("k", "v")):
                step = base * weight[layer, plane] * PLANE_WEIGHTS[role]
                steps = step / np.sqrt(fisher[layer, plane])
                found = fit(covariance[layer, plane] / np.outer(steps, steps), kind, self.model.dim)
                centred = (samples[layer, plane] - mean[layer, plane]) / steps
                components = centred if found is None else found.components(centred)
                scales = best_scales(components / 3 ** (ROWS - 1))
                planes.append(Block(mean[layer, plane], steps, scales, found, finest(centred)))
            out.append(planes)
        return out


def fit(covariance: np.ndarray, kind: str, dim: int) -> basis.Givens | basis.Matrices | None:
    if kind == "identity":
        return None
    covariance = covariance + 1e-5 * covariance.diagonal().mean() * np.eye(len(covariance))
    return basis.fit_givens(covariance) if kind == "givens" else basis.fit_matrices(covariance, dim)


def finest(steps: np.ndarray) -> int:
    """Returns the largest `finer` under which few tokens of [token][channel], in steps, travel exactly."""
    energy = np.quantile((steps**2).sum(axis=1), 1 - EXACT_TOKENS_MAX)
    return max((f for f in FINER if energy * 4.0 ** (3 + f) <= ENERGY_MAX), default=0)


def best_scales(steps: np.ndarray) -> np.ndarray:
    """Returns for each channel of [token][channel], in steps, the table that codes it in fewest bits."""
    cells = np.minimum(np.abs(np.rint(steps)).astype(np.int64), _COSTS.shape[1] - 1)
    return np.array([_COSTS[:, column].sum(axis=1).argmin() for column in cells.T], np.uint8)


def _costs(cells: int = 4096) -> np.ndarray:
    """Bits of a symbol of each magnitude under each table: a normal distribution, cut at 12 bits."""
    edges = np.arange(cells + 1) - 0.5
    out = np.empty((SCALES, cells))
    for index in range(SCALES):
        sigma = SCALE_FIRST * SCALE_RATIO**index
        below = np.array([0.5 * math.erfc(-edge / sigma / math.sqrt(2)) for edge in edges])
        out[index] = -np.log2(np.maximum(np.diff(below), 2.0**-12 / (1 + np.arange(cells))))
    return out


_COSTS = _costs()


def profiles(
    model: KvModel, statistics: Statistics, target_kl: float, kind: str, note: str
) -> list[Profile]:
    """Returns one profile a KV group, not measured yet."""
    blocks = statistics.blocks(target_kl, kind)
    out = []
    for group in model.groups:
        frequencies, rotations = model.rotations(group["layers"])
        out.append(
            Profile(
                model_digest=model.digest,
                planes=group["planes"],
                layers=group["layers"],
                rotations=[NOT_ROTATED if r is None else r for r in rotations],
                frequencies=frequencies,
                blocks=[blocks[layer] for layer in group["layers"]],
                sinks=SINKS,
                note=note,
                kl=[KL_UNKNOWN - row for row in range(ROWS)],  # a put names its row by these
            )
        )
    return out


class Carrier:
    """Takes a context's KV through libsluice and a daemon, with the quality of its profiles."""

    def __init__(self, model: KvModel, socket: str, files: list[bytes]):
        self.model = model
        self.client = api.Client(socket)
        for file in files:
            self.client.add_profile(file)
        self.bytes = self.elements = 0

    def carry(self, kv: torch.Tensor, tokens: list[int], kl: int) -> torch.Tensor:
        """Returns the KV [layer][plane][head][token][dim] as it comes back from pages put within kl."""
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
            with api.Space(self.client, descriptor, kl, put_kl=kl) as space:
                keys = space.keys(tokens)
                pages = self._pages(kv[group["layers"]]).bfloat16()
                moved = space.put(keys, pages)
                self.bytes += moved.stored_bytes
                self.elements += pages.numel()
                back = torch.empty_like(pages)
                if space.get(keys, back, max_kl=kl).pages != len(keys):
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


def measure(model: KvModel, carrier: Carrier, windows: list[list[int]], kl: int) -> dict:
    """Returns the quality of pages within kl, and their size, over teacher-forced windows."""
    found = []
    for tokens in windows:
        prefix, forced = tokens[:PREFIX_TOKENS], tokens[PREFIX_TOKENS:]
        kv = model.prefill(prefix)
        lossy = carrier.carry(kv, prefix, kl)
        found.append(quality.compare(model.answer(kv, forced), model.answer(lossy, forced)))
        print(f"test window {len(found)}: KL {found[-1].kl.mean():.5f}", file=sys.stderr)
    return {**quality.summary(found), "bits_per_element": 8 * carrier.bytes / carrier.elements}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="GGUF file, or folder of config.json and safetensors")
    parser.add_argument("--out", required=True, help="the profile's name, without .profile")
    parser.add_argument("--socket", help="of a running sluiced")
    parser.add_argument("--text", action="append", required=True, help="calibration text; twice or more")
    parser.add_argument("--test", action="append", required=True, help="text that the quality is measured on")
    parser.add_argument("--windows", type=int, default=12, help="of calibration, over all texts")
    parser.add_argument("--test-windows", type=int, default=8)
    parser.add_argument("--target-kl", type=float, default=0.0003, help="nats of q1; what is measured counts")
    parser.add_argument("--basis", choices=("givens", "dense", "identity"), default="givens")
    args = parser.parse_args()
    if set(map(os.path.realpath, args.text)) & set(map(os.path.realpath, args.test)):
        parser.error("a --test file is a --text file: quality is measured on other text")
    model = KvModel(args.model)
    size = PREFIX_TOKENS + FORCED_TOKENS
    statistics = Statistics(model)
    for tokens in model.windows([read_text(path) for path in args.text], args.windows, size):
        statistics.add(tokens)
        print(f"calibration window {statistics.windows} of {args.windows}", file=sys.stderr)
    note = json.dumps(
        {
            "texts": [os.path.basename(path) for path in args.text],
            "test": [os.path.basename(path) for path in args.test],
            "windows": args.windows,
            "target_kl": args.target_kl,
        }
    )
    drafts = profiles(model, statistics, args.target_kl, args.basis, note)
    files = [draft.encode() for draft in drafts]
    tests = model.windows([read_text(path) for path in args.test], args.test_windows, size)
    measured = []
    for row in range(ROWS):
        carrier = Carrier(model, args.socket, files)
        measured.append({"level": f"q{ROWS - row}", **measure(model, carrier, tests, KL_UNKNOWN - row)})
    for index, draft in enumerate(drafts):
        draft.kl = [quality.micro_nats(row["kl_mean"]) for row in measured]
        path = f"{args.out}.profile" if len(drafts) == 1 else f"{args.out}.{index}.profile"
        with open(path, "wb") as file:
            file.write(draft.encode())
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
