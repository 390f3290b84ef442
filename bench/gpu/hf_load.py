"""Prefill on a CUDA card beside loading the same KV from a sluiced on its machine.

    python bench/gpu/hf_load.py [--json FILE]

Needs torch, transformers, a CUDA card and what tests/python/run_hf.sh sets. The model has Llama 3.2 1B's
shape and random weights (its speed is that of any weights; its KV compresses a little worse than a
trained model's). Alternates a prefill, a load of all, a request as an engine makes it (load what
load() finds worth it, compute the rest) and a copy of the same bytes from pinned host memory; medians
of five. `request_over_prefill` is the promise: not slower than without.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time

import torch
from daemon import Daemon
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig

from sluice_kv import api
from sluice_kv.hf import SluiceCache

RUNS = 5


def write_model(folder: str) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=2048, intermediate_size=8192, vocab_size=128256, num_hidden_layers=16,
        num_attention_heads=32, num_key_value_heads=8, head_dim=64, rope_theta=5e5,
        max_position_embeddings=131072, tie_word_embeddings=True,
    )
    with torch.device("cuda"):
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def timed(work) -> tuple[float, object]:
    torch.cuda.synchronize()
    began = time.perf_counter()
    out = work()
    torch.cuda.synchronize()
    return time.perf_counter() - began, out


def measure(model, client: api.Client, tokens: int) -> dict:
    ids = torch.randint(3, 100000, (1, tokens + 1), device="cuda")
    cache = SluiceCache(client, model, always_load=True)
    chosen = SluiceCache(client, model)

    def prefill(into, first=0):
        with torch.no_grad():
            model(ids[:, first:], past_key_values=into, use_cache=True, logits_to_keep=1)

    def request():
        prefill(chosen, chosen.load(ids))

    prefill(cache)
    save_s, saved = timed(lambda: cache.save(ids))
    if saved is None:
        raise SystemExit(cache.last_error)
    host = torch.empty(saved.raw_bytes, dtype=torch.uint8, pin_memory=True)
    seconds = {"prefill": [], "load": [], "request": [], "pinned_copy": []}
    for _ in range(RUNS):
        seconds["prefill"].append(timed(lambda: prefill(DynamicCache(config=model.config)))[0])
        cache.reset()
        took, loaded = timed(lambda: cache.load(ids))
        if loaded != tokens:
            raise SystemExit(f"loaded {loaded} of {tokens} tokens: {cache.miss_reason()}")
        seconds["load"].append(took)
        chosen.reset()
        seconds["request"].append(timed(request)[0])
        seconds["pinned_copy"].append(timed(lambda: host.to("cuda"))[0])
    median = {f"{name}_s": statistics.median(took) for name, took in seconds.items()}
    return {
        "tokens": tokens, "raw_bytes": saved.raw_bytes, "stored_bytes": saved.stored_bytes,
        **median, "save_s": save_s,
        "load_gb_s": saved.raw_bytes / median["load_s"] / 1e9,
        "load_over_prefill": median["load_s"] / median["prefill_s"],
        "request_over_prefill": median["request_s"] / median["prefill_s"],
        "slowest_request_s": max(seconds["request"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    options = parser.parse_args()
    folder = tempfile.mkdtemp()  # 2.5 GB
    server = Daemon("--ram", "8GiB")
    try:
        write_model(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to("cuda").eval()
        client = api.Client(server.socket, deadline_ms=60000)
        cache = SluiceCache(client, model)
        if not cache.wait_ready():
            raise SystemExit(cache.last_error)
        measure(model, client, 1024)  # warms up
        rows = [measure(model, client, tokens) for tokens in (2048, 8192, 16384)]
    finally:
        server.stop()
        shutil.rmtree(folder)
    report = {
        "card": torch.cuda.get_device_name(), "torch": torch.__version__,
        "model": "Llama 3.2 1B's shape, random weights, bf16", "rows": rows,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        with open(options.json, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
