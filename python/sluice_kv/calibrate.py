"""Measures a model's KV on texts of yours, and writes the profiles that lossy pages are coded with.

    python -m sluice_kv.calibrate --model GGUF|FOLDER --out NAME --socket PATH \
        --text A --text B --test C [--target-kl NATS]

One file a KV group: NAME.profile, or NAME.0.profile, NAME.1.profile. Statistics come from the --text
files (take two or more domains), the quality that the profile names from the --test files, which
must be others: their KV goes through libsluice and a daemon, and the model answers on what comes
back. Needs torch and transformers; minutes on a CPU for a small model.

The target is that of the finest lossy level, q1; each coarser one has about nine times its KL. NAME.partial
keeps the statistics, so that a run that was cut goes on, and one with another basis or target starts with
them; it can be removed.
"""

import argparse
import hashlib
import json
import os
import struct
import sys

from sluice_kv import api, carrier, profile_fit, quality, text_marks
from sluice_kv.carrier import Carrier, measure
from sluice_kv.kv_model import SINKS, KvModel, read_text
from sluice_kv.kv_statistics import (
    ENERGY, FORCED_TOKENS, GRADIENTS, PREFIX_TOKENS, Statistics,
)  # fmt: skip
from sluice_kv.profile_file import KL_UNKNOWN, NOT_ROTATED, Profile

TRIAL_WINDOWS = 2  # of calibration text, that the target is scaled on


def gathered(model: KvModel, args) -> Statistics:
    """Returns the statistics of all calibration windows, from a file as far as that has them."""
    texts = [read_text(path) for path in args.text]
    windows = model.windows(texts, args.windows, PREFIX_TOKENS + FORCED_TOKENS)
    out = Statistics(model, args.metric)
    path = args.out + ".partial"
    run = {
        "model": model.digest.hex(),
        "metric": args.metric,
        "windows": [hash_of(window) for window in windows],
    }
    if out.load(path, run):
        print(f"{out.windows} windows of {path}", file=sys.stderr)
    for index, tokens in enumerate(windows[out.windows :], out.windows + 1):
        out.add(tokens)
        out.save(path, run)
        print(f"calibration window {index} of {len(windows)}", file=sys.stderr)
    return out


def hash_of(tokens: list[int]) -> str:
    return hashlib.sha256(struct.pack(f"<{len(tokens)}I", *tokens)).hexdigest()[:16]


def profiles(
    model: KvModel, statistics: Statistics, target_kl: float, args, note: str
) -> list[Profile]:
    """Returns one profile a KV group, not measured yet."""
    blocks = profile_fit.blocks(statistics, target_kl, args.basis, args.rows)
    out = []
    for group in model.groups:
        frequencies, rotations = model.rotations(group["layers"])
        out.append(
            Profile(
                model_digest=model.digest,
                planes=group["planes"],
                layers=group["layers"],
                rotations=[NOT_ROTATED if r is None else r for r in rotations],
                frequencies=frequencies,
                blocks=[blocks[layer] for layer in group["layers"]],
                sinks=SINKS,
                note=note,
                kl=[KL_UNKNOWN - row for row in range(args.rows)],  # a put names its row by these
                marks=statistics.marks,
            )
        )
    return out


def scaled(model: KvModel, statistics: Statistics, args) -> float:
    """Returns the target under which q1 has the KL that was asked for, on calibration text."""
    texts = [read_text(path) for path in args.text]
    trial = model.windows(texts, TRIAL_WINDOWS, carrier.PREFIX_TOKENS + carrier.FORCED_TOKENS)
    for tokens in trial:
        statistics.marks |= text_marks.kept(tokens)
    files = [draft.encode() for draft in profiles(model, statistics, args.target_kl, args, "")]
    kl = KL_UNKNOWN - (args.rows - 1)
    (found,) = measure(model, [Carrier(model, args.socket, files, kl)], trial)
    return args.target_kl**2 / found["kl_mean"]


