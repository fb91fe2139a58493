# SPDX-License-Identifier: Apache-2.0
"""Small models of every family that transformers has, with random weights, saved by itself: so names,
shapes and config.json are not ours.

Sizes do not divide where the family allows it; key-value heads are fewer than ranks, as many, or one
for all. Every tensor is random: norms that are ones and biases that are zeros would pass mixed up. A
family that the transformers at hand lacks is left out with a line that says so."""

import collections
import inspect
import json
import os

import torch
import transformers

SMALL = {"vocab_size": 211, "hidden_size": 192, "intermediate_size": 100, "num_hidden_layers": 2,
         "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 8,
         "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 25,
          "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}
LATENT = {"q_lora_rank": 48, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
          "v_head_dim": 12, "num_key_value_heads": 24}
VISION = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
          "image_size": 28, "patch_size": 14, "vision_output_dim": 32, "projector_input_dim": 32,
          "projector_output_dim": 32}
LLAMA4 = {"num_local_experts": 4, "intermediate_size_mlp": 108, "interleave_moe_layer_step": 2,
          "moe_layers": [1]}
CONFIGS = {
    "LlamaConfig": {},
    "MistralConfig": {"num_key_value_heads": 1},
    "MixtralConfig": {"num_local_experts": 4, "num_key_value_heads": 24},
    "Qwen2Config": {"num_key_value_heads": 3},
    "Qwen3Config": {"tie_word_embeddings": True},
    "Qwen3MoeConfig": {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 25},
    "Glm4MoeConfig": {**ROUTED, "attention_bias": True, "use_qk_norm": True},
    "DeepseekV2Config": {**ROUTED, **LATENT, "q_lora_rank": None},
    "DeepseekV3Config": {**ROUTED, **LATENT},
    "HunYuanDenseV1Config": {},
    "HunYuanMoEV1Config": {"num_experts": 4, "moe_topk": 2},
    "GemmaConfig": {},
    "Gemma2Config": {"num_key_value_heads": 12},
    "Gemma3TextConfig": {"num_key_value_heads": 4},
    "Phi3Config": {"num_key_value_heads": 24},
    "Llama4TextConfig": LLAMA4,
    "Llama4Config": {"text_config": {**SMALL, **LLAMA4}, "vision_config": VISION},
    "GptOssConfig": {"num_local_experts": 4, "num_experts_per_tok": 2},
}
# Those that transformers 5 also saves with experts in two tensors, as it holds them.
FUSED = ("Qwen3MoeConfig", "Glm4MoeConfig", "DeepseekV3Config", "HunYuanMoEV1Config")

Family = collections.namedtuple("Family", "name config more fused")


def families(wanted=(), changes=()):
    """Those that there are, or those of the classes asked for; with changes to their settings."""
    for config, more in CONFIGS.items():
        more = {**more, **dict(changes).get(config, {})}
        if wanted and config not in wanted:
            continue
        if not hasattr(transformers, config):
            print(f"# {config}: transformers {transformers.__version__} has none", flush=True)
            continue
        yield Family(config.removesuffix("Config"), config, more, False)
        if config in FUSED and saves_fused():
            yield Family(config.removesuffix("Config") + "Fused", config, more, True)


def saves_fused():
    return "save_original_format" in inspect.signature(
        transformers.PreTrainedModel.save_pretrained).parameters


def auto(config):
    """The class that makes a model of a config: most have text alone."""
    return (transformers.AutoModelForImageTextToText if config == "Llama4Config"
            else transformers.AutoModelForCausalLM)


def save(family, folder):
    """Saves a model, and gives its config as it was saved."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    more = family.more if "text_config" in family.more else {**SMALL, **family.more}
    config = getattr(transformers, family.config)(**more)
    torch.manual_seed(1)
    model = auto(family.config).from_config(config).to(torch.bfloat16)
    for name, tensor in model.state_dict().items():
        around = 1 if name.endswith("norm.weight") else 0
        tensor.copy_(torch.randn(tensor.shape) * 0.1 + around)
    more = {"save_original_format": False} if family.fused else {}
    model.save_pretrained(folder, max_shard_size="200KB", **more)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        return json.load(f)
