# SPDX-License-Identifier: Apache-2.0
"""Host memory does not grow with the model: whole checkpoints of very different sizes, mounted and
loaded in a cgroup that holds both the daemon and the loader.

They are sparse, so that they fit any disk and the disk is not what is measured. Each tensor has its
name and place in memory, hence a figure less TENSOR_BYTES for each."""

import json

import mounts
from limit import Limit
from processes import Failed

MIB = 1 << 20
LIMIT_BYTES = 512 * MIB
TENSOR_BYTES = 256
LOAD_SECONDS = 1800
WAYS = {"null": ["--device", "null"], "host": ["--device", "host", "--release"]}
ONE_LAYER = ("first_k_dense_replace=0", "num_nextn_predict_layers=0")
SMALL = ("n_routed_experts=4", "vocab_size=1000")
# name -> (family, layers, edits of its config); quick: the same, much smaller
CHECKPOINTS = {"r1": ("deepseek-r1-fp4", None, ()),
               "llama": ("llama-3.1-70b", None, ()),
               "layer": ("deepseek-r1-fp4", 1, ONE_LAYER)}
QUICK = {"r1": ("deepseek-r1-fp4", 4, SMALL),
         "llama": ("llama-3.1-70b", 1, ("vocab_size=1000",)),
         "layer": ("deepseek-r1-fp4", 1, ONE_LAYER + SMALL)}


def load_once(bench, name, way, checkpoint):
    key = f"flat/{name}-{way}"
    wload = bench.built("wload")
    bench.processes.run([wload, "--version"])  # its own pages are nobody's here
    with checkpoint.files() as files:
        files.evict()
    with Limit(LIMIT_BYTES) as limit:
        with mounts.wloadfs(bench, checkpoint, inside=limit.inside) as mount:
            limit.forget_peak()
            report = json.loads(bench.processes.run(
                limit.inside([wload, "load", mount.point, "--quiet", "--json", *WAYS[way]]),
                LOAD_SECONDS))
            peak, hits = limit.peak(), limit.hits()
            left = stats(mount)["resident_bytes"]
    if report["consumed_tensors"] != len(checkpoint.tensors):
        raise Failed(f"{report['consumed_tensors']} tensors were consumed, of "
                     f"{len(checkpoint.tensors)}")
    rest = peak - TENSOR_BYTES * len(checkpoint.tensors)
    for what, value in (("seconds", report["seconds"]), ("peak", peak / MIB), ("hits", hits),
                        ("rest", rest / MIB)):
        bench.record.add(f"{key}/{what}", value)
    bench.record.detail(key, {"bytes": report["bytes_read"], "peak": peak, "left_cached": left,
                              "reported_peak": report["peak_host_bytes"], "hits": hits})
    bench.record.note(f"{key}/peak", f"{report['bytes_read'] / 1e9:.0f} GB, "
                                     f"{len(checkpoint.tensors)} tensors")
    bench.say(f"{key}: {report['seconds']:.1f} s, {peak / MIB:.1f} MiB, {hits} hits")


def stats(mount):
    with open(mount.path(".wload", "stats.json"), encoding="utf-8") as f:
        return json.load(f)


def run(bench, section):
    for _ in range(bench.repeat):
        for name in CHECKPOINTS:
            checkpoint = bench.checkpoint(f"{section}-{name}")
            for way in WAYS:
                try:
                    load_once(bench, name, way, checkpoint)
                except (Failed, OSError, ValueError, LookupError) as e:
                    for what in ("seconds", "peak", "hits", "rest"):
                        bench.record.lack(f"flat/{name}-{way}/{what}", e)
