"""Which transformers models the cache of sluice_kv.hf does not handle.

Without transformers and torch: what is looked at are attributes of the model.
"""

from sluice_kv.space_identity import TORCH_DTYPES

# What says nothing about K and V: how the model is run, where it came from, what is sampled.
_UNRELATED = {
    "_attn_implementation",
    "_attn_implementation_internal",
    "_experts_implementation",
    "_name_or_path",
    "architectures",
    "attn_implementation",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "return_dict",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}


def refusals(model, files_config: dict) -> list[str]:
    """Returns what of a model is not handled. files_config: the config of the model's own files."""
    config = model.config
    dtypes = sorted({str(parameter.dtype) for parameter in model.parameters()})
    devices = {str(parameter.device) for parameter in model.parameters()}
    found = {
        "an encoder-decoder model": bool(getattr(config, "is_encoder_decoder", False)),
        "quantised weights": getattr(model, "hf_quantizer", None) is not None
        or bool(getattr(model, "is_quantized", False)),
        # The identity is made of the model's own files.
        "adapters (LoRA)": bool(getattr(model, "peft_config", None))
        or bool(getattr(model, "_hf_peft_config_loaded", False)),
        f"parameters of {', '.join(dtypes)}": len(dtypes) != 1 or dtypes[0] not in TORCH_DTYPES,
        f"parameters on {', '.join(sorted(devices))}": len(devices) != 1 or "meta" in devices,
    }
    changed = config_changes(config.to_dict(), files_config)
    found[f"a config that differs from its file's in {', '.join(changed)}"] = bool(changed)
    return [name for name, there in found.items() if there]


def config_changes(config: dict, files_config: dict) -> list[str]:
    names = sorted((config.keys() | files_config.keys()) - _UNRELATED)
    return [name for name in names if config.get(name) != files_config.get(name)]
