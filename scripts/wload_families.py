# SPDX-License-Identifier: Apache-2.0
"""Real checkpoints, as their config.json and the tensors that follow from it.

The one idea: an inventory is a pure function of the config. So fewer layers, or a model scaled
down, is an edit of the config, and config.json always tells the truth about the tensors beside it.

A tensor is (name, dtype, shape); the order is that of the model's modules, since the writer cuts
shards in that order.
"""

from fractions import Fraction
from functools import partial

LLAMA3_ROPE = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
               "original_max_position_embeddings": 8192, "rope_type": "llama3"}


# ---- tensors ---------------------------------------------------------------------------------

def linear(name, rows, cols, scheme="bf16", bias=False):
    """One linear layer's tensors under a quantisation scheme.

    fp8: DeepSeek's blocks of 128x128; fp8-rows: a scale for each row; nvfp4: modelopt's two values a
    byte with FP8 block scales."""
    if scheme == "fp8":
        yield name + ".weight", "F8_E4M3", (rows, cols)
        yield name + ".weight_scale_inv", "F32", (-(-rows // 128), -(-cols // 128))
    elif scheme == "fp8-rows":
        yield name + ".weight", "F8_E4M3", (rows, cols)
        yield name + ".weight_scale", "BF16", (rows, 1)
    elif scheme == "nvfp4":
        yield name + ".weight", "U8", (rows, cols // 2)
        yield name + ".weight_scale", "F8_E4M3", (rows, cols // 16)
        yield name + ".weight_scale_2", "F32", ()
        yield name + ".input_scale", "F32", ()
    else:
        yield name + ".weight", "BF16", (rows, cols)
    if bias:
        yield name + ".bias", "BF16", (rows,)


def mlp(name, hidden, inner, scheme="bf16"):
    yield from linear(name + ".gate_proj", inner, hidden, scheme)
    yield from linear(name + ".up_proj", inner, hidden, scheme)
    yield from linear(name + ".down_proj", hidden, inner, scheme)


def norm(name, size):
    yield name + ".weight", "BF16", (size,)


def grouped_attention(name, c, bias=False, out_bias=False, qk_norms=(), scheme="bf16"):
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    dim = c.get("head_dim") or hidden // heads
    kv_rows = c["num_key_value_heads"] * dim
    yield from linear(name + ".q_proj", heads * dim, hidden, scheme, bias)
    yield from linear(name + ".k_proj", kv_rows, hidden, scheme, bias)
    yield from linear(name + ".v_proj", kv_rows, hidden, scheme, bias)
    yield from linear(name + ".o_proj", hidden, heads * dim, scheme, out_bias)
    for qk in qk_norms:
        yield from norm(f"{name}.{qk}", dim)


def latent_attention(name, c, scheme):
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    nope, rope = c["qk_nope_head_dim"], c["qk_rope_head_dim"]
    yield from linear(name + ".q_a_proj", c["q_lora_rank"], hidden, scheme)
    yield from norm(name + ".q_a_layernorm", c["q_lora_rank"])
    yield from linear(name + ".q_b_proj", heads * (nope + rope), c["q_lora_rank"], scheme)
    yield from linear(name + ".kv_a_proj_with_mqa", c["kv_lora_rank"] + rope, hidden, scheme)
    yield from norm(name + ".kv_a_layernorm", c["kv_lora_rank"])
    yield from linear(name + ".kv_b_proj", heads * (nope + c["v_head_dim"]), c["kv_lora_rank"],
                      scheme)
    yield from linear(name + ".o_proj", hidden, heads * c["v_head_dim"], scheme)


def next_token_head(name, hidden, vocab):
    """What a multi-token-prediction layer carries besides an ordinary layer."""
    yield name + ".embed_tokens.weight", "BF16", (vocab, hidden)
    yield from norm(name + ".enorm", hidden)
    yield from norm(name + ".hnorm", hidden)
    yield name + ".eh_proj.weight", "BF16", (hidden, 2 * hidden)
    yield from norm(name + ".shared_head.norm", hidden)
    yield name + ".shared_head.head.weight", "BF16", (vocab, hidden)


def decoder(c, layer, extra_layers=0):
    hidden, vocab = c["hidden_size"], c["vocab_size"]
    yield "model.embed_tokens.weight", "BF16", (vocab, hidden)
    for i in range(c["num_hidden_layers"] + extra_layers):
        name = f"model.layers.{i}"
        yield from layer(name, i)
        yield from norm(name + ".input_layernorm", hidden)
        yield from norm(name + ".post_attention_layernorm", hidden)
        if i >= c["num_hidden_layers"]:
            yield from next_token_head(name, hidden, vocab)
    yield from norm("model.norm", hidden)
    if not c.get("tie_word_embeddings"):
        yield "lm_head.weight", "BF16", (vocab, hidden)


def packed_attention(name, c, bias=False):
    """Queries, keys and values in one matrix already."""
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    dim = c.get("head_dim") or hidden // heads
    yield from linear(name + ".qkv_proj", (heads + 2 * c["num_key_value_heads"]) * dim, hidden,
                      bias=bias)
    yield from linear(name + ".o_proj", hidden, heads * dim)


def packed_mlp(name, module, hidden, inner):
    yield from linear(f"{name}.{module}", 2 * inner, hidden)
    yield from linear(name + ".down_proj", hidden, inner)


def experts(name, c, count, scheme="bf16"):
    for e in range(count):
        yield from mlp(f"{name}.experts.{e}", c["hidden_size"], c["moe_intermediate_size"], scheme)


def fused_experts(name, c, count, scheme="bf16"):
    """All experts in one tensor, as transformers 5 has them: gate's rows, then up's."""
    hidden, inner = c["hidden_size"], c["moe_intermediate_size"]
    for module, rows, cols in (("gate_up_proj", 2 * inner, hidden), ("down_proj", hidden, inner)):
        yield f"{name}.experts.{module}", "F8_E4M3" if scheme == "fp8" else "BF16", (
            count, rows, cols)
        if scheme == "fp8":
            yield f"{name}.experts.{module}_scale_inv", "F32", (
                count, -(-rows // 128), -(-cols // 128))


def microscaled_experts(name, count, hidden, inner, scheme):
    """gpt-oss: gate and up row by row; 32 values in 16 bytes share a scale, or BF16 transposed."""
    name += ".experts"
    for module, rows, cols in (("gate_up_proj", 2 * inner, hidden), ("down_proj", hidden, inner)):
        yield f"{name}.{module}_bias", "BF16", (count, rows)
        if scheme == "mxfp4":
            yield f"{name}.{module}_blocks", "U8", (count, rows, cols // 32, 16)
            yield f"{name}.{module}_scales", "U8", (count, rows, cols // 32)
        else:
            yield f"{name}.{module}", "BF16", (count, cols, rows)


def affine(name, rows, cols):
    yield from linear(name, rows, cols, bias=True)


def affine_norm(name, size):
    yield from norm(name, size)
    yield name + ".bias", "BF16", (size,)


def llama4_vision(c, hidden):
    """What looks at pictures, and no engine's ranks share out."""
    v, size = c["vision_config"], c["vision_config"]["hidden_size"]
    patches = (v["image_size"] // v["patch_size"])**2
    yield "vision_model.class_embedding", "BF16", (size,)
    yield "vision_model.positional_embedding_vlm", "BF16", (patches + 1, size)
    yield from linear("vision_model.patch_embedding.linear", size, 3 * v["patch_size"]**2)
    for side in ("pre", "post"):
        yield from affine_norm(f"vision_model.layernorm_{side}", size)
    for i in range(v["num_hidden_layers"]):
        name = f"vision_model.model.layers.{i}"
        for qkvo in "qkvo":
            yield from affine(f"{name}.self_attn.{qkvo}_proj", size, size)
        yield from affine(name + ".mlp.fc1", v["intermediate_size"], size)
        yield from affine(name + ".mlp.fc2", size, v["intermediate_size"])
        yield from affine_norm(name + ".input_layernorm", size)
        yield from affine_norm(name + ".post_attention_layernorm", size)
    inner = v["projector_input_dim"]
    yield from linear("vision_model.vision_adapter.mlp.fc1", inner, v["intermediate_size"])
    yield from linear("vision_model.vision_adapter.mlp.fc2", v["projector_output_dim"], inner)
    yield from linear("multi_modal_projector.linear_1", hidden, v["vision_output_dim"])


# ---- families: config -> tensors -------------------------------------------------------------

def llama(c, how="bf16"):
    """Llama, Mistral, Qwen2 (biases), Qwen3 (norms on q and k): one shape of layer."""
    bias = c["model_type"] == "qwen2"
    qk = ("q_norm", "k_norm") if c["model_type"] == "qwen3" else ()

    def layer(name, _):
        yield from grouped_attention(name + ".self_attn", c, bias, False, qk, how)
        yield from mlp(name + ".mlp", c["hidden_size"], c["intermediate_size"], how)
    return decoder(c, layer)


def qwen3_moe(c, how="bf16", among=experts):
    def layer(name, _):
        yield from grouped_attention(name + ".self_attn", c, False, False, ("q_norm", "k_norm"),
                                     how)
        yield name + ".mlp.gate.weight", "BF16", (c["num_experts"], c["hidden_size"])
        yield from among(name + ".mlp", c, c["num_experts"], how)
    return decoder(c, layer)


def mixtral(c):
    def layer(name, _):
        yield from grouped_attention(name + ".self_attn", c)
        name += ".block_sparse_moe"
        yield name + ".gate.weight", "BF16", (c["num_local_experts"], c["hidden_size"])
        for e in range(c["num_local_experts"]):
            for w, rows, cols in (("w1", "intermediate_size", "hidden_size"),
                                  ("w2", "hidden_size", "intermediate_size"),
                                  ("w3", "intermediate_size", "hidden_size")):
                yield from linear(f"{name}.experts.{e}.{w}", c[rows], c[cols])
    return decoder(c, layer)


def gemma2(c):
    def layer(name, _):
        yield from grouped_attention(name + ".self_attn", c)
        yield from mlp(name + ".mlp", c["hidden_size"], c["intermediate_size"])
        yield from norm(name + ".pre_feedforward_layernorm", c["hidden_size"])
        yield from norm(name + ".post_feedforward_layernorm", c["hidden_size"])
    return decoder(c, layer)


def phi3(c):
    def layer(name, _):
        yield from packed_attention(name + ".self_attn", c)
        yield from packed_mlp(name + ".mlp", "gate_up_proj", c["hidden_size"],
                              c["intermediate_size"])
    return decoder(c, layer)


def hunyuan_packed(c):
    """Hunyuan's variants that hold each key-value group's rows together, and up before gate."""
    hidden = c["hidden_size"]

    def layer(name, _):
        yield from packed_attention(name + ".self_attn", c)
        if c["model_type"] == "hunyuan_v1_dense":
            yield from packed_mlp(name + ".mlp", "gate_and_up_proj", hidden,
                                  c["intermediate_size"])
            return
        yield name + ".mlp.gate.wg.weight", "F32", (c["num_experts"], hidden)
        for e in range(c["num_experts"]):
            yield from packed_mlp(f"{name}.mlp.experts.{e}", "gate_and_up_proj", hidden,
                                  c["moe_intermediate_size"])
        yield from packed_mlp(name + ".mlp.shared_mlp", "gate_and_up_proj", hidden,
                              c["moe_intermediate_size"])
    return decoder(c, layer)


def glm4_moe(c, among=experts):
    hidden, count = c["hidden_size"], c["n_routed_experts"]
    qk = ("q_norm", "k_norm") if c["use_qk_norm"] else ()

    def layer(name, i):
        yield from grouped_attention(name + ".self_attn", c, True, False, qk)
        if i < c["first_k_dense_replace"]:
            yield from mlp(name + ".mlp", hidden, c["intermediate_size"])
            return
        yield name + ".mlp.gate.weight", "BF16", (count, hidden)
        yield name + ".mlp.gate.e_score_correction_bias", "F32", (count,)
        yield from among(name + ".mlp", c, count)
        yield from mlp(name + ".mlp.shared_experts", hidden,
                       c["moe_intermediate_size"] * c["n_shared_experts"])
    return decoder(c, layer, c["num_nextn_predict_layers"])


def hunyuan(c):
    hidden = c["hidden_size"]

    def layer(name, _):
        yield from grouped_attention(name + ".self_attn", c,
                                     qk_norms=("query_layernorm", "key_layernorm"))
        if c["model_type"] == "hunyuan_v1_dense":
            yield from mlp(name + ".mlp", hidden, c["intermediate_size"])
            return
        yield name + ".mlp.gate.wg.weight", "F32", (c["num_experts"], hidden)
        yield from experts(name + ".mlp", c, c["num_experts"])
        yield from mlp(name + ".mlp.shared_mlp", hidden, c["moe_intermediate_size"])
    return decoder(c, layer)


def deepseek(c, how="fp8", among=experts):
    """R1. The FP4 checkpoint quantises only the MLPs, and leaves the prediction layer alone."""
    hidden, count = c["hidden_size"], c["n_routed_experts"]

    def layer(name, i):
        extra = i >= c["num_hidden_layers"]
        scheme = "bf16" if how == "nvfp4" and extra else how
        yield from latent_attention(name + ".self_attn", c, "fp8" if how == "fp8" else "bf16")
        if i < c["first_k_dense_replace"]:
            yield from mlp(name + ".mlp", hidden, c["intermediate_size"], scheme)
            return
        yield from among(name + ".mlp", c, count, scheme)
        yield name + ".mlp.gate.weight", "BF16", (count, hidden)
        yield name + ".mlp.gate.e_score_correction_bias", "F32", (count,)
        yield from mlp(name + ".mlp.shared_experts", hidden,
                       c["moe_intermediate_size"] * c["n_shared_experts"], scheme)
    return decoder(c, layer, c["num_nextn_predict_layers"])


def mixtral_fused(c):
    def layer(name, _):
        yield from grouped_attention(name + ".self_attn", c)
        name += ".mlp"  # as transformers 5 calls what it holds fused
        yield name + ".gate.weight", "BF16", (c["num_local_experts"], c["hidden_size"])
        yield from fused_experts(name, {**c, "moe_intermediate_size": c["intermediate_size"]},
                                 c["num_local_experts"])
    return decoder(c, layer)


# What those who hold Llama-4's experts in one FP8 tensor call its scales, and whether down's are a
# column (fbgemm's, in transformers) or a row.
STACKED_SCALES = {"fp8-stacked": ("weight_scale", False), "fp8-fbgemm": ("scale", True)}


def scaled_stacks(name, count, hidden, inner, how):
    scale, column = STACKED_SCALES[how]
    yield f"{name}.gate_up_proj", "F8_E4M3", (count, hidden, 2 * inner)
    yield f"{name}.gate_up_proj_{scale}", "F32", (count, 1, 2 * inner)
    yield f"{name}.down_proj", "F8_E4M3", (count, inner, hidden)
    yield f"{name}.down_proj_{scale}", "F32", (count, hidden, 1) if column else (count, 1, hidden)


def llama4(config, how="bf16"):
    """Its language model's names begin with that; every so many layers are of experts, in one tensor
    or, in FP8, in modules of their own."""
    c = config["text_config"]
    hidden, inner, count = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]

    def layer(name, i):
        yield from grouped_attention(name + ".self_attn", c)
        name += ".feed_forward"
        if (i + 1) % c["interleave_moe_layer_step"]:
            yield from mlp(name, hidden, c["intermediate_size_mlp"])
            return
        if how in STACKED_SCALES:
            yield from scaled_stacks(name + ".experts", count, hidden, inner, how)
        elif how == "bf16":
            yield f"{name}.experts.gate_up_proj", "BF16", (count, hidden, 2 * inner)
            yield f"{name}.experts.down_proj", "BF16", (count, inner, hidden)
        else:
            yield from experts(name, {**c, "moe_intermediate_size": inner}, count, how)
        yield f"{name}.router.weight", "BF16", (count, hidden)
        yield from mlp(name + ".shared_expert", hidden, inner)
    for name, dtype, shape in decoder(c, layer):
        yield "language_model." + name, dtype, shape
    yield from llama4_vision(config, hidden)


def gpt_oss(c, how="mxfp4"):
    def layer(name, _):
        yield name + ".self_attn.sinks", "BF16", (c["num_attention_heads"],)
        yield from grouped_attention(name + ".self_attn", c, True, True)
        yield from affine(name + ".mlp.router", c["num_local_experts"], c["hidden_size"])
        yield from microscaled_experts(name + ".mlp", c["num_local_experts"], c["hidden_size"],
                                       c["intermediate_size"], how)
    return decoder(c, layer)


# ---- configs ---------------------------------------------------------------------------------

def common(model_type, architecture, hidden, inner, layers, heads, kv_heads, vocab, **more):
    config = {
        "architectures": [architecture],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": inner,
        "max_position_embeddings": 131072,
        "model_type": model_type,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.43.0",
        "use_cache": True,
        "vocab_size": vocab,
    }
    config.update(more)
    return config


def llama3(hidden, inner, layers, heads, kv_heads=8, vocab=128256, **more):
    return common("llama", "LlamaForCausalLM", hidden, inner, layers, heads, kv_heads, vocab,
                  mlp_bias=False, pretraining_tp=1, bos_token_id=128000, eos_token_id=128001,
                  rope_scaling=LLAMA3_ROPE, **more)


def qwen(kind, architecture, hidden, inner, layers, heads, kv_heads, vocab, **more):
    return common(kind, architecture, hidden, inner, layers, heads, kv_heads, vocab,
                  rope_theta=1000000.0, rms_norm_eps=1e-06, sliding_window=None,
                  use_sliding_window=False, max_window_layers=layers, bos_token_id=151643,
                  **{"eos_token_id": 151645, **more})


def glm(hidden, inner, moe_inner, layers, count, dense, qk_norm, scaling):
    return common("glm4_moe", "Glm4MoeForCausalLM", hidden, inner, layers, 96, 8, 151552,
                  attention_bias=True, head_dim=128, partial_rotary_factor=0.5,
                  rope_theta=1000000, moe_intermediate_size=moe_inner, n_routed_experts=count,
                  n_shared_experts=1, num_experts_per_tok=8, n_group=1, topk_group=1,
                  norm_topk_prob=True, routed_scaling_factor=scaling, use_qk_norm=qk_norm,
                  first_k_dense_replace=dense, num_nextn_predict_layers=1, pad_token_id=151329,
                  eos_token_id=[151329, 151336, 151338])


def hunyuan_config(kind, architecture, inner, **more):
    return common(kind, architecture, 4096, inner, 32, 32, 8, 128167, head_dim=128,
                  attention_head_dim=128, tie_word_embeddings=True, use_qk_norm=True,
                  rope_theta=10000.0, max_position_embeddings=32768, bos_token_id=1,
                  eos_token_id=127960, pad_token_id=127961, **more)


def deepseek_config(**more):
    return common("deepseek_v3", "DeepseekV3ForCausalLM", 7168, 18432, 61, 128, 128, 129280,
                  aux_loss_alpha=0.001, ep_size=1, first_k_dense_replace=3, kv_lora_rank=512,
                  q_lora_rank=1536, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128,
                  max_position_embeddings=163840, moe_intermediate_size=2048, moe_layer_freq=1,
                  n_group=8, n_routed_experts=256, n_shared_experts=1, norm_topk_prob=True,
                  num_experts_per_tok=8, num_nextn_predict_layers=1, rms_norm_eps=1e-06,
                  rope_theta=10000, routed_scaling_factor=2.5, scoring_func="sigmoid",
                  seq_aux=True, topk_group=4, topk_method="noaux_tc", bos_token_id=0,
                  eos_token_id=1,
                  rope_scaling={"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0,
                                "mscale_all_dim": 1.0,
                                "original_max_position_embeddings": 4096, "type": "yarn"},
                  **more)


def llama4_config(layers, count, step):
    """The language model's numbers are apart, as those of what looks at pictures are."""
    text = common("llama4_text", "Llama4ForCausalLM", 5120, 8192, layers, 40, 8, 202048,
                  head_dim=128, intermediate_size_mlp=16384, num_local_experts=count,
                  num_experts_per_tok=1, interleave_moe_layer_step=step, use_qk_norm=True,
                  max_position_embeddings=262144, bos_token_id=200000,
                  eos_token_id=[200001, 200007, 200008])
    vision = {"model_type": "llama4_vision_model", "hidden_size": 1408, "image_size": 336,
              "patch_size": 14, "intermediate_size": 5632, "num_attention_heads": 16,
              "num_hidden_layers": 34, "projector_input_dim": 4096, "projector_output_dim": 4096,
              "vision_output_dim": 4096}
    return {"architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4",
            "text_config": text, "vision_config": vision, "tie_word_embeddings": False,
            "torch_dtype": "bfloat16", "transformers_version": "4.51.0"}


def gpt_oss_config(layers, count):
    return common("gpt_oss", "GptOssForCausalLM", 2880, 2880, layers, 64, 8, 201088, head_dim=64,
                  attention_bias=True, num_local_experts=count, num_experts_per_tok=4,
                  sliding_window=128, swiglu_limit=7.0, rope_theta=150000, eos_token_id=200002,
                  quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": [
                      "model.layers.*.self_attn", "model.layers.*.mlp.router",
                      "model.embed_tokens", "lm_head"]})


FP8_BLOCKS = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
              "weight_block_size": [128, 128]}

# Small enough for every test, odd enough to be unkind: head counts differ, the vocabulary is prime.
TINY = {"hidden": 256, "inner": 688, "layers": 3, "heads": 8, "kv_heads": 4, "vocab": 2053}

# name -> (config, config -> tensors)
FAMILIES = {
    "llama-3.1-8b": (llama3(4096, 14336, 32, 32), llama),
    "llama-3.1-70b": (llama3(8192, 28672, 80, 64), llama),
    "llama-3.1-405b": (llama3(16384, 53248, 126, 128), llama),
    "mistral-7b": (common("mistral", "MistralForCausalLM", 4096, 14336, 32, 32, 8, 32768,
                          head_dim=128, rope_theta=1000000.0, sliding_window=None,
                          max_position_embeddings=32768), llama),
    "qwen2.5-7b": (qwen("qwen2", "Qwen2ForCausalLM", 3584, 18944, 28, 28, 4, 152064,
                        max_position_embeddings=32768), llama),
    "qwen3-8b": (qwen("qwen3", "Qwen3ForCausalLM", 4096, 12288, 36, 32, 8, 151936, head_dim=128,
                      max_position_embeddings=40960), llama),
    "qwen3-235b-a22b": (qwen("qwen3_moe", "Qwen3MoeForCausalLM", 4096, 12288, 94, 64, 4, 151936,
                             head_dim=128, max_position_embeddings=40960, num_experts=128,
                             num_experts_per_tok=8, moe_intermediate_size=1536,
                             norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[],
                             output_router_logits=False, router_aux_loss_coef=0.001), qwen3_moe),
    "glm-4.5": (glm(5120, 12288, 1536, 92, 160, 3, True, 2.5), glm4_moe),
    "glm-4.5-air": (glm(4096, 10944, 1408, 46, 128, 1, False, 1.0), glm4_moe),
    "hunyuan-a13b": (hunyuan_config("hunyuan_v1_moe", "HunYuanMoEV1ForCausalLM", 3072,
                                    num_experts=64, num_shared_expert=1, moe_topk=8,
                                    moe_intermediate_size=3072, use_mixed_mlp_moe=True), hunyuan),
    "hunyuan-7b": (hunyuan_config("hunyuan_v1_dense", "HunYuanDenseV1ForCausalLM", 14336),
                   hunyuan),
    "deepseek-r1-fp8": (deepseek_config(quantization_config=FP8_BLOCKS), deepseek),
    "deepseek-r1-fp4": (deepseek_config(), partial(deepseek, how="nvfp4")),
    "deepseek-v3-bf16": (deepseek_config(), partial(deepseek, how="bf16")),
    "mixtral-8x7b": (common("mixtral", "MixtralForCausalLM", 4096, 14336, 32, 32, 8, 32000,
                            num_local_experts=8, num_experts_per_tok=2, rope_theta=1000000.0,
                            sliding_window=None, max_position_embeddings=32768), mixtral),
    "gemma-2-9b": (common("gemma2", "Gemma2ForCausalLM", 3584, 14336, 42, 16, 8, 256000,
                          head_dim=256, tie_word_embeddings=True, rope_theta=10000.0,
                          query_pre_attn_scalar=256, sliding_window=4096,
                          max_position_embeddings=8192), gemma2),
    "phi-3-mini": (common("phi3", "Phi3ForCausalLM", 3072, 8192, 32, 32, 32, 32064,
                          rope_theta=10000.0, max_position_embeddings=4096), phi3),
    "llama-4-scout": (llama4_config(48, 16, 1), llama4),
    "llama-4-maverick": (llama4_config(48, 128, 2), llama4),
    "gpt-oss-20b": (gpt_oss_config(24, 32), gpt_oss),
    "gpt-oss-120b": (gpt_oss_config(36, 128), gpt_oss),
}


def parts_of(config):
    """A copy of a config, and the part of it that holds the language model's numbers."""
    config = dict(config)
    if "text_config" in config:
        config["text_config"] = dict(config["text_config"])
    return config, config.get("text_config", config)


def tiny(family, kv_heads, **more):
    """A real config at a size for tests, with sizes that ranks do not divide where there can be."""
    all_of_it, config = parts_of(FAMILIES[family][0])
    small = {"hidden_size": 64, "intermediate_size": 100, "moe_intermediate_size": 25,
             "num_hidden_layers": 2, "num_attention_heads": 24, "num_key_value_heads": kv_heads,
             "vocab_size": 211, "head_dim": 8}
    config.update({key: small[key] for key in small if key in config})
    config.update({"head_dim": 8} if "kv_lora_rank" not in config else {})
    config.update(more)
    return all_of_it


def small_pictures(config):
    """The same with what looks at pictures small as well."""
    return {**config, "vision_config": {
        **config["vision_config"], "hidden_size": 48, "intermediate_size": 80, "image_size": 28,
        "num_hidden_layers": 1, "projector_input_dim": 24, "projector_output_dim": 32,
        "vision_output_dim": 32}}


# Of multi-head latent attention, each number another one.
LATENT = {"n_routed_experts": 4, "first_k_dense_replace": 1, "q_lora_rank": 48, "kv_lora_rank": 32,
          "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12}

# The same where every share of 2, 3, 4 and 8 ranks is of whole blocks of 128.
BLOCKS = {**LATENT, "num_attention_heads": 48, "intermediate_size": 3072,
          "moe_intermediate_size": 3072, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
          "v_head_dim": 128, "q_lora_rank": 128, "kv_lora_rank": 128}

FAMILIES.update({
    "tiny-llama": (llama3(**TINY), llama),
    "tiny-llama-tied": (llama3(**TINY, tie_word_embeddings=True), llama),
    "tiny-llama-fp4": (tiny("llama-3.1-8b", 2, head_dim=16, intermediate_size=768),
                       partial(llama, how="nvfp4")),
    "tiny-qwen2": (qwen("qwen2", "Qwen2ForCausalLM", **TINY), llama),
    "tiny-qwen3": (qwen("qwen3", "Qwen3ForCausalLM", **TINY, head_dim=48), llama),
    "tiny-qwen3-moe": (tiny("qwen3-235b-a22b", 2, num_experts=6), qwen3_moe),
    "tiny-qwen3-moe-fp8": (tiny("qwen3-235b-a22b", 2, num_experts=2, head_dim=128,
                                moe_intermediate_size=3072, quantization_config=FP8_BLOCKS),
                           partial(qwen3_moe, how="fp8")),
    "tiny-mixtral": (tiny("mixtral-8x7b", 24, num_local_experts=4), mixtral),
    "tiny-glm-4.5": (tiny("glm-4.5", 4, n_routed_experts=6, first_k_dense_replace=1), glm4_moe),
    "tiny-glm-4.5-air": (tiny("glm-4.5-air", 24, n_routed_experts=4), glm4_moe),
    "tiny-hunyuan": (tiny("hunyuan-7b", 1), hunyuan),
    "tiny-hunyuan-moe": (tiny("hunyuan-a13b", 8, num_experts=4), hunyuan),
    "tiny-hunyuan-packed": (tiny("hunyuan-7b", 6), hunyuan_packed),
    "tiny-hunyuan-moe-packed": (tiny("hunyuan-a13b", 8, num_experts=4), hunyuan_packed),
    "tiny-gemma2": (tiny("gemma-2-9b", 4), gemma2),
    "tiny-phi3": (tiny("phi-3-mini", 24), phi3),
    "tiny-deepseek-bf16": (tiny("deepseek-v3-bf16", 24, **LATENT), partial(deepseek, how="bf16")),
    "tiny-deepseek-fp4": (tiny("deepseek-r1-fp4", 24, **LATENT, intermediate_size=768,
                               moe_intermediate_size=384), partial(deepseek, how="nvfp4")),
    "tiny-deepseek-fp8": (tiny("deepseek-r1-fp8", 48, **BLOCKS), deepseek),
    "tiny-qwen3-moe-fused": (tiny("qwen3-235b-a22b", 2, num_experts=6),
                             partial(qwen3_moe, among=fused_experts)),
    "tiny-qwen3-moe-fused-fp8": (tiny("qwen3-235b-a22b", 2, num_experts=2, head_dim=128,
                                      moe_intermediate_size=3072,
                                      quantization_config=FP8_BLOCKS),
                                 partial(qwen3_moe, how="fp8", among=fused_experts)),
    "tiny-glm-4.5-fused": (tiny("glm-4.5", 4, n_routed_experts=6, first_k_dense_replace=1),
                           partial(glm4_moe, among=fused_experts)),
    "tiny-deepseek-fused": (tiny("deepseek-v3-bf16", 24, **LATENT),
                            partial(deepseek, how="bf16", among=fused_experts)),
    "tiny-mixtral-fused": (tiny("mixtral-8x7b", 24, num_local_experts=4), mixtral_fused),
    "tiny-llama4": (small_pictures(tiny("llama-4-scout", 24, num_local_experts=4,
                                        intermediate_size_mlp=200, interleave_moe_layer_step=2)),
                    llama4),
    "tiny-llama4-fp8": (small_pictures(tiny("llama-4-maverick", 8, num_local_experts=2)),
                        partial(llama4, how="fp8-rows")),
    "tiny-llama4-fp8-stacked": (small_pictures(tiny("llama-4-scout", 24, num_local_experts=4,
                                                    interleave_moe_layer_step=2)),
                                partial(llama4, how="fp8-stacked")),
    "tiny-llama4-fp8-fbgemm": (small_pictures(tiny("llama-4-scout", 24, num_local_experts=4)),
                               partial(llama4, how="fp8-fbgemm")),
    # Rows of weights that are placed one by one; those of scales are not.
    "tiny-gpt-oss": (tiny("gpt-oss-120b", 24, num_local_experts=4, hidden_size=1024,
                          intermediate_size=768), gpt_oss),
    "tiny-gpt-oss-odd": (tiny("gpt-oss-20b", 24, num_local_experts=2, intermediate_size=96),
                         gpt_oss),
    "tiny-gpt-oss-bf16": (tiny("gpt-oss-20b", 4, num_local_experts=6),
                          partial(gpt_oss, how="bf16")),
})

# The numbers of a config that a scale shrinks, and what each stays a multiple of.
SCALED = {"hidden_size": 128, "intermediate_size": 128, "moe_intermediate_size": 128,
          "vocab_size": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
          "n_routed_experts": 1, "num_experts": 1, "intermediate_size_mlp": 128,
          "q_lora_rank": 128, "kv_lora_rank": 128}


def scale_config(config, scale):
    for key, multiple in SCALED.items():
        if key in config:
            units = int(Fraction(config[key], multiple) * scale)
            config[key] = max(units, 1) * multiple
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    config["num_attention_heads"] = max(heads // kv_heads, 1) * kv_heads
    if "q_lora_rank" not in config:
        config["head_dim"] = config.get("head_dim") or config["hidden_size"] // heads


def build(family, layers=None, scale=None, edits=()):
    """The config, and the list of tensors, of a family with fewer layers or scaled widths, or with
    other edits of its config, (key, value). KeyError: the config has no such key."""
    base, tensors = FAMILIES[family]
    all_of_it, config = parts_of(base)
    for key, value in edits:
        if key not in config:
            raise KeyError(key)
        config[key] = value
    if layers is not None:
        config["num_hidden_layers"] = layers
    if scale is not None:
        scale_config(config, scale)
    return all_of_it, list(tensors(all_of_it))


def quantisation_file(family, config):
    """hf_quant_config.json, which modelopt writes beside an FP4 checkpoint; None elsewhere."""
    if family != "deepseek-r1-fp4":
        return None
    layers = config["num_hidden_layers"]
    skip = ["lm_head", f"model.layers.{layers}*"]
    skip += [f"model.layers.{i}.self_attn*" for i in range(layers)]
    skip += [f"model.layers.{i}.mlp.gate" for i in range(config["first_k_dense_replace"], layers)]
    return {"producer": {"name": "modelopt", "version": "0.23.0"},
            "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8",
                             "group_size": 16, "exclude_modules": skip}}
