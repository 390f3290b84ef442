"""Whether a stored prefix is loaded or computed again: what was measured to be faster.

    tokens = choice.tokens_to_load(found)      # 0: compute
    choice.begun(tokens)                       # the load starts
    choice.loaded(moved, seconds)              # the load's end, also of one that failed
    choice.prefilled(tokens, seconds)          # each prefill that was measured

Nothing is known at first. A caller that can end a load early loads the first prefix whole;
`patience_s` bounds what that can cost. One that cannot names `assumed_prefill_s`, the time of a token
to go by until a prefill was measured; its first load is then a probe too. Where loading turns out
slower than prefilling, nothing is loaded for a pause, then a prefix of at most `probe_tokens` is: if
it is still slower the pause doubles. Where every prompt is found whole no prefill would ever be
measured: a caller that names `prefill_probe_tokens` leaves the last so many of a prefix to compute,
until two were (the first has the engine's warm-up in it and counts only until then). Times are in
seconds. Used by one thread.
"""

import time

PROBE_TOKENS = 512
FIRST_PAUSE_S = 10.0
PAUSE_S_MAX = 600.0
# Shorter ones say more about fixed costs than about the rate.
SAMPLE_TOKENS_MIN = 64
_WEIGHT = 0.3  # of a new sample


class LoadChoice:
    def __init__(
        self,
        clock=time.monotonic,
        probe_tokens: int = PROBE_TOKENS,
        assumed_prefill_s: float | None = None,
        prefill_probe_tokens: int = 0,
    ):
        self._clock, self._probe_tokens = clock, probe_tokens
        self._assumed_prefill_s = assumed_prefill_s
        self._prefill_probe_tokens, self._prefills = prefill_probe_tokens, 0
        self.load_s: float | None = None  # a token, once measured; infinite after a failure
        self.prefill_s: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._paused_until: float | None = None  # while loading loses

    @property
    def load_loses(self) -> bool:
        prefill_s = self.prefill_s or self._assumed_prefill_s
        return None not in (self.load_s, prefill_s) and self.load_s > prefill_s

    def tokens_to_load(self, found: int) -> int:
        """Returns how many of the tokens that could be loaded are worth it."""
        if not self.load_loses:
            if self.load_s is None:
                return found if self._assumed_prefill_s is None else min(found, self._probe_tokens)
            return max(0, found - (self._prefill_probe_tokens if self._prefills < 2 else 0))
        if self._paused_until is not None and self._clock() < self._paused_until:
            return 0
        return min(found, self._probe_tokens)

    def begun(self, tokens: int) -> None:
        """A load starts: while loading loses it is a probe, and no other follows at once."""
        if tokens and self.load_loses:
            self._paused_until = self._clock() + self._pause_s

    def patience_s(self, tokens: int) -> float | None:
        """Returns after which time a load of so many tokens has lost; None while unknown."""
        return None if self.prefill_s is None else tokens * self.prefill_s

    def loaded(self, tokens: int, seconds: float) -> None:
        """A load ended and brought so many tokens; fewer than asked for if it failed."""
        was_losing = self.load_loses
        if tokens == 0:
            self.load_s = float("inf")
        elif tokens >= SAMPLE_TOKENS_MIN or was_losing:
            # What was measured before a pause says nothing of now.
            self.load_s = _average(None if was_losing else self.load_s, seconds / tokens)
        if not self.load_loses:
            self._pause_s, self._paused_until = FIRST_PAUSE_S, None
            return
        if was_losing:
            self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
        self._paused_until = self._clock() + self._pause_s

    def prefilled(self, tokens: int, seconds: float) -> None:
        if tokens >= SAMPLE_TOKENS_MIN:
            before = self.prefill_s if self._prefills > 1 else None
            self.prefill_s = _average(before, seconds / tokens)
            self._prefills += 1


def _average(before: float | None, sample: float) -> float:
    if before is None or before == float("inf"):
        return sample
    return before + _WEIGHT * (sample - before)
