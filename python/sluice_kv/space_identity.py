"""Descriptors and page keys (src/model/IDENTITY.md), for connectors that hold canonical tensors.

libsluice checks every descriptor that a space is opened with; what is made here is the same bytes.
Pure functions.
"""

import hashlib
import struct

# By their names in torch: those of which KV is stored.
TORCH_DTYPES = {"torch.float32": "f32", "torch.float16": "f16", "torch.bfloat16": "bf16"}
DTYPES = {"f32": 1, "f16": 2, "bf16": 3, "f8_e4m3": 4, "f8_e5m2": 5, "u8": 6}
ATTENTION = {"full": 1, "window": 2, "recurrent": 3}
ROLES = {"k": 1, "v": 2, "latent": 3, "index": 4, "state": 5, "opaque": 6}
PAIRINGS = {"none": 0, "neox": 1, "interleaved": 2}
SCALINGS = {"none": 0, "linear": 1, "llama3": 2, "yarn": 3, "longrope": 4}
EXTRA_CACHE_SALT = 3

ROOT_KEY = bytes(32)


def encode_descriptor(fields: dict) -> bytes:
    """Returns the canonical bytes. The names are those of IDENTITY.md; digests are bytes."""
    rope, planes = fields["rope"], fields["planes"]
    parts = [
        struct.pack("<I", 1),  # format_version
        fields["model_digest"],
        fields.get("lora_digest", b""),
        fields.get("user_salt", b""),
        bytes(DTYPES[plane["dtype"]] for plane in planes),
        bytes([DTYPES[fields["compute_dtype"]]]),
        fields.get("runtime_quantisation", "").encode("ascii"),
        b"".join(struct.pack("<f", scale) for scale in fields.get("kv_scales", ())),
        struct.pack("<BI", ATTENTION[fields["attention"]], fields["window"]),
        b"".join(struct.pack("<I", layer) for layer in fields["layers"]),
        struct.pack("<II", *fields["head_range"]),
        b"".join(_plane(plane) for plane in planes),
        struct.pack("<Bd", PAIRINGS[rope["pairing"]], rope["base"]),
        _scaling(rope),
        struct.pack("<I", fields["page_tokens"]),
        bytes([1]),  # token_hash: sha256 chain
    ]
    return b"".join(struct.pack("<HI", i + 1, len(part)) + part for i, part in enumerate(parts))


def _plane(plane: dict) -> bytes:
    shape = plane["heads"], plane["dim"], plane["rotated_dims"]
    return struct.pack("<BIII", ROLES[plane["role"]], *shape)


def _scaling(rope: dict) -> bytes:
    if rope.get("factors_beyond"):
        raise ValueError("longrope: which frequencies are in use depends on the engine")
    numbers = (rope.get(name, 0) for name in ("factor", "original_context", "low", "high"))
    packed = struct.pack(
        "<BdIddd", SCALINGS[rope["scaling"]], *numbers, rope.get("attention_factor", 0)
    )
    return packed + b"".join(struct.pack("<f", divisor) for divisor in rope.get("factors", ()))


def group_refusals(groups: list[dict]) -> list[str]:
    """Returns what of a manifest's KV groups an engine of one kind of attention does not handle."""
    found = []
    for group in groups:
        kind = "sliding window" if group["attention"] == "window" else f"{group['attention']} attention"
        window = f" of {group['window']} tokens" if group["window"] else ""
        layers = f"layers {group['layers'][0]}..{group['layers'][-1]}"
        if group["attention"] != "full":
            found.append(f"{kind}{window} ({layers})")
        if group["rope"].get("factors_beyond"):
            found.append(f"{group['rope']['scaling']} with factors for longer contexts ({layers})")
    if not found and len(groups) != 1:
        found.append(f"{len(groups)} KV groups")
    return found


def group_fields(group: dict, *, dtype: str, first_head: int, heads: int) -> dict:
    """Returns the fields that a group of a model's manifest gives, for kv heads of one rank."""
    planes = [{**plane, "dtype": dtype, "heads": heads} for plane in group["planes"]]
    kept = {name: group[name] for name in ("attention", "window", "layers", "rope")}
    return {**kept, "planes": planes, "head_range": (first_head, heads)}


def space_id(descriptor: bytes) -> bytes:
    return hashlib.sha256(b"sluice space 1" + descriptor).digest()


def page_key(space: bytes, parent: bytes, tokens, extra=()) -> bytes:
    """Returns the key of one page. `extra`: (id, bytes) of what decides it beside its tokens."""
    keys = b"".join(struct.pack("<HI", i, len(raw)) + raw for i, raw in sorted(extra))
    body = struct.pack(f"<I{len(tokens)}I", len(tokens), *tokens)
    return hashlib.sha256(b"sluice page 1" + space + parent + body + keys).digest()


class KeyChain:
    """The page keys of one growing token sequence in one space."""

    def __init__(self, space: bytes, page_tokens: int, cache_salt: str | None = None):
        self._space, self._page_tokens = space, page_tokens
        self._extra = [(EXTRA_CACHE_SALT, cache_salt.encode())] if cache_salt else []
        self.keys: list[bytes] = []

    def extend(self, tokens) -> list[bytes]:
        """Returns the keys of the full pages of `tokens`, which begin with those seen before."""
        size = self._page_tokens
        for page in range(len(self.keys), len(tokens) // size):
            parent = self.keys[-1] if self.keys else ROOT_KEY
            extra = () if self.keys else self._extra
            chunk = tokens[page * size : (page + 1) * size]
            self.keys.append(page_key(self._space, parent, chunk, extra))
        return self.keys[: len(tokens) // size]
