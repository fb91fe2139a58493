# SPDX-License-Identifier: Apache-2.0
"""Checks a fused checkpoint, as `wload --out` writes it, against the one that it was made from.

usage: plan_oracle.py CKPT OUT             everything
       plan_oracle.py CKPT OUT TP RANK     what one of TP ranks has
       plan_oracle.py --rebuild CKPT OUT…  the ranks put together again, in their order

The one idea: what an engine wants is worked out here a second time, from TensorRT-LLM's rules and
nothing of ours (q, k, v in this order, and gate, up, along dimension 0; a tied lm_head is not
loaded; modules/linear.py's load_weight_shard and _duplicate_kv of each source before it is joined),
and compared name by name and byte by byte. Only the standard library is used. Exits 0, or 1 with
the first difference named, 2 for wrong usage."""

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
COLUMN, ROW = 0, 1  # TensorParallelMode.split_dim
MODES = {"q_proj": COLUMN, "k_proj": COLUMN, "v_proj": COLUMN, "gate_proj": COLUMN, "up_proj": COLUMN,
         "embed_tokens": COLUMN, "lm_head": COLUMN, "o_proj": ROW, "down_proj": ROW}
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

    def bytes(self):
        return self.map[self.start:self.end]


class Array:
    """A tensor's bytes in memory, with what of PyTorch's indexing the reference needs."""

    def __init__(self, dtype, shape, content):
        self.dtype, self.shape, self.content = dtype, list(shape), content

    def chunks(self):
        yield self.content

    def rows(self):
        """The slices of dimension 0."""
        size = len(self.content) // self.shape[0] if self.shape[0] else 0
        return [self.content[i * size:(i + 1) * size] for i in range(self.shape[0])]

    def slice(self, dim, start, end):
        """self[start:end] of dimension 0, self[:, start:end] of dimension 1."""
        shape = list(self.shape)
        shape[dim] = len(range(self.shape[dim])[start:end])
        if dim == 0:
            return Array(self.dtype, shape, b"".join(self.rows()[start:end]))
        size = len(self.content) // (self.shape[0] * self.shape[1]) if self.content else 0
        return Array(self.dtype, shape,
                     b"".join(row[start * size:end * size] for row in self.rows()))


