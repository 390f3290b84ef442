"""Where vLLM keeps each element of K and V, measured; and pages into and out of its cache blocks.

What a cache tensor's shape says is not how its bytes lie: the CPU backend transposes K within a
block and head, and packs it as the instruction set wants. So nothing is assumed: the backend's own
update of the cache is run on a scratch block, with numbers for K and V that name their elements,
and what it wrote says where they went. A backend that does not put each element in one place of its
own (quantised caches) is refused.

Device-agnostic torch code without vLLM's modules. Canonical pages lie in host memory,
[page][layer][plane k,v][token][head][dim].
"""

import hashlib

import torch

from sluice_kv.vllm_plan import PageRun, Shape

# Whole numbers below this are exact in every float type that a cache has.
_DIGIT = 256


class LayoutError(RuntimeError):
    """The cache has a layout that is not handled; the text names it."""


def probe(update, cache: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Returns where in a block of `cache` each element lies, [plane][token][head][dim].

    update(key, value, cache, slots) is the backend's, for tensors [token][head][dim].
    """
    elements = shape.block_tokens * shape.token_elements
    if not cache.is_contiguous() or cache[0].numel() != elements:
        raise LayoutError(
            f"a cache block of shape {tuple(cache.shape[1:])}, strides {cache.stride()[1:]};"
            f" expected {elements} elements without gaps"
        )
    scratch = torch.zeros((1, *cache.shape[1:]), dtype=cache.dtype, device=cache.device)
    slots = torch.arange(shape.block_tokens, dtype=torch.int64, device=cache.device)
    names = torch.arange(elements, dtype=torch.int64, device=cache.device)
    wanted = (2, shape.block_tokens, shape.heads, shape.dim)
    found, scale = torch.zeros_like(names), 1
    while scale < elements:
        digits = ((names // scale) % _DIGIT).to(cache.dtype).view(wanted)
        update(digits[0].contiguous(), digits[1].contiguous(), scratch, slots)
        found += scratch.flatten().to(torch.int64) * scale
        scale *= _DIGIT
    if not torch.equal(found.sort().values, names):
        raise LayoutError(f"{cache.dtype} blocks of shape {tuple(cache.shape[1:])} are no permutation")
    where = torch.empty_like(names)
    where[found] = names
    return where.view(wanted)


class PagedCache:
    """The cache tensors of one rank, read and written a page at a time.

    To be used by the engine's own thread alone: what it does is then ordered with the forwards.
    """

    def __init__(self, caches: list[torch.Tensor], where: torch.Tensor, shape: Shape):
        self.shape, self.dtype = shape, caches[0].dtype
        self._where = where
        self._layers = [cache.view(-1) for cache in caches]
        self.device = caches[0].device
        self.page_bytes = shape.page_bytes(caches[0].element_size())

    @property
    def fingerprint(self) -> str:
        """Names the layout, for people: no part of any key, since pages are canonical."""
        raw = self._where.cpu().numpy().tobytes()
        return hashlib.sha256(raw).hexdigest()[:16]

    def staging(self, pages: int) -> torch.Tensor:
        """Returns host memory for canonical pages."""
        shape = self.shape
        return torch.empty(
            (pages, shape.layers, 2, shape.page_tokens, shape.heads, shape.dim), dtype=self.dtype
        )

    def gather(self, run: PageRun, first: int, count: int) -> torch.Tensor:
        """Returns pages first.. of a run, once they are in host memory. All tokens are moved."""
        out = self.staging(count)
        index = self._index(run, *self._tokens(run, first, count))
        for layer, cache in enumerate(self._layers):
            values = cache.index_select(0, index.flatten()).cpu()
            by_page = values.view(2, count, *out.shape[3:])
            out[:, layer] = by_page.transpose(0, 1)
        return out

    def scatter(self, run: PageRun, first: int, pages: torch.Tensor) -> None:
        """Writes canonical pages, from page `first` of a run on, into its blocks."""
        begin, end = self._tokens(run, first, len(pages))
        index = self._index(run, begin, end).flatten()
        skipped = begin - (run.first_page + first) * self.shape.page_tokens
        for layer, cache in enumerate(self._layers):
            values = pages[:, layer].transpose(0, 1).flatten(1, 2)
            values = values[:, skipped : skipped + end - begin]
            cache.index_copy_(0, index, values.flatten().to(cache.device))

    def _tokens(self, run: PageRun, first: int, count: int) -> tuple[int, int]:
        """Returns the tokens that are moved of pages first.. ."""
        start = (run.first_page + first) * self.shape.page_tokens
        end = start + count * self.shape.page_tokens
        return max(start, run.first_token), min(end, run.end_token)

    def _index(self, run: PageRun, begin: int, end: int) -> torch.Tensor:
        """Returns where each element lies in a layer's cache, [plane][token][head][dim]."""
        shape, tokens = self.shape, torch.arange(begin, end)
        start = run.first_token // shape.block_tokens
        blocks = torch.tensor(run.blocks)[tokens // shape.block_tokens - start]
        base = (blocks * shape.block_tokens * shape.token_elements).to(self._where.device)
        offsets = (tokens % shape.block_tokens).to(self._where.device)
        return self._where[:, offsets] + base.view(1, -1, 1, 1)
