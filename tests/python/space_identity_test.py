"""Descriptors and page keys against the golden vectors of IDENTITY.md."""

import copy
import json
import os
import unittest

from sluice_kv import space_identity

GOLDEN = os.path.join(os.environ["SLUICE_SOURCE"], "tests/golden/model/self_test.json")


def golden(name: str = "self_test") -> dict:
    with open(GOLDEN) as file:
        return json.load(file)[name]


def fields_of(case: dict) -> dict:
    fields = copy.deepcopy(case["descriptor"])
    for name in ("model_digest", "lora_digest"):
        fields[name] = bytes.fromhex(fields.get(name) or "")
    fields["user_salt"] = fields["user_salt"].encode()
    return fields


class Descriptors(unittest.TestCase):
    def test_the_golden_descriptor_has_the_golden_bytes(self):
        case = golden()
        encoded = space_identity.encode_descriptor(fields_of(case))
        self.assertEqual(encoded.hex(), case["descriptor_hex"])

    def test_every_field_that_tells_engines_apart_gives_another_space(self):
        base = fields_of(golden())
        rope, planes = base["rope"], base["planes"]
        changes = [
            {"model_digest": bytes(32)},
            {"user_salt": b"other"},
            {"compute_dtype": "f16"},
            {"runtime_quantisation": ""},
            {"layers": [1, 2]},
            {"head_range": (0, 2)},
            {"page_tokens": 64},
            {"planes": [{**planes[0], "dtype": "bf16"}, planes[1]]},
            {"rope": {**rope, "pairing": "neox"}},
            {"rope": {**rope, "base": 10000.0}},
            {"rope": {**rope, "factor": 4.0}},
        ]
        spaces = {space_identity.encode_descriptor({**base, **change}) for change in changes}
        spaces.add(space_identity.encode_descriptor(base))
        self.assertEqual(len(spaces), len(changes) + 1)

    def test_frequencies_that_depend_on_the_context_are_refused(self):
        fields = fields_of(golden())
        fields["rope"] = {**fields["rope"], "factors_beyond": [1.0]}
        with self.assertRaisesRegex(ValueError, "longrope"):
            space_identity.encode_descriptor(fields)

    def test_a_manifests_group_becomes_the_fields_of_a_ranks_heads(self):
        plane = {"role": "k", "heads": 8, "dim": 64, "rotated_dims": 64}
        group = {"attention": "full", "window": 0, "layers": [0, 1], "rope": {}, "planes": [plane]}
        fields = space_identity.group_fields(group, dtype="bf16", first_head=4, heads=4)
        self.assertEqual(fields["head_range"], (4, 4))
        self.assertEqual(fields["planes"], [{**plane, "heads": 4, "dtype": "bf16"}])
        self.assertEqual(plane["heads"], 8)

    def test_groups_that_are_not_handled_are_named_with_their_layers(self):
        full = {"attention": "full", "window": 0, "layers": [0, 1, 2], "rope": {"scaling": "none"}}
        window = {**full, "attention": "window", "window": 512, "layers": [3, 4]}
        longrope = {"scaling": "longrope", "factors": [1.0], "factors_beyond": []}
        beyond = {**longrope, "factors_beyond": [4.0]}
        cases = [
            ([full], []),
            ([full, window], ["sliding window of 512 tokens (layers 3..4)"]),
            ([full, full], ["2 KV groups"]),
            ([{**full, "rope": longrope}], []),
            ([{**full, "rope": beyond}], ["longrope with factors for longer contexts (layers 0..2)"]),
        ]
        for groups, named in cases:
            self.assertEqual(space_identity.group_refusals(groups), named)


class Keys(unittest.TestCase):
    def test_the_golden_chain_has_the_golden_keys(self):
        space = space_identity.space_id(bytes.fromhex(golden()["descriptor_hex"]))
        tokens = [i * 2654435761 % 2**32 for i in range(64)]
        extra = [(2, b"b"), (1, b"a\0"), (2, b"")]
        first = space_identity.page_key(space, space_identity.ROOT_KEY, tokens[:32])
        second = space_identity.page_key(space, first, tokens[32:], extra)
        self.assertEqual([first.hex(), second.hex()], golden()["keys"])

    def test_a_growing_sequence_keeps_its_keys(self):
        tokens = list(range(200))
        chain = space_identity.KeyChain(bytes(32), 64)
        two = chain.extend(tokens[:150])
        three = chain.extend(tokens)
        self.assertEqual((len(two), len(three)), (2, 3))
        self.assertEqual(three[:2], two)
        self.assertEqual(space_identity.KeyChain(bytes(32), 64).extend(tokens), three)

    def test_tokens_salt_and_space_are_in_every_key_that_follows(self):
        tokens = list(range(192))
        other = [7, *tokens[1:]]
        chains = [
            space_identity.KeyChain(bytes(32), 64).extend(tokens),
            space_identity.KeyChain(bytes(32), 64).extend(other),
            space_identity.KeyChain(bytes(32), 64, "salt").extend(tokens),
            space_identity.KeyChain(bytes(31) + b"1", 64).extend(tokens),
        ]
        self.assertEqual(len({key for chain in chains for key in chain}), 12)


if __name__ == "__main__":
    unittest.main()
