"""Which models the transformers cache refuses, without transformers."""

import unittest
from types import SimpleNamespace as Names

from sluice_kv import hf_checks

CONFIG = {"model_type": "llama", "rope_theta": 1e4, "dtype": "bfloat16"}


def model(dtypes=("torch.bfloat16",), devices=("cpu",), config=None, **attributes) -> Names:
    held = dict(CONFIG if config is None else config)
    parameters = [Names(dtype=dtype, device=device) for dtype in dtypes for device in devices]
    return Names(
        config=Names(to_dict=lambda: held, is_encoder_decoder=attributes.pop("pair", False)),
        parameters=lambda: iter(parameters),
        **attributes,
    )


class Checks(unittest.TestCase):
    def test_a_plain_model_is_handled(self):
        for dtype in ("torch.float32", "torch.float16", "torch.bfloat16"):
            self.assertEqual(hf_checks.refusals(model([dtype]), CONFIG), [])

    def test_what_is_not_handled_is_named(self):
        cases = {
            "an encoder-decoder model": model(pair=True),
            "quantised weights": model(hf_quantizer=object()),
            "adapters (LoRA)": model(peft_config={"default": 1}),
            "parameters of torch.float64": model(["torch.float64"]),
            "parameters of a, b": model(["b", "a"]),
            "parameters on cpu, cuda:0": model(devices=["cuda:0", "cpu"]),
            "parameters on meta": model(devices=["meta"]),
            "a config that differs from its file's in rope_theta": model(
                config={**CONFIG, "rope_theta": 5e5}
            ),
        }
        for text, refused in cases.items():
            self.assertEqual(hf_checks.refusals(refused, CONFIG), [text])

    def test_how_a_model_is_run_is_no_other_config(self):
        changes = {**CONFIG, "dtype": "float32", "_attn_implementation": "eager", "use_cache": False}
        self.assertEqual(hf_checks.config_changes(changes, CONFIG), [])
        self.assertEqual(hf_checks.config_changes({**CONFIG, "new": 1}, CONFIG), ["new"])
        self.assertEqual(hf_checks.config_changes({}, {"gone": 1}), ["gone"])


if __name__ == "__main__":
    unittest.main()