def test_windows(model: KvModel, args) -> list[list[int]]:
    """Returns what the quality is measured on; SystemExit where a calibration text has it too."""
    marks = text_marks.kept([t for path in args.text for t in model.encode(read_text(path))])
    texts = [read_text(path) for path in args.test]
    tests = model.windows(texts, args.test_windows, carrier.PREFIX_TOKENS + carrier.FORCED_TOKENS)
    for index, tokens in enumerate(tests):
        if next(text_marks.leaks(tokens, marks), None) is not None:
            raise SystemExit(
                f"{args.test[index % len(texts)]} has text of a --text file: quality is measured on other text"
            )
    return tests


def measured(model: KvModel, drafts: list[Profile], tests: list[list[int]], args) -> list[dict]:
    """Returns the quality and size of each level on the test windows."""
    files = [draft.encode() for draft in drafts]
    carriers = [Carrier(model, args.socket, files, KL_UNKNOWN - row) for row in range(args.rows)]
    found = measure(model, carriers, tests)
    return [{"level": f"q{args.rows - row}", **level} for row, level in enumerate(found)]


def write(drafts: list[Profile], levels: list[dict], args) -> None:
    for draft in drafts:
        draft.kl = [quality.micro_nats(level["kl_mean"]) for level in levels]
    files = [draft.encode() for draft in drafts]
    client = api.Client(args.socket)
    for file in files:  # no reader takes levels out of order, which noise under a very low target gives
        try:
            client.add_profile(file)
        except api.Error as error:
            raise SystemExit(f"{error}; try a higher --target-kl or more --test-windows; {levels}") from error
    for index, content in enumerate(files):
        path = f"{args.out}.profile" if len(files) == 1 else f"{args.out}.{index}.profile"
        with open(path + ".part", "wb") as file:
            file.write(content)
        os.replace(path + ".part", path)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="GGUF file, or folder of config.json and safetensors")
    parser.add_argument("--out", required=True, help="the profile's name, without .profile")
    parser.add_argument("--socket", help="of a running sluiced")
    parser.add_argument("--text", action="append", required=True, help="calibration text; twice or more")
    parser.add_argument("--test", action="append", required=True, help="text that the quality is measured on")
    parser.add_argument("--windows", type=int, default=12, help="of calibration, over all texts; 12")
    parser.add_argument("--test-windows", type=int, default=8, help="over all test texts; 8")
    parser.add_argument("--target-kl", type=float, default=0.00015, help="nats of q1; what is measured counts")
    parser.add_argument("--basis", choices=("givens", "dense", "identity"), default="givens")
    parser.add_argument("--rows", type=int, choices=(1, 2, 3), default=3, help="levels, the last of them q1")
    parser.add_argument(
        "--metric", choices=(GRADIENTS, ENERGY), default=GRADIENTS, help="energy: without gradients"
    )
    args = parser.parse_args()
    if args.windows < 1 or args.test_windows < 1:
        parser.error("--windows and --test-windows are at least 1")
    if not 0 < args.target_kl < 1:
        parser.error(f"--target-kl is {args.target_kl} nats, expected more than 0 and less than 1")
    if not os.path.isdir(os.path.dirname(args.out) or "."):
        parser.error(f"--out {args.out}: there is no such folder")
    there = [path for path in (f"{args.out}.profile", f"{args.out}.0.profile") if os.path.exists(path)]
    if there:
        parser.error(
            f"{there[0]} is there, and pages coded with it need it: give another --out (a copy of"
            f" {args.out}.partial beside it saves the gathering), or remove it"
        )
    if set(map(os.path.realpath, args.text)) & set(map(os.path.realpath, args.test)):
        parser.error("a --test file is a --text file: quality is measured on other text")
    return args


def main() -> None:
    args = parsed()
    try:
        api.Client(args.socket).stats()
    except api.Error as error:  # before the work, which takes minutes
        raise SystemExit(f"a running sluiced is needed: {error}") from error
    model = KvModel(args.model)
    tests = test_windows(model, args)
    statistics = gathered(model, args)
    about = {
        "texts": [os.path.basename(path) for path in args.text],
        "test": [os.path.basename(path) for path in args.test],
        "windows": args.windows,
        "target_kl": args.target_kl,
        "metric": args.metric,
    }
    drafts = profiles(model, statistics, scaled(model, statistics, args), args, json.dumps(about))
    levels = measured(model, drafts, tests, args)
    write(drafts, levels, args)
    print(json.dumps(levels))


if __name__ == "__main__":
    main()
