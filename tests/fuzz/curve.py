"""Reads a libFuzzer report and writes its coverage curve.

    curve.py TARGET SECONDS REPORT OUT.json

SECONDS of CPU time; cov counts edges of the program reached, runs the inputs tried; the curve has a point for each
doubling of the runs, of the last input that was told of and of the end.
"""

import json
import re
import sys

LINE = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)")
EXECUTED = re.compile(r"^stat::number_of_executed_units: (\d+)", re.MULTILINE)


def main() -> None:
    target, seconds, report, out = sys.argv[1:]
    with open(report, encoding="utf-8", errors="replace") as file:
        text = file.read()
    points = [tuple(map(int, m.groups())) for m in map(LINE.match, text.splitlines()) if m]
    executed = EXECUTED.search(text)
    if not points or not executed:
        sys.exit(f"{report}: no line of a run, or no statistics at its end")
    points.append((int(executed[1]), *points[-1][1:]))
    curve = []
    for point in points:
        if not curve or point[0] >= 2 * curve[-1][0] or point in points[-2:]:
            curve.append(point)
    runs, cov, features, corpus = points[-1]
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"target": target, "seconds": int(seconds), "runs": runs, "cov": cov,
                   "features": features, "corpus": corpus,
                   "curve": [{"runs": r, "cov": c} for r, c, _, _ in curve]}, file, indent=1)
        file.write("\n")
    print(f"{target}: {runs} runs, {cov} edges, {corpus} inputs kept")


if __name__ == "__main__":
    main()
