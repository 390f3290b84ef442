"""How fast one transformers model prefills, taken from its cache's updates.

A forward updates its cache once a layer: what lies between the first layer's update and the last's is
all of its layers but one. On a card nothing is waited for: events are recorded, and read when the next
prompt comes.
"""

import time
import weakref

import torch

from sluice_kv.load_choice import SAMPLE_TOKENS_MIN, LoadChoice

# Enough to tell a card that prefills a token in 7 us from a load of 180 us (bench/results/gpu.json).
PREFILL_PROBE_TOKENS = 256

_paces: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # [model][client]


class Pace:
    """One model's prefills, and its loads by one client: of the client's thread, for all its caches."""

    def __init__(self):
        self.choice = LoadChoice(prefill_probe_tokens=PREFILL_PROBE_TOKENS)
        self._began: tuple[int, object] | None = None  # tokens, mark
        self._ended: tuple[int, object, object] | None = None  # tokens, mark, mark
        self._scale = 1.0  # from the layers between the marks to all

    def updated(self, layer: int, layers: int, states: torch.Tensor) -> None:
        """A forward has updated one of `layers`; states: [batch][head][token][dim]."""
        tokens = states.shape[-2]
        if tokens < SAMPLE_TOKENS_MIN or states.shape[0] != 1:
            return
        if layer == 0:
            self._began = tokens, _mark(states.device)
        elif layer == layers - 1 and self._began and self._began[0] == tokens:
            self._ended = (*self._began, _mark(states.device))
            self._scale, self._began = layers / (layers - 1), None

    def take_prefill(self) -> None:
        """Gives the last prefill to the choice, where it has ended by now."""
        if self._ended and (seconds := _seconds(*self._ended[1:])) is not None:
            self.choice.prefilled(self._ended[0], seconds * self._scale)
            self._ended = None


def pace_of(model, client) -> Pace:
    return _paces.setdefault(model, weakref.WeakKeyDictionary()).setdefault(client, Pace())


def _mark(device: torch.device):
    """Now, in the order of the device's work; None on devices that are not known."""
    if device.type == "cpu":
        return time.perf_counter()
    if device.type == "cuda":
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(device))
        return event
    return None


def _seconds(begin, end) -> float | None:
    if begin is None or end is None:
        return None
    if isinstance(end, float):
        return end - begin
    return begin.elapsed_time(end) / 1e3 if end.query() else None
