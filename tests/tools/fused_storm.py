# SPDX-License-Identifier: Apache-2.0
"""Readers of fused/ and of ranks' checkpoints, while others remove, consume and restore.

usage: fused_storm.py MOUNT RANKS SECONDS SEED

The one idea: whatever happens meanwhile, a parameter's file has its own bytes or no name, a rank's
checkpoint has its bytes, and once all is restored everything is there again. What is right is read
first, while nothing happens. Prints "calm" at the end, or what went wrong."""

import mmap
import os
import random
import sys
import threading
import time

mnt, ranks, seconds, seed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
trees = [mnt] + [f"{mnt}/ranks/{r}" for r in range(ranks)]
wrong = []
counts = {"read": 0, "missing": 0, "removed": 0, "mapped": 0, "restored": 0}


def content(path):
    with open(path, "rb") as file:
        return file.read()


want = {f"{t}/fused/{n}": content(f"{t}/fused/{n}") for t in trees
        for n in os.listdir(f"{t}/fused")}
whole = {f"{t}/{n}": content(f"{t}/{n}") for t in trees[1:] for n in os.listdir(t)
         if n.endswith(".safetensors")}
names = os.listdir(f"{mnt}/tensors")
params, shards = sorted(want), sorted(whole)


def compare(path, at, got, right):
    if got != right:
        wrong.append(f"{path} at {at}: {len(got)} bytes are not those")


def read(rand):
    path = rand.choice(params)
    size = len(want[path])
    at = rand.randrange(size + 1)
    n = rand.choice((1, 4096, 70000, 1 << 20))
    with open(path, "rb", 0) as file:
        file.seek(at)
        compare(path, at, file.read(n), want[path][at:at + n])
    counts["read"] += 1


def map_some(rand):
    path = rand.choice(shards + params)
    right = whole.get(path) or want[path]
    if not right:
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE,
                                             mmap.PROT_READ) as m:
        for _ in range(5):
            at = rand.randrange(len(right))
            compare(path, at, m[at:at + 5000], right[at:at + 5000])
    counts["mapped"] += 1


def remove(rand):
    if rand.random() < 0.3:
        os.unlink(f"{rand.choice(trees)}/tensors/{rand.choice(names)}")
    else:
        os.unlink(rand.choice(params))
    counts["removed"] += 1


def restore(rand):
    word = rand.choice(("restore\n", "restore model.layers.0\n", "restore model\n"))
    with open(f"{rand.choice(trees)}/.wload/consume", "w", encoding="ascii") as file:
        file.write(word)
    counts["restored"] += 1


def look(rand):
    for entry in os.scandir(f"{rand.choice(trees)}/fused"):
        try:
            entry.stat()
        except FileNotFoundError:
            pass


def act(kinds, number):
    rand = random.Random(seed * 100 + number)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not wrong:
        try:
            rand.choice(kinds)(rand)
        except FileNotFoundError:
            counts["missing"] += 1


threads = [threading.Thread(target=act, args=(kinds, i)) for i, kinds in enumerate(
    [(read,)] * 3 + [(map_some,)] * 2 + [(remove,), (remove, remove, remove, restore), (look,)])]
for t in threads:
    t.start()
for t in threads:
    t.join()
with open(f"{mnt}/.wload/consume", "w", encoding="ascii") as control:
    control.write("restore\n")
for known, right in (*want.items(), *whole.items()):
    compare(known, 0, content(known), right)
if not all(counts.values()):
    wrong.append(f"nothing of a kind was done: {counts}")
print("# ", counts, file=sys.stderr)
print("\n".join(wrong[:5]) or "calm")
