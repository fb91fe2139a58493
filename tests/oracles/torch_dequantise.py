#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `wload load --dequantise` makes of FP8, NVFP4 and MXFP4 is what torch's own types say.

Small checkpoints in which every code of every type occurs with scales of all sizes: all 256 of E4M3,
as a weight and as a scale, all pairs of the 16 values of E2M1, all 256 of E8M0. Loaded to the host, as
BF16, F16 and F32, and compared bit by bit with

  torch.float8_e4m3fn and torch.float8_e8m0fnu, converted by torch
  a table of the 16 values of E2M1 (OCP's "Microscaling Formats (MX) Specification")
  transformers' convert_moe_packed_tensors(), for gpt-oss as it is stored

FP8 matrices of a scale each that are joined without --dequantise are made anew by the largest scale,
rounded as torch rounds to float8_e4m3fn. Where one side is some NaN the other has to be. Prints TAP; exit 77 where torch has no such types."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy
    import torch
    import family_ranks
    import family_reference
    import write_tensors
    E4M3, E8M0 = torch.float8_e4m3fn, torch.float8_e8m0fnu
except (ImportError, AttributeError) as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

E2M1 = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])
TYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F8_E4M3": E4M3}
# Of scales: products are of all sizes, the smallest and the largest of the type with them.
EXPONENTS = {"BF16": (-134, 122), "F16": (-30, 12), "F32": (-134, 122)}
LAYER = "model.layers.0."
random = numpy.random.default_rng(6)
ran = failed = 0


def ok(wrong, what):
    global ran, failed
    ran += 1
    failed += bool(wrong)
    print(f"{'not ok' if wrong else 'ok'} {ran} - {what}{f' # {wrong}' if wrong else ''}", flush=True)


def codes(*shape):
    """All 256 of them, again and again, in no order."""
    count = int(numpy.prod(shape))
    return random.permutation(numpy.resize(numpy.arange(256, dtype="u1"), count)).reshape(shape)


def scales(exponents, *shape):
    return numpy.ldexp(random.uniform(1, 2, shape), random.integers(*exponents, shape)).astype("f4")


def one_scale(exponents):
    return scales(exponents, 1).reshape(())


def values(array, dtype):
    return torch.from_numpy(array.copy()).view(dtype).float()


def halves(packed):
    """Two values of each byte, the low half first."""
    both = numpy.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1)
    return E2M1[torch.from_numpy(both.astype("i8"))]


def spread(scale, rows, columns):
    """A scale of each element."""
    return scale.repeat_interleave(rows, -2).repeat_interleave(columns, -1)


# ---- schemes: {tensor: (data type, array)}, and what the weights' numbers are as F32 ----------------

def fp8(scale, rows, columns, leaf, dtype="F32"):
    weight = codes(256, 384)
    numbers = values(scale, torch.float32 if dtype == "F32" else torch.bfloat16)
    if scale.ndim:
        numbers = spread(numbers, rows, columns)
    return ({"weight": ("F8_E4M3", weight), leaf: (dtype, scale)},
            values(weight, E4M3) * numbers)


def nvfp4(exponents):
    weight, scale, second = codes(256, 192), codes(256, 24), one_scale(exponents)
    each = values(scale, E4M3) * torch.from_numpy(second)
    return ({"weight": ("U8", weight), "weight_scale": ("F8_E4M3", scale),
             "weight_scale_2": ("F32", second)}, halves(weight) * spread(each, 1, 16))


def mxfp4(_):
    weight, scale = codes(256, 192), codes(256, 12)
    return ({"weight": ("U8", weight), "weight_scale": ("U8", scale)},
            halves(weight) * spread(values(scale, E8M0), 1, 32))


SCHEMES = {
    "FP8, one scale": lambda e: fp8(one_scale(e), 1, 1, "weight_scale"),
    "FP8, a scale a row": lambda e: fp8(scales(e, 256, 1), 1, 384, "weight_scale"),
    "FP8, a BF16 scale a row": lambda e: fp8(
        (scales(e, 256, 1).view("u4") >> 16).astype("u2"), 1, 384, "weight_scale", "BF16"),
    "FP8, a scale a block": lambda e: fp8(scales(e, 2, 3), 128, 128, "weight_scale_inv"),
    "NVFP4": nvfp4,
    "MXFP4": mxfp4,
}


# ---- both sides ------------------------------------------------------------------------------------

