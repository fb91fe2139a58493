# SPDX-License-Identifier: Apache-2.0
"""What an unchanged loader gets from each way to mount: safe_open and get_tensor of everything, from
the bare folder and through mounts, page-cached and cold, with the memory that loader, daemon and
the pages that they brought in took together."""

import json
import os

import loaders
import mounts
from limit import Limit
from processes import Failed
from table import MODES, MODE_STATES

PREPARE = {"warm": loaders.warm, "cold": loaders.cold}
MIB = 1 << 20
NO_LIMIT = 1 << 40


def read_once(bench, folder, inside):
    told = json.loads(bench.processes.run(inside(
        [bench.python, os.path.join(loaders.HERE, "peers", "read_once.py"), folder]), 600))
    return told["bytes"] / told["seconds"] / 1e9


def measure(bench, limit, mode, checkpoint):
    if MODES[mode].options is None:
        limit.forget_peak()
        return read_once(bench, checkpoint.folder, limit.inside)
    options = [word for each in MODES[mode].options for word in ("-o", each)]
    with mounts.wloadfs(bench, checkpoint, options=options, inside=limit.inside) as mount:
        limit.forget_peak()
        return read_once(bench, mount.point, limit.inside)


def run_once(bench, mode, state, checkpoint, files):
    key = f"modes/{mode}-{state}"
    try:
        PREPARE[state](files)
        with Limit(NO_LIMIT) as limit:
            rate = measure(bench, limit, mode, checkpoint)
            bench.record.add(key, rate)
            bench.record.add(f"{key}/peak", limit.peak() / MIB)
        bench.say(f"{key}: {rate:.2f} GB/s")
    except (Failed, OSError, ValueError, LookupError) as e:
        bench.record.lack(key, e)
        bench.record.lack(f"{key}/peak", e)


def run(bench, section):
    if not bench.modules.get("safetensors"):
        raise Failed("safetensors is not installed (--install-peers)")
    if not (bench.modules.get("torch") or bench.modules.get("ml_dtypes")):
        raise Failed("torch is not installed, nor ml_dtypes")
    checkpoint = bench.checkpoint("disk")
    with checkpoint.files() as files:
        read_once(bench, checkpoint.folder, list)  # the programs' own pages are nobody's then
        for number in range(bench.repeat):
            for state in MODE_STATES:
                for mode in sorted(MODES, reverse=number % 2 == 1):
                    run_once(bench, mode, state, checkpoint, files)
