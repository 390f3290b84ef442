"""Every codec on one model and text: bits an element, and what the model's answers lose.

    bench/quality/run.sh --model FOLDER --calib FILE... --test FILE... --json OUT
        [--profile FILE...]... [--codecs PATTERN...]

A window is a prefix of the test text and the tokens behind it. The prefix's KV is computed in float32
and rounded to bf16: that is exact. Each codec takes it and gives KV back, rounded to bf16 again; the
model answers the same forced tokens on both. `kl` is of exact against lossy, a token; `ppl_delta` the
change of the perplexity of the text's own tokens, as a share; `greedy_match` how much of the greedy
continuation stays the same from its start; `needles` how many answers are still found of those that
are on exact KV. OUT is written after every window;
OUT.journal has what each codec gave on each, so that the same command goes on after a cut, and with
other codecs or profiles adds to what there is.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import signal
import sys

import torch
import transformers

import codec_list
import codecs_cachegen
import codecs_fixed
import codecs_ggml
import codecs_kvtc
import codecs_lossless
import codecs_sluice
import report
from codec_list import Codec
from daemon import Daemon
from journal import Journal
from judge import Judge
from needle import Needle, needles
from reference import SINKS, Reference
from sluice_kv import api, text_marks
from sluice_kv.kv_model import read_text
from sluice_kv.profile_file import marks_of

CALIBRATION_WINDOWS, CALIBRATION_TOKENS = 6, 1024  # of the bases that competitors need


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a transformers model, or a GGUF")
    parser.add_argument("--name", help="of the model, in rows; its file's name if not given")
    parser.add_argument("--calib", nargs="+", required=True, help="texts that profiles came from")
    parser.add_argument("--test", nargs="+", required=True, help="other texts, to measure on")
    parser.add_argument("--json", required=True, help="the file to write")
    parser.add_argument(
        "--profile", nargs="+", action="append", default=[], help="one file a KV group; repeatable"
    )
    parser.add_argument("--codecs", nargs="+", default=["*"], help='patterns of "name level"')
    parser.add_argument("--windows", type=int, default=16, help="of each text")
    parser.add_argument("--prefix-tokens", type=int, default=2048)
    parser.add_argument("--forced-tokens", type=int, default=128)
    parser.add_argument("--greedy-tokens", type=int, default=200, help="0: none")
    parser.add_argument("--needles", type=int, default=8, help="of each text; 0: none")
    parser.add_argument("--needle-tokens", type=int, default=4096, help="of a needle's context")
    parser.add_argument("--page-tokens", type=int, nargs="+", default=[64, 256], help="of our pages")
    args = parser.parse_args()
    args.name = args.name or os.path.basename(os.path.normpath(args.model))
    for tokens in (args.prefix_tokens, args.needle_tokens):
        if any(tokens % size for size in [64, *args.page_tokens]):
            parser.error(f"{tokens} tokens of context are not whole pages")
    return args


@dataclasses.dataclass
class TestText:
    name: str
    windows: list[list[int]]  # a prefix, and what is forced behind it
    needles: list[Needle]


def test_texts(args, model: Reference, profiles: dict[str, list[bytes]]) -> list[TestText]:
    """Cuts the test texts; ends the program where one has text of a calibration text."""
    kept = {path: text_marks.kept(model.encode(read_text(path))) for path in args.calib}
    kept |= {f"{name}.profile's marks": marks_of(files[0]) for name, files in profiles.items()}
    out = []
    for path in args.test:
        text = [read_text(path)]
        windows = model.windows(text, args.windows, args.prefix_tokens + args.forced_tokens)
        haystacks = model.windows(text, args.needles, args.needle_tokens)
        for tokens in windows + haystacks:
            refuse_leak(model, path, tokens, kept)
        out.append(TestText(os.path.basename(path), windows, needles(model, haystacks)))
    return out


def refuse_leak(model: Reference, test: str, tokens: list[int], kept: dict[str, set[int]]) -> None:
    for calibration, marks in kept.items():
        at = next(text_marks.leaks(tokens, marks), None)
        if at is not None:
            common = model.text(tokens[at : at + text_marks.WINDOW_TOKENS])
            raise SystemExit(
                f"{test} has text of {calibration}, which profiles were calibrated on, so that what"
                f" is measured on it says nothing; take another. Both have: {common!r}"
            )


def profiles_of(sets: list[list[str]]) -> dict[str, list[bytes]]:
    """Returns the files of each set by the name that NAME.profile or NAME.0.profile gives it."""
    names = [os.path.basename(paths[0]).removesuffix(".profile").removesuffix(".0") for paths in sets]
    return {name: api.read_profiles(paths) for name, paths in zip(names, sets)}


def all_codecs(
    args, model: Reference, socket: str, profiles: dict[str, list[bytes]]
) -> list[Codec]:
    texts = [read_text(path) for path in args.calib]
    calibration = model.windows(texts, CALIBRATION_WINDOWS, CALIBRATION_TOKENS)
    return codec_list.chosen(
        [
            *(
                codec
                for size in args.page_tokens
                for codec in codecs_sluice.codecs(model, socket, profiles, size)
            ),
            *codecs_cachegen.codecs(),
            *codecs_fixed.codecs(),
            *codecs_ggml.codecs(),
            *codecs_kvtc.codecs(model, calibration),
            *codecs_lossless.codecs(args.page_tokens[0]),
        ],
        args.codecs,
    )


def measure(args, model: Reference, codecs: list[Codec], texts: list[TestText]) -> dict:
    """Returns the result, which is written after each window too."""
    journal = Journal(args.json + ".journal", same(args, model))
    done = earlier_rows(args, codecs) if journal.goes_on else []
    result = {"parameters": parameters(args), "rows": done}
    for text in texts:
        judge = Judge(model, codecs, journal, text.name, args.greedy_tokens)
        for index, needle in enumerate(text.needles):
            print(f"{text.name}: needle {index + 1} of {args.needles}", file=sys.stderr)
            judge.needle(index, needle)
        for index, tokens in enumerate(text.windows):
            print(f"{text.name}: window {index + 1} of {args.windows}", file=sys.stderr)
            judge.window(index, tokens[: args.prefix_tokens], tokens[args.prefix_tokens :])
            result["rows"] = done + judge.rows({"model": args.name, "text": text.name})
            write(args.json, result)
        done = result["rows"]
    return result


def earlier_rows(args, codecs: list[Codec]) -> list[dict]:
    """Returns the rows that OUT has of other codecs than these."""
    if not os.path.exists(args.json):
        return []
    with open(args.json) as file:
        rows = json.load(file)["rows"]
    now = {(codec.name, codec.level, codec.page_tokens) for codec in codecs}
    return [row for row in rows if (row["codec"], row["level"], row.get("page_tokens", 0)) not in now]


def same(args, model: Reference) -> dict:
    """Returns what has to be the same in a run that goes on with another's journal."""
    names = "windows", "prefix_tokens", "forced_tokens", "greedy_tokens", "needles", "needle_tokens"
    texts = {
        os.path.basename(path): hashlib.sha256(read_text(path).encode()).hexdigest()
        for path in (*args.calib, *args.test)
    }
    return {"model": model.digest.hex(), **texts, **{name: getattr(args, name) for name in names}}


def parameters(args) -> dict:
    """Returns what a result was made with: the options, of paths the names."""
    texts = {name: list(map(os.path.basename, getattr(args, name))) for name in ("calib", "test")}
    counts = {name: value for name, value in vars(args).items() if isinstance(value, int)}
    return {
        **texts,
        **counts,
        "profiles": [list(map(os.path.basename, paths)) for paths in args.profile],
        "page_tokens": args.page_tokens,
        "sinks": SINKS,
        "compute": f"f32, torch {torch.__version__}, transformers {transformers.__version__}",
        "machine": platform.machine(),
    }


def write(path: str, result: dict) -> None:
    with open(path + ".part", "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    os.replace(path + ".part", path)


def main() -> None:
    args = parsed()
    model = Reference(args.model)
    profiles = profiles_of(args.profile)
    texts = test_texts(args, model, profiles)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the daemon too
    daemon = Daemon()
    try:
        result = measure(args, model, all_codecs(args, model, daemon.socket, profiles), texts)
    finally:
        daemon.stop()
    print(report.text(result))


if __name__ == "__main__":
    main()
