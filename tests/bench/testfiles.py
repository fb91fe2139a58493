# SPDX-License-Identifier: Apache-2.0
"""The checkpoints that are measured: made by scripts/make-checkpoint, in shapes of real models.

Their bytes tell where they belong (scripts/wload_pattern.py), so that the sum of any tensor's words
is known without reading it: that is how a loader's result is checked.
"""

from fractions import Fraction
import json
import os
import shutil
import sys
from typing import NamedTuple

from pagecache import Files
from processes import Failed

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))

import wload_families  # noqa: E402
import wload_pattern  # noqa: E402
import wload_writer  # noqa: E402

# Largest first. Real shapes where the size allows, then the same narrower.
SHAPES = [("llama-3.1-70b", None)] + [("llama-3.1-8b", Fraction(1, n)) for n in (1, 4, 16, 32)]


class Tensor(NamedTuple):
    name: str
    path: str
    offset: int
    bytes: int


def shape_of(size):
    """(family, scale, layers) of about that many bytes: whole layers around an embedding and a
    head that take at most half."""
    for family, scale in SHAPES:
        base, one = (sum(t.bytes for t in wload_writer.sized(
            wload_families.build(family, layers, scale)[1])) for layers in (0, 1))
        if base * 2 <= size:
            break
    return family, scale, max(1, round((size - base) / (one - base)))


def word_sum(name, size, sparse):
    """The sum of a tensor's whole 8-byte words, modulo 2^64."""
    total, h = 0, wload_pattern.fnv1a32(name)
    for begin, end in wload_pattern.stamps(size) if sparse else [(0, size)]:
        first, past = begin // 8, end // 8
        count = past - first
        total += count * (h << 32) + (first + past - 1) * count // 2
    return total & (1 << 64) - 1


class Checkpoint:
    def __init__(self, folder, sparse=False):
        self.folder, self.sparse = folder, sparse
        self.paths = sorted(e.path for e in os.scandir(folder) if e.name.endswith(".safetensors"))
        self.tensors = [t for path in self.paths for t in self._tensors(path)]
        self.bytes = sum(t.bytes for t in self.tensors)

    @staticmethod
    def _tensors(path):
        with open(path, "rb") as f:
            length = int.from_bytes(f.read(8), "little")
            header = json.loads(f.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            yield Tensor(name, path, 8 + length + begin, end - begin)

    def files(self):
        return Files(self.paths)

    def expected(self):
        """What each tensor must hold: {name: [bytes, sum of words]}."""
        return {t.name: [t.bytes, word_sum(t.name, t.bytes, self.sparse)] for t in self.tensors}


def make(processes, folder, size=None, sparse=False, family=None, layers=None, edits=()):
    """Makes a checkpoint of about `size` bytes, or of a whole family, with edits of its config
    (KEY=NUMBER)."""
    argv = [os.path.join(ROOT, "scripts", "make-checkpoint"), "--quiet"]
    scale = None
    if family is None:
        family, scale, layers = shape_of(size)
        # Several shards, as a checkpoint of this size has.
        argv += ["--max-shard-size", str(min(5 * 10**9, max(size // 3, 10**6)))]
    argv += ["--family", family]
    if scale is not None:
        argv += ["--scale", str(scale)]
    if layers is not None:
        argv += ["--layers", str(layers)]
    for each in edits:
        argv += ["--set", each]
    if sparse:
        argv.append("--sparse")
    room = os.statvfs(os.path.dirname(folder))
    if not sparse and size and size * 1.1 > room.f_bavail * room.f_frsize:
        raise Failed(f"{size} bytes do not fit where the test files go")
    try:
        processes.run([sys.executable, *argv, folder], seconds=600)
    except Failed:
        shutil.rmtree(folder, ignore_errors=True)  # half of it would be in the way of the others
        raise
    checkpoint = Checkpoint(folder, sparse)
    # Written back before anything is timed, or the writing is timed with it.
    with checkpoint.files() as files:
        for fd in files.fds:
            os.fsync(fd)
    return checkpoint
