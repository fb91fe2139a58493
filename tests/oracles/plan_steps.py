# SPDX-License-Identifier: Apache-2.0
"""Makes the parameters of `wload plan --json` in NumPy: its sources placed, its steps carried out.

The one idea: what a plan says is all that it takes, so this reads the checkpoint's files and the plan's
numbers, and nothing of wload's own. Every element of a step is an index; operands are gathered by
arrays of offsets, as include/wloadfs/transform.h says them."""

import family_reference
import numpy
import plan_oracle
import small_floats as floats

FLOAT = numpy.float32


class Unequal(Exception):
    """What a step wants to be the same is not."""


def place(parameter, tensors):
    """The bytes of a parameter without steps, or of its staging area, which has no two sources in
    one place."""
    made = numpy.zeros(parameter.get("staged_bytes", parameter["bytes"]), "u1")
    at = 0
    for s in parameter["sources"]:
        assert s["dst_offset"] >= at, s
        at = s["dst_offset"] + s["bytes"]
        if not s["bytes"]:
            continue
        content = numpy.frombuffer(tensors[s["tensor"]].bytes(), "u1")[s["src_offset"]:]
        assert (s["rows"] - 1) * s["src_stride"] + s["bytes"] // s["rows"] <= len(content), s
        made[s["dst_offset"]:at] = numpy.lib.stride_tricks.as_strided(
            content, (s["rows"], s["bytes"] // s["rows"]), (s["src_stride"], 1),
            writeable=False).reshape(-1)
    assert at <= len(made), parameter["name"]
    return made


def offsets(step, strides, block=None):
    """sum(i[d] / block[d] * stride[d]) of each index."""
    total = numpy.zeros((1,) * 6, "i8")
    for d in range(6):
        i = numpy.arange(step["begin"][d], step["begin"][d] + step["size"][d])
        i = (i // block[d] if block else i) * strides[d]
        total = total + i.reshape([-1 if e == d else 1 for e in range(6)])
    return numpy.broadcast_to(total, step["size"])


def view(content, at, dtype):
    """All elements of a type from a byte on."""
    width = numpy.dtype(family_reference.WIDTHS[dtype]).itemsize
    return content[at:at + (len(content) - at) // width * width].view(family_reference.WIDTHS[dtype])


def halves_at(content, at, places):
    byte = content[at + places // 2]
    return numpy.where(places % 2, byte >> 4, byte & 15)


def largest(step, staged, at):
    values = view(staged, at, "F32").view("f4")
    return values[numpy.arange(step["reduce"]) * step["reduce_stride"]].max()


def scales(step, staged):
    codes = view(staged, step["scale"], step["scale_dtype"])[
        offsets(step, step["scale_stride"], step["block"])]
    if step["kind"] == "dequantise_mxfp4":
        return floats.from_e8m0(codes)
    return floats.decode(codes, step["scale_dtype"])


def value_2(step, staged):
    return view(staged, step["scale_2"], "F32").view("f4")[0]


def new_scales(step, staged, first):
    """Of NVFP4: the new scale of each 16 elements from `first` on, and those elements' values."""
    values = floats.E2M1[halves_at(staged, step["in"], first[..., None] + numpy.arange(16))]
    by = scales(step, staged) * value_2(step, staged)
    values = values * by[..., None]
    top = numpy.abs(values).max(-1) / FLOAT(6) / largest(step, staged, step["all_scale_2"])
    return floats.to_e4m3(top), values


def requantise_weight(step, staged):
    """Codes of 4 bits."""
    places = offsets(step, step["in_stride"])
    most = largest(step, staged, step["all_scale_2"])
    if value_2(step, staged) == most:
        return halves_at(staged, step["in"], places)
    column = places - offsets(step, [*step["in_stride"][:5], 0])  # of its row
    codes, values = new_scales(step, staged, places - column % 16)
    own = numpy.take_along_axis(values, (column % 16)[..., None], -1)[..., 0]
    by = floats.E4M3[codes] * most
    with numpy.errstate(divide="ignore", invalid="ignore"):
        return numpy.where(by == 0, 0, floats.to_e2m1(numpy.where(by == 0, 0, own / by)))


def requantise_scale(step, staged):
    old = view(staged, step["scale"], "F8_E4M3")[offsets(step, step["scale_stride"], step["block"])]
    if value_2(step, staged) == largest(step, staged, step["all_scale_2"]):
        return old
    return new_scales(step, staged, offsets(step, step["in_stride"]))[0]


def requantise_fp8(step, staged):
    codes = view(staged, step["in"], "F8_E4M3")[offsets(step, step["in_stride"])]
    by, most = scales(step, staged), largest(step, staged, step["scale_2"])
    return numpy.where(by == most, codes, floats.to_e4m3(floats.E4M3[codes] * by / most))


def reduced(step, staged):
    places = offsets(step, step["in_stride"])[..., None] + (
        numpy.arange(step["reduce"]) * step["reduce_stride"])
    codes = view(staged, step["in"], step["from"])[places]
    if step["kind"] == "equal":
        if (codes != codes[..., :1]).any():
            raise Unequal(step["name"])
        return codes[..., 0]
    best = floats.decode(codes, step["from"]).argmax(-1)
    return numpy.take_along_axis(codes, best[..., None], -1)[..., 0]


def elements(step, staged):
    kind = step["kind"]
    if kind in ("max", "equal"):
        return reduced(step, staged)
    if kind == "requantise_fp8":
        return requantise_fp8(step, staged)
    if kind == "requantise_nvfp4_scale":
        return requantise_scale(step, staged)
    places = offsets(step, step["in_stride"])
    if kind in ("dequantise_nvfp4", "dequantise_mxfp4"):
        values = floats.E2M1[halves_at(staged, step["in"], places)]
        by = scales(step, staged)
        by = by * value_2(step, staged) if kind == "dequantise_nvfp4" else by
        return floats.encode(values * by, step["to"])
    codes = view(staged, step["in"], step["from"])[places]
    if kind == "move":
        assert step["from"] == step["to"], step
        return codes
    values = floats.decode(codes, step["from"])
    if kind == "dequantise_fp8":
        values = values * scales(step, staged)
    else:
        assert kind == "cast", step
    return floats.encode(values, step["to"])


def run(step, staged, made, written):
    """Carries one step out; written counts what is written of each byte, of each of its halves."""
    places = offsets(step, step["out_stride"])
    if step["kind"] == "requantise_nvfp4_weight":
        codes = requantise_weight(step, staged).astype("u1")
        at = step["out"] + places // 2
        numpy.bitwise_or.at(made, at.reshape(-1), (codes << places % 2 * 4).astype("u1").reshape(-1))
        numpy.add.at(written, at.reshape(-1), 1)
        return
    codes = elements(step, staged)
    width = codes.dtype.itemsize
    view(made, step["out"], step["to"])[places] = codes
    for i in range(width):
        numpy.add.at(written, (step["out"] + places * width + i).reshape(-1), 2)


def make(parameter, tensors):
    """A parameter's bytes; every one is written once, or, where it begins as zeros, not at all."""
    content = place(parameter, tensors)
    if not parameter.get("steps"):
        return content
    made, written = numpy.zeros(parameter["bytes"], "u1"), numpy.zeros(parameter["bytes"], "u1")
    with numpy.errstate(over="ignore"):
        for step in parameter["steps"]:
            run(step, content, made, written)
    assert ((written == 2) | ((written == 0) & parameter["zeroed"])).all(), parameter["name"]
    firsts = [s["out"] for s in parameter["steps"]]
    assert firsts == sorted(firsts), parameter["name"]
    return made


def parameters(plan, folder):
    """{name: (data type, array)}."""
    tensors, made = plan_oracle.read_checkpoint(folder), {}
    for p in plan["parameters"]:
        kind = family_reference.WIDTHS[p["dtype"]]
        made[p["name"]] = (p["dtype"], make(p, tensors).view(kind).reshape(p["shape"]))
    return made