def load(top, config, tensors, options):
    """{parameter: (data type, array)} that wload makes of a checkpoint; raises RuntimeError."""
    folder, out = os.path.join(top, "checkpoint"), os.path.join(top, "out")
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(folder, exist_ok=True)
    write_tensors.write(os.path.join(folder, "model.safetensors"), tensors)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    done = subprocess.run([family_ranks.WLOAD, "load", folder, "--device", "host", "--quiet",
                           *options, "--out", out],
                          capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(done.stderr.strip() or f"exit {done.returncode}")
    return family_reference.read(out)


def difference(want, got, dtype):
    """What is wrong with a parameter, or None; want: its numbers."""
    want = want.to(TYPES[dtype])
    if got[0] != dtype or tuple(want.shape) != got[1].shape:
        return f"it is {got[0]} {got[1].shape}"
    bits = torch.from_numpy(got[1].view(f"i{got[1].itemsize}").copy())
    got, want_bits = bits.view(TYPES[dtype]).float(), want.view(bits.dtype)
    want = want.float()
    wrong = (want_bits != bits) & ~(want.isnan() & got.isnan())
    if not wrong.any():
        return None
    at = tuple(wrong.nonzero()[0].tolist())
    return (f"{int(wrong.sum())} of {wrong.numel()} differ, that at {at} is {got[at].item()!r}, "
            f"should be {want[at].item()!r}")


def check(top, name, scheme, dtype):
    stem = LAYER + "mlp.down_proj."
    tensors, want = scheme(EXPONENTS[dtype])
    try:
        got = load(top, {"model_type": "llama", "num_attention_heads": 4},
                   {stem + leaf: tensor for leaf, tensor in tensors.items()},
                   ("--dequantise", *(() if dtype == "BF16" else ("--dtype", dtype.lower()))))
    except RuntimeError as e:
        return str(e)
    if list(got) != [stem + "weight"]:
        return f"there are {sorted(got)}"
    return difference(want, got[stem + "weight"], dtype)


def check_joined(top):
    """q, k and v of a scale each: wload joins them, and makes those anew that have not the largest."""
    attention = LAYER + "self_attn."
    parts = {p: (codes(256, 256), scales((-20, -14), 1).reshape(())) for p in ("q", "k", "v")}
    tensors = {}
    for p, (weight, scale) in parts.items():
        tensors[f"{attention}{p}_proj.weight"] = ("F8_E4M3", weight)
        tensors[f"{attention}{p}_proj.weight_scale"] = ("F32", scale)
    largest = torch.tensor(max(float(scale) for _, scale in parts.values()))
    want = torch.cat([values(weight, E4M3) * torch.from_numpy(scale) / largest
                      for weight, scale in parts.values()])
    try:
        got = load(top, {"model_type": "llama", "num_attention_heads": 4}, tensors, ())
    except RuntimeError as e:
        return str(e)
    stem = attention + "qkv_proj.weight"
    if got.keys() != {stem, stem + "_scale"}:
        return f"there are {sorted(got)}"
    return (difference(largest.reshape(got[stem + "_scale"][1].shape), got[stem + "_scale"], "F32")
            or difference(want, got[stem], "F8_E4M3"))


def gpt_oss(top, layout):
    """Experts as gpt-oss has them; scales as transformers computes, in BF16, are exact."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    experts, inner, groups = 3, 40, 3
    tensors, parts = {}, {}
    for name, rows in (("gate_up_proj", 2 * inner), ("down_proj", 56)):
        blocks = codes(experts, rows, groups, 16)
        scale = random.integers(40, 200, (experts, rows, groups), "u1")
        tensors[f"{LAYER}mlp.experts.{name}_blocks"] = ("U8", blocks)
        tensors[f"{LAYER}mlp.experts.{name}_scales"] = ("U8", scale)
        parts[name] = convert_moe_packed_tensors(  # [experts, inputs, outputs]
            torch.from_numpy(blocks), torch.from_numpy(scale)).transpose(1, 2)
    gate, up = parts["gate_up_proj"][:, 0::2], parts["gate_up_proj"][:, 1::2]
    into, both = ("w3_w1", (up, gate)) if layout == "trtllm" else ("w13", (gate, up))
    got = load(top, {"model_type": "gpt_oss", "num_attention_heads": 4,
                     "num_local_experts": experts, "intermediate_size": inner},
               tensors, ("--dequantise", "--layout", layout))
    want = {f"{LAYER}mlp.experts.{into}_weight": torch.cat(both, 1),
            f"{LAYER}mlp.experts.w2_weight": parts["down_proj"]}
    if got.keys() != want.keys():
        return f"there are {sorted(got)}"
    return next(filter(None, (difference(want[n].float(), got[n], "BF16") for n in want)), None)


def check_gpt_oss(layout):
    what = f"MXFP4, gpt-oss as transformers dequantises it, {layout}"
    try:
        with tempfile.TemporaryDirectory() as top:
            ok(gpt_oss(top, layout), what)
    except RuntimeError as e:
        ok(str(e), what)
    except ImportError as e:
        ok(None, f"{what} # SKIP {e}")


def main():
    for name, scheme in SCHEMES.items():
        for dtype in EXPONENTS:
            with tempfile.TemporaryDirectory() as top:
                ok(check(top, name, scheme, dtype), f"{name}, to {dtype}")
    with tempfile.TemporaryDirectory() as top:
        ok(check_joined(top), "FP8, three of a scale each made anew by the largest")
    for layout in ("trtllm", "vllm"):
        check_gpt_oss(layout)
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
