"""Turns a GGUF into a folder that vLLM loads: vllm_model.py GGUF FOLDER."""

import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    folder, name = os.path.split(sys.argv[1])
    out = sys.argv[2]
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    # It was quantised in the file, and is not now.
    model.hf_quantizer = None
    for attribute in ("quantization_method", "is_quantized"):
        model.__dict__.pop(attribute, None)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.dtype = torch.float32
    part = out + ".part"
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(part)
    os.rename(part, out)


if __name__ == "__main__":
    main()
