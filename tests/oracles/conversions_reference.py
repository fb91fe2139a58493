# SPDX-License-Identifier: Apache-2.0
"""What --dequantise, --dtype and --swizzle make, in NumPy.

The one idea: each tensor of the checkpoint is converted by itself, with its own scales, and what an
engine has of it is family_reference's to say, as if the checkpoint had been stored so. wload does it
the other way round, parts first: both must come to the same."""

import numpy
import small_floats as floats

NUMBERS = ("BF16", "F16", "F32")
SCALES = ("weight_scale", "weight_scale_inv", "weight_scale_2", "input_scale", "k_scale", "v_scale")
# What is behind a weight's name in that of its scales; the last: of a tensor of all experts.
WEIGHT_SCALES = ("_scale", "_scale_inv", "_weight_scale")


def spread(scale, shape):
    """A scale of each element of a shape, whose last blocks may be short (of 128)."""
    if scale.size == 1:
        return scale.reshape((1,) * len(shape))
    scale = scale.reshape(*scale.shape, *(1,) * (len(shape) - scale.ndim))
    for dim, n in enumerate(shape):
        have = scale.shape[dim]
        block = 128 if have == -(-n // 128) else -(-n // have)
        scale = scale.repeat(block, dim).take(numpy.arange(n), dim)
    return scale


def dequantised(tensors, name):
    """float32 of a quantised weight, or None."""
    dtype, codes = tensors[name]
    scale_name = next((name + s for s in WEIGHT_SCALES if name + s in tensors), None)
    if scale_name is None:
        return None
    scale_dtype, scale = tensors[scale_name]
    if name.endswith(".down_proj") and scale_name.endswith("proj_scale"):
        scale = scale.swapaxes(1, 2)  # fbgemm's: a column, where outputs are in a row
    if dtype == "F8_E4M3":
        return floats.E4M3[codes] * spread(floats.decode(scale, scale_dtype), codes.shape)
    if dtype != "U8":
        return None
    values = floats.E2M1[floats.halves(codes)]
    if scale_dtype == "U8":
        return values * floats.from_e8m0(scale).repeat(32, -1)
    second = floats.decode(tensors[name + "_scale_2"][1].reshape(()), "F32")
    return values * (floats.E4M3[scale] * second).repeat(16, -1)


def blocks(tensors, stem):
    """gpt-oss: [experts, rows, blocks, 16 bytes] as what a BF16 checkpoint has, [experts, …, rows]."""
    values = floats.E2M1[floats.halves(tensors[stem + "_blocks"][1])]
    values = values * floats.from_e8m0(tensors[stem + "_scales"][1])[..., None]
    return values.reshape(*values.shape[:2], -1).swapaxes(1, 2)


def dequantise(tensors, to):
    """A checkpoint without quantised weights."""
    made, gone = {}, set()
    for name in tensors:
        if name.endswith("_blocks"):
            stem = name.removesuffix("_blocks")
            made[stem] = (to, floats.encode(blocks(tensors, stem), to))
            gone |= {name, stem + "_scales"}
            continue
        values = dequantised(tensors, name)
        if values is not None:
            made[name] = (to, floats.encode(values, to))
            gone |= {name + s for s in (*WEIGHT_SCALES, "_scale_2")}
            gone.add(name.removesuffix("weight") + "input_scale")
    return {**{n: t for n, t in tensors.items() if n not in gone}, **made}


def cast(tensors, to):
    """Scales and routers' corrections stay."""
    made = {}
    for name, (dtype, codes) in tensors.items():
        last = name.split(".")[-1]
        scale = last.endswith((*SCALES, "proj_scale"))
        if dtype in NUMBERS and not scale and last != "e_score_correction_bias":
            dtype, codes = to, floats.encode(floats.decode(codes, dtype), to)
        made[name] = (dtype, codes)
    return made


def tiles(scale):
    """Rows padded to 128, columns to 4; of a tile 32 rows, then 4 times 32, then 4 columns."""
    *outer, rows, columns = scale.shape
    padded = numpy.zeros((*outer, -(-rows // 128) * 128, -(-columns // 4) * 4), "u1")
    padded[..., :rows, :columns] = scale
    view = padded.reshape(-1, padded.shape[-2] // 128, 4, 32, padded.shape[-1] // 4, 4)
    return view.transpose(0, 1, 4, 3, 2, 5).reshape(padded.shape)


def swizzle(parameters):
    made = {}
    for name, (dtype, codes) in parameters.items():
        weight = parameters.get(name.removesuffix("_scale"), (None,))[0]
        if name.endswith("_scale") and weight == "U8" and dtype == "F8_E4M3" and codes.size:
            codes = tiles(codes)
        made[name] = (dtype, codes)
    return made
