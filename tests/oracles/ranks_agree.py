#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every rank that `wload --tp N --rank R` loads has what TensorRT-LLM would slice and join for it.

The oracle is plan_oracle.py: slices of each source by the reference's rules. For every family, with
as many key-value heads as heads, fewer, and one for all, and sizes that do not divide: each rank of
1, 2, 3, 4 and 8 is loaded to the host and written out, compared byte by byte, and the ranks put
together are the original. What the reference asserts against, wload refuses."""

import json
import os
import random
import subprocess
import sys
import tempfile

import plan_oracle

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WLOAD = os.path.join(ROOT, "build", os.environ.get("BUILD", "release"), "wload")
HIDDEN, INNER, VOCAB, HEAD_DIM, HEADS, LAYERS = 14, 25, 19, 4, 24, 2
RANKS = (1, 2, 3, 4, 8)
# model type, key-value heads, biases, tied embeddings
WORLDS = (("llama", 24, False, False), ("llama", 8, True, True), ("mistral", 1, False, False),
          ("mistral", 2, False, False), ("qwen2", 3, True, False), ("qwen2", 8, True, True),
          ("qwen3", 1, False, True), ("qwen3", 8, False, False))
ran = failed = 0


def ok(passed, what):
    global ran, failed
    ran += 1
    failed += not passed
    print(f"{'ok' if passed else 'not ok'} {ran} - {what}", flush=True)


def inventory(kind, kv_heads, biases):
    yield "model.embed_tokens.weight", [VOCAB, HIDDEN]
    for layer in range(LAYERS):
        base = f"model.layers.{layer}."
        for name, rows in (("q_proj", HEADS), ("k_proj", kv_heads), ("v_proj", kv_heads)):
            yield f"{base}self_attn.{name}.weight", [rows * HEAD_DIM, HIDDEN]
            if biases:
                yield f"{base}self_attn.{name}.bias", [rows * HEAD_DIM]
        yield base + "self_attn.o_proj.weight", [HIDDEN, HEADS * HEAD_DIM]
        if biases and kind == "llama":  # "attention_bias"
            yield base + "self_attn.o_proj.bias", [HIDDEN]
        if kind == "qwen3":
            yield base + "self_attn.q_norm.weight", [HEAD_DIM]
            yield base + "self_attn.k_norm.weight", [HEAD_DIM]
        yield base + "mlp.gate_proj.weight", [INNER, HIDDEN]
        yield base + "mlp.up_proj.weight", [INNER, HIDDEN]
        yield base + "mlp.down_proj.weight", [HIDDEN, INNER]
        yield base + "input_layernorm.weight", [HIDDEN]
    yield "model.norm.weight", [HIDDEN]
    yield "lm_head.weight", [VOCAB, HIDDEN]


def checkpoint(folder, kind, kv_heads, biases, tied):
    rng = random.Random(f"{kind} {kv_heads}")
    tensors = list(inventory(kind, kv_heads, biases))
    rng.shuffle(tensors)
    header, data = {}, b""
    for name, shape in tensors:
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape,
                        "data_offsets": [len(data), len(data) + size]}
        data += rng.randbytes(size)
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + data)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"model_type": kind, "hidden_size": HIDDEN, "num_attention_heads": HEADS,
                   "num_key_value_heads": kv_heads, "head_dim": HEAD_DIM,
                   "tie_word_embeddings": tied}, f)


def load(folder, out, tp, rank):
    return subprocess.run([WLOAD, "load", folder, "--device", "host", "--quiet", "--verify",
                           "--out", out, "--tp", str(tp), "--rank", str(rank)],
                          capture_output=True, text=True, check=False)


def check_ranks(top, tp):
    """Loads every rank of tp; gives what is wrong, or None."""
    folder = os.path.join(top, "checkpoint")
    tensors, config = plan_oracle.read_checkpoint(folder), plan_oracle.read_config(folder)
    want = plan_oracle.expected(tensors, config)
    ranks = []
    for index in range(tp):
        out = os.path.join(top, f"{tp}-{index}")
        done = load(folder, out, tp, index)
        rank = plan_oracle.Rank(config, tp, index)
        if not rank.possible():
            said = done.returncode == 1 and f"rank {index} of {tp}: tensor '" in done.stderr
            return None if said and not os.path.exists(out) else f"not refused: {done.stderr}"
        if done.returncode != 0 or done.stderr:
            return done.stderr
        ranks.append(plan_oracle.read_checkpoint(out))
        wrong = plan_oracle.compare(tensors, want, ranks[-1], rank)
        if wrong:
            return f"rank {index}: {wrong}"
    return plan_oracle.rebuild(tensors, want, config, ranks)


def main():
    for kind, kv_heads, biases, tied in WORLDS:
        with tempfile.TemporaryDirectory() as top:
            os.mkdir(os.path.join(top, "checkpoint"))
            checkpoint(os.path.join(top, "checkpoint"), kind, kv_heads, biases, tied)
            for tp in RANKS:
                what = f"{kind}, {HEADS} heads, {kv_heads} for keys and values, tp {tp}"
                wrong = check_ranks(top, tp)
                ok(not wrong, f"{what} {'# ' + wrong if wrong else ''}")
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
