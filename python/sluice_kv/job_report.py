"""Turns the quickstart's result into its table and JSON, and its exit status.

    python -m sluice_kv.job_report COMPARE.json PAGES.json [RESTORE.json ...]
        [--lossy LOSSY.json LOSSY_PAGES.json] [--json FILE]

COMPARE.json, RESTORE.json and LOSSY.json are engine_job's, PAGES.json is what `sluice --json inspect`
says of the pages. Each RESTORE.json is one run after the daemon was killed and started anew: together
they make a row of their own.
"""

import argparse
import json
import math
import statistics
import sys

COLUMNS = [
    ("level", "{level}"),
    ("encoding", "{encoding}"),
    ("source", "{source}"),
    ("dtype", "{dtype}"),
    ("tokens reused", "{tokens_reused}"),
    ("TTFT cold", "{ttft_cold_s:.2f} s"),
    ("TTFT warm", "{ttft_warm_s:.2f} s"),
    ("raw", "{raw_bytes}"),
    ("stored", "{stored_bytes}"),
    ("bits/element", "{bits_per_element:.2f}"),
    ("same logits", "{same_logits}"),
    ("same answer", "{same_answer}"),
    ("KL mean", "{kl_mean:.4f}"),
    ("top-1", "{top1:.3f}"),
]
QUALITY = ("kl_mean", "kl_interval", "kl_p99", "top1", "windows", "tokens")
ELEMENT_BYTES = {"f32": 4, "f16": 2, "bf16": 2}


def one_of(values) -> str:
    """Returns the value that all pages share, or all values."""
    return "+".join(sorted(set(values)))


def make_row(compared: dict, pages: list[dict]) -> dict:
    """compared: with its "level", where that is not all that the pages have."""
    dtype = one_of(plane["dtype"] for page in pages for plane in page["planes"])
    elements = compared["raw_bytes"] / ELEMENT_BYTES[dtype]
    return {
        "level": compared.get("level") or one_of(page["rows"][-1]["level"] for page in pages),
        "encoding": one_of(page["encoding"] for page in pages),
        "source": compared["source"],
        "dtype": dtype,
        "tokens_reused": compared["tokens_reused"],
        "ttft_cold_s": compared["ttft_cold_s"],
        "ttft_warm_s": compared["ttft_warm_s"],
        "raw_bytes": compared["raw_bytes"],
        "stored_bytes": compared["stored_bytes"],
        "bits_per_element": 8 * compared["stored_bytes"] / elements if elements else 0.0,
        "same_logits": compared["same_logits"],
        "same_answer": compared["same_answer"],
    }


def with_quality(row: dict, quality: dict | None) -> dict:
    """Adds KL and top-1: what was measured, or what equal logits leave no other value for."""
    if quality is None:
        quality = {"kl_mean": 0.0, "top1": 1.0} if row["same_logits"] else {}
    unknown = {"kl_mean": math.nan, "top1": math.nan}
    return {**row, **unknown, **{key: quality[key] for key in QUALITY if key in quality}}


def lossy_row(level: dict, pages: list[dict], compared: dict) -> dict:
    row = make_row({**level, "ttft_cold_s": compared["ttft_cold_s"]}, pages)
    answer = {name: level[name] for name in ("answer_kl", "answer_top1")}
    (promised,) = {r["kl"] for page in pages for r in page["rows"] if r["level"] == level["level"]}
    return {**with_quality(row, level["quality"]), **answer, "kl_promised": promised / 1e6}


def quality_line(row: dict) -> str:
    low, high = row["kl_interval"]
    return (
        f"{row['level']}: next-token KL {row['kl_mean']:.5f} nats, 95 % interval {low:.5f} to"
        f" {high:.5f} over {row['windows']} windows, {row['tokens']} tokens, the profile says"
        f" {row['kl_promised']:.5f}; of the answer's tokens {row['answer_kl']:.5f}, top-1"
        f" {row['answer_top1']:.3f}"
    )


def rounding_line(rounding: dict) -> str:
    low, high = rounding["kl_interval"]
    return (
        f"the engine's own rounding, exact KV with flash attention and without: KL"
        f" {rounding['kl_mean']:.5f}, {low:.5f} to {high:.5f}, top-1 {rounding['top1']:.3f}"
    )


