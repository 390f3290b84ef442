"""What a vLLM scheduler step loads and saves: the scheduler's side of the connector, without vLLM.

A request's pages are keyed once for each rank, since a rank's space holds its own heads. A step's
plan names runs of pages and the blocks of their tokens; the workers move them.
"""

import dataclasses
import math
import time

from sluice_kv.load_choice import LoadChoice
from sluice_kv.space_identity import ROOT_KEY, KeyChain

# A request that cannot be scheduled is asked about at every step; the daemon is not.
LOOKUP_FRESH_S = 0.5
# A request whose loads fail is computed in the end, whatever the daemon says that it has.
LOADS_MAX = 2
# Of prompts that are found whole, until two prefills were timed (load_choice.py).
PREFILL_PROBE_TOKENS = 128


@dataclasses.dataclass(frozen=True)
class Shape:
    """Of one rank's cache. A block is vLLM's, a page is Sluice's."""

    layers: int
    heads: int
    dim: int
    block_tokens: int
    page_tokens: int

    @property
    def token_elements(self) -> int:
        return 2 * self.heads * self.dim

    def page_bytes(self, element_bytes: int) -> int:
        return self.layers * self.page_tokens * self.token_elements * element_bytes


@dataclasses.dataclass(frozen=True)
class PageRun:
    """Pages of one request that follow each other, and the blocks of the tokens to move.

    Blocks need not begin or end where pages do: tokens [first_token, end_token) are moved, which
    begin in the first page and end in the last.
    """

    request: str
    first_page: int
    keys: list[list[bytes]]  # [rank][page]
    anchors: list[bytes]  # [rank]: the key before, zeros at the root
    first_token: int
    end_token: int
    blocks: list[int]  # of these tokens

    @property
    def pages(self) -> int:
        return len(self.keys[0])

    def blocks_from(self, page: int, shape: Shape) -> list[int]:
        """Returns the blocks that hold tokens of the run's pages page.. ."""
        token = max(self.first_token, (self.first_page + page) * shape.page_tokens)
        first_block = self.first_token // shape.block_tokens
        return self.blocks[token // shape.block_tokens - first_block :]


@dataclasses.dataclass(frozen=True)
class Load:
    run: PageRun
    patience_s: float | None  # after that long it has lost


@dataclasses.dataclass
class StepPlan:
    loads: list[Load] = dataclasses.field(default_factory=list)
    saves: list[PageRun] = dataclasses.field(default_factory=list)
    prefill_tokens: int = 0  # of requests that compute more than one
    is_async: bool = False


@dataclasses.dataclass
class Timings:
    """What one step of a rank measured. A load: its request, tokens, seconds."""

    prefill_tokens: int = 0
    prefill_s: float = 0.0
    loads: list[tuple[str, int, float]] = dataclasses.field(default_factory=list)

    def joined(self, other: "Timings") -> "Timings":
        """Returns both ranks' as one: the engine waits for its slowest rank."""
        slowest = max(self.prefill_s, other.prefill_s)
        return Timings(self.prefill_tokens, slowest, self.loads + other.loads)


@dataclasses.dataclass
class _Request:
    tokens: object  # the engine's own list, which grows
    chains: list[KeyChain]
    found_pages: int | None = None  # None: never looked up, or the daemon did not answer
    looked_up: float = -math.inf
    local_tokens: int = 0
    next_page: int = 0  # to be saved
    computed_end: int = 0  # after the last load or step
    loads: int = 0


class Planner:
    """Decides for each request what is loaded and saved.

    lookup([keys of rank 0, ...]) returns how many pages all ranks have, or None while the daemon
    does not answer.
    """

    def __init__(
        self,
        spaces: list[bytes],  # space ids, a rank each
        *,
        page_tokens: int,
        block_tokens: int,
        lookup,
        choice: LoadChoice,
        is_async: bool,
        can_recompute: bool,  # tokens whose load failed; else their request fails
        may_load: bool = True,
        may_save: bool = True,
        clock=time.monotonic,
    ):
        self.choice = choice
        self._spaces, self._page, self._block = spaces, page_tokens, block_tokens
        self._lookup, self._clock = lookup, clock
        self._is_async, self._may_load, self._may_save = is_async, may_load, may_save
        self._can_recompute = can_recompute
        self._requests: dict[str, _Request] = {}
        self._loads: list[Load] = []
        self._ended: dict[str, list[tuple[int, float]]] = {}  # loads that some ranks have ended

    def matched_tokens(self, name: str, tokens, local_tokens: int, cache_salt=None) -> int:
        """Returns how many tokens behind the local ones are to be loaded: whole blocks.

        One token at least is left to compute, since the logits come from there.
        """
        request = self._request(name, tokens, cache_salt)
        if self._clock() - request.looked_up > LOOKUP_FRESH_S:
            keys = [chain.extend(tokens) for chain in request.chains]
            request.found_pages = self._lookup(keys) if keys[0] else 0
            request.looked_up = self._clock()
        request.local_tokens = local_tokens
        # What the store lacks is saved even where the engine has it already.
        known = request.found_pages is not None
        request.next_page = request.found_pages if known else local_tokens // self._page
        request.computed_end = 0
        found = (request.found_pages or 0) * self._page
        end = self._whole_blocks(min(found, len(tokens) - 1))
        if not self._may_load or end <= local_tokens or request.loads == LOADS_MAX:
            return 0
        # The choice may leave a tail to compute: what follows behind `end` anyway counts as one.
        wanted = min(end - local_tokens, self.choice.tokens_to_load(len(tokens) - local_tokens))
        return max(0, self._whole_blocks(local_tokens + wanted) - local_tokens)

    def allocated(self, name: str, blocks: list[int], load_tokens: int) -> None:
        """The engine gave the request its blocks; load_tokens are to be loaded into them."""
        request = self._requests.get(name)
        if request is None or load_tokens == 0:
            return
        start, end = request.local_tokens, request.local_tokens + load_tokens
        run = self._run(name, request, start, end, blocks)
        # Giving up is cheaper only where the engine then computes: else it fails the request.
        patience_s = self.choice.patience_s(load_tokens) if self._can_recompute else None
        self._loads.append(Load(run, patience_s))
        self.choice.begun(load_tokens)
        request.loads += 1
        request.looked_up, request.computed_end = -math.inf, end

    def step(self, scheduled: list[tuple[str, int, int]], blocks_of) -> StepPlan:
        """Returns the step's plan. scheduled: (request, tokens computed before, tokens computed in
        this step); blocks_of(request) is its block table."""
        plan = StepPlan(self._loads, is_async=self._is_async)
        self._loads = []
        plan.prefill_tokens = sum(count for _, _, count in scheduled if count > 1)
        # What is computed behind a load that may fail must not be saved, nor can one rank know that
        # another's failed: it waits for the request's next step.
        waiting = set() if self._is_async else {load.run.request for load in plan.loads}
        for name, computed, count in scheduled:
            request = self._requests.get(name)
            if request is not None and self._may_save and name not in waiting:
                self._save(name, request, computed, computed + count, blocks_of, plan)
        return plan

    def measured(self, timings: Timings) -> None:
        """Takes what the ranks measured in a step; a load counts once, when all have ended it."""
        if timings.prefill_tokens:
            self.choice.prefilled(timings.prefill_tokens, timings.prefill_s)
        for name, tokens, seconds in timings.loads:
            ended = self._ended.setdefault(name, [])
            ended.append((tokens, seconds))
            if len(ended) == len(self._spaces):
                tokens, seconds = zip(*self._ended.pop(name))
                self.choice.loaded(min(tokens), max(seconds))

    def _save(self, name, request, computed: int, end: int, blocks_of, plan: StepPlan) -> None:
        if computed < request.computed_end:
            # The engine went back, after a load that failed: what it computes now may be missing.
            request.next_page = min(request.next_page, computed // self._page)
        request.computed_end = end
        # The last tokens may be computed before their ids are known here.
        last = min(end, len(request.tokens)) // self._page
        if last > request.next_page:
            start, end = request.next_page * self._page, last * self._page
            plan.saves.append(self._run(name, request, start, end, blocks_of(name)))
            request.next_page = last

    def finished(self, name: str) -> None:
        self._requests.pop(name, None)

    def _request(self, name: str, tokens, cache_salt) -> _Request:
        if name not in self._requests:
            chains = [KeyChain(space, self._page, cache_salt) for space in self._spaces]
            self._requests[name] = _Request(tokens, chains)
        return self._requests[name]

    def _whole_blocks(self, tokens: int) -> int:
        return tokens // self._block * self._block

    def _run(self, name, request, start: int, end: int, blocks: list[int]) -> PageRun:
        keys = [chain.extend(request.tokens) for chain in request.chains]
        first, last = start // self._page, -(-end // self._page)
        return PageRun(
            request=name,
            first_page=first,
            keys=[chain[first:last] for chain in keys],
            anchors=[chain[first - 1] if first else ROOT_KEY for chain in keys],
            first_token=start,
            end_token=end,
            blocks=blocks[start // self._block : -(-end // self._block)],
        )
