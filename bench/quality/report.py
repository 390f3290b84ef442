"""Results of the quality bench as a table for people, without torch.

    bench/quality/report.py RESULT.json... [--against "CODEC LEVEL"]

`ours` is what Sluice takes at the same KL, on the line through the levels of its first profile with two
or more, in the pages that came first; `ratio` is how much smaller that is. Of a codec that is worse than
its worst level that level's bits are `ours`, and the ratio is at least what it says; of one that is better
than its best there is neither. --against adds log(KL / that codec's KL) with the 95 %
interval of a paired bootstrap over the windows.
"""

import argparse
import json

import bars
import paired

HEAD = (
    "codec", "b/el", "KL", "95 %", "p99", "top-1", "ppl %", "greedy", "needles", "ours", "ratio",
)  # fmt: skip


def text(result: dict, against: str | None = None) -> str:
    """Returns the tables of a result, one for each text, as Markdown, and how the bars are reached."""
    out = []
    for name in dict.fromkeys(row["text"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["text"] == name]
        out.append(f"{rows[0]['model']} on {name}, {rows[0]['windows']} windows\n")
        out += _table(rows, against)
        out += _bars(rows)
        out.append("")
    return "\n".join(out)


def label(row: dict) -> str:
    pages = row.get("page_tokens", "")
    return f"{row['codec']} {row['level']} {pages}".strip()


def _table(rows: list[dict], against: str | None) -> list[str]:
    other = next((row for row in rows if label(row) == against), None)
    if against and other is None:
        raise SystemExit(f"no row {against}; there are: {', '.join(map(label, rows))}")
    head = [*HEAD, f"log KL against {against}"] if other else [*HEAD]
    points = _our_points(rows)
    body = []
    for row in sorted(rows, key=lambda row: row["bpe"]):
        cells = _cells(row, points)
        if other:
            found = paired.log_ratio(row["kl_windows"], other["kl_windows"])
            cells.append("{:+.3f} [{:+.3f}, {:+.3f}]".format(*found) if found else "")
        body.append(cells)
    lines = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _cells(row: dict, points: list[bars.Point]) -> list[str]:
    interval = row["kl_interval"]
    ours = ratio = ""
    if len(points) > 1 and not bars.is_ours(row) and row["kl_mean"] >= min(p[1] for p in points):
        worst = max(p[1] for p in points)
        bits = bars.bits_at(points, min(row["kl_mean"], worst))
        bound = "" if row["kl_mean"] <= worst else "at least "
        ours, ratio = f"{bits:.2f}", f"{bound}{row['bpe'] / bits:.2f}"
    return [
        label(row),
        f"{row['bpe']:.3f}",
        f"{row['kl_mean']:.3g}",
        "{:.2g} to {:.2g}".format(*interval) if interval else "",
        f"{row['kl_p99']:.3g}",
        f"{row['top1']:.4f}",
        f"{100 * row['ppl_delta']:+.2f}",
        "" if row["greedy_match"] is None else f"{row['greedy_match']:.2f}",
        f"{row['needles']}/{row['needles_of']}" if row["needles_of"] else "",
        ours,
        ratio,
    ]


def _our_points(rows: list[dict]) -> list[bars.Point]:
    by_profile: dict[tuple, list[bars.Point]] = {}
    for row in rows:
        if bars.is_ours(row) and row["kl_mean"] > 0:
            by_profile.setdefault((row["codec"], row["page_tokens"]), []).append((row["bpe"], row["kl_mean"]))
    return next((points for points in by_profile.values() if len(points) > 1), [])


def _bars(rows: list[dict]) -> list[str]:
    points = bars.points_of(rows[0]["model"])
    return [
        f"bar: {v.codec} {v.level} {v.page_tokens}, {v.bpe:.3f} b/el at {v.kl:.3g}: {v.bar:.3f},"
        f" {'reached' if v.reached else 'MISSED'}"
        for v in (bars.verdicts(rows, points) if points else [])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+")
    parser.add_argument("--against", help='"codec level" of a row')
    args = parser.parse_args()
    for path in args.results:
        with open(path) as file:
            print(text(json.load(file), args.against))


if __name__ == "__main__":
    main()
