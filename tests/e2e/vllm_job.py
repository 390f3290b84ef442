"""One vLLM process of vllm_test.py: runs phases on one prompt and writes what each gave as JSON.

    vllm_job.py --model FOLDER --dtype float32 --socket PATH --out FILE PHASE...

off       as if there were no Sluice
cold      nothing in the engine's prefix cache, nothing is loaded; what is computed is stored
own       the engine's own prefix cache, filled by the phase before
own256    the same, but for 256 tokens only
external  nothing in the engine's prefix cache, Sluice asked
fail      as external, but the pages from the sixth on cannot be loaded: 256 tokens are
foreign   as external, but the pages are those of another document: the answer must change

A phase can be named again with a digit behind it.
"""

import argparse
import json
import time
from contextlib import nullcontext
from unittest import mock

LICENSES = "/usr/share/common-licenses"
ANSWER_TOKENS = 24
FAIL_FROM_PAGE = 5
PHASES = ("off", "cold", "own", "own256", "external", "fail", "foreign")


class Job:
    def __init__(self, args):
        from vllm import LLM

        started = time.monotonic()
        self.args = args
        self.llm = LLM(
            model=args.model,
            dtype=args.dtype,
            block_size=args.block,
            max_model_len=4096,
            max_num_batched_tokens=4096,
            max_num_seqs=4,
            enforce_eager=True,
            seed=0,
            disable_log_stats=False,
            async_scheduling=not args.sync,
            enable_prefix_caching=not args.sync,
            kv_transfer_config={
                "kv_connector": "SluiceConnector",
                "kv_connector_module_path": "sluice_kv.vllm",
                "kv_role": "kv_both",
                "kv_load_failure_policy": args.policy,
                "kv_connector_extra_config": {"socket": args.socket, "sync_load": args.sync},
            },
            **({} if args.processes else {"distributed_executor_backend": "uni"}),
        )
        self.start_s = time.monotonic() - started
        tokenizer = self.llm.get_tokenizer()
        with open(f"{LICENSES}/GPL-3") as file:
            self.document = tokenizer.encode(file.read())[: args.tokens]
        with open(f"{LICENSES}/GPL-2") as file:
            self.other = tokenizer.encode(file.read())[: args.tokens]
        self.generate(self.other[:60], 2)  # the first one is slow, and too short for a page

    def generate(self, tokens: list[int], count: int = ANSWER_TOKENS) -> dict:
        from vllm import SamplingParams

        params = SamplingParams(temperature=0, max_tokens=count, logprobs=1, ignore_eos=True)
        before = self.counters()
        (output,) = self.llm.generate([{"prompt_token_ids": tokens}], params, use_tqdm=False)
        after = self.counters()
        answer = output.outputs[0]
        chosen = [step[token] for step, token in zip(answer.logprobs or (), answer.token_ids)]
        return {
            "ttft_s": output.metrics.first_token_latency,
            "tokens": list(answer.token_ids),
            "logprobs": [one.logprob for one in chosen],
            "finish": answer.finish_reason,
            "own_tokens": after["prefix_cache_hits"] - before["prefix_cache_hits"],
            "external_tokens": after["external_prefix_cache_hits"]
            - before["external_prefix_cache_hits"],
        }

    def counters(self) -> dict:
        names = ("prefix_cache_hits", "external_prefix_cache_hits")
        found = {metric.name.split(":")[-1]: metric for metric in self.llm.get_metrics()}
        return {name: getattr(found.get(name), "value", 0) for name in names}

    def run(self, phase: str) -> dict:
        if phase != "own":
            self.llm.reset_prefix_cache()
        patches = {
            "off": self.unknown,
            "cold": self.not_loaded,
            "own256": self.split_at_256,
            "fail": self.failing,
            "foreign": self.foreign,
        }
        with patches.get(phase, nullcontext)():
            result = self.generate(self.document)
        if phase == "cold":
            result["save_s"] = self.wait_until_saved()
        return result

    def unknown(self):
        from sluice_kv.vllm_plan import Planner

        return mock.patch.object(Planner, "matched_tokens", lambda *_, **__: 0)

    def not_loaded(self):
        from sluice_kv.vllm_plan import Planner

        real = Planner.matched_tokens

        def matched(planner, *arguments, **named):
            real(planner, *arguments, **named)
            return 0

        return mock.patch.object(Planner, "matched_tokens", matched)

    def split_at_256(self):
        with self.unknown():
            self.generate(self.document[:257], 1)
        return self.unknown()

    def failing(self):
        from sluice_kv import api

        real = api.Space.get

        def get(space, keys, tensors, first_page=0, max_kl=0):
            kept = keys[: max(0, FAIL_FROM_PAGE - first_page)]
            return real(space, kept, tensors, first_page, max_kl) if kept else api.Transfer()

        return mock.patch.object(api.Space, "get", get)

    def foreign(self):
        """The other document, computed and stored; then its pages' keys for this one's."""
        from sluice_kv import api

        self.generate(self.other, 1)
        self.wait_until_saved()
        self.llm.reset_prefix_cache()
        chains = {}
        real = api.Space.get

        def get(space, keys, tensors, first_page=0, max_kl=0):
            others = chains.setdefault(space, space.keys(self.other))
            wanted = others[first_page : first_page + len(keys)]
            return real(space, wanted, tensors, first_page, max_kl)

        return mock.patch.object(api.Space, "get", get)

    def wait_until_saved(self) -> float:
        """Returns how long it took until the daemon's number of pages stood still."""
        from sluice_kv import api

        started = changed = time.monotonic()
        with api.Client(self.args.socket) as client:
            pages = -1
            while time.monotonic() - changed < 2:
                now = client.stats()["ram_pages"]
                if now != pages:
                    pages, changed = now, time.monotonic()
                time.sleep(0.05)
        return changed - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--policy", default="recompute")
    parser.add_argument("--sync", action="store_true")
    parser.add_argument("--processes", action="store_true", help="vLLM's own, not one for all")
    parser.add_argument("phases", nargs="+")
    args = parser.parse_args()
    job = Job(args)
    result = {"start_s": job.start_s}
    for phase in args.phases:
        result[phase] = job.run(phase if phase in PHASES else phase[:-1])
        print(phase, json.dumps(result[phase]), flush=True)
    with open(args.out, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
