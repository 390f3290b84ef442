#!/usr/bin/env python3
"""Compares the kept results with the bars that they must reach; exits 1 where one is missed.

    bench/check_bars.py     reads bench/results, prints a line for each bar
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE / "quality"))

from bars import points_of, verdicts

RESULTS = HERE / "results"
# Bits an element of `direct`, by pages.
BITS_MAX = {
    "gpl_f16": 13.6,
    "smol_bf16": 10.6,
    "qwen_bf16": 10.6,
    "gemma_full_bf16": 10.95,
    "gemma_swa_bf16": 10.95,
}
# GB/s of bf16 that one core decodes, by what it decodes; encoding is part of it.
DECODE_MIN = {
    "direct": 0.8,
    "givens_q3": 0.7,
    "givens_q2": 0.5,
    "givens_exact_on_q3": 0.35,
    "dense_q2": 0.3,
}
ENCODE_TO_DECODE_MIN = 0.4
WARM_TO_COLD_MAX = 1 / 8
GET_TO_RAW_MIN = 0.5
LOG_TO_FIO_MIN = 0.85
SLOW_LINK_TO_COLD_MAX = 1.05
LOG_SCAN_GB_S_MIN = 1.0
LOG_START_S_MAX = 5.0  # from footers, for 100 GB


def load(name: str) -> dict:
    return json.loads((RESULTS / name).read_text())


def bars():
    """Yields what is measured, the figure, its bar, and whether it is reached."""
    for bench in load("codec.json")["benchmarks"]:
        kind, _, pages = bench["name"].partition("/")
        if kind == "direct_encode":
            bits, bar = bench["bits_per_element"], BITS_MAX[pages]
            yield f"direct, bits/element, {pages}", bits, bar, bits <= bar
    yield from speed_bars()
    for row in load("quickstart.json")["rows"]:
        ratio = row["ttft_warm_s"] / row["ttft_cold_s"]
        what = f"warm TTFT to cold, {row['level']} from {row['source']}"
        yield what, ratio, WARM_TO_COLD_MAX, ratio <= WARM_TO_COLD_MAX
    ratio = load("transport.json")["get_to_raw"]
    yield "GET to raw socket", ratio, GET_TO_RAW_MIN, ratio >= GET_TO_RAW_MIN
    slow = load("slow_link.json")
    for what in ("slow_to_cold", "slow_to_cold_without_probe"):
        reached = slow[what] <= SLOW_LINK_TO_COLD_MAX
        yield f"TTFT, {what}", slow[what], SLOW_LINK_TO_COLD_MAX, reached
    figures = load("log.json").items()
    log = {name: value["median"] for name, value in figures if isinstance(value, dict)}
    for what in ("write_to_fio", "read_to_fio"):
        yield f"log, {what}", log[what], LOG_TO_FIO_MIN, log[what] >= LOG_TO_FIO_MIN
    # Where the disk itself reads no faster than the bar, the scan cannot either.
    scan_min = min(LOG_SCAN_GB_S_MIN, LOG_TO_FIO_MIN * log["fio_read_gb_s"])
    yield "log, scan GB/s", log["scan_gb_s"], scan_min, log["scan_gb_s"] >= scan_min
    start = log["start_s_100gb"]
    yield "log, start from footers, s", start, LOG_START_S_MAX, start <= LOG_START_S_MAX
    for path in sorted(RESULTS.glob("quality-*.json")):
        yield from quality_bars(load(path.name))


def speed_bars():
    """Yields as bars() does, for SmolLM2's pages of bf16."""
    speeds = {
        bench["name"].partition("/")[0]: bench["bytes_per_second"] / 1e9
        for bench in load("codec.json")["benchmarks"]
        if bench["name"].endswith("/smol_bf16") and "bytes_per_second" in bench
    }
    for what, bar in DECODE_MIN.items():
        if f"{what}_decode" in speeds:
            decode, encode = speeds[f"{what}_decode"], speeds[f"{what}_encode"]
            yield f"{what}, decode GB/s", decode, bar, decode >= bar
            ratio = encode / decode
            yield f"{what}, encode to decode", ratio, ENCODE_TO_DECODE_MIN, ratio >= ENCODE_TO_DECODE_MIN


def quality_bars(result: dict):
    """Yields as bars() does, for each level of Sluice, text by text."""
    for text in dict.fromkeys(row["text"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["text"] == text]
        points = points_of(rows[0]["model"])
        for v in verdicts(rows, points) if points else []:
            what = f"{rows[0]['model']}, {v.codec} {v.level}, {v.page_tokens} a page"
            yield f"{what}, bits at KL {v.kl:.2g}", v.bpe, v.bar, v.reached


def main() -> int:
    missed = 0
    for what, figure, bar, reached in bars():
        missed += not reached
        print(f"{what:<40} {figure:8.3f}  bar {bar:.3f}  {'reached' if reached else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
