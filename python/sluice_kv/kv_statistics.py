"""What calibration keeps of a model's KV: moments, the metric that errors are weighed by, samples.

All are sums over windows of text, so that a run that was cut goes on from its file. Arrays are
[layer][plane k,v]..., keys before rotation; the first tokens of a context, which travel exactly, are left out.
"""

import json
import os
import zipfile

import numpy as np

from sluice_kv import text_marks
from sluice_kv.kv_model import SINKS, KvModel

PREFIX_TOKENS, FORCED_TOKENS = 1024, 256
SAMPLED_LABELS = 2  # a token, for the Fisher metric
METRIC_FLOOR = 0.05  # of the mean: what no sampled label moved still matters
HISTOGRAM_TOKENS = 4096
GRADIENTS, ENERGY = "gradients", "energy"  # metrics


class Statistics:
    def __init__(self, model: KvModel, metric: str = GRADIENTS):
        self._model, self.metric, self.dim = model, metric, model.dim
        shape = len(model.layers), 2, model.channels
        self.sums, self.weights = np.zeros(shape), np.zeros(shape)
        self.products = np.zeros((*shape, model.channels))
        self.tokens = self.windows = 0
        self.samples = np.zeros((*shape[:2], 0, model.channels), np.float32)
        self.marks: set[int] = set()

    def add(self, tokens: list[int]) -> None:
        """Takes a window of PREFIX_TOKENS and FORCED_TOKENS behind them."""
        prefix, forced = tokens[:PREFIX_TOKENS], tokens[PREFIX_TOKENS:]
        kv = self._model.prefill(prefix)
        flat = self._model.unrotated(kv)[:, :, SINKS:]
        self.sums += flat.sum(axis=2)
        self.products += flat.swapaxes(2, 3) @ flat
        self.tokens += flat.shape[2]
        self._sample(flat)
        if self.metric == GRADIENTS:
            for gradient in self._model.gradients(kv, forced, SAMPLED_LABELS):
                squares = (gradient[:, :, SINKS:] ** 2).sum(axis=2)
                self.weights += squares / (PREFIX_TOKENS * SAMPLED_LABELS)
        else:
            self.weights += self._model.energies(prefix)
        self.marks |= text_marks.kept(tokens)
        self.windows += 1

    def mean(self) -> np.ndarray:
        return self.sums / self.tokens

    def covariance(self) -> np.ndarray:
        mean = self.mean()
        return self.products / self.tokens - mean[..., None] * mean[..., None, :]

    def costs(self) -> np.ndarray:
        """Returns what an error in each channel costs: of gradients in nats, of energy in no unit."""
        weights = self.weights / self.windows
        return weights + METRIC_FLOOR * weights.mean(axis=2, keepdims=True)

    def _sample(self, flat: np.ndarray) -> None:
        """Keeps every other token of the first windows."""
        if self.samples.shape[2] < HISTOGRAM_TOKENS:
            self.samples = np.concatenate([self.samples, flat[:, :, ::2].astype(np.float32)], axis=2)

    def save(self, path: str, run: dict) -> None:
        """Writes what there is; run: what has to be the same when it goes on."""
        with open(path + ".part", "wb") as file:
            np.savez(
                file,
                run=json.dumps(run),
                counts=[self.tokens, self.windows],
                marks=np.array(sorted(self.marks), np.uint64),
                **{name: getattr(self, name) for name in _ARRAYS},
            )
        os.replace(path + ".part", path)

    def load(self, path: str, run: dict) -> bool:
        """Goes on with what save() wrote; False where there is nothing. SystemExit for what is of
        another run, which would be lost, and for what cannot be read."""
        if not os.path.exists(path):
            return False
        try:
            with np.load(path) as file:
                there = json.loads(str(file["run"]))
                self.tokens, self.windows = map(int, file["counts"])
                self.marks = set(map(int, file["marks"]))
                for name in _ARRAYS:
                    setattr(self, name, file[name])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise SystemExit(f"{path} cannot be read ({error}); remove it") from error
        if there != run:
            changed = ", ".join(name for name in run if there.get(name) != run[name])
            raise SystemExit(f"{path} is of a run with another {changed}; remove it, or give another --out")
        return True


_ARRAYS = "sums", "weights", "products", "samples"
