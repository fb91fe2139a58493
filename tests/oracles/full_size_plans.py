#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plans of real checkpoints at full size: complete, quick, and as large as they must be.

usage: full_size_plans.py [FAMILY…]    (of scripts/make-checkpoint --list; all, with a sanitizer one)

Of each family the shards' headers, of its own config's shapes, before a hole as long as its data.
For one rank and for the last of eight, in both layouts: every byte of every tensor is in a parameter
once (one rank) or within its tensor, in order (of eight); nothing is left out; no note. Of the first
layers of those with experts, all eight ranks together have each byte of a tensor equally often. Then
time and memory of `wload plan`, headers and table included; bounds are for release builds."""

import collections
import json
import math
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import wload_families  # noqa: E402
import wload_writer  # noqa: E402

BUILD = os.environ.get("BUILD", "release")
WLOAD = os.path.join(ROOT, "build", BUILD, "wload")
LAYOUTS = ("trtllm", "vllm")
FAMILIES = [n for n in wload_families.FAMILIES if not n.startswith("tiny-")]
SECONDS, RESIDENT_MIB = 0.5, 64
# 28 heads; of the others 8
RANKS = {"qwen2.5-7b": 4}
# among how many experts are shared out, where all of 8 ranks are looked at
ALL_RANKS = {"qwen3-235b-a22b": (1, 4), "glm-4.5": (1, 4), "hunyuan-a13b": (1, 4),
             "deepseek-r1-fp8": (1, 4), "deepseek-r1-fp4": (1, 4), "llama-4-scout": (1, 4),
             "gpt-oss-120b": (1, 8)}
LAYERS = 4  # of those
ALSO = ("k_b_proj_trans", "v_b_proj")
WIDTHS = {"BF16": 2, "F32": 4, "U8": 1, "F8_E4M3": 1}
# Runs a command, then tells its processor seconds and resident KiB: a process's own peak would begin
# with that of the one which forked it, here a few MiB.
COST = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)"""
# family, layout: parameter -> data type, shape on one rank, shape on rank 7 of 8
SHAPES = {
    ("deepseek-r1-fp4", "trtllm"): {
        "model.layers.3.mlp.experts.w3_w1_weight": ("U8", [256, 4096, 3584], [256, 512, 3584]),
        "model.layers.3.mlp.experts.w2_weight": ("U8", [256, 7168, 1024], [256, 7168, 128]),
        "model.layers.3.mlp.experts.w3_w1_weight_scale": (
            "F8_E4M3", [256, 4096, 448], [256, 512, 448]),
        "model.layers.3.mlp.experts.w2_weight_scale": (
            "F8_E4M3", [256, 7168, 128], [256, 7168, 16]),
        "model.layers.3.mlp.experts.w3_w1_weight_scale_2": ("F32", [256], [256]),
        "model.layers.3.mlp.experts.w2_input_scale": ("F32", [], []),
        "model.layers.61.mlp.experts.w3_w1_weight": (
            "BF16", [256, 4096, 7168], [256, 512, 7168]),
        "model.layers.0.self_attn.kv_a_proj_with_mqa.weight": (
            "BF16", [2112, 7168], [2112, 7168]),
        "model.layers.0.self_attn.kv_b_proj.weight": ("BF16", [32768, 512], [4096, 512]),
        "model.layers.0.self_attn.k_b_proj_trans": ("BF16", [128, 512, 128], [16, 512, 128]),
        "model.layers.0.self_attn.v_b_proj": ("BF16", [128, 128, 512], [16, 128, 512])},
    ("deepseek-r1-fp8", "trtllm"): {
        "model.layers.9.self_attn.k_b_proj_trans": ("F8_E4M3", [128, 512, 128], [16, 512, 128]),
        "model.layers.9.self_attn.k_b_proj_trans_scale_inv": ("F32", [128, 4, 1], [16, 4, 1]),
        "model.layers.9.self_attn.v_b_proj_scale_inv": ("F32", [128, 1, 4], [16, 1, 4])},
    ("deepseek-r1-fp8", "vllm"): {
        "model.layers.9.mlp.experts.w13_weight_scale_inv": (
            "F32", [256, 32, 56], [256, 4, 56]),
        "model.layers.9.mlp.experts.w2_weight_scale_inv": ("F32", [256, 56, 16], [256, 56, 2]),
        "model.layers.9.self_attn.fused_qkv_a_proj.weight_scale_inv": ("F32", [17, 56], [17, 56]),
        "model.layers.9.self_attn.q_b_proj.weight_scale_inv": ("F32", [192, 12], [24, 12])},
    ("qwen3-235b-a22b", "vllm"): {
        "model.layers.0.mlp.experts.w13_weight": ("BF16", [128, 3072, 4096], [128, 384, 4096]),
        "model.layers.0.self_attn.qkv_proj.weight": ("BF16", [9216, 4096], [1280, 4096])},
    ("glm-4.5", "trtllm"): {
        "model.embed_tokens.weight": ("BF16", [151552, 5120], [151552, 5120]),
        "model.layers.92.eh_proj.weight": ("BF16", [5120, 10240], [5120, 1280]),
        "model.layers.1.self_attn.qkv_proj.bias": ("BF16", [14336], [1792])},
    ("hunyuan-a13b", "trtllm"): {
        "model.layers.0.mlp.shared_mlp.gate_up_proj.weight": ("BF16", [6144, 4096], [768, 4096]),
        "model.layers.0.mlp.gate.wg.weight": ("F32", [64, 4096], [64, 4096])},
    ("llama-4-scout", "trtllm"): {
        "language_model.model.layers.0.feed_forward.experts.w3_w1_weight": (
            "BF16", [16, 16384, 5120], [16, 2048, 5120]),
        "language_model.model.layers.0.feed_forward.experts.w2_weight": (
            "BF16", [16, 5120, 8192], [16, 5120, 1024]),
        "language_model.model.layers.47.feed_forward.shared_expert.gate_up_proj.weight": (
            "BF16", [16384, 5120], [2048, 5120]),
        "vision_model.model.layers.0.self_attn.q_proj.weight": (
            "BF16", [1408, 1408], [1408, 1408])},
    ("gpt-oss-120b", "trtllm"): {  # 90 blocks of 32: 12 of them, and the last rank 6
        "model.layers.0.mlp.experts.w3_w1_weight": (
            "U8", [128, 5760, 1440], [128, 384, 1440]),
        "model.layers.0.mlp.experts.w3_w1_weight_scale": (
            "U8", [128, 5760, 90], [128, 384, 90]),
        "model.layers.0.mlp.experts.w3_w1_bias": ("BF16", [128, 5760], [128, 384]),
        "model.layers.0.mlp.experts.w2_weight": ("U8", [128, 2880, 1440], [128, 2880, 96]),
        "model.layers.0.mlp.experts.w2_weight_scale": ("U8", [128, 2880, 90], [128, 2880, 6]),
        "model.layers.35.mlp.experts.w2_bias": ("BF16", [128, 2880], [128, 2880]),
        "model.layers.0.self_attn.sinks": ("BF16", [64], [8])},
    ("llama-3.1-70b", "vllm"): {
        "lm_head.weight": ("BF16", [128256, 8192], [16032, 8192])},
}
ran = failed = 0