def after_restarts(compared: dict, runs: list[dict]) -> dict:
    """Returns what the runs say together, beside the cold time that was measured before."""
    return {
        **runs[0],
        "tokens_reused": min(run["tokens_reused"] for run in runs),
        "source": one_of(run["source"] for run in runs),
        "ttft_cold_s": compared["ttft_cold_s"],
        "ttft_warm_s": statistics.median(run["ttft_warm_s"] for run in runs),
        "same_logits": all(run["same_logits"] for run in runs),
        "same_answer": all(run["same_answer"] for run in runs),
    }


def table(rows: list[dict]) -> str:
    cells = [[title for title, _ in COLUMNS]]
    cells += [[layout.format(**row) for _, layout in COLUMNS] for row in rows]
    cells = [
        [text.replace("True", "yes").replace("False", "NO") for text in line] for line in cells
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    cells.insert(1, ["-" * width for width in widths])
    lines = (" | ".join(text.ljust(width) for text, width in zip(line, widths)) for line in cells)
    return "\n".join(f"| {line} |" for line in lines)


def problems(rows: list[dict], split: int, control: dict) -> list[str]:
    """Returns what must make the quickstart fail."""
    found = []
    for row in rows:
        if row["tokens_reused"] != split:
            found.append(
                f"{row['tokens_reused']} tokens were reused from {row['source'] or 'nowhere'},"
                f" {split} are stored"
            )
        if row["level"] == "exact" and not row["same_logits"]:
            found.append("logits after a restore differ from those of a cold prefill")
        if row["level"] == "exact" and not row["same_answer"]:
            found.append("the answer after a restore differs from that of a cold prefill")
    for what in ("logits", "answer"):
        if control[f"same_{what}"]:
            found.append(f"another document's pages gave the same {what}: the comparison is blind")
    return found


def read(path: str):
    with open(path) as file:
        return json.load(file)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("compared")
    parser.add_argument("pages")
    parser.add_argument("restored", nargs="*")
    parser.add_argument("--lossy", nargs=2, metavar=("LOSSY", "LOSSY_PAGES"))
    parser.add_argument("--json", help="file for the rows")
    args = parser.parse_args()
    compared, pages = read(args.compared), read(args.pages)
    rows = [with_quality(make_row(compared, pages), None)]
    if args.restored:
        runs = after_restarts(compared, [read(p) for p in args.restored])
        rows.append(with_quality(make_row(runs, pages), None))
    disk = rows[-1] if args.restored else None
    if args.lossy:
        lossy, lossy_pages = map(read, args.lossy)
        rows += [lossy_row(level, lossy_pages, compared) for level in lossy["levels"]]
    control = compared["control"]
    print(f"\nAnswer: {compared['answer'].strip()}\n")
    print(table(rows))
    ratio = compared["ttft_cold_s"] / compared["ttft_warm_s"]
    print(
        f"\nfirst token {ratio:.1f} times sooner, median of {len(compared['ttft_warm_all_s'])};"
        f" {compared['tokens']} document tokens, {compared['answer_tokens']} answer tokens"
    )
    print(
        f"control, {control['pages']} of the pages taken from another document: same logits"
        f" {control['same_logits']}, same answer {control['same_answer']}"
    )
    for row in rows:
        if "answer_kl" in row:
            print(quality_line(row))
    if args.lossy:
        print(rounding_line(lossy["rounding"]))
    if args.json:
        with open(args.json, "w") as file:
            rounding = {"rounding": lossy["rounding"]} if args.lossy else {}
            json.dump({"rows": rows, "control": control, **rounding}, file, indent=1)
            file.write("\n")
    found = problems(rows, compared["split"], control)
    if disk and disk["source"] != "disk":
        found.append(f"after a restart pages came from {disk['source'] or 'nowhere'}, not disk")
    for row in rows:
        if row["level"] != "exact" and row["encoding"] != "progressive":
            found.append(f"the pages of {row['level']} are {row['encoding']}, not progressive")
    for problem in found:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
