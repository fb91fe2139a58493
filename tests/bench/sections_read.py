# SPDX-License-Identifier: Apache-2.0
"""Reads through the mount beside reads of the same bytes without it, one after the other, so that
whatever else the machine does falls on both."""

import json
import os

import loaders
import mounts
from processes import Failed
from sections_load import rate_of_files

SAFE_OPEN_ROUNDS = 5  # a round is short, and its spread wide


def compare(bench, key, sides, files, prepare, mode, threads, number):
    """Adds one value to each side; sides are {name: items}. Who goes first changes with the round:
    a disk behind another machine's cache is faster the second time."""
    for side, items in sorted(sides.items(), reverse=number % 2 == 1):
        try:
            prepare(files)
            bench.record.add(f"{key}/{side}", rate_of_files(bench, items, mode, threads))
        except Failed as e:
            bench.record.lack(f"{key}/{side}", e)


def note_means(bench, mount, keys):
    """Which of the kernel's means served the mount, as it says itself."""
    try:
        stats = json.loads(bench.processes.run(["cat", mount.path(".wload/stats.json")], 60))
    except (Failed, ValueError):
        return
    for key, field in keys.items():
        means = stats.get(field)
        if isinstance(means, dict):
            means = ", ".join(str(means[k]) for k in ("mode", "why") if means.get(k))
        if means:
            bench.record.note(key, f"{field}: {means}")


def run_shards(bench, section, prepare):
    checkpoint = bench.checkpoint("disk")
    with checkpoint.files() as files, mounts.wloadfs(bench, checkpoint) as mount:
        sides = {"bare": "", "mount": ""}
        for path, size in zip(files.paths, files.sizes):
            sides["bare"] += f"{path}\t0\t{size}\n"
            sides["mount"] += f"{mount.path(os.path.basename(path))}\t0\t{size}\n"
        for number in range(bench.repeat):
            for mode in ("read", "mmap"):
                for label, threads in (("1", 1), ("N", bench.threads)):
                    compare(bench, f"{section}/{mode}-{label}", sides, files, prepare, mode,
                            threads, number)
        note_means(bench, mount, {f"{section}/read-1/mount": "shards"})


def run_safe_open(bench, section):
    if not (bench.modules.get("torch") and bench.modules.get("safetensors")):
        raise Failed("torch or safetensors is not installed (--install-peers)")
    checkpoint = bench.checkpoint("disk")
    with checkpoint.files() as files, mounts.wloadfs(bench, checkpoint) as mount:
        loaders.warm(files)
        rounds = bench.repeat if bench.args.quick else max(SAFE_OPEN_ROUNDS, bench.repeat)
        told = json.loads(bench.processes.run(
            [bench.python, os.path.join(loaders.HERE, "peers", "open_all.py"), str(rounds),
             checkpoint.folder, mount.point], 600))
        for side, folder in (("bare", checkpoint.folder), ("mount", mount.point)):
            for rate in told["rates"][folder]:
                bench.record.add(f"{section}/all/{side}", rate / 1e9)


def run_tensor_files(bench, section):
    checkpoint = bench.checkpoint("disk")
    with checkpoint.files() as files, mounts.wloadfs(bench, checkpoint) as mount:
        sides = {"bare": "", "mount": ""}
        for t in checkpoint.tensors:
            sides["bare"] += f"{t.path}\t{t.offset}\t{t.bytes}\n"
            sides["mount"] += f"{mount.path('tensors', t.name)}\t0\t{t.bytes}\n"
        for number in range(bench.repeat):
            for label, threads in (("1", 1), ("N", bench.threads)):
                compare(bench, f"{section}/read-{label}", sides, files, loaders.warm, "read",
                        threads, number)
        note_means(bench, mount, {f"{section}/read-1/mount": "tensor_files"})


def run(bench, section):
    if section == "shards":
        run_shards(bench, section, loaders.warm)
    elif section == "shards-cold":
        run_shards(bench, section, loaders.cold)
    elif section == "safe-open":
        run_safe_open(bench, section)
    else:
        run_tensor_files(bench, section)
