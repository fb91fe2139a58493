# SPDX-License-Identifier: Apache-2.0
"""Writes checkpoints laid out byte for byte as Hugging Face's writers do.

Shards are cut as huggingface_hub's split_state_dict_into_shards_factory() does: greedily in the
model's order, and a tensor over the limit alone. In a shard tensors are placed as safetensors'
serialize() does: by descending data type (its Dtype's order, widest last), then by name; the JSON
header is compact, metadata first, padded with spaces to 8 bytes.
"""

import json
import multiprocessing
import os
from typing import NamedTuple

from wload_pattern import Pattern, fnv1a32, stamps

# safetensors' Dtype in its order, with bits an element.
DTYPES = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8,
          "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16,
          "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64,
          "I64": 64, "U64": 64}
DTYPE_ORDER = {name: i for i, name in enumerate(DTYPES)}

TASK_BYTES = 256 << 20  # one process's piece of work
FLUSH_BYTES = 1 << 20   # small pieces are joined up to this before they are written


class Tensor(NamedTuple):
    name: str
    dtype: str
    shape: tuple
    bytes: int


def sized(tensors):
    """(name, dtype, shape) -> Tensor, refusing what is not a whole number of bytes."""
    for name, dtype, shape in tensors:
        bits = DTYPES[dtype]
        for dim in shape:
            bits *= dim
        if bits % 8:
            raise ValueError(f"'{name}': {bits} bits are not a whole number of bytes")
        yield Tensor(name, dtype, tuple(shape), bits // 8)


def split(tensors, limit):
    """Cuts the list into shards of at most limit bytes, as huggingface_hub does. Note that a tensor
    over the limit comes before the shard that was being filled."""
    shards, current, size = [], [], 0
    for t in tensors:
        if t.bytes > limit:
            shards.append([t])
            continue
        if size + t.bytes > limit:
            shards.append(current)
            current, size = [], 0
        current.append(t)
        size += t.bytes
    if current or not shards:
        shards.append(current)
    return shards


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def header(tensors, metadata):
    """The header with its length word, and the tensors in their order with file offsets."""
    entries, placed, offset = [], [], 0
    if metadata:
        entries.append('"__metadata__":' + dump(metadata))
    for t in sorted(tensors, key=lambda t: (-DTYPE_ORDER[t.dtype], t.name)):
        entries.append(f'{dump(t.name)}:{{"dtype":"{t.dtype}","shape":{dump(t.shape)},'
                       f'"data_offsets":[{offset},{offset + t.bytes}]}}')
        placed.append((offset, t))
        offset += t.bytes
    text = ("{" + ",".join(entries) + "}").encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    base = 8 + len(text)
    return len(text).to_bytes(8, "little") + text, [(base + o, t) for o, t in placed]


class Output:
    """Writes pieces at growing offsets, joining neighbours that are small."""

    def __init__(self, fd):
        self.fd, self.at, self.end, self.parts = fd, 0, 0, []

    def put(self, offset, data):
        if offset != self.end or self.end - self.at >= FLUSH_BYTES:
            self.flush()
            self.at = self.end = offset
        if len(data) > 65536:
            self.flush()
            self._write(offset, data)
            self.at = self.end = offset + len(data)
            return
        self.parts.append(bytes(data))
        self.end += len(data)

    def _write(self, offset, data):
        data = memoryview(data)
        while data:
            n = os.pwrite(self.fd, data, offset)
            data, offset = data[n:], offset + n

    def flush(self):
        if self.parts:
            self._write(self.at, b"".join(self.parts))
        self.parts = []


def tasks(path, placed, sparse):
    """Splits a shard's bytes into runs of about TASK_BYTES: (path, [(offset, hash, begin, end)])."""
    run, size = [], 0
    for offset, t in placed:
        h = fnv1a32(t.name)
        for begin, end in stamps(t.bytes) if sparse else [(0, t.bytes)]:
            while begin < end:
                stop = min(end, begin + TASK_BYTES)
                run.append((offset + begin, h, begin, stop))
                size += stop - begin
                begin = stop
                if size >= TASK_BYTES:
                    yield path, run
                    run, size = [], 0
    if run:
        yield path, run


def write_task(task):
    path, run = task
    pattern = Pattern()
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        out = Output(fd)
        for offset, h, begin, end in run:
            for piece in pattern.pieces(h, begin, end):
                out.put(offset, piece)
                offset += len(piece)
        out.flush()
    finally:
        os.close(fd)


def write_shard_header(path, tensors, metadata):
    """Creates the file with its full length, a hole behind the header; returns the places."""
    head, placed = header(tensors, metadata)
    with open(path, "wb") as f:
        f.write(head)
        f.truncate(len(head) + sum(t.bytes for t in tensors))
    return placed


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_checkpoint(folder, tensors, limit, sparse=False, jobs=1, stem="model", metadata=None):
    """Writes shards and index; returns the number of shards and of stamps."""
    shards = split(tensors, limit)
    weight_map, work, stamp_count = {}, [], 0
    for i, shard in enumerate(shards):
        suffix = f"-{i + 1:05d}-of-{len(shards):05d}" if len(shards) > 1 else ""
        name = f"{stem}{suffix}.safetensors"
        path = os.path.join(folder, name)
        placed = write_shard_header(path, shard, metadata)
        work.extend(tasks(path, placed, sparse))
        stamp_count += sum(len(stamps(t.bytes)) for t in shard)
        weight_map.update((t.name, name) for t in shard)
    if len(shards) > 1:
        total = sum(t.bytes for t in tensors)
        write_json(os.path.join(folder, f"{stem}.safetensors.index.json"),
                   {"metadata": {"total_size": total}, "weight_map": weight_map})
    run_tasks(work, jobs)
    return len(shards), stamp_count


def run_tasks(work, jobs):
    if jobs <= 1 or len(work) <= 1:
        for task in work:
            write_task(task)
        return
    with multiprocessing.Pool(min(jobs, len(work))) as pool:
        for _ in pool.imap_unordered(write_task, work):
            pass
