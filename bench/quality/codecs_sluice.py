"""Sluice itself: pages put into a sluiced and fetched back through libsluice, their bytes as stored.

One codec for each set of profiles (one file for each KV group of the model), with a level for each row
that their headers list, q3, q2, q1; and `direct`, which needs no profile. A level's page has the rows up
to its own, all of which count. libsluice puts no pages of a profile's rows that end with `exact`, so
these, on the first of its levels and on q1, are coded by page_coder, without a daemon.
"""

import functools
import hashlib
import os
import struct
import sys
import subprocess
import tempfile

import torch

from codec_list import Codec
from reference import Reference
from sluice_kv import api, space_identity

DEADLINE_MS = 600_000
LEVELS = {0: "exact", 1: "q1", 2: "q2", 3: "q3"}
# codec/FORMAT.md, "Profile header", "Planes", "Rows".
_PLANES_AT, _ROWS_AT, _DIGEST_AT, _HEADER_BYTES, _PLANE_BYTES = 20, 21, 24, 96, 16


def codecs(
    model: Reference, socket: str, profiles: dict[str, list[bytes]], page_tokens: int
) -> list[Codec]:
    """profiles: by a name for people, the files of all groups, in the groups' order."""
    direct = Pages(model, socket, [], page_tokens)
    out = [Codec("sluice direct", "exact", direct.code, page_tokens)]
    for name, files in profiles.items():
        if len(files) != len(model.groups):
            raise SystemExit(f"{len(files)} profiles {name}, the model has {len(model.groups)} groups")
        if any(model_digest(file) != model.digest for file in files):
            print(f"{name} was measured on other files than the model's", file=sys.stderr)
        pages = Pages(model, socket, files, page_tokens)
        levels = [level for level in rows(files[0]) if all(level in rows(file) for file in files)]
        codes = {level: functools.partial(pages.code, level=level) for level in levels}
        for level in dict.fromkeys((levels[0], levels[-1])):
            taken = list(rows(files[0])).index(level) + 1
            codes[f"exact on {level}"] = functools.partial(pages.code_exact, lossy_rows=taken)
        material = hashlib.sha256(b"".join(files)).hexdigest()[:16]
        out += [Codec(f"sluice {name}", at, code, page_tokens, material) for at, code in codes.items()]
    return out


def rows(profile: bytes) -> dict[str, int]:
    """Returns the micro-nats of each level that a profile's pages may have, coarsest first."""
    first = _HEADER_BYTES + _PLANE_BYTES * profile[_PLANES_AT]
    found = struct.iter_unpack("<B3xI", profile[first : first + 8 * profile[_ROWS_AT]])
    return {LEVELS[level]: kl for level, kl in found}


def model_digest(profile: bytes) -> bytes:
    return profile[_DIGEST_AT : _DIGEST_AT + 32]


class Pages:
    """Pages of one model, coded with one set of profiles."""

    def __init__(self, model: Reference, socket: str, files: list[bytes], page_tokens: int):
        self._model, self._files, self._page_tokens = model, files, page_tokens
        self._client = api.Client(socket, DEADLINE_MS)
        for file in files:
            self._client.add_profile(file)

    def code(self, kv: torch.Tensor, level: str = "exact") -> tuple[torch.Tensor, float]:
        out, bits = torch.empty_like(kv), 0
        for index, group in enumerate(self._model.groups):
            kl = rows(self._files[index])[level] if self._files else api.KL_EXACT
            pages = pages_of(kv[group["layers"]], self._page_tokens).bfloat16()
            bits += 8 * self._carry(self._descriptor(index), pages, kl)
            out[group["layers"]] = context_of(pages).float()
        return out, bits

    def code_exact(self, kv: torch.Tensor, lossy_rows: int) -> tuple[torch.Tensor, float]:
        out, bits = torch.empty_like(kv), 0
        for file, group in zip(self._files, self._model.groups):
            pages = pages_of(kv[group["layers"]], self._page_tokens).bfloat16()
            coded = page_coder(file, self._page_tokens, lossy_rows, pages)
            bits += 8 * int.from_bytes(coded[:8], "little")
            back = torch.frombuffer(bytearray(coded[8:]), dtype=torch.bfloat16)
            out[group["layers"]] = context_of(back.reshape(pages.shape)).float()
        return out, bits

    def _carry(self, descriptor: bytes, pages: torch.Tensor, kl: int) -> int:
        """Puts pages of a quality, and gets them back in their place; returns their encoded bytes."""
        with api.Space(self._client, descriptor, kl, put_kl=kl) as space:
            if space.encoded_kl != kl:
                raise SystemExit("libsluice does not take the profile for the model's pages")
            keys = space.keys(range(len(pages) * self._page_tokens))
            space.put(keys, pages)
            pages.zero_()
            moved = space.get(keys, pages, max_kl=kl)
        if moved.pages != len(keys):
            raise SystemExit(f"sluiced gave {moved.pages} pages of {len(keys)} back")
        return moved.stored_bytes

    def _descriptor(self, index: int) -> bytes:
        group = self._model.groups[index]
        fields = {
            **space_identity.group_fields(
                group, dtype="bf16", first_head=0, heads=group["planes"][0]["heads"]
            ),
            # transformers' order of channels, which a GGUF need not have
            "rope": {**group["rope"], "pairing": "neox" if self._model.rotated else "none"},
            # A profile may be of another file of the same weights: what it costs is measured here.
            "model_digest": model_digest(self._files[index]) if self._files else self._model.digest,
            "user_salt": os.urandom(16),  # no page of before
            "compute_dtype": "f32",
            "page_tokens": self._page_tokens,
        }
        return space_identity.encode_descriptor(fields)


def page_coder(profile: bytes, page_tokens: int, lossy_rows: int, pages: torch.Tensor) -> bytes:
    """Returns what page_coder.cc writes for pages with a row `exact`."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(profile)
        file.flush()
        command = [os.environ["SLUICE_PAGE_CODER"], file.name, str(page_tokens), str(lossy_rows), "exact"]
        tensors = pages.view(torch.int16).numpy().tobytes()
        return subprocess.run(command, input=tensors, stdout=subprocess.PIPE, check=True).stdout


def pages_of(kv: torch.Tensor, page_tokens: int) -> torch.Tensor:
    """From [layer][plane][head][token][dim] to [page][layer][plane][token][head][dim]."""
    return kv.unflatten(3, (-1, page_tokens)).permute(3, 0, 1, 4, 2, 5).contiguous()


def context_of(pages: torch.Tensor) -> torch.Tensor:
    """The inverse of pages_of()."""
    return pages.permute(1, 2, 4, 0, 3, 5).flatten(3, 4)
