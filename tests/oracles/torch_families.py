#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What transformers saves, wload loads as the reference would.

Of each family that transformers has, a small model with random weights, saved by itself: so the
names, shapes and config.json are not ours. Then as families_agree.py."""

import json
import os
import sys
import tempfile

try:
    import torch
    import transformers
    import family_ranks
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

SMALL = {"vocab_size": 211, "hidden_size": 192, "intermediate_size": 100, "num_hidden_layers": 2,
         "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 8,
         "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 25,
          "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}
LATENT = {"q_lora_rank": 48, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
          "v_head_dim": 12, "num_key_value_heads": 24}
CONFIGS = {
    "LlamaConfig": {},
    "MistralConfig": {"num_key_value_heads": 1},
    "MixtralConfig": {"num_local_experts": 4, "num_key_value_heads": 24},
    "Qwen2Config": {"num_key_value_heads": 3},
    "Qwen3Config": {"tie_word_embeddings": True},
    "Qwen3MoeConfig": {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 25},
    "Glm4MoeConfig": {**ROUTED, "attention_bias": True, "use_qk_norm": True},
    "DeepseekV3Config": {**ROUTED, **LATENT},
    "HunYuanDenseV1Config": {},
    "HunYuanMoEV1Config": {"num_experts": 4, "moe_topk": 2},
    "GemmaConfig": {},
    "Gemma2Config": {"num_key_value_heads": 12},
    "Phi3Config": {"num_key_value_heads": 24},
}


def save(name, more, folder):
    """Saves a model, and gives its config as it was saved."""
    config = getattr(transformers, name)(**{**SMALL, **more})
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():  # norms are ones, biases zeros: mixed up they would pass
            parameter.copy_(torch.randn(parameter.shape))
    model.save_pretrained(folder, max_shard_size="200KB")
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        return json.load(f)


def main():
    ran = failed = 0
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name, more in CONFIGS.items():
        with tempfile.TemporaryDirectory() as top:
            folder = os.path.join(top, name)
            config = save(name, more, folder)
            experts = any("expert" in key for key in more)
            for wrong, what in family_ranks.check_ways(folder, config, experts):
                ran += 1
                failed += bool(wrong)
                print(f"{'not ok' if wrong else 'ok'} {ran} - {name}, {what}"
                      f"{' # ' + wrong.strip() if wrong else ''}", flush=True)
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
