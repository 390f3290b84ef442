#!/usr/bin/env python3
"""Draws every plot of bench/plots from bench/results, with nothing but Python.

    bench/plot.py            draws what there are results for
    bench/plot.py --check    exits 1 where a kept plot is not what its results give, or bench/README.md
                             does not name it
"""

import json
import math
import pathlib
import sys

from svg import COLOURS, GREY, WIDTH, Svg

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE / "quality"))

from quality_plot import quality_svg

RESULTS, PLOTS, README = HERE / "results", HERE / "plots", HERE / "README.md"
LEFT, ROW, GAP, TOP = 210, 18, 12, 56


def bars(title: str, unit: str, groups: list) -> str:
    """groups: (label, [(series, value, low, high)]), all values in `unit`, each group's rows together.

    low and high are drawn as a line over the bar; None where there is no spread.
    """
    rows = sum(len(group) for _, group in groups)
    svg = Svg(TOP + rows * ROW + len(groups) * GAP + 10, title, unit)
    top_value = max(max(value, high or 0) for _, group in groups for _, value, _, high in group)
    scale = (WIDTH - LEFT - 80) / top_value
    series = list(dict.fromkeys(name for _, group in groups for name, *_ in group))
    y = TOP
    for label, group in groups:
        svg.text(12, y + 12, label, size=12)
        for name, value, low, high in group:
            colour = COLOURS[series.index(name) % len(COLOURS)]
            svg.box(LEFT, y + 2, value * scale, ROW - 5, colour)
            end = LEFT + max(value, high or 0) * scale
            if low is not None:
                middle = y + ROW / 2 - 0.5
                svg.line([(LEFT + low * scale, middle), (LEFT + high * scale, middle)], "#222", 1)
            svg.text(LEFT - 6, y + 12, name, size=11, anchor="end", colour=GREY)
            svg.text(end + 5, y + 12, f"{value:.0f}" if value >= 100 else f"{value:.3g}", size=11)
            y += ROW
        y += GAP
    return str(svg)


def curves(title: str, note: str, lines: list) -> str:
    """lines: (label, [(x, y)]); x on a logarithmic axis."""
    height, floor = 320, 280
    svg = Svg(height, title, note)
    x_top = max(x for _, points in lines for x, _ in points)
    y_top = max(y for _, points in lines for _, y in points)
    for exponent in range(int(math.log10(x_top)) + 1):
        x = 60 + exponent / math.log10(x_top) * (WIDTH - 220)
        svg.text(x, floor + 18, f"1e{exponent}", size=11, anchor="middle", colour=GREY)
    for share in (0.5, 1):
        svg.text(52, floor - share * 210 + 4, f"{y_top * share:.0f}", size=11, anchor="end")
    svg.line([(60, TOP), (60, floor), (WIDTH - 160, floor)], GREY, 1)
    for i, (label, points) in enumerate(lines):
        drawn = [
            (60 + math.log10(max(x, 1)) / math.log10(x_top) * (WIDTH - 220), floor - y / y_top * 210)
            for x, y in points
        ]
        svg.line(drawn, COLOURS[i % len(COLOURS)])
        svg.text(WIDTH - 155, drawn[-1][1] + 4 + 13 * i, label, colour=COLOURS[i % len(COLOURS)])
    return str(svg)


def plain(name: str, value: float) -> tuple:
    return (name, value, None, None)


def spread(name: str, value: dict) -> tuple:
    return (name, value["median"], value["min"], value["max"])


def codec(kind: str, key: str, scale: float) -> list:
    groups = {}
    for bench in load("codec.json")["benchmarks"]:
        what, _, pages = bench["name"].partition("/")
        if what in (f"direct_{kind}", f"zstd1_{kind}"):
            name = what.split("_")[0].replace("zstd1", "zstd -1")
            groups.setdefault(pages, []).append(plain(name, bench[key] * scale))
    return list(groups.items())


def codec_bits() -> str:
    groups = codec("encode", "bits_per_element", 1)
    return bars("Bits an element, by pages", "bits; less is better", groups)


def codec_speed() -> str:
    groups = [
        (f"{pages}, {kind}", rows)
        for kind in ("encode", "decode")
        for pages, rows in codec(kind, "items_per_second", 1e-6)
    ]
    return bars("Speed of the codec, one core", "million elements a second; more is better", groups)


