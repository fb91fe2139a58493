#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads a mount in every way at once while its pages are taken away, and compares every byte.

The one idea: whoever is in step with the evictor proves nothing, so readers, mappers and a consumer
run at random beside each other; all that is asked is that bytes are right and that it ends.
usage: budget_storm.py MNT SHARD TENSORS SECONDS SEED   (tensors are named t.1, t.2, …)
"""

import json
import mmap
import multiprocessing
import os
import random
import sys
import time

PIECE = 300000


class Storm:
    def __init__(self, mnt, shard, tensors, seconds, seed):
        self.mnt, self.seed, self.end = mnt, seed, time.monotonic() + seconds
        with open(shard, "rb") as file:
            self.want = file.read()
        self.names = [f"t.{i}" for i in range(1, tensors + 1)]
        with open(f"{mnt}/.wload/index.jsonl", encoding="utf-8") as index:
            self.rows = {row["name"]: row for row in map(json.loads, index) if "dtype" in row}
        self.wrong, self.reads = [], 0

    def over(self):
        return time.monotonic() > self.end

    def check(self, what, at, got):
        self.reads += 1
        if got != self.want[at:at + len(got)]:
            self.wrong.append(f"{what} at {at}")

    def shard_reader(self, rng):
        with open(f"{self.mnt}/model.safetensors", "rb", buffering=0) as file:
            while not self.over():
                at = rng.randrange(len(self.want) - PIECE)
                self.check("read", at, os.pread(file.fileno(), PIECE, at))

    def sequential_reader(self, rng):
        while not self.over():
            at = rng.randrange(4096)
            with open(f"{self.mnt}/model.safetensors", "rb", buffering=0) as file:
                file.seek(at)
                while not self.over() and (got := file.read(PIECE)):
                    self.check("sequential", at, got)
                    at += len(got)

    def mapper(self, rng):
        with open(f"{self.mnt}/model.safetensors", "rb") as file:
            shard = mmap.mmap(file.fileno(), 0, rng.choice((mmap.MAP_SHARED, mmap.MAP_PRIVATE)),
                              mmap.PROT_READ)
        while not self.over():
            at = rng.randrange(len(self.want) - PIECE)
            self.check("map", at, shard[at:at + PIECE])

    def tensor_reader(self, rng):
        while not self.over():
            name = rng.choice(self.names)
            row = self.rows[name]
            skip = rng.choice((0, 128))
            path = f"{self.mnt}/npy/{name}.npy" if skip else f"{self.mnt}/tensors/{name}"
            try:
                with open(path, "rb", buffering=0) as file:
                    at = rng.randrange(row["bytes"])
                    self.check(path, row["offset"] + at, os.pread(file.fileno(), PIECE, at + skip))
            except FileNotFoundError:
                pass # consumed

    def consumer(self, rng):
        while not self.over():
            for name in rng.sample(self.names, len(self.names)):
                try:
                    os.unlink(f"{self.mnt}/tensors/{name}")
                except FileNotFoundError:
                    pass
                if self.over():
                    break
            with open(f"{self.mnt}/.wload/consume", "r+b", buffering=0) as control:
                control.write(rng.choice((b"restore\n", b"all\n", b"restore\nprefix t\nrestore\n")))
                control.write(b"restore\n")

    def work(self, kind, rng, results):
        kind(rng)
        results.put((self.wrong[:5], self.reads))

    def run(self):
        """Processes, not threads: one that waits for a page must not hold up the others."""
        kinds = [self.shard_reader] * 3 + [self.sequential_reader] * 4 + [self.mapper] * 3
        kinds += [self.tensor_reader] * 2 + [self.consumer]
        fork = multiprocessing.get_context("fork")
        results = fork.Queue()
        for i, kind in enumerate(kinds):
            fork.Process(target=self.work, args=(kind, random.Random(self.seed + i), results),
                         daemon=True).start()
        for _ in kinds:
            wrong, reads = results.get(timeout=120)
            self.wrong += wrong
            self.reads += reads


def main():
    mnt, shard, tensors, seconds, seed = sys.argv[1:]
    storm = Storm(mnt, shard, int(tensors), float(seconds), int(seed))
    storm.run()
    print(storm.wrong[:5], storm.reads > 0)
    print(f"{storm.reads} reads", file=sys.stderr)


main()
