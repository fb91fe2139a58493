# SPDX-License-Identifier: Apache-2.0
"""The loading sections: each loader's rate from page cache, tmpfs and disk, to a GPU or to host
memory, beside the rates that bound it, measured in the same rounds."""

import json

import ground
import loaders
from processes import Failed, last_line
from table import SCENARIOS

# fio's ways to read at full depth: engine, block, depth, jobs. The best of them counts.
FIO_WAYS = [("libaio", "1m", 32, 1), ("io_uring", "1m", 32, 1), ("libaio", "4m", 16, 1),
            ("psync", "1m", 1, 8)]
FIO_SECONDS = 4
COPY_BYTES = 8 << 30


def file_items(paths, sizes):
    return "".join(f"{path}\t0\t{size}\n" for path, size in zip(paths, sizes))


def rate_of_files(bench, items, mode, threads, cpu=None):
    """GB/s of tests/bench/filerate."""
    told = json.loads(bench.processes.run(
        [bench.built("bench/filerate"), "-m", mode, "-t", str(threads)], 300, cpu,
        stdin_text=items))
    return told["bytes"] / told["seconds"] / 1e9


def measure_pinned(bench, scenario):
    def once(files, number):
        try:
            told = json.loads(bench.processes.run([bench.built("bench/copyrate"),
                                                   str(COPY_BYTES)]))
            bench.record.add(f"{scenario}/pinned", told["bytes"] / told["seconds"] / 1e9)
        except Failed as e:
            bench.record.lack(f"{scenario}/pinned", e)
    return once


def run_fio(bench, files, way):
    engine, block, depth, jobs = way
    out = bench.processes.run(
        ["fio", "--name=read", "--filename=" + ":".join(p.replace(":", r"\:")
                                                         for p in files.paths),
         "--readonly", "--rw=read", "--direct=1", f"--ioengine={engine}", f"--bs={block}",
         f"--iodepth={depth}", f"--numjobs={jobs}", f"--runtime={FIO_SECONDS}",
         *([f"--offset_increment={100 // jobs}%", f"--size={100 // jobs}%"] if jobs > 1 else []),
         "--group_reporting", "--output-format=json"], 60)
    # Warnings may stand before the object.
    return json.loads(out[out.index("{"):])["jobs"][0]["read"]["bw_bytes"] / 1e9


def measure_disk(bench, scenario):
    """The best that fio reaches; the first round tries every way, later ones the best again."""
    best = []

    def by_fio(files, ways):
        rates = {}
        for way in ways:
            loaders.cold(files)
            try:
                rates[way] = run_fio(bench, files, way)
            except (Failed, ValueError, LookupError) as e:
                bench.record.detail(f"{scenario}/disk", {"way": way, "failed": last_line(str(e))})
        return rates

    def once(files, number):
        try:
            rates = by_fio(files, best or FIO_WAYS)
            if rates:
                best[:] = [max(rates, key=rates.get)]
                bench.record.add(f"{scenario}/disk", rates[best[0]])
                bench.record.detail(f"{scenario}/disk", {"way": best[0], "rates": [
                    [*way, round(rate, 3)] for way, rate in rates.items()]})
                return
            loaders.cold(files)
            rate = rate_of_files(bench, file_items(files.paths, files.sizes), "direct",
                                 bench.threads)
            bench.record.add(f"{scenario}/disk", rate)
            bench.record.note(f"{scenario}/disk", "no fio here: the rate is filerate's, O_DIRECT "
                                                  f"with {bench.threads} threads")
        except Failed as e:
            bench.record.lack(f"{scenario}/disk", e)
    return once


def measure_pread(bench, scenario, prepare):
    def once(files, number):
        items = file_items(files.paths, files.sizes)
        for name, mode in [("pread", "fresh"), ("pread-huge", "huge")]:
            try:
                prepare(files)
                bench.record.add(f"{scenario}/{name}",
                                 rate_of_files(bench, items, mode, bench.threads))
            except Failed as e:
                bench.record.lack(f"{scenario}/{name}", e)
    return once


def run_gpu(bench, scenario):
    if not bench.device.startswith("cuda") and not bench.args.pretend_gpu:
        raise Failed("no GPU here")
    prepare, also = loaders.keep, [measure_pinned(bench, scenario)]
    if scenario == "gpu-cached":
        checkpoint, prepare = bench.checkpoint("disk"), loaders.warm
    elif scenario == "gpu-tmpfs":
        checkpoint = bench.checkpoint("tmpfs")
    elif scenario == "gpu-cold":
        checkpoint, prepare = bench.checkpoint("cold"), loaders.cold
        also.append(measure_disk(bench, scenario))
    else:
        checkpoint, prepare = bench.checkpoint("sparse"), loaders.cold
    loaders.run_scenario(bench, scenario, SCENARIOS[scenario][1], bench.device, checkpoint,
                         prepare, also)


def run_host(bench, scenario):
    bench.record.note(f"{scenario}/safetensors",
                      "its tensors map the page cache; a byte of each page was read")
    state = loaders.warm if scenario == "host-warm" else loaders.cold

    def prepare(files):
        state(files)
        if not bench.args.quick:
            ground.touch_memory(bench.processes, files.bytes)
    loaders.run_scenario(bench, scenario, SCENARIOS[scenario][1], "cpu", bench.checkpoint("disk"),
                         prepare, [measure_pread(bench, scenario, prepare)])


def run(bench, scenario):
    (run_gpu if scenario.startswith("gpu") else run_host)(bench, scenario)
