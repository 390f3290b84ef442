"""Moves pages between one vLLM rank's cache and Sluice: the worker's side, without vLLM.

Two threads of their own do what may take time, each with a connection of its own: one gets and
decodes pages into host memory, one encodes and puts them. The cache is read and written by the
engine's thread alone. What is under way is bounded both ways: a load waits until the engine has
taken what is there, a save that finds the buffer full is dropped.
"""

import contextlib
import dataclasses
import logging
import os
import queue
import threading
import time

import torch

from sluice_kv import api
from sluice_kv.failures import Failures
from sluice_kv.vllm_layout import PagedCache
from sluice_kv.vllm_plan import Load, PageRun, StepPlan, Timings

CHUNK_BYTES = 32 << 20
CHUNKS_AHEAD = 2
# Of a step that only waits for loads: shorter than a decode step of any model, and long enough
# that the engine's spinning does not take the cores from the load.
IDLE_WAIT_S = 0.005

_log = logging.getLogger("sluice_kv")


@dataclasses.dataclass(frozen=True)
class Quality:
    """What an engine loads and stores: micro-nats, or a level's name."""

    max_kl: api.Kl = api.KL_EXACT
    put_kl: api.Kl = api.KL_EXACT
    exact_row: bool = False
    max_bytes: int | None = None  # that a load may move
    profiles: tuple[str, ...] = ()

    def open(self, client: api.Client, descriptor: bytes) -> api.Space:
        for file in api.read_profiles(self.profiles):
            client.add_profile(file)
        return api.Space(
            client, descriptor, self.max_kl, put_kl=self.put_kl, exact_row=self.exact_row
        )

    def pages(self, space: api.Space, keys: list[bytes]) -> int:
        """Returns how many pages to load, from the first on."""
        if self.max_bytes is None:
            return space.lookup(keys, self.max_kl)
        return space.fit(keys, self.max_bytes, self.max_kl).pages

    def kl(self, space: api.Space, keys: list[bytes]) -> api.Kl:
        """Returns the quality to load these pages with."""
        if self.max_bytes is None:
            return self.max_kl
        return space.fit(keys, self.max_bytes, self.max_kl).max_kl


class Connection:
    """A client and the rank's space, opened when first needed; used by one thread at a time."""

    def __init__(
        self,
        socket: str | None,
        deadline_ms: int,
        descriptor: bytes,
        quality: Quality = Quality(),
    ):
        self._options, self._descriptor = (socket, deadline_ms), descriptor
        self.quality = quality
        self._client = self._space = None
        # Any: a thread that ended (no memory for a page) would let the engine wait for ever.
        self._failures = Failures(Exception)

    def call(self, what: str, work, otherwise):
        """Returns work(space), or `otherwise` where Sluice fails."""
        return self._failures.guard(what, lambda: work(self._open()), otherwise)

    def _open(self) -> api.Space:
        if self._client is None:
            self._client = api.Client(*self._options)
        if self._space is None:
            self._space = self.quality.open(self._client, self._descriptor)
        return self._space

    def close(self) -> None:
        for handle in (self._space, self._client):
            if handle:
                handle.close()
        self._space = self._client = None


class _LoadJob:
    def __init__(self, load: Load):
        self.run, self.patience_s = load.run, load.patience_s
        self.started = time.monotonic()
        self.chunks = queue.Queue(CHUNKS_AHEAD)  # (first page, pages), then None
        self.pages_whole = 0

    def tokens_whole(self, page_tokens: int) -> int:
        end = (self.run.first_page + self.pages_whole) * page_tokens
        return max(0, min(end, self.run.end_token) - self.run.first_token)


