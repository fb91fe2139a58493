#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every family's parameters, as a mount shows them, are the reference's, and are what a load makes.

usage: mount_families.py [FAMILY…]    (of scripts/make-checkpoint --list)

Of each family a small checkpoint of its true structure, both layouts, mounted for 1, 2 and 4
ranks. Of each rank:

1. fused/ holds family_reference.py's parameters: names, data types and shapes, bytes;
2. `wload load --device host --out` of its folder, told nothing of ranks, holds the same;
3. its folder, read by the safetensors package as its index says, holds them as well;
4. with names=hf it holds the checkpoint's own tensors, each the part that family_own.py takes; the
   ranks' parts, each element put back where it is from, are the whole tensors.

For the last the one idea is that family_own.py slices arrays of element numbers as it would
values: what comes out says where each element of a part belongs. What the reference asserts
against, wloadfs refuses before it mounts."""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

try:
    import numpy
    import safetensors
    import family_own
    import family_reference
    import thin
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", os.environ.get("BUILD", "release"))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import wload_families  # noqa: E402
import wload_writer  # noqa: E402

FAMILIES = [n for n in wload_families.FAMILIES if n.startswith("tiny-")]
DEADLINE = 60


class Refused(Exception):
    """What the daemon said instead of mounting."""


class Mount:
    """A daemon in the foreground, which must end with 0 and without a word but about fusing."""

    def __init__(self, ckpt, where, options):
        self.where, self.log = where, open(where + ".log", "w+", encoding="utf-8")
        os.makedirs(where)
        self.daemon = subprocess.Popen([os.path.join(BUILD, "wloadfs"), "-f", "-o", options, ckpt,
                                        where], stdout=self.log, stderr=self.log)

    def said(self):
        self.log.seek(0)
        return [x for x in self.log.read().splitlines() if "wloadfs: fused/: " not in x]

    def __enter__(self):
        end = time.monotonic() + DEADLINE
        while not os.path.ismount(self.where):
            if self.daemon.poll() is not None:
                raise Refused("\n".join(self.said()))
            assert time.monotonic() < end, "no mount"
            time.sleep(0.01)
        return self.where

    def __exit__(self, *failed):
        # A child that another thread has just forked holds our files until it executes.
        end = time.monotonic() + DEADLINE
        while subprocess.run(["fusermount3", "-u", self.where], stderr=subprocess.DEVNULL,
                             check=False).returncode:
            assert time.monotonic() < end, f"'{self.where}' can't be unmounted"
            time.sleep(0.02)
        code = self.daemon.wait(DEADLINE)
        assert code == 0 and not self.said(), f"the daemon ended with {code}: {self.said()}"


def array_of(dtype, shape, content):
    return dtype, numpy.frombuffer(content, family_reference.WIDTHS[dtype]).reshape(shape)


def read_fused(folder):
    found = {}
    for entry in os.scandir(folder):
        kinds = {k: os.getxattr(entry.path, f"user.wload.{k}").decode() for k in
                 ("name", "dtype", "shape", "bytes")}
        with open(entry.path, "rb") as f:
            content = f.read()
        assert len(content) == int(kinds["bytes"]) == entry.stat().st_size, entry.name
        found[kinds["name"]] = array_of(kinds["dtype"], json.loads(kinds["shape"]), content)
    return found


def read_checkpoint(folder):
    """What the index lists, and nothing else may lie there."""
    with open(os.path.join(folder, "model.safetensors.index.json"), encoding="utf-8") as f:
        index = json.load(f)
    files = set(index["weight_map"].values())
    there = {n for n in os.listdir(folder) if n.endswith(".safetensors")}
    assert files <= there and len(there) <= max(1, len(files)), (files, there)
    found = {}
    for file in there:
        path = os.path.join(folder, file)
        with safetensors.safe_open(path, "np") as opened:
            names = set(opened.keys())
        with open(path, "rb") as f:
            for name, entry in safetensors.deserialize(f.read()):
                assert index["weight_map"][name] == file and name in names, name
                found[name] = array_of(entry["dtype"], entry["shape"], entry["data"])
    assert index["weight_map"].keys() == found.keys()
    assert index["metadata"]["total_size"] == sum(a.nbytes for _, a in found.values())
    return found


def read_loaded(folder, out):
    done = subprocess.run([os.path.join(BUILD, "wload"), "load", folder, "--device", "host",
                           "--quiet", "--no-consume", "--out", out],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    found = family_reference.read(out)
    shutil.rmtree(out)
    return found


def wants(model, tensors, config, layout, tp):
    """What each rank has; None where one of them can't."""
    try:
        return [model(tensors, config, layout, tp, rank).load() for rank in range(tp)]
    except family_reference.Impossible:
        return None


