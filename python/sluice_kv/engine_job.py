"""The quickstart's engine processes: one stores a document's KV, a new one gets it back.

    python -m sluice_kv.engine_job store --model GGUF --socket PATH --out A.json
    python -m sluice_kv.engine_job compare --model GGUF --socket PATH --expect A.json --out B.json
    python -m sluice_kv.engine_job restore --model GGUF --socket PATH --expect A.json --out C.json
    python -m sluice_kv.engine_job lossy --model GGUF --socket PATH --expect A.json --out D.json
        --profile FILE

`store` prefills document and question, answers, and stores the document's full pages and some of
another document. `compare` answers cold (prefill everything) and warm (restore, prefill the rest),
and then once more with pages of the other document in place of the document's first ones, which
must change logits and answer. `restore` answers warm, once: for a daemon that was started anew.
`lossy` does both with pages that a profile makes smaller, apart from the others' by a salt: it stores
all levels once, answers warm on each, and measures what that does to the answer's logits and to the
next tokens of other texts.

Every prefill is cut at P, the document's last page boundary: [0, P) in batches of 64 or more, then
tail and question in one batch. llama.cpp takes another attention kernel for batches below 64
tokens, so another cut gives other low bits, with or without Sluice.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import time

from sluice_kv.llama import PAGE_TOKENS, Connector
from sluice_kv.llama_api import Context, Model

LICENSES = "/usr/share/common-licenses"
DOCUMENT = f"{LICENSES}/GPL-3"
DOCUMENT_TOKENS = 2017  # 31 pages and a tail
QUESTION = "What does this license allow?"
CONTROL_PAGES_MAX = 4
SPARE_TOKENS = 64
TIERS = ("ram", "disk")
LOSSY_SALT = b"lossy"
LOSSY_LEVELS = ("q3", "q2", "q1")
LOSSY_TEXTS = ("GPL-2", "LGPL-2.1", "MPL-2.0", "Apache-2.0")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Job:
    """A loaded model, an empty context, the prompt's token ids, and the connector."""

    def __init__(self, args):
        self.args = args
        started = time.monotonic()
        self.model = Model(args.model)
        self.document = self._document(args)
        self.split = len(self.document) // PAGE_TOKENS * PAGE_TOKENS
        question = f"\n\nQuestion: {args.question}\nAnswer:"
        self.prompt = self.document + self.model.tokenize(question, add_special=False)
        self.context = self.make_context(flash_attn=args.flash_attn == "on")
        self.cache = self.connect(put_kl=LOSSY_LEVELS[-1]) if args.profile else self.connect()
        say(
            f"engine {args.role}: model loaded in {time.monotonic() - started:.1f} s,"
            f" {len(self.document)} document tokens, {len(self.prompt)} with the question"
        )

    def make_context(self, flash_attn: bool) -> Context:
        return Context(
            self.model,
            n_ctx=len(self.prompt) + self.args.answer_tokens + SPARE_TOKENS,
            threads=self.args.threads,
            flash_attn=flash_attn,
        )

    def connect(self, **quality) -> Connector:
        args = self.args
        if args.profile:
            quality |= {"salt": LOSSY_SALT, "profiles": [args.profile]}
        cache = Connector(
            self.model, self.context, args.socket, deadline_ms=args.deadline_ms, **quality
        )
        if not cache.wait_ready():
            raise SystemExit(f"no connection to sluiced at {args.socket}: {cache.last_error}")
        return cache

    def _document(self, args) -> list[int]:
        room = self.model.context_tokens - args.answer_tokens - 4 * SPARE_TOKENS
        limit = args.tokens or (DOCUMENT_TOKENS if args.document == DOCUMENT else room)
        ids = self.model.tokenize(read_text(args.document))
        if len(ids) < PAGE_TOKENS:
            raise SystemExit(f"{args.document} has {len(ids)} tokens, a page needs {PAGE_TOKENS}")
        if len(ids) > limit:
            say(f"the first {min(limit, room)} of the document's {len(ids)} tokens are used")
        return ids[: min(limit, room)]

    def control_document(self) -> list[int]:
        """Returns tokens of another document, up to CONTROL_PAGES_MAX pages."""
        name = "MPL-2.0" if "MPL" not in os.path.basename(self.args.document) else "GPL-3"
        ids = self.model.tokenize(read_text(f"{LICENSES}/{name}"))
        return ids[: min(self.split, CONTROL_PAGES_MAX * PAGE_TOKENS)]

    def first_token(self, restore=None, at_split=None) -> dict:
        """Answers the first token on an empty context and says how long it took.

        The time runs from the token ids in hand to the first argmax. The prefill is cut at the
        document's last page; at_split is called there.
        """
        self.context.clear()
        started = time.perf_counter()
        reused = restore() if restore else 0
        if reused < self.split:
            self.context.decode(self.prompt[reused : self.split])
        if at_split:
            at_split()
        self.context.decode(self.prompt[self.split :])
        token = self.context.argmax()
        seconds = time.perf_counter() - started
        logits = hashlib.sha256(self.context.logits()).hexdigest()
        return {"ttft_s": seconds, "tokens_reused": reused, "first": token, "logits": logits}

    def answer(self) -> list[int]:
        return self.context.greedy(self.args.answer_tokens)