def quickstart() -> str:
    groups = [
        (
            f"{row['level']} from {row['source']}",
            [plain("cold prefill", row["ttft_cold_s"]), plain("warm", row["ttft_warm_s"])],
        )
        for row in load("quickstart.json")["rows"]
    ]
    return bars("Time to first token, llama.cpp", "seconds; less is better", groups)


def vllm() -> str:
    series = {
        "without": "ttft_without_s",
        "miss": "ttft_cold_s",
        "Sluice hit": "ttft_external_hit_s",
        "own cache hit": "ttft_own_hit_s",
    }
    groups = [
        (f"{row['dtype']}, {row['load']}", [plain(n, row[k]) for n, k in series.items()])
        for row in load("vllm.json")["rows"]
    ]
    return bars("Time to first token, vLLM, 2,048 tokens", "seconds; less is better", groups)


def transport() -> str:
    result = load("transport.json")
    names = {"memcpy": "memcpy", "raw_unix": "raw unix socket", "get": "GET", "put": "PUT"}
    rows = [plain(name, result[f"{key}_gib_s"]) for key, name in names.items()]
    return bars("One connection", "GiB a second, medians; more is better", [("", rows)])


def log() -> str:
    result = load("log.json")
    groups = [
        (what, [spread(who, result[f"{who}_{what}_gb_s"]) for who in ("fio", "log")])
        for what in ("write", "read")
    ]
    groups.append(("start by a scan", [spread("log", result["scan_gb_s"])]))
    return bars("The disk log beside fio", "GB a second, median and range; more is better", groups)


def fuzz() -> str:
    lines = []
    for path in sorted(RESULTS.glob("fuzz-*.json")):
        result = json.loads(path.read_text())
        lines.append((result["target"], [(at["runs"], at["cov"]) for at in result["curve"]]))
    return curves("Coverage of the fuzz targets", "edges reached, by runs; flat is done", lines)


def quality() -> str:
    paths = sorted(RESULTS.glob("quality-*.json"))
    return quality_svg([json.loads(path.read_text()) for path in paths])


def load_plot() -> str:
    result = load("load.json")
    groups = [("ceilings", [spread(n[:-6], v) for n, v in result["ceilings"].items()])]
    for clients in sorted({row["clients"] for row in result["rows"]}):
        rows = [row for row in result["rows"] if row["clients"] == clients]
        groups.append(
            (f"{clients} clients", [spread(row["phase"], row["gib_s"]) for row in rows])
        )
    note = "GiB a second, all together, median and range; more is better"
    return bars("Clients at once through sluiced", note, groups)


# Plot: the results that it is of, and how it is drawn.
DRAWN = {
    "codec_bits": ("codec.json", codec_bits),
    "codec_speed": ("codec.json", codec_speed),
    "quickstart": ("quickstart.json", quickstart),
    "vllm": ("vllm.json", vllm),
    "transport": ("transport.json", transport),
    "log": ("log.json", log),
    "load": ("load.json", load_plot),
    "fuzz": ("fuzz-*.json", fuzz),
    "quality": ("quality-*.json", quality),
}


def load(name: str) -> dict:
    return json.loads((RESULTS / name).read_text())


def problems():
    """Yields what is wrong with the kept plots and their description."""
    described = README.read_text()
    for name, (results, draw) in DRAWN.items():
        path = PLOTS / f"{name}.svg"
        if f"{name}.svg" not in described:
            yield f"{README}: {name}.svg is not described"
        if any(RESULTS.glob(results)) and (not path.exists() or path.read_text() != draw()):
            yield f"{path} is not what {results} gives; run bench/plot.py"
    for path in PLOTS.glob("*"):
        if path.stem not in DRAWN:
            yield f"{path} is drawn by nothing; remove it"


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        found = list(problems())
        print("\n".join(found) or "all plots are what their results give")
        return 1 if found else 0
    PLOTS.mkdir(exist_ok=True)
    for name, (results, draw) in DRAWN.items():
        if any(RESULTS.glob(results)):
            (PLOTS / f"{name}.svg").write_text(draw())
    return 0


if __name__ == "__main__":
    sys.exit(main())
