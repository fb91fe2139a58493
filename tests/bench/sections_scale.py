# SPDX-License-Identifier: Apache-2.0
"""Many tensors: a mount of DeepSeek-R1-FP4's names, listed, looked at, consumed, removed.

Its shards are sparse, so that it fits any disk; what is "cached" of them is a part of each
(CACHED_BYTES of all), enough that the eviction is real work. A fresh mount for each figure."""

import json
import os
import time

import mounts
from processes import Failed

CACHED_BYTES = 2 << 30
CACHED_QUICK_BYTES = 16 << 20
MIB = 1 << 20


def names_path(bench, checkpoint):
    """A file with the tensors' names, a line each."""
    path = bench.scratch("names")
    if not os.path.exists(path):
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(t.name + "\n" for t in checkpoint.tensors)
    return path


def run_names(bench, what, folder, names, cpu=None):
    with open(names, "rb") as stdin:
        told = json.loads(bench.processes.run(
            [bench.built("bench/names"), what, folder], 600, cpu, stdin=stdin))
    if told["failed"]:
        raise Failed(f"{told['failed']} of {told['count']} names failed")
    return told


def count_names(bench, folder):
    """How many names a mount's folder has. A child looks: it can be ended where a mount does not
    answer, this process could not."""
    listing = bench.processes.run(["find", folder, "-mindepth", "1", "-maxdepth", "1", "-printf", "."],
                                  300)
    return len(listing)


def listed(bench, argv, want):
    """The seconds of a listing, which must be whole."""
    seconds = bench.processes.timed(argv, seconds=300, env=dict(os.environ, LC_ALL="C"))
    count = count_names(bench, argv[-1])
    if count != want:
        raise Failed(f"{count} names listed, want {want}")
    return seconds


def run_scale(bench):
    checkpoint = bench.checkpoint("scale")
    count, names = len(checkpoint.tensors), names_path(bench, checkpoint)
    for number in range(bench.repeat + 1):
        seconds, resident = mount_until_ls(bench, checkpoint)
        if number:  # the first one warmed the headers
            bench.record.add("scale/mount-ls", seconds)
            bench.record.add("scale/resident", resident / MIB)
    for _ in range(bench.repeat):
        with mounts.wloadfs(bench, checkpoint) as mount:
            bench.record.add("scale/list", listed(bench, ["ls", "-f", mount.path("tensors")],
                                                  count))
        with mounts.wloadfs(bench, checkpoint) as mount:
            told = run_names(bench, "stat", mount.path("tensors"), names)
            bench.record.add("scale/stat-first", told["first_us"])
            bench.record.add("scale/stat-again", told["again_us"])
    bench.record.note("scale/mount-ls", f"{count} tensors in {len(checkpoint.paths)} shards")


def mount_until_ls(bench, checkpoint):
    begin = time.monotonic()
    with mounts.wloadfs(bench, checkpoint) as mount:
        bench.processes.timed(["ls", mount.path("tensors")], env=dict(os.environ, LC_ALL="C"))
        return time.monotonic() - begin, mount.resident()


def consume_key(cached, after):
    return f"consume/{'cached' if cached else 'uncached'}-{'after' if after else 'before'}"


def consume_once(bench, checkpoint, cached, after):
    with checkpoint.files() as files, mounts.wloadfs(bench, checkpoint) as mount:
        files.evict()
        if after:
            bench.processes.timed(["ls", "-l", mount.path("tensors")], seconds=300)
        part = (CACHED_QUICK_BYTES if bench.args.quick else CACHED_BYTES) // len(files.paths)
        before = files.warm(part) if cached else files.evict()
        seconds = bench.processes.timed([bench.built("wload"), "consume", mount.point, "--all"])
        left = files.cached()
        if count_names(bench, mount.path("tensors")):
            raise Failed("names are left after `wload consume --all`")
        key = consume_key(cached, after)
        bench.record.add(key, seconds)
        bench.record.detail(key, {"cached_before": before, "cached_left": left})
        if cached:
            bench.record.note(key, f"{before / MIB:.0f} MiB cached, {left / MIB:.0f} MiB of them "
                                   "after it")


def run_consume(bench):
    checkpoint = bench.checkpoint("scale")
    for _ in range(bench.repeat):
        for cached in (False, True):
            for after in (False, True):
                try:
                    consume_once(bench, checkpoint, cached, after)
                except Failed as e:
                    bench.record.lack(consume_key(cached, after), e)


def remove_once(bench, what, mount, names, cpu):
    tensors, modules = mount.path("tensors"), mount.path("modules")
    if what == "unlink":
        told = run_names(bench, "unlink", tensors, names, cpu)
        return told["each_us"] * told["count"] / 1e6
    argv = ["find", tensors, "-type", "f", "-delete"] if what == "find" else ["rm", "-r", modules]
    seconds = bench.processes.timed(argv, seconds=600, cpu=cpu)
    left = count_names(bench, tensors)
    if left:
        raise Failed(f"{left} names are left")
    return seconds


def run_remove(bench):
    checkpoint = bench.checkpoint("scale")
    names = names_path(bench, checkpoint)
    kinds = {"mount": lambda cpu: mounts.wloadfs(bench, checkpoint, cpu),
             "noop": lambda cpu: mounts.noop_server(bench, names, cpu)}
    with checkpoint.files() as files:
        files.evict()
    for how, cpu in (("pinned", min(os.sched_getaffinity(0))), ("unpinned", None)):
        for what in ("find", "rm", "unlink"):
            if (what, how) == ("unlink", "unpinned"):
                continue
            for number in range(bench.repeat):
                for kind, start in sorted(kinds.items(), reverse=number % 2 == 1):
                    key = f"remove/{what}-{how}/{kind}"
                    try:
                        with start(cpu) as mount:
                            bench.record.add(key, remove_once(bench, what, mount, names, cpu))
                    except Failed as e:
                        bench.record.lack(key, e)


def run(bench, section):
    {"scale": run_scale, "consume": run_consume, "remove": run_remove}[section](bench)
