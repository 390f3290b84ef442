"""llama.cpp's server as a process of its own, from the wheel of the engine.

usage: slot_server.py MODEL SLOT_FOLDER SLOTS    prints its address, ends with its standard input
"""

import json
import os
import subprocess
import sys
import urllib.request


class Server:
    """A running server; `slots` of them, each with a stream of its own."""

    def __init__(self, model: str, slot_folder: str, slots: int):
        self._process = subprocess.Popen(
            [sys.executable, __file__, model, slot_folder, str(slots)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._address = self._process.stdout.readline().strip()
        if not self._address:
            raise RuntimeError(f"llama.cpp's server ended with {self._process.wait()}")

    def post(self, path: str, **body) -> dict:
        request = urllib.request.Request(
            self._address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)

    def tokenize(self, text: str) -> list[int]:
        return self.post("/tokenize", content=text)["tokens"]

    def complete(self, slot: int, prompt: list[int], count: int) -> tuple[int, list[int]]:
        """The tokens that were not computed again, and `count` greedy ones."""
        reply = self.post(
            "/completion", prompt=prompt, n_predict=count, temperature=0, id_slot=slot,
            cache_prompt=True, return_tokens=True,
        )  # fmt: skip
        return reply["timings"]["cache_n"], reply["tokens"]

    def slot(self, slot: int, action: str, filename: str = "") -> dict:
        return self.post(f"/slots/{slot}?action={action}", filename=filename)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def main() -> None:
    import xllamacpp  # here, not in the process that starts it

    model, folder, slots = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path, params.slot_save_path = model, os.path.join(folder, "")
    params.n_ctx, params.n_parallel, params.kv_unified = 1024, int(slots), False
    params.cpuparams.n_threads = 1
    params.warmup, params.cache_ram_mib, params.port = False, 0, 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # the server's own end waits for its threads


if __name__ == "__main__":
    main()
