#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Quantised checkpoints, merged, dequantised, cast and swizzled, are the reference's, byte for byte.

usage: conversions_agree.py [--plan | --load] [CASE…]

Small checkpoints of true structure and random values, quantised in every way that is known; the first
and the last rank of 1, 2 and 4, both layouts. Compared with family_reference.py and conversions_reference.py is what
`wload plan --json` says how to make, carried out by plan_steps.py (--plan), and what `wload load --device
host --out` writes (--load); without an option both."""

import concurrent.futures
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import family_ranks
    import numpy
    import plan_steps
    import thin
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

sys.path.insert(0, os.path.join(family_ranks.ROOT, "scripts"))
import conversions_reference as conversions  # noqa: E402
import family_own  # noqa: E402
import family_reference  # noqa: E402
import merged_scales  # noqa: E402
import small_floats as floats  # noqa: E402
import wload_families  # noqa: E402
import wload_writer  # noqa: E402

# name -> (family, how its linear layers are quantised or None: as the family has them)
CASES = {
    "llama-nvfp4": ("tiny-llama-fp4", None),
    "llama-fp8-one": ("tiny-llama", "fp8-one"),
    "qwen2-fp8-rows": ("tiny-qwen2", "fp8-rows"),
    "qwen3-moe-fp8-blocks": ("tiny-qwen3-moe-fp8", None),
    "qwen3-moe-fp8-one": ("tiny-qwen3-moe", "fp8-one"),
    "mixtral-nvfp4": ("tiny-mixtral", "nvfp4"),
    "deepseek-bf16": ("tiny-deepseek-bf16", None),
    "deepseek-fp8-blocks": ("tiny-deepseek-fp8", None),
    "deepseek-nvfp4": ("tiny-deepseek-fp4", None),
    "deepseek-nvfp4-attention": ("tiny-deepseek-fp4", "nvfp4"),
    "glm-fp8-bf16-rows": ("tiny-glm-4.5-air", "fp8-bf16-rows"),
    "hunyuan-packed-bf16": ("tiny-hunyuan-moe-packed", None),
    "llama4-bf16": ("tiny-llama4", None),
    "llama4-fp8-rows": ("tiny-llama4-fp8", None),
    "llama4-fp8-stacked": ("tiny-llama4-fp8-stacked", None),
    "llama4-fp8-fbgemm": ("tiny-llama4-fp8-fbgemm", None),
    "gpt-oss-mxfp4": ("tiny-gpt-oss", None),
    "gpt-oss-bf16": ("tiny-gpt-oss-bf16", None),
}
WAYS = ((), ("--swizzle",), ("--dequantise",), ("--dequantise", "--dtype", "f32"),
        ("--dtype", "f16"))
OWN_NAMES = tuple((*way, "--names", "hf") for way in
                  (("--dequantise",), ("--swizzle",), ("--dtype", "f16")))
TPS = (1, 2, 4)
# Not linear layers, or none that anybody quantises.
WHOLE = ("embed_tokens", "lm_head", "gate", "kv_b_proj", "head", "eh_proj", "wg")


# ---- checkpoints ---------------------------------------------------------------------------------

def quantise(tensors, how):
    for name, dtype, shape in tensors:
        module = name.split(".")[-2] if "." in name else ""
        stem = name.removesuffix(".weight")
        if not how or dtype != "BF16" or len(shape) != 2 or stem == name or module in WHOLE:
            yield name, dtype, shape
            continue
        rows, columns = shape
        if how == "nvfp4":
            if columns % 64:
                yield name, dtype, shape
                continue
            yield name, "U8", (rows, columns // 2)
            yield stem + ".weight_scale", "F8_E4M3", (rows, columns // 16)
            yield stem + ".weight_scale_2", "F32", ()
        else:
            yield name, "F8_E4M3", shape
            yield (stem + ".weight_scale", "BF16" if "bf16" in how else "F32",
                   () if how == "fp8-one" else (rows, 1))
        yield stem + ".input_scale", "F32", ()


def random_of(name):
    return numpy.random.default_rng(list(hashlib.sha256(name.encode()).digest()))


def scalar(name, nvfp4):
    """Scales of modules that are joined differ, but where the reference asserts that they are equal."""
    module, leaf = name.rsplit(".", 1)
    same = nvfp4 and ".experts." not in name and "a_proj" not in module
    owner = module.rsplit(".", 1)[0] if same else module
    return random_of(owner + leaf).uniform(0.002, 0.02)



def content(t, nvfp4):
    """Codes of a tensor: no NaN, scales that are positive and small."""
    rng, leaf = random_of(t.name), t.name.split(".")[-1]
    if leaf in conversions.SCALES and t.dtype in ("F32", "BF16"):
        values = (numpy.float32(scalar(t.name, nvfp4)) if not t.shape
                  else rng.uniform(0.001, 0.01, t.shape).astype("f4"))
        return floats.encode(numpy.asarray(values).reshape(t.shape), t.dtype)
    if leaf == "weight_scale":
        return floats.to_e4m3(rng.uniform(0, 448, t.shape).astype("f4") *
                              (rng.random(t.shape) > 0.05))
    if t.dtype == "F8_E4M3":
        codes = rng.integers(0, 254, t.shape, "u1")
        return numpy.where(codes == 127, 126, codes).astype("u1")
    if leaf.endswith("_scales"):  # powers of two
        return rng.integers(120, 130, t.shape, "u1")
    if t.dtype == "U8":
        return rng.integers(0, 256, t.shape, "u1")
    return floats.encode(rng.normal(0, 1, t.shape).astype("f4"), t.dtype)


def write(folder, config, tensors):
    tensors = list(wload_writer.sized(tensors))
    nvfp4 = any(t.name.endswith("weight_scale_2") for t in tensors)
    head, placed = wload_writer.header(tensors, {"format": "pt"})
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(head)
        for _, t in placed:
            f.write(numpy.ascontiguousarray(content(t, nvfp4)).tobytes())
    wload_writer.write_json(os.path.join(folder, "config.json"), config)


# ---- both sides ----------------------------------------------------------------------------------

def wanted(tensors, config, options, layout, tp, rank, ep):
    """What the reference makes; None: it asserts against it."""
    dtype = options[options.index("--dtype") + 1].upper() if "--dtype" in options else None
    converted = tensors
    own = "--names" in options
    if "--dequantise" in options:
        # fbgemm's scales of down are a column, its weights' outputs in a row
        if own and any(n.endswith(("_blocks", "down_proj_scale")) for n in tensors):
            return None
        # a rank's columns of halves are put together by steps, its scales are placed
        if own and tp > ep and any(n.endswith("gate_up_proj_weight_scale") for n in tensors):
            return None
        converted = conversions.dequantise(converted, dtype or "BF16")
    if dtype:
        converted = conversions.cast(converted, dtype)
    model = (family_own.Own if own else family_reference.Model)(converted, config, layout, tp, rank, ep)
    model.stored = tensors
    try:
        made = model.load()
    except (family_reference.Impossible, merged_scales.Unequal):
        return None
    return conversions.swizzle(made) if "--swizzle" in options else made


def run(*arguments):
    return subprocess.run([family_ranks.WLOAD, *arguments], capture_output=True, text=True,
                          check=False)


def by_plan(folder, arguments):
    done = run("plan", folder, "--json", *arguments)
    if done.returncode:
        return done.stderr.strip(), None
    plan = json.loads(done.stdout)
    return plan["note"], plan_steps.parameters(plan, folder)


def by_load(folder, arguments):
    out = tempfile.mkdtemp(dir=os.path.dirname(folder))
    os.rmdir(out)
    done = run("load", folder, "--device", family_ranks.DEVICE, "--quiet", "--out", out, *arguments)
    if done.returncode or done.stderr:
        return done.stderr.strip() or f"exit {done.returncode}", None
    made = family_reference.read(out)
    shutil.rmtree(out)
    return None, made


def check(how, folder, tensors, config, options, layout, tp, ep):
    """What is wrong with the ranks of one way, or None."""
    for rank in {0, tp - 1}:
        want = wanted(tensors, config, options, layout, tp, rank, ep)
        said, got = how(folder, [*options, "--layout", layout, "--tp", str(tp), "--rank", str(rank),
                                 "--ep", str(ep)])
        if want is None and said and got is None:
            continue
        wrong = said or (family_reference.difference(want, got) if want is not None
                         else "it is not refused")
        if wrong:
            return f"rank {rank}: {wrong}"
    return None


def check_case(name, top, hows):
    """Yields (what is wrong or None, what was done)."""
    family, how = CASES[name]
    config, tensors = wload_families.build(family)
    tensors = list(quantise(tensors, how))
    folder = os.path.join(top, name)
    os.mkdir(folder)
    write(folder, config, tensors)
    stored = family_reference.read(folder)
    experts = any(".experts." in n for n in stored)
    ways = [(h, o, layout, tp, ep) for h in hows
            for o in (*WAYS, *(OWN_NAMES if h == by_plan else ()))
            for layout in (("trtllm",) if "--names" in o else ("trtllm", "vllm"))
            for tp in TPS for ep in ((1, 2) if tp == 4 and experts else (1,))]
    ways = [w for w in ways if thin.takes(f"{name} {w[0].__name__} {w[1:]}")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(
            lambda w: check(w[0], folder, stored, config, w[1], w[2], w[3], w[4]), ways)
        for (h, o, layout, tp, ep), wrong in zip(ways, results):
            yield wrong, f"{name}, {h.__name__}: {' '.join(o) or 'merged'}, {layout}, tp {tp}, ep {ep}"


def main():
    arguments, hows = sys.argv[1:], [by_plan, by_load]
    if arguments[:1] in (["--plan"], ["--load"]):
        hows = [by_plan] if arguments.pop(0) == "--plan" else [by_load]
    ran = failed = 0
    for name in arguments or CASES:
        with tempfile.TemporaryDirectory() as top:
            for wrong, what in check_case(name, top, hows):
                ran += 1
                failed += bool(wrong)
                print(f"{'not ok' if wrong else 'ok'} {ran} - {what}"
                      f"{' # ' + wrong if wrong else ''}", flush=True)
    thin.tell()
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
