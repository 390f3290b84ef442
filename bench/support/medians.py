#!/usr/bin/env python3
"""Leaves of Google Benchmark's JSON the medians, under the names of what was repeated.

    bench/support/medians.py FILE
"""

import json
import pathlib
import sys

path = pathlib.Path(sys.argv[1])
result = json.loads(path.read_text())
result["context"].pop("host_name", None)
KEPT = ("repetitions", "items_per_second", "bytes_per_second", "bits_per_element")
medians = [bench for bench in result["benchmarks"] if bench.get("aggregate_name") == "median"]
result["benchmarks"] = [
    {"name": bench["run_name"], **{key: bench[key] for key in KEPT if key in bench}}
    for bench in sorted(medians, key=lambda bench: bench["run_name"])
]
path.write_text(json.dumps(result, indent=1) + "\n")