def load_weight_shard(array, tp, rank, mode):
    """TensorRT-LLM's function of this name."""
    if mode is None or tp <= 1 or not array.shape:
        return array
    if len(array.shape) == 1 and mode == ROW:
        return array
    width = array.shape[mode]
    if width == 1:
        return array
    share = -(-width // tp)
    return array.slice(mode, rank * share, min((rank + 1) * share, width))


def duplicate_kv(array, kv_heads, tp):
    """Its _duplicate_kv, by heads for biases too."""
    if tp <= kv_heads:
        assert kv_heads % tp == 0
        return array
    assert tp % kv_heads == 0
    repeats, rows = tp // kv_heads, array.rows()
    head_dim = len(rows) // kv_heads
    repeated = [row for head in range(kv_heads) for _ in range(repeats)
                for row in rows[head * head_dim:(head + 1) * head_dim]]
    return Array(array.dtype, [len(repeated), *array.shape[1:]], b"".join(repeated))


class Rank:
    """One of tp ranks; what it has of a tensor."""

    def __init__(self, config, tp, rank):
        self.tp, self.rank = tp, rank
        self.heads = setting(config, "num_attention_heads")
        self.kv_heads = setting(config, "num_key_value_heads") or self.heads

    def possible(self):
        return self.heads % self.tp == 0 and (
            self.kv_heads % self.tp == 0 or self.tp % self.kv_heads == 0)

    def is_whole(self, name, tensor):
        mode = self.mode(name)
        return mode is None or len(tensor.shape) <= mode or tensor.shape[mode] == 1

    def repeats(self, name, tensor):
        """How many ranks that follow each other have the same."""
        if self.is_whole(name, tensor):
            return self.tp
        return max(self.tp // self.kv_heads, 1) if module_of(name) in ("k_proj", "v_proj") else 1

    @staticmethod
    def mode(name):
        return MODES.get(module_of(name))

    def part(self, name, tensor):
        array = Array(tensor.dtype, tensor.shape, tensor.bytes())
        if module_of(name) in ("k_proj", "v_proj"):
            array = duplicate_kv(array, self.kv_heads, self.tp)
        return load_weight_shard(array, self.tp, self.rank, self.mode(name))


def module_of(name):
    return name.split(".")[-2] if "." in name else None


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
    at = 0
    for source in sources:
        for chunk in source.chunks():
            other = got.map[got.start + at:min(got.start + at + len(chunk), got.end)]
            if chunk != other:
                at += next((i for i, (a, b) in enumerate(zip(chunk, other)) if a != b), len(other))
                return f"'{name}' differs at byte {at}"
            at += len(chunk)
    if got.end - got.start != at:
        return f"'{name}' has {got.end - got.start} bytes, should have {at}"
    return None


def compare(tensors, want, got, rank=None):
    for name in sorted(want.keys() | got.keys()):
        if name not in got:
            return f"'{name}' is missing"
        if name not in want:
            return f"'{name}' should not be there"
        sources = [rank.part(n, tensors[n]) if rank else tensors[n] for n in want[name]]
        wrong = difference(name, sources, got[name])
        if wrong:
            return wrong
    return None


def parts_of(name, want, tensors, rank, got):
    """{tensor: what a rank's parameter has of it}"""
    content, at, parts = got.bytes(), 0, {}
    for source in want[name]:
        shape = rank.part(source, tensors[source]).shape
        size = shape[0] * (len(content) // got.shape[0]) if got.shape and got.shape[0] else 0
        parts[source] = content[at:at + size] if len(want[name]) > 1 else content
        at += size
    return parts


def put_together(name, tensor, parts, rank):
    """One tensor of the parts that all ranks have, or None where they contradict each other."""
    repeats = rank.repeats(name, tensor)
    if any(part != parts[i - i % repeats] for i, part in enumerate(parts)):
        return None
    distinct = parts[::repeats]
    if rank.mode(name) != ROW or len(distinct) == 1:
        return b"".join(distinct)
    sizes = [len(part) // tensor.shape[0] for part in distinct]
    return b"".join(part[i * size:(i + 1) * size]
                    for i in range(tensor.shape[0]) for part, size in zip(distinct, sizes))


def rebuild(tensors, want, config, ranks):
    """What is wrong with the ranks' checkpoints put together, or None."""
    parts = {}
    for index, got in enumerate(ranks):
        rank = Rank(config, len(ranks), index)
        for name in want:
            for source, content in parts_of(name, want, tensors, rank, got[name]).items():
                parts.setdefault(source, []).append(content)
    for name, pieces in parts.items():
        if put_together(name, tensors[name], pieces, rank) != tensors[name].bytes():
            return f"'{name}' of {len(ranks)} ranks put together is not the original"
    return None


def fail(wrong):
    print(f"plan_oracle: {wrong}", file=sys.stderr)
    sys.exit(1)


def main():
    arguments = sys.argv[1:]
    again = arguments[:1] == ["--rebuild"]
    if again:
        arguments = arguments[1:]
    if len(arguments) < 2 or (not again and len(arguments) not in (2, 4)):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    tensors, config = read_checkpoint(arguments[0]), read_config(arguments[0])
    want = expected(tensors, config)
    if again:
        wrong = rebuild(tensors, want, config, [read_checkpoint(o) for o in arguments[1:]])
    else:
        rank = Rank(config, int(arguments[2]), int(arguments[3])) if len(arguments) == 4 else None
        wrong = compare(tensors, want, read_checkpoint(arguments[1]), rank)
    if wrong:
        fail(wrong)
    fused = sum(len(sources) > 1 for sources in want.values())
    print(f"{len(want)} parameters agree, {fused} of them fused")


if __name__ == "__main__":
    main()
