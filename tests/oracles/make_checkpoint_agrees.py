#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make-checkpoint's files equal those of the real writers, byte for byte.

The oracles are the packages safetensors (header and placement) and huggingface_hub (how shards are
cut); without the first this is skipped, without the second only the cutting is."""

import ctypes
import json
import os
import subprocess
import sys
import tempfile

try:
    import safetensors
    from safetensors import safe_open, serialize_file
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)
try:
    from huggingface_hub import split_state_dict_into_shards_factory
except ImportError:
    split_state_dict_into_shards_factory = None

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import wload_families  # noqa: E402
import wload_writer  # noqa: E402
from wload_pattern import fnv1a32, words  # noqa: E402

RUST_NAMES = {"U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "F16": "float16",
              "BF16": "bfloat16", "I32": "int32", "U32": "uint32", "F32": "float32",
              "F64": "float64", "I64": "int64", "U64": "uint64", "BOOL": "bool",
              "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64"}
ran = failed = 0


def ok(passed, what):
    global ran, failed
    ran += 1
    failed += not passed
    print(f"{'ok' if passed else 'not ok'} {ran} - {what}", flush=True)


def skip(what, why):
    global ran
    ran += 1
    print(f"ok {ran} - {what} # SKIP {why}")


def make(folder, *args):
    subprocess.run([os.path.join(ROOT, "scripts", "make-checkpoint"), "--quiet", *args, folder],
                   check=True)


def spec(t, kept):
    """A tensor as the writer wants it: a pointer from 0.8 on, the bytes before."""
    content = words(fnv1a32(t.name), 0, t.bytes)
    if not hasattr(safetensors, "TensorSpec"):
        return {"dtype": RUST_NAMES[t.dtype], "shape": list(t.shape), "data": content}
    kept.append(ctypes.create_string_buffer(content, len(content)))
    return safetensors.TensorSpec(dtype=RUST_NAMES[t.dtype], shape=list(t.shape),
                                  data_ptr=ctypes.addressof(kept[-1]), data_len=len(content))


def same_shard(path, tensors, tmp):
    """Does the real writer, given the same tensors, write the same file?"""
    real = os.path.join(tmp, "real.safetensors")
    kept = []
    serialize_file({t.name: spec(t, kept) for t in tensors}, real, {"format": "pt"})
    with open(path, "rb") as a, open(real, "rb") as b:
        return a.read() == b.read()


def check_cut(tensors, limit, tmp):
    """Do the shards hold what the real cut says? Returns them as lists of tensors."""
    shards = wload_writer.split(tensors, limit)
    if split_state_dict_into_shards_factory is None:
        skip(f"cut at {limit}", "no huggingface_hub")
        return shards
    real = split_state_dict_into_shards_factory(
        {t.name: t for t in tensors}, get_storage_size=lambda t: t.bytes,
        filename_pattern="model{suffix}.safetensors", max_shard_size=limit)
    index = os.path.join(tmp, "model.safetensors.index.json")
    if not real.is_sharded:
        ok(len(shards) == 1 and not os.path.exists(index), f"cut at {limit}: one file, no index")
        return shards
    with open(index, encoding="utf-8") as f:
        text = f.read()
    want = {"metadata": real.metadata, "weight_map": real.tensor_to_filename}
    ok(text == json.dumps(want, indent=2, sort_keys=True) + "\n",
       f"cut at {limit}: {len(shards)} shards, index the same")
    return shards


def check_family(family, limit):
    with tempfile.TemporaryDirectory() as tmp:
        make(tmp, "--family", family, "--max-shard-size", str(limit))
        tensors = list(wload_writer.sized(wload_families.build(family)[1]))
        shards = check_cut(tensors, limit, tmp)
        for i, shard in enumerate(shards):
            name = (f"model-{i + 1:05d}-of-{len(shards):05d}" if len(shards) > 1 else "model")
            path = os.path.join(tmp, name + ".safetensors")
            ok(same_shard(path, shard, tmp), f"{family} at {limit}: {name} the same bytes")


def check_dtypes():
    """Every data type that the writer takes, and names that need escapes, in one file."""
    shapes = {"C64": (3, 1)}
    tensors = [(f"t.{d.lower()}", d, shapes.get(d, (5,))) for d in RUST_NAMES]
    tensors += [('quote"back\\slash', "U8", ()), ("ctl\x01\n\t\x7f", "U8", (2, 0)),
                ("ü.日本.😀", "BF16", (2,)), ("", "U8", (1,)), ("nul\0name", "I8", (4,))]
    with tempfile.TemporaryDirectory() as tmp:
        listing = os.path.join(tmp, "tensors")
        with open(listing, "w", encoding="utf-8") as f:
            for name, dtype, shape in tensors:
                f.write(f"{json.dumps(name)} {dtype} {','.join(map(str, shape))}\n")
        make(os.path.join(tmp, "out"), "--tensors", listing)
        path = os.path.join(tmp, "out", "model.safetensors")
        ok(same_shard(path, list(wload_writer.sized(tensors)), tmp),
           "every data type and odd names: the same bytes")
        with safe_open(path, "np") as f:
            ok(set(f.keys()) == {t[0] for t in tensors}, "the reader sees every name")


def main():
    print(f"# safetensors {safetensors.__version__}")
    check_dtypes()
    for family in ("tiny-llama", "tiny-llama-tied", "tiny-qwen2", "tiny-qwen3"):
        check_family(family, 10**9)
    check_family("tiny-llama", 2 * 10**6)
    check_family("tiny-qwen3", 10**6)  # the embeddings are over the limit
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