class Mover:
    """The loads and saves of one rank, step by step."""

    def __init__(
        self, cache: PagedCache, rank: int, connect, save_bytes_max: int, synchronize=lambda: None
    ):
        """connect() makes a Connection; synchronize() waits for what the engine's thread gave to
        its device."""
        self._cache, self._rank, self._synchronize = cache, rank, synchronize
        self._load_connection, self._save_connection = connect(), connect()
        self._closed = threading.Event()
        self._jobs: dict[str, _LoadJob] = {}
        self._load_queue, self._save_queue = queue.SimpleQueue(), queue.SimpleQueue()
        self._save_bytes_max, self._save_bytes = save_bytes_max, 0
        self._lock = threading.Lock()  # guards _save_bytes
        # Set for a request that lost a page: what follows is unreachable.
        self._lost: dict[str, threading.Event] = {}
        self._gathering = Failures(RuntimeError, MemoryError)
        self._bad_blocks: set[int] = set()
        self._has_forward = False
        self._began = 0.0
        self._timings = Timings()
        self._threads = [
            threading.Thread(target=work, name=f"sluice-{name}", daemon=True)
            for name, work in (("load", self._load_loop), ("save", self._save_loop))
        ]
        for thread in self._threads:
            thread.start()

    # ---- the engine's thread -------------------------------------------------------------------

    def begin(self) -> None:
        """A step begins."""
        self._began = time.monotonic()

    def start(self, plan: StepPlan, has_forward: bool) -> None:
        """Starts the step's loads, and ends them where they are not asynchronous.

        Called before the forward of a step with loads that are not, else after it.
        """
        self._has_forward = has_forward
        for load in plan.loads:
            job = self._jobs[load.run.request] = _LoadJob(load)
            self._load_queue.put(job)
        if plan.loads and not plan.is_async:
            for load in plan.loads:
                self._take(load.run.request, wait_s=None)
            self._began = time.monotonic()

    def save(self, plan: StepPlan) -> None:
        """Takes the step's pages out of the cache, after its forward."""
        if plan.prefill_tokens:
            self._synchronize()
            self._timings.prefill_tokens = plan.prefill_tokens
            self._timings.prefill_s = time.monotonic() - self._began
        for run in plan.saves:
            self._save_run(run)

    def finished(self, finished_requests) -> set[str]:
        """Takes what asynchronous loads have brought; returns the requests that are loaded."""
        for name in finished_requests:
            self._lost.pop(name, None)
        done = {name for name in list(self._jobs) if self._take(name, wait_s=0)}
        if not done and self._jobs and not self._has_forward:
            name = next(iter(self._jobs))
            done = {name} if self._take(name, wait_s=IDLE_WAIT_S) else set()
        return done

    def take_bad_blocks(self) -> set[int]:
        bad, self._bad_blocks = self._bad_blocks, set()
        return bad

    def take_timings(self) -> Timings:
        timings, self._timings = self._timings, Timings()
        return timings

    def close(self) -> None:
        """Ends the threads; saves that are under way are put first."""
        self._save_queue.put(None)
        self._threads[1].join(10)
        self._closed.set()
        self._load_queue.put(None)
        self._threads[0].join(10)

    def _take(self, name: str, wait_s: float | None) -> bool:
        """Writes the chunks that are there into the cache; returns whether the load has ended.

        wait_s: how long to wait for the first one; None: until the load has ended.
        """
        job = self._jobs[name]
        while True:
            try:
                chunk = job.chunks.get(block=wait_s != 0, timeout=wait_s)
            except queue.Empty:
                return False
            if chunk is None:
                break
            self._cache.scatter(job.run, *chunk)
            job.pages_whole += len(chunk[1])
            wait_s = 0 if wait_s is not None else None
        del self._jobs[name]
        if job.pages_whole < job.run.pages:
            self._bad_blocks.update(job.run.blocks_from(job.pages_whole, self._cache.shape))
        tokens = job.tokens_whole(self._cache.shape.page_tokens)
        self._timings.loads.append((name, tokens, time.monotonic() - job.started))
        return True

    def _save_run(self, run: PageRun) -> None:
        lost = self._lost.setdefault(run.request, threading.Event())
        step = max(1, CHUNK_BYTES // self._cache.page_bytes)
        for first in range(0, run.pages, step):
            pages = None if lost.is_set() else self._gather(run, first, min(step, run.pages - first))
            if pages is None:
                lost.set()
                return
            with self._lock:
                self._save_bytes += pages.nbytes
            self._save_queue.put((run, first, pages, lost))

    def _gather(self, run: PageRun, first: int, count: int) -> torch.Tensor | None:
        """Returns pages taken from the cache; None where the buffer, or memory, is full."""
        with self._lock:
            if self._save_bytes + count * self._cache.page_bytes > self._save_bytes_max:
                return None
        return self._gathering.guard("save", lambda: self._cache.gather(run, first, count))

    # ---- the threads ---------------------------------------------------------------------------

    def _load_loop(self) -> None:
        while (job := self._load_queue.get()) is not None:
            self._load_connection.call("load", lambda space, job=job: self._fetch(space, job), None)
            self._hand_over(job, None)
        self._load_connection.close()

    def _fetch(self, space: api.Space, job: _LoadJob) -> None:
        self._check(space)
        keys = job.run.keys[self._rank]
        max_kl = self._load_connection.quality.kl(space, keys)
        step = max(1, CHUNK_BYTES // self._cache.page_bytes)
        for first in range(0, len(keys), step):
            waited = time.monotonic() - job.started
            if job.patience_s is not None and waited > job.patience_s:
                _log.warning("sluice load: stopped after %.1f s, computing is faster", waited)
                return
            wanted = keys[first : first + step]
            pages = self._cache.staging(len(wanted))
            moved = space.get(wanted, _bytes_of(pages), job.run.first_page + first, max_kl)
            if moved.pages and not self._hand_over(job, (first, pages[: moved.pages])):
                return
            if moved.pages < len(wanted):
                return

    def _hand_over(self, job: _LoadJob, chunk) -> bool:
        while not self._closed.is_set():
            try:
                job.chunks.put(chunk, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _save_loop(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while (item := self._save_queue.get()) is not None:
            run, first, pages, lost = item
            if not lost.is_set():
                stored = self._save_connection.call(
                    "save", lambda space: self._put(space, run, first, pages), False
                )
                if not stored:
                    lost.set()
            with self._lock:
                self._save_bytes -= pages.nbytes
            del item, pages
        self._save_connection.close()

    def _put(self, space: api.Space, run: PageRun, first: int, pages) -> bool:
        self._check(space)
        keys = run.keys[self._rank]
        anchor = keys[first - 1] if first else run.anchors[self._rank]
        wanted = keys[first : first + len(pages)]
        space.put(wanted, _bytes_of(pages), run.first_page + first, anchor)
        return True

    def _check(self, space: api.Space) -> None:
        if space.page_bytes != self._cache.page_bytes:
            raise OSError(
                f"the space's pages have {space.page_bytes} bytes, the cache's"
                f" {self._cache.page_bytes}: the model's config and the engine differ"
            )


def _bytes_of(pages):
    """The bytes of canonical pages in host memory, without a copy."""
    return pages.flatten().view(torch.uint8).numpy()
