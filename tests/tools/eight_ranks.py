# SPDX-License-Identifier: Apache-2.0
"""Eight processes consume a mount's tensors, each by its own rank's tree and in an order of its own;
one of them is killed in the middle.

usage: eight_ranks.py MOUNT SHARD SEED

MOUNT has -o ranks=8, SHARD is its one shard behind it, all of it cached. Checks with mincore(2),
after every death and at the end, that exactly the tensors went that all ranks dropped; then drops
the dead rank's claims. Prints 'released', or what is wrong, and exits 1."""

import json
import os
import random
import signal
import subprocess
import sys

from evict_exactly import Shard

RANKS, DEAD = 8, 3
CONSUMER = """
import os, sys
for line in sys.stdin:
    os.unlink(line.rstrip("\\n"))
    print("gone", flush=True)
"""


def consumers():
    return [subprocess.Popen([sys.executable, "-c", CONSUMER], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True) for _ in range(RANKS)]


def run(mount, rows, processes, seed, dies_after):
    """Feeds all consumers, a tensor at a time each, all eight at once. Returns what each dropped."""
    orders = [random.Random(seed + rank).sample(rows, len(rows)) for rank in range(RANKS)]
    dropped = [set() for _ in range(RANKS)]
    for step in range(len(rows)):
        alive = [r for r in range(RANKS) if r != DEAD or step < dies_after]
        if step == dies_after:
            processes[DEAD].send_signal(signal.SIGKILL)
            processes[DEAD].wait()
        for rank in alive:
            name = orders[rank][step]["file"]
            processes[rank].stdin.write(os.path.join(mount, "ranks", str(rank), "tensors", name)
                                        + "\n")
            processes[rank].stdin.flush()
        for rank in alive:
            if processes[rank].stdout.readline() != "gone\n":
                raise RuntimeError(f"rank {rank} failed at step {step}")
            dropped[rank].add(orders[rank][step]["file"])
    return dropped


def lost(shard, row, cached, users):
    """Did most of the pages go that somebody claims? Single ones do at any time: the kernel reclaims."""
    claimed = [page for page in shard.pages_of(row) if users[page]]
    return sum(not cached[page] for page in claimed) > len(claimed) // 2


def wrong(shard, rows, consumed, kept):
    """Pages of consumed tensors that are cached, or tensors that went although they are claimed."""
    users = [0] * shard.pages
    for row in rows:
        if row["file"] not in consumed:
            for page in shard.pages_of(row):
                users[page] += 1
    cached = shard.resident(0, shard.pages)
    gone = [row["file"] for row in rows
            if kept and row["file"] not in consumed and lost(shard, row, cached, users)]
    if len(gone) > 1:
        return f"tensors that are claimed were dropped: {', '.join(gone)}"
    for row in rows:
        for page in shard.pages_of(row):
            header = page in shard.header and len(consumed) < len(rows)
            if not users[page] and cached[page] and not header:
                return f"page {page} of '{row['file']}' is cached although nobody claims it"
    return None


def main(mount, path, seed):
    with open(os.path.join(mount, ".wload", "index.jsonl"), encoding="utf-8") as f:
        rows = [json.loads(line) for line in f][1:]
    shard = Shard(path, rows)
    processes = consumers()
    try:
        dropped = run(mount, rows, processes, seed, len(rows) // 2)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    consumed = set.intersection(*dropped)
    if consumed != dropped[DEAD] or len(consumed) != len(rows) // 2:
        return "the survivors did not consume everything"
    shown = set(os.listdir(os.path.join(mount, "tensors")))
    if shown != {row["file"] for row in rows} - consumed:
        return "the root does not show exactly what is still claimed"
    fault = wrong(shard, rows, consumed, True)
    if fault:
        return fault
    with open(os.path.join(mount, "ranks", str(DEAD), ".wload", "consume"), "r+b",
              buffering=0) as f:
        f.write(b"all\n")
        if int(f.read()) != len(rows) - len(rows) // 2:
            return "the dead rank had other claims"
    return wrong(shard, rows, {row["file"] for row in rows}, False)


if __name__ == "__main__":
    FAULT = main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print(FAULT or "released")
    sys.exit(1 if FAULT else 0)
