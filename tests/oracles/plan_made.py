# SPDX-License-Identifier: Apache-2.0
"""Makes the parameters of `wload plan --json` in NumPy: its sources placed, its steps carried out.

The one idea: what a plan says is all that it takes, so this reads the checkpoint's files and the plan's
numbers, and nothing of wload's own. Steps are those that move elements; others are refused."""

import family_reference
import numpy
import plan_oracle


def place(parameter, tensors):
    """The bytes of a parameter without steps, or of its staging area."""
    made = numpy.zeros(parameter.get("staged_bytes", parameter["bytes"]), "u1")
    for s in parameter["sources"]:
        if not s["bytes"]:
            continue
        content = numpy.frombuffer(tensors[s["tensor"]].bytes(), "u1")[s["src_offset"]:]
        pieces = numpy.lib.stride_tricks.as_strided(
            content, (s["rows"], s["bytes"] // s["rows"]), (s["src_stride"], 1), writeable=False)
        assert (s["rows"] - 1) * s["src_stride"] + s["bytes"] // s["rows"] <= len(content), s
        made[s["dst_offset"]:s["dst_offset"] + s["bytes"]] = pieces.reshape(-1)
    return made


def move(step, width, staged, made):
    assert step["kind"] == "move" and step["from"] == step["to"], step
    assert not any(step["begin"]) and step["in"] % width == 0, step
    kind = f"<u{width}"
    views = []
    for content, at, strides in ((staged, step["in"], step["in_stride"]),
                                 (made, step["out"], step["out_stride"])):
        last = at + width * (1 + sum((n - 1) * s for n, s in zip(step["size"], strides)))
        assert last <= len(content), step
        views.append(numpy.ndarray(step["size"], kind, content, at, [s * width for s in strides]))
    views[1][...] = views[0]


def parameters(plan, folder):
    """{name: (data type, array)}."""
    tensors, made = plan_oracle.read_checkpoint(folder), {}
    for p in plan["parameters"]:
        kind = family_reference.WIDTHS[p["dtype"]]
        content = place(p, tensors)
        if p.get("steps"):
            staged, content = content, numpy.zeros(p["bytes"], "u1")
            for step in p["steps"]:
                move(step, numpy.dtype(kind).itemsize, staged, content)
        made[p["name"]] = (p["dtype"], content.view(kind).reshape(p["shape"]))
    return made
