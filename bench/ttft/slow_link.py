"""TTFT behind a link on which loading loses, and then on one where it wins.

    python bench/ttft/slow_link.py --model GGUF [--tokens N] [--threads N] [--json FILE]

Needs root, ip, tc, and what run_e2e.sh sets: a daemon in one network namespace, the engine in
another, a veth pair with `tc tbf` between them. Bar: on the slow link (half of the rate at which
loading would be as fast as prefilling) the time to the first token is within 5 % of cold, and
where a probe was made, within that and the probe's own time. Each request stands beside a cold one
made just before it, and the medians of the pairs' ratios count: over twelve requests the engine's
own prefill drifts by 15 %. Run it on an idle machine.
"""

import argparse
import json
import statistics
import time

import netns
from daemon import TokenDaemon
from sluice_kv.llama import PAGE_TOKENS, Connector
from sluice_kv.llama_api import Context, Model

DOCUMENT = "/usr/share/common-licenses/GPL-3"
QUESTION = "\n\nQuestion: What does this license allow?\nAnswer:"
SLOW = 0.5  # of the rate at which loading is as fast as prefilling
FAST_BYTES_PER_S = 10 << 30
MARGIN = 1.05
FAST_RUNS_MAX = 60
KINDS = ("cold", "slow", "fast")


class SlowLink:
    """A stored document, an engine behind a link, and what its requests take."""

    def __init__(self, model: str, tokens: int, threads: int):
        self.link = netns.Link()
        try:
            self._open(model, tokens, threads)
        except BaseException:
            self.link.close()
            raise

    def _open(self, model: str, tokens: int, threads: int) -> None:
        self.daemon = TokenDaemon(self.link.address[self.link.a], netns=self.link.a)
        self.model = Model(model)
        with open(DOCUMENT, encoding="utf-8") as file:
            document = self.model.tokenize(file.read())[: tokens // PAGE_TOKENS * PAGE_TOKENS]
        self.split = len(document)
        self.prompt = document + self.model.tokenize(QUESTION, add_special=False)
        self.context = Context(self.model, n_ctx=len(self.prompt) + 64, threads=threads)

    def close(self) -> None:
        self.context.close()
        self.model.close()
        self.daemon.stop()
        self.link.close()

    def connect(self) -> Connector:
        """A connector behind the link, that knows nothing yet."""
        cache = Connector(self.model, self.context, self.daemon.tcp, deadline_ms=60_000)
        if not cache.wait_ready():
            raise RuntimeError(cache.last_error)
        return cache

    def request(self, cache: Connector | None = None) -> dict:
        """One prompt to its first token."""
        self.context.clear()
        started = time.perf_counter()
        reused = cache.restore(self.prompt) if cache else 0
        restore_s = time.perf_counter() - started
        if reused < self.split:
            self.context.decode(self.prompt[reused : self.split])
        self.context.decode(self.prompt[self.split :])
        first = self.context.argmax()
        took = time.perf_counter() - started
        return {"ttft_s": took, "restore_s": restore_s, "tokens_reused": reused, "first": first}

    def store(self) -> int:
        """Stores the document past the link, by the unix socket; returns its bytes."""
        self.context.clear()
        self.context.decode(self.prompt[: self.split])
        with Connector(self.model, self.context, self.daemon.socket) as cache:
            cache.wait_ready()
            moved = cache.store(self.prompt[: self.split])
            if moved is None:
                raise RuntimeError(cache.last_error)
            return moved.stored_bytes

    def measure(self, slow_runs: int) -> dict:
        """Pairs of a cold request and one on a link where loading loses; then one where it wins."""
        stored_bytes = self.store()
        rate = SLOW * stored_bytes / self.request()["ttft_s"]
        cold, slow = [], []
        with self.link.inside(self.link.b), self.connect() as cache:
            self.link.set_rate(self.link.a, rate)
            for _ in range(slow_runs):
                cold.append(self.request())
                slow.append(self.request(cache))
            self.link.set_rate(self.link.a, FAST_BYTES_PER_S)
            fast = [self.request(cache)]
            while fast[-1]["tokens_reused"] < self.split and len(fast) < FAST_RUNS_MAX:
                fast.append(self.request(cache))  # the pause after the last probe, a minute or so
        return {
            "tokens": self.split,
            "stored_bytes": stored_bytes,
            "link_bytes_per_s": rate,
            "cold_s": statistics.median(run["ttft_s"] for run in cold),
            "cold": cold,
            "slow": slow,
            "fast": fast,
        }


def judge(result: dict) -> dict:
    """What the bar is about: each request beside its cold one, its probe taken off."""
    quiet, probed, probes = [], [], []
    for cold, slow in zip(result["cold"], result["slow"]):
        if slow["tokens_reused"]:
            probes.append(slow["restore_s"])
            probed.append((slow["ttft_s"] - slow["restore_s"]) / cold["ttft_s"])
        else:
            quiet.append(slow["ttft_s"] / cold["ttft_s"])
    return {
        "slow_to_cold": statistics.median(quiet),
        "slow_to_cold_without_probe": statistics.median(probed),
        "probes": len(probes),
        "probe_s_max": max(probes),
        "fast_to_cold": result["fast"][-1]["ttft_s"] / result["cold_s"],
        "same_first_token": len({r["first"] for kind in KINDS for r in result[kind]}) == 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--tokens", type=int, default=2017)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slow-runs", type=int, default=12)
    parser.add_argument("--json", help="file for the result")
    args = parser.parse_args()
    bench = SlowLink(args.model, args.tokens, args.threads)
    try:
        result = bench.measure(args.slow_runs)
    finally:
        bench.close()
    result.update(judge(result))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    print(
        f"cold {result['cold_s']:.2f} s; behind {result['link_bytes_per_s'] / 1e6:.2f} MB/s"
        f" {result['slow_to_cold']:.3f} of it, with {result['probes']} probes of at most"
        f" {result['probe_s_max']:.2f} s ({result['slow_to_cold_without_probe']:.3f}"
        f" without them); on a fast link {result['fast_to_cold']:.3f}"
    )
    worst = max(result["slow_to_cold"], result["slow_to_cold_without_probe"])
    reached = worst <= MARGIN and result["same_first_token"]
    raise SystemExit(0 if reached else 1)


if __name__ == "__main__":
    main()
