# SPDX-License-Identifier: Apache-2.0
"""One rank's part of whole models, true to size: mounted for all ranks, loaded by the first one as
it goes into an engine, fused and sliced, a sample of it compared with the tensors' own files.

Checkpoints are sparse: no disk and no page cache has room for them, and what counts here is that
the whole of a rank's plan runs. So a rate says what reading costs where no disk limits it."""

import json

import mounts
from processes import Failed

MIB = 1 << 20
LOAD_SECONDS = 900
# name -> (family, ranks, every which parameter is compared); quick: the same in few layers
MODELS = {"r1": ("deepseek-r1-fp4", 8, 40), "llama": ("llama-3.1-70b", 4, 20),
          "hunyuan": ("hunyuan-a13b", 4, 20), "glm": ("glm-4.5-air", 4, 10)}
QUICK_LAYERS = 2
QUICK_EDITS = {"r1": ("first_k_dense_replace=1", "num_nextn_predict_layers=0",
                      "n_routed_experts=8", "vocab_size=1000"),
               "llama": ("vocab_size=1000",), "hunyuan": ("num_experts=4", "vocab_size=1000"),
               "glm": ("n_routed_experts=4", "num_nextn_predict_layers=0", "vocab_size=1000")}


def load_once(bench, name, checkpoint):
    _, ranks, every = MODELS[name]
    key = f"models/{name}"
    wload = bench.built("wload")
    with mounts.wloadfs(bench, checkpoint, options=("-o", f"ranks={ranks}")) as mount:
        report = json.loads(bench.processes.run(
            [wload, "load", mount.path("ranks", "0"), "--tp", str(ranks), "--quiet", "--json",
             "--device", "cuda" if bench.device.startswith("cuda") else "host",
             *([] if bench.device.startswith("cuda") else ["--release"]),
             "--verify-every", str(every)], LOAD_SECONDS))
    if not report["bytes_verified"]:
        raise Failed("nothing was compared")
    for what, value in (("rate", report["bytes_per_second"] / 1e9),
                        ("peak", report["peak_host_bytes"] / MIB),
                        ("bytes", report["bytes_uploaded"] / 1e9)):
        bench.record.add(f"{key}/{what}", value)
    bench.record.detail(key, report)
    bench.record.note(f"{key}/rate", f"{report['bytes_verified'] / 1e9:.1f} GB of it compared")
    bench.say(f"{key}: {json.dumps(report)}")


def run(bench, section):
    for name in MODELS:
        try:
            load_once(bench, name, bench.checkpoint(f"{section}-{name}"))
        except (Failed, OSError, ValueError, LookupError) as e:
            for what in ("rate", "peak", "bytes"):
                bench.record.lack(f"models/{name}/{what}", e)
