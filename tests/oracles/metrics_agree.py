#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus's own parser reads from .wload/metrics is what stats.json says.

The oracle is prometheus_client.parser (PyPI): families with their types, samples, and labels with
their escapes undone. A checkpoint in a folder of an awkward name is mounted, read and consumed from.
Exit 77 without the package, or where nothing can be mounted."""

import json
import os
import subprocess
import sys
import tempfile
import time

try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    print("# prometheus_client is not installed", file=sys.stderr)
    sys.exit(77)
if not os.access("/dev/fuse", os.R_OK | os.W_OK):
    print("# /dev/fuse can't be opened", file=sys.stderr)
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WLOADFS = os.path.join(ROOT, "build", os.environ.get("BUILD", "release"), "wloadfs")
PAIRS = {"tensors": "wloadfs_tensors", "bytes": "wloadfs_tensor_bytes",
         "consumed_tensors": "wloadfs_consumed_tensors",
         "consumed_bytes": "wloadfs_consumed_bytes", "resident_bytes": "wloadfs_resident_bytes",
         "peak_resident_bytes": "wloadfs_peak_resident_bytes", "held_bytes": "wloadfs_held_bytes",
         "evicted_bytes": "wloadfs_evicted_bytes_total",
         "served_bytes": "wloadfs_served_bytes_total"}
ran = failed = 0


def ok(passed, what):
    global ran, failed
    ran += 1
    failed += not passed
    print(f"{'ok' if passed else 'not ok'} {ran} - {what}", flush=True)


def compare(mnt, ckpt):
    wload = os.path.join(mnt, ".wload")
    with open(os.path.join(wload, "stats.json"), encoding="utf-8") as f:
        stats = json.load(f)
    with open(os.path.join(wload, "metrics"), encoding="utf-8", newline="") as f:
        families = list(text_string_to_metric_families(f.read()))
    samples = {(s.name, tuple(sorted(s.labels.items()))): s.value
               for family in families for s in family.samples}
    ok(len(samples) == sum(len(f.samples) for f in families), "no series is there twice")
    ok(all(f.type in ("gauge", "counter") and f.documentation for f in families),
       "every family has a type and a text")
    for name, metric in PAIRS.items():
        ok(samples.get((metric, ())) == stats[name], f"{metric} is stats.json's {name}")
    for name, feature in stats["features"].items():
        ok(samples.get(("wloadfs_feature", (("feature", name),))) == feature["on"],
           f"feature {name}")
    for kind in ("never_read", "read_not_consumed", "consumed_unread"):
        ok(samples.get(("wloadfs_trace_tensors", (("kind", kind),)))
           == stats["trace"][kind]["tensors"], f"trace: {kind}")
    labels = [dict(labels) for name, labels in samples if name == "wloadfs_info"]
    ok(len(labels) == 1 and labels[0]["checkpoint"] == ckpt, "a label's escapes are undone")


def main():
    with tempfile.TemporaryDirectory() as tmp:
        ckpt, mnt = os.path.join(tmp, 'a "b"\\\\n\n{c="d",}'), os.path.join(tmp, "mnt")
        os.mkdir(mnt)
        subprocess.run([os.path.join(ROOT, "scripts", "make-checkpoint"), "--quiet", "--jobs", "1",
                        "--family", "tiny-llama", ckpt], check=True)
        subprocess.run([WLOADFS, "-o", "trace", ckpt, mnt], check=True)
        try:
            with open(os.path.join(mnt, "tensors", "lm_head.weight"), "rb") as f:
                f.read()
            os.unlink(os.path.join(mnt, "tensors", "lm_head.weight"))
            os.unlink(os.path.join(mnt, "tensors", "model.norm.weight"))
            compare(mnt, ckpt)
        finally:
            subprocess.run(["fusermount3", "-u", mnt], check=True)
            end = time.monotonic() + 10
            while os.path.ismount(mnt) and time.monotonic() < end:
                time.sleep(0.02)
    print(f"1..{ran}")
    return 1 if failed else 0


sys.exit(main())