def check_fused(mnt, rank, want):
    folder = os.path.join(mnt, "ranks", str(rank))
    for what, found in (("fused/", read_fused(os.path.join(folder, "fused"))),
                        ("folder", read_checkpoint(folder)),
                        ("load", read_loaded(folder, f"{mnt}.out"))):
        wrong = family_reference.difference(want, found)
        if wrong:
            return f"rank {rank}: {what}: {wrong}"
    return None


def check_own(mnt, tensors, numbers):
    """The ranks' own tensors, and all of them put together again."""
    covered = {name: numpy.zeros(array.size, bool) for name, (_, array) in tensors.items()}
    for rank, places in enumerate(numbers):
        found = read_checkpoint(os.path.join(mnt, "ranks", str(rank)))
        want = {}
        for name, (dtype, at) in places.items():
            want[name] = dtype, tensors[name][1].reshape(-1)[at]
            covered[name][at.reshape(-1)] = True
        wrong = family_reference.difference(want, found)
        if wrong:
            return f"rank {rank}: {wrong}"
    left = sorted(n for n, all_of in covered.items() if not all_of.all())
    used = {name for places in numbers for name in places}
    left = [n for n in left if n in used]
    return f"'{left[0]}' is not whole" if left else None


def check_way(top, folder, tensors, config, names, layout, tp):
    """What is wrong with one way to mount; "": it is refused, as it must."""
    source = tensors
    if names == "hf":
        source = {n: (d, numpy.arange(a.size).reshape(a.shape)) for n, (d, a) in tensors.items()}
    model = {"hf": family_own.Own, "fused": family_reference.Model}[names]
    want = wants(model, source, config, layout, tp)
    mnt = os.path.join(top, f"{names}-{layout}-{tp}")
    try:
        with Mount(folder, mnt, f"tp={tp},layout={layout},names={names}") as where:
            if want is None:
                return "it is not refused"
            if names == "hf":
                return check_own(where, tensors, want)
            for rank in range(tp):
                wrong = check_fused(where, rank, want[rank])
                if wrong:
                    return wrong
            whole = wants(model, tensors, config, layout, 1)[0]
            return family_reference.difference(whole, read_fused(os.path.join(where, "fused")))
    except Refused as why:
        told = re.search(rf"rank \d+ of {tp}: tensor '.*dimension", str(why))
        return "" if want is None and told else f"refused: {why}"
    except AssertionError as why:
        return f"{why}"


def check_family(top, name):
    config, tensors = wload_families.build(name)
    folder = os.path.join(top, name)
    os.mkdir(folder)
    wload_writer.write_checkpoint(folder, list(wload_writer.sized(tensors)), 1 << 20)
    wload_writer.write_json(os.path.join(folder, "config.json"), config)
    arrays = family_reference.read(folder)
    ways = [(names, layout, tp) for names in ("fused", "hf") for layout in ("trtllm", "vllm")
            for tp in (1, 2, 4)]
    ways = [w for w in ways if thin.takes(f"{name} {w}")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda way: check_way(top, folder, arrays, config, *way), ways)
        for (names, layout, tp), wrong in zip(ways, results):
            yield wrong, f"{names}, {layout}, tp {tp}{', refused' if wrong == '' else ''}"


def main():
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("1..0 # SKIP no FUSE here")
        sys.exit(77)
    ran = failed = 0
    for name in sys.argv[1:] or FAMILIES:
        with tempfile.TemporaryDirectory() as top:
            for wrong, what in check_family(top, name):
                ran += 1
                failed += bool(wrong)
                print(f"{'not ok' if wrong else 'ok'} {ran} - {name}, {what}"
                      f"{' # ' + wrong.strip() if wrong else ''}", flush=True)
    thin.tell()
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