def store(job: Job) -> dict:
    """Process A."""
    states = []
    result = job.first_token(at_split=lambda: states.append(job.context.state_get()))
    result["answer"] = job.answer()
    say(
        f"engine store: first token after {result['ttft_s']:.2f} s, answer:"
        f" {job.model.text(result['answer'])!r}"
    )
    moved = _stored(job, job.document[: job.split], states.pop())
    other = job.control_document()
    job.context.clear()
    job.context.decode(other)
    _stored(job, other, job.context.state_get())
    return {
        **result,
        "tokens": len(job.document),
        "split": job.split,
        "stored_bytes": moved.stored_bytes,
        "raw_bytes": moved.raw_bytes,
    }


def _stored(job: Job, tokens: list[int], state: bytearray):
    started = time.perf_counter()
    moved = job.cache.store(tokens, state, durable=job.args.durable)
    if moved is None:
        raise SystemExit(f"storing failed: {job.cache.last_error}")
    say(
        f"engine store: {moved.tokens} tokens are served, {moved.pages} pages sent in"
        f" {time.perf_counter() - started:.2f} s, {moved.raw_bytes} bytes as {moved.stored_bytes}"
    )
    return moved


def compare(job: Job) -> dict:
    """Process B."""
    with open(job.args.expect) as file:
        wanted = json.load(file)
    cold = [_run(job, "cold", i) for i in range(job.args.runs)]
    cold_answer = job.answer()
    result = _warm(job, job.cache, wanted, job.args.runs)
    return {
        **result,
        "ttft_cold_s": statistics.median(run["ttft_s"] for run in cold),
        "ttft_cold_all_s": [run["ttft_s"] for run in cold],
        "same_logits": result["same_logits"] and {run["logits"] for run in cold} == {wanted["logits"]},
        "same_answer": result["same_answer"] and wanted["answer"] == cold_answer,
        "control": _control(job, cold[-1]["logits"], cold_answer),
    }


def restore(job: Job) -> dict:
    """A process after the daemon was started anew."""
    with open(job.args.expect) as file:
        return _warm(job, job.cache, json.load(file), 1)


def lossy(job: Job) -> dict:
    """Stores the document at all levels of a profile, restores it at each, and measures what is lost."""
    from sluice_kv import llama_quality, quality  # need numpy, which the other roles do not

    if job.cache.encoded_kl() == 0:
        raise SystemExit(f"{job.args.profile} is not for this model: nothing lossy is stored")
    with open(job.args.expect) as file:
        wanted = json.load(file)
    job.first_token(at_split=lambda: _stored(job, job.document[: job.split], job.context.state_get()))
    exact = llama_quality.continued(job.context, wanted["answer"])
    readers = {level: job.connect(max_kl=level) for level in LOSSY_LEVELS}
    levels = []
    for level, reader in readers.items():
        result = _warm(job, reader, wanted, job.args.runs)
        job.first_token(lambda reader=reader: reader.restore_keys(reader.keys(job.document)))
        answer = quality.compare(exact, llama_quality.continued(job.context, wanted["answer"]))
        mean, top1 = float(answer.kl.mean()), float(answer.agrees.mean())
        levels.append({"level": level, **result, "answer_kl": mean, "answer_top1": top1})
    texts = [read_text(f"{LICENSES}/{name}") for name in LOSSY_TEXTS]
    windows = llama_quality.cut(job.model, texts)
    with job.make_context(flash_attn=not job.context.flash_attn) as other:
        measured, rounding = llama_quality.measure(job.context, other, job.cache, readers, windows)
    for result in levels:
        result["quality"] = measured[result["level"]]
        say(f"engine lossy: {result['level']}: next-token KL {result['quality']['kl_mean']:.5f}")
    return {"levels": levels, "rounding": rounding, "texts": LOSSY_TEXTS}


