#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks a fused checkpoint, as `wload --out` writes it, against the one that it was made from.

usage: plan_oracle.py CKPT OUT

The one idea: what an engine wants is worked out here a second time, from TensorRT-LLM's rules and
nothing of ours (q, k, v in this order, and gate, up, along dimension 0; a tied lm_head is not
loaded), and compared name by name and byte by byte. Only the standard library is used. Exits 0, or
1 with the first difference named, 2 for wrong usage."""

import json
import mmap
import os
import re
import struct
import sys

FAMILIES = {"llama", "mistral", "qwen2", "qwen3"}
JOINS = {"self_attn": ("qkv_proj", ("q_proj", "k_proj", "v_proj")),
         "mlp": ("gate_up_proj", ("gate_proj", "up_proj"))}
LEAVES = {"weight", "bias"}
CHUNK = 1 << 24


class Shard:
    """A safetensors file: 8 bytes of header length, the header in JSON, the data."""

    def __init__(self, path):
        with open(path, "rb") as f:
            (length,) = struct.unpack("<Q", f.read(8))
            self.header = json.loads(f.read(length))
            self.header.pop("__metadata__", None)
            self.data_offset = 8 + length
            self.map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)


class Tensor:
    def __init__(self, shard, entry):
        self.dtype, self.shape = entry["dtype"], entry["shape"]
        self.start, self.end = (shard.data_offset + o for o in entry["data_offsets"])
        self.map = shard.map

    def chunks(self):
        for at in range(self.start, self.end, CHUNK):
            yield self.map[at:min(at + CHUNK, self.end)]


def shard_names(folder):
    index = [n for n in os.listdir(folder) if n.endswith(".safetensors.index.json")]
    if "model.safetensors.index.json" in index:
        index = ["model.safetensors.index.json"]
    if len(index) == 1:
        with open(os.path.join(folder, index[0]), encoding="utf-8") as f:
            weight_map = json.load(f)["weight_map"]
        return sorted(set(weight_map.values())), weight_map
    return sorted(n for n in os.listdir(folder)
                  if n.endswith(".safetensors") and not n.startswith("consolidated")), None


def read_checkpoint(folder):
    names, weight_map = shard_names(folder)
    if not names:
        sys.exit(f"plan_oracle: '{folder}' has no safetensors files")
    tensors = {}
    for shard_name in names:
        shard = Shard(os.path.join(folder, shard_name))
        for name, entry in shard.header.items():
            if weight_map is None or weight_map.get(name) == shard_name:
                tensors[name] = Tensor(shard, entry)
    return tensors


def read_config(folder):
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def setting(config, key):
    value = config.get(key)
    return value if value is not None else (config.get("text_config") or {}).get(key)


def joinable(parts):
    """Whether a module's parts, each {leaf: tensor}, may be one: the same leaves, and they match."""
    leaves = set(parts[0])
    if not leaves or not leaves <= LEAVES or any(set(p) != leaves for p in parts):
        return False
    return all(len({(p[leaf].dtype, len(p[leaf].shape), *p[leaf].shape[1:]) for p in parts}) == 1
               for leaf in leaves)


def modules_of(tensors, parent, names):
    """{stem: [{leaf: name of a tensor} for each of names]} of every layer."""
    pattern = re.compile(rf"((?:.*?\.)??{parent}\.)({'|'.join(names)})\.(.*)", re.DOTALL)
    found = {}
    for name in tensors:
        m = pattern.fullmatch(name)
        if m:
            parts = found.setdefault(m[1], [{} for _ in names])
            parts[names.index(m[2])][m[3]] = name
    return found


def expected(tensors, config):
    """{parameter: names of the tensors that it is made of, in order}"""
    want = {name: [name] for name in tensors}
    if setting(config, "model_type") not in FAMILIES:
        return want
    if setting(config, "tie_word_embeddings") and "model.embed_tokens.weight" in tensors:
        want.pop("lm_head.weight", None)
    for parent, (joined, names) in JOINS.items():
        for stem, parts in modules_of(tensors, parent, names).items():
            held = [{leaf: tensors[n] for leaf, n in p.items()} for p in parts]
            into = {leaf: f"{stem}{joined}.{leaf}" for leaf in parts[0]}
            if not joinable(held) or any(n in tensors for n in into.values()):
                continue
            for leaf, name in into.items():
                if held[0][leaf].shape:
                    want[name] = [want.pop(p[leaf])[0] for p in parts]
    return want


def joined_shape(sources):
    shape = list(sources[0].shape)
    if len(sources) > 1:
        shape[0] = sum(s.shape[0] for s in sources)
    return shape


def difference(name, sources, got):
    """What is wrong with a parameter, or None."""
    if got.dtype != sources[0].dtype:
        return f"'{name}' is {got.dtype}, should be {sources[0].dtype}"
    if got.shape != joined_shape(sources):
        return f"'{name}' has shape {got.shape}, should have {joined_shape(sources)}"
    size = sum(s.end - s.start for s in sources)
    if got.end - got.start != size:
        return f"'{name}' has {got.end - got.start} bytes, should have {size}"
    at = 0
    for source in sources:
        for chunk in source.chunks():
            other = got.map[got.start + at:got.start + at + len(chunk)]
            if chunk != other:
                at += next(i for i, (a, b) in enumerate(zip(chunk, other)) if a != b)
                return f"'{name}' differs at byte {at} of {size}"
            at += len(chunk)
    return None


def compare(tensors, want, got):
    for name in sorted(want.keys() | got.keys()):
        if name not in got:
            return f"'{name}' is missing"
        if name not in want:
            return f"'{name}' should not be there"
        wrong = difference(name, [tensors[n] for n in want[name]], got[name])
        if wrong:
            return wrong
    return None


def main():
    if len(sys.argv) != 3:
        print("usage: plan_oracle.py CKPT OUT", file=sys.stderr)
        sys.exit(2)
    tensors = read_checkpoint(sys.argv[1])
    want = expected(tensors, read_config(sys.argv[1]))
    wrong = compare(tensors, want, read_checkpoint(sys.argv[2]))
    if wrong:
        print(f"plan_oracle: {wrong}", file=sys.stderr)
        sys.exit(1)
    fused = sum(len(sources) > 1 for sources in want.values())
    print(f"{len(want)} parameters agree, {fused} of them fused")


main()