def ok(passed, what):
    global ran, failed
    ran += 1
    failed += not passed
    print(f"{'ok' if passed else 'not ok'} {ran} - {what}", flush=True)


def write_headers(folder, config, tensors):
    os.mkdir(folder)
    shards, where = wload_writer.split(tensors, 5 * 10**9), {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        wload_writer.write_shard_header(os.path.join(folder, name), shard, {"format": "pt"})
        where.update((t.name, name) for t in shard)
    wload_writer.write_json(os.path.join(folder, "model.safetensors.index.json"),
                            {"metadata": {}, "weight_map": where})
    wload_writer.write_json(os.path.join(folder, "config.json"), config)


def plan(folder, layout, tp=1, rank=0, ep=1):
    done = subprocess.run([WLOAD, "plan", folder, "--json", "--layout", layout, "--tp", str(tp),
                           "--rank", str(rank), "--ep", str(ep)], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return json.loads(done.stdout)


def pieces(source):
    """(first byte, bytes) of each piece of a source in its tensor."""
    size = source["bytes"] // source["rows"]
    return ((source["src_offset"] + i * source["src_stride"], size) for i in range(source["rows"]))


def moved(p):
    """The bytes that a parameter's steps make."""
    return sum(math.prod(s["size"]) for s in p["steps"]) * WIDTHS[p["dtype"]]


def merged(p):
    """Of how many values each of a parameter's is made."""
    kinds = {(s["kind"], s["reduce"]) for s in p.get("steps", ())
             if s["kind"] in ("max", "equal")}
    return kinds.pop()[1] if len(kinds) == 1 else 1


def check_parameters(plan_, sizes):
    """Sources tile their parameters, or staging areas but for gaps of 15 bytes, and stay in their
    tensors; steps make all. Gives what is wrong, or None."""
    for p in plan_["parameters"]:
        at = have = 0
        gap = 15 if "steps" in p else 0
        for s in p["sources"]:
            end = s["src_offset"] + (s["rows"] - 1) * s["src_stride"] + s["bytes"] // s["rows"]
            if (not at <= s["dst_offset"] <= at + gap or end > sizes[s["tensor"]]
                    or s["bytes"] % s["rows"]):
                return f"'{p['name']}' of '{s['tensor']}'"
            at = s["dst_offset"] + s["bytes"]
            have += s["bytes"]
        if have != p["bytes"] * merged(p) or ("steps" in p and moved(p) != p["bytes"]):
            return f"'{p['name']}' has {p['bytes']} bytes, its sources {have}"
    if sum(p["bytes"] for p in plan_["parameters"]) != plan_["bytes"]:
        return "the sum of bytes"
    return None


def check_once(plan_, sizes):
    """Every byte of every tensor, once; twice in what is made of it also."""
    have = collections.defaultdict(list)
    for p in plan_["parameters"]:
        if p["name"].split(".")[-1].startswith(ALSO):
            continue
        for s in p["sources"]:
            have[s["tensor"]].extend(pieces(s))
    for name, size in sizes.items():
        at = 0
        for begin, length in sorted(have[name]):
            if begin != at:
                return f"'{name}' at byte {at}"
            at += length
        if at != size:
            return f"'{name}' ends at byte {at} of {size}"
    return None


def wrong_shape(plan_, family, layout, which):
    shapes = {p["name"]: (p["dtype"], p["shape"]) for p in plan_["parameters"]}
    for name, (dtype, *want) in SHAPES.get((family, layout), {}).items():
        if shapes.get(name) != (dtype, want[which]):
            return f"'{name}' is {shapes.get(name)}"
    return None


def missing(plan_, sizes):
    used = {s["tensor"] for p in plan_["parameters"] for s in p["sources"]}
    return next((f"'{name}' is not used" for name in sizes if name not in used), None)


def check_plan(family, folder, sizes, layout, tp, rank):
    plan_ = plan(folder, layout, tp, rank)
    wrong = (plan_["note"] or check_parameters(plan_, sizes) or missing(plan_, sizes)
             or (plan_["unused"] or None) or (check_once(plan_, sizes) if tp == 1 else None)
             or (wrong_shape(plan_, family, layout, tp > 1) if rank == tp - 1 else None))
    ok(not wrong, f"{family}, {layout}, rank {rank} of {tp}: {plan_['parameter_count']} parameters "
                  f"of {plan_['bytes']} bytes{f' # {wrong}' if wrong else ''}")


def edges_of(source, size):
    """Where pieces begin and end; of one of each row of a tensor, in a row, as long as that."""
    if source["rows"] * source["src_stride"] == size:
        begin = source["src_offset"]
        return [(begin, source["bytes"] // source["rows"])], source["src_stride"]
    return pieces(source), size


def check_all_ranks(family, folder, sizes, ep):
    """Eight ranks have each byte of a tensor equally often, and each tensor."""
    have, long = collections.defaultdict(collections.Counter), {}
    for rank in range(8):
        for p in plan(folder, "trtllm", 8, rank, ep)["parameters"]:
            for s in p["sources"]:
                found, long[s["tensor"]] = edges_of(s, sizes[s["tensor"]])
                for begin, length in found:
                    have[s["tensor"]][begin] += 1
                    have[s["tensor"]][begin + length] -= 1
    wrong = None
    for name in sizes:
        edges = [at for at, change in sorted(have[name].items()) if change]
        if edges != [0, long.get(name)]:
            wrong = name
    ok(not wrong, f"{family}, all of 8 ranks, ep {ep}: every byte equally often "
                  f"{f'# {wrong}' if wrong else ''}")


def cost(*arguments):
    """The least processor seconds and the most MiB of three runs."""
    costs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", COST, WLOAD, *arguments],
                              capture_output=True, text=True, check=True)
        costs.append(tuple(map(float, done.stdout.split())))
    return min(c[0] for c in costs), max(c[1] for c in costs) / 1024


def check_cost(family, folder, count):
    """Half a second; on a machine where that is little, twice what `wload ls` takes there."""
    tp = RANKS.get(family, 8)
    seconds, resident = cost("plan", folder, "--tp", str(tp), "--rank", str(tp // 2))
    listed, _ = cost("ls", folder)
    ok(BUILD != "release" or (seconds <= max(SECONDS, 2 * listed) and resident <= RESIDENT_MIB),
       f"{family}: {count} tensors planned in {seconds:.2f} s of one processor, listed in "
       f"{listed:.2f}, {resident:.0f} MiB")


def check_family(family, top):
    config, tensors = wload_families.build(family)
    tensors = list(wload_writer.sized(tensors))
    sizes = {t.name: t.bytes for t in tensors}
    whole, part = os.path.join(top, family), os.path.join(top, family + ".part")
    write_headers(whole, config, tensors)
    tp = RANKS.get(family, 8)
    for layout in LAYOUTS:
        check_plan(family, whole, sizes, layout, 1, 0)
        check_plan(family, whole, sizes, layout, tp, tp - 1)
    check_cost(family, whole, len(tensors))
    if family in ALL_RANKS:
        config, tensors = wload_families.build(family, LAYERS)
        sizes = {t.name: t.bytes for t in wload_writer.sized(tensors)}
        write_headers(part, config, list(wload_writer.sized(tensors)))
        for ep in ALL_RANKS[family]:
            check_all_ranks(family, part, sizes, ep)


def main():
    for family in sys.argv[1:] or (FAMILIES if BUILD == "release" else ["hunyuan-a13b"]):
        with tempfile.TemporaryDirectory() as top:
            try:
                check_family(family, top)
            except RuntimeError as e:
                ok(False, f"{family}: {e}")
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