def _warm(job: Job, cache: Connector, wanted: dict, runs: int) -> dict:
    """Answers on restored pages and compares with what process A got."""
    before = cache.stats()
    warm = [_run(job, "warm", i, lambda: cache.restore(job.prompt)) for i in range(runs)]
    answer = job.answer()
    after = cache.stats()
    hits = {tier: after.get(f"{tier}_hits", 0) - before.get(f"{tier}_hits", 0) for tier in TIERS}
    # What the connector tried first, to learn how fast loading is, comes again: from RAM.
    if hits["disk"] * PAGE_TOKENS >= job.split * runs:
        hits["ram"] = 0
    moved = cache.last_transfer
    return {
        "tokens": len(job.document),
        "tokens_reused": min(run["tokens_reused"] for run in warm),
        "split": job.split,
        "source": "+".join(tier for tier in TIERS if hits[tier]),
        "ttft_warm_s": statistics.median(run["ttft_s"] for run in warm),
        "ttft_warm_all_s": [run["ttft_s"] for run in warm],
        "raw_bytes": moved.raw_bytes if moved else 0,
        "stored_bytes": moved.stored_bytes if moved else 0,
        "same_logits": {run["logits"] for run in warm} == {wanted["logits"]},
        "same_answer": wanted["answer"] == answer,
        "answer": job.model.text(answer),
        "answer_tokens": len(answer),
    }


def _run(job: Job, kind: str, index: int, restore=None) -> dict:
    run = job.first_token(restore)
    say(
        f"engine {job.args.role}: {kind} run {index + 1}, {run['tokens_reused']} tokens reused,"
        f" first token after {run['ttft_s']:.3f} s"
    )
    return run


def _control(job: Job, logits: str, answer: list[int]) -> dict:
    """Restores pages of another document under this one's place: both comparisons must notice.

    One page is tried first. An answer can survive one foreign page, so more follow until it fails.
    """
    others = job.cache.keys(job.control_document())
    keys = job.cache.keys(job.document)
    pages, found = 1, {}
    while pages <= len(others):
        forced = others[:pages] + keys[pages:]
        run = job.first_token(lambda keys=forced: job.cache.restore_keys(keys))
        if run["tokens_reused"] != job.split:
            raise SystemExit(f"the control was not restored: {job.cache.last_error}")
        same = run["logits"] == logits
        found = {"pages": pages, "same_logits": same, "same_answer": job.answer() == answer}
        if not (found["same_logits"] or found["same_answer"]):
            break
        pages *= 2
    say(f"engine compare: control with {found['pages']} pages of another document: {found}")
    return found


ROLES = {"store": store, "compare": compare, "restore": restore, "lossy": lossy}


def parse(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=list(ROLES))
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--socket", required=True, help="sluiced's unix socket")
    parser.add_argument("--out", required=True, help="JSON file for the result")
    parser.add_argument("--tokens-out", help="file for the document's token ids")
    parser.add_argument("--expect", help="compare: the result of store")
    parser.add_argument("--profile", help="lossy: what its pages are coded with")
    parser.add_argument("--document", default=DOCUMENT)
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--tokens", type=int, default=0, help="of the document; 0: all that fit")
    parser.add_argument("--answer-tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(len(os.sched_getaffinity(0)), 8))
    parser.add_argument("--flash-attn", choices=["on", "off"], default="on")
    parser.add_argument("--durable", action="store_true", help="store: wait for the disk")
    parser.add_argument("--deadline-ms", type=int, default=10000)
    args = parser.parse_args(arguments)
    if args.role != "store" and not args.expect:
        parser.error(f"{args.role} needs --expect")
    if (args.role == "lossy") != bool(args.profile):
        parser.error("lossy needs --profile, the others take none")
    return args


def main() -> None:
    args = parse()
    job = Job(args)
    result = ROLES[args.role](job)
    with open(args.out, "w") as file:
        json.dump(result, file)
    if args.tokens_out:
        with open(args.tokens_out, "w") as file:
            file.write(" ".join(map(str, job.document)))


if __name__ == "__main__":
    main()
