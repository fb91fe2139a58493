# SPDX-License-Identifier: Apache-2.0
"""Quantised parts that are joined, each with values of its own, as TensorRT-LLM merges those.

The one idea: what is told apart here is how parts are quantised (modules/linear.py:
FP8QDQLinearMethod, NVFP4LinearMethod; modeling_deepseekv3.py's fused kv_a_proj_with_mqa;
fused_moe/quantization.py), whatever module they are of. A part is {leaf: array of codes}."""

import numpy
import small_floats as floats


class Unequal(Exception):
    """What the reference asserts to be the same is not."""


def scheme(dtypes, part):
    """"nvfp4", "fp8" with one scale, or None; dtypes are those of the leaves."""
    if dtypes.get("weight") == "U8" and part.get("weight_scale_2", numpy.zeros(2)).size == 1:
        return "nvfp4"
    if dtypes.get("weight") == "F8_E4M3" and "weight_scale" in part and (
            part["weight_scale"].ndim < 2 and part["weight_scale"].size == 1):
        return "fp8"
    return None


def value(code, dtype):
    return floats.decode(code.reshape(1), dtype)[0]


def largest(codes, dtype):
    """Of scalars, as one."""
    return max((c.reshape(()) for c in codes), key=lambda c: value(c, dtype))


def same(codes):
    if any(c.tobytes() != codes[0].tobytes() for c in codes):
        raise Unequal
    return codes[0].reshape(())


def requantise_fp8(weight, scale, top):
    if scale == top:
        return weight
    return floats.to_e4m3(floats.E4M3[weight] * scale / top)


def requantise_nvfp4(weight, scale, second, top):
    """Gives weight and scales."""
    if second == top:
        return weight, scale
    rows = scale.shape[0]
    values = floats.E2M1[floats.halves(weight)].reshape(rows, -1, 16)
    values = values * (floats.E4M3[scale] * second)[..., None]
    new = floats.to_e4m3(numpy.abs(values).max(-1) / numpy.float32(6) / top)
    by = (floats.E4M3[new] * top)[..., None]
    quotients = numpy.divide(values, by, out=numpy.zeros_like(values), where=by != 0)
    codes = numpy.where(by == 0, 0, floats.to_e2m1(quotients))
    return floats.packed(codes.reshape(rows, -1)), new


def merge_fp8(parts, dtypes):
    top = largest([p["weight_scale"] for p in parts], dtypes["weight_scale"])
    for p in parts:
        p["weight"] = requantise_fp8(p["weight"], value(p["weight_scale"], "F32"),
                                     value(top, "F32"))
    return top


def fused(parts, dtypes, requantise=False):
    """{leaf: scalar} of what dense parts are merged to; changes weights and their scales."""
    kind = scheme(dtypes, parts[0])
    if kind == "fp8":
        merged = {"weight_scale": merge_fp8(parts, dtypes)}
        if "input_scale" in parts[0]:
            merged["input_scale"] = largest([p["input_scale"] for p in parts],
                                            dtypes["input_scale"])
        return merged
    if kind != "nvfp4":
        return {}
    merged = {}
    for leaf in ("weight_scale_2", "input_scale"):
        if leaf in parts[0]:
            codes = [p[leaf] for p in parts]
            merged[leaf] = largest(codes, dtypes[leaf]) if requantise else same(codes)
    if requantise:
        for p in parts:
            p["weight"], p["weight_scale"] = requantise_nvfp4(
                p["weight"], p["weight_scale"], value(p["weight_scale_2"], "F32"),
                value(merged["weight_scale_2"], "F32"))
    return merged


def stacked(experts, dtypes, mine):
    """The same of experts, a list of lists of parts; `mine`: indexes of those that the rank has."""
    kind = scheme(dtypes, experts[0][0])
    if kind is None:
        return {}
    merged = {}
    leaf = "weight_scale_2" if kind == "nvfp4" else "weight_scale"
    if len(experts[0]) > 1 or kind == "fp8":
        merged[leaf] = numpy.stack([
            merge_fp8(parts, dtypes) if kind == "fp8"
            else largest([p[leaf] for p in parts], dtypes[leaf])
            for i, parts in enumerate(experts) if i in mine])
    if "input_scale" in experts[0][0]:
        merged["input_scale"] = largest([p["input_scale"] for parts in experts for p in parts],
                                        dtypes["input_scale"])
    return merged
