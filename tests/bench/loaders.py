# SPDX-License-Identifier: Apache-2.0
"""Runs loaders side by side: each in a process of its own (peers/harness.py), timed from the word
"go" to its last tensor's arrival, its host memory watched meanwhile, its result checked.

Processes get ready together, where there are cores for it, and load one after another.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time

from memory import Cgroup, Watch, thinned
from processes import Failed, last_line
from table import LOADERS

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tools"))
import sanitizer  # noqa: E402

READY_SECONDS, LOAD_SECONDS, CHECK_SECONDS = 120, 120, 120
CORES_TO_START_TOGETHER = 8
MIB = 1 << 20
HIDDEN_BYTES = 256 * MIB
WARM_TRIES = 3


class Answers:
    """Lines of JSON from a process, each with a deadline."""

    def __init__(self, process, log_path):
        self.process, self.log_path = process, log_path
        self.buffer = b""

    def why(self):
        """How a process ended that answers no more, and the last that it said."""
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            status = 0
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            words = last_line(f.read())
        return f"{signal.Signals(-status).name}, {words}" if status < 0 else words

    def next(self, seconds):
        end = time.monotonic() + seconds
        fd = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Failed(f"no answer within {seconds:.0f} s")
            more = os.read(fd, 65536)
            if not more:
                raise Failed(f"failed: {self.why()}")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)


class Run:
    """One loader's process."""

    def __init__(self, bench, loader, device, checkpoint):
        self.bench, self.loader, self.checkpoint = bench, loader, checkpoint
        self.log_path = bench.scratch(f"{loader.name}.log")
        env = dict(os.environ, WLOAD_LIBRARY=bench.built("libwload.so"),
                   PYTHONDONTWRITEBYTECODE="1", **dict(loader.env))
        if not loader.package:  # ours alone is as this build is made
            env.update(sanitizer.environment(os.path.basename(bench.build)))
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = bench.processes.start(
                [bench.python, os.path.join(HERE, "peers", loader.program + ".py"),
                 "--device", device, *loader.options, checkpoint.folder],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env)
        self.answers = Answers(self.process, self.log_path)

    def wait_ready(self):
        self.answers.next(self.bench.processes.left(READY_SECONDS))

    def say(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Failed(f"failed: {self.answers.why()}") from None

    def load(self, files):
        """Returns (what the loader said, the watch over it)."""
        cgroup = Cgroup()
        watch = Watch(self.process.pid, files)
        try:
            cgroup.enter(self.process.pid)
            watch.start()
            self.say("go")
            told = self.answers.next(self.bench.processes.left(LOAD_SECONDS))
            watch.stop()
            told.update(watch.detail(), cgroup_peak=cgroup.peak() or cgroup.why)
        finally:
            watch.give_up()
            cgroup.leave(self.process.pid)
            cgroup.close()
        return told, watch

    def check(self, expected_path):
        if self.checkpoint.bytes != self.told_bytes:
            raise Failed(f"gave {self.told_bytes} bytes of {self.checkpoint.bytes}")
        self.say(f"check {expected_path}")
        wrong = self.answers.next(self.bench.processes.left(CHECK_SECONDS))["wrong"]
        if wrong:
            raise Failed(f"wrong bytes in {', '.join(wrong)}")

    def measure(self, files, expected_path):
        told, watch = self.load(files)
        self.told_bytes = told["bytes"]
        self.check(expected_path)
        return told, watch

    def stop(self):
        self.bench.processes.stop(self.process, 1)


def batches(names, number):
    """All at once where there are cores enough, else one by one; in each round another is first."""
    first = number % max(1, len(names))
    names = names[first:] + names[:first]
    if len(os.sched_getaffinity(0)) >= CORES_TO_START_TOGETHER:
        return [names]
    return [[name] for name in names]


def lack(bench, scenario, name, reason):
    bench.record.lack(f"{scenario}/{name}", reason)
    bench.record.lack(f"{scenario}/{name}/memory", reason)
    bench.say(f"{scenario}: {LOADERS[name].title}: {reason}")


def start_all(bench, scenario, names, device, checkpoint):
    """Those that got ready. Nobody loads while another still starts."""
    started, ready = {}, {}
    for name in names:
        try:
            started[name] = Run(bench, LOADERS[name], device, checkpoint)
        except Failed as e:
            lack(bench, scenario, name, e)
    for name, run in started.items():
        try:
            run.wait_ready()
            ready[name] = run
        except (Failed, ValueError) as e:
            lack(bench, scenario, name, e)
            run.stop()
    return ready


def run_once(bench, scenario, name, run, prepare, files, expected_path):
    """One loader's turn; its figures, or why there are none. False: it need not try again."""
    record = bench.record
    prepared = False
    try:
        prepare(files)
        prepared = True
        told, watch = run.measure(files, expected_path)
    except (Failed, OSError, LookupError, ValueError) as e:
        lack(bench, scenario, name, e)
        return not prepared
    finally:
        run.stop()
    record.add(f"{scenario}/{name}", told["bytes"] / told["seconds"] / 1e9)
    record.add(f"{scenario}/{name}/memory", watch.peak / MIB)
    if watch.available_taken > watch.peak + HIDDEN_BYTES:
        # Memory that a driver took for the process is in none of its counters.
        record.note(f"{scenario}/{name}/memory", "the machine's available memory fell by "
                                                 f"{watch.available_taken / MIB:.0f} MiB")
    arrived = told.pop("arrived", [])
    record.detail(f"{scenario}/{name}", told)
    record.remember_memory(scenario, name, thinned(watch.series), thinned(arrived))
    bench.say(f"{scenario}: {LOADERS[name].title}: {told['bytes'] / told['seconds'] / 1e9:.2f} "
              f"GB/s, {watch.peak / MIB:.0f} MiB")
    return True


def usable(bench, scenario, names, device):
    """Those that can run here; the others' reasons are recorded."""
    found = []
    for name in names:
        package = LOADERS[name].package
        does = "torch" if package or device.startswith("cuda") else "numpy"
        reason = None
        if not bench.modules.get("torch") and not bench.modules.get(does):
            reason = f"{does} is not installed (--install-peers)"
        elif package and not bench.modules.get(package):
            reason = f"{package} is not installed (--install-peers)"
        elif name.startswith("instanttensor") and not device.startswith("cuda"):
            reason = "InstantTensor loads to a GPU only"
        if reason:
            lack(bench, scenario, name, reason)
        else:
            found.append(name)
    return found


def report_of_command(bench, scenario, device, checkpoint, prepare, files):
    """The wload command's own report of the same load."""
    try:
        prepare(files)
        report = json.loads(bench.processes.run(
            [bench.built("wload"), "load", checkpoint.folder, "--device",
             "cuda" if device.startswith("cuda") else "host", "--no-consume", "--json", "--quiet"],
            LOAD_SECONDS))
    except (Failed, ValueError) as e:
        bench.record.lack(f"{scenario}/wload/reported", e)
        return
    bench.record.add(f"{scenario}/wload/reported", report["peak_host_bytes"] / MIB)
    bench.record.detail(f"{scenario}/wload/reported", {
        key: report[key] for key in ("device", "family", "bytes_read", "seconds",
                                     "bytes_per_second", "peak_host_bytes") if key in report})


def run_scenario(bench, scenario, names, device, checkpoint, prepare, also=()):
    """Loads with each loader in turn, as many rounds as asked; `also` is what each round measures
    besides, called with the files."""
    names = usable(bench, scenario, names, device)
    expected_path = bench.scratch("expected.json")
    with open(expected_path, "w", encoding="utf-8") as f:
        json.dump(checkpoint.expected(), f)
    with checkpoint.files() as files:
        for number in range(bench.repeat):
            for each in also:
                each(files, number)
            for batch in batches(names, number):
                runs = start_all(bench, scenario, batch, device, checkpoint)
                fit = [name for name, run in runs.items() if
                       run_once(bench, scenario, name, run, prepare, files, expected_path)]
                names = [n for n in names if n not in batch or n in fit]
            report_of_command(bench, scenario, device, checkpoint, prepare, files)


def keep(files):
    """Prepares nothing: tmpfs is its own page cache."""


def warm(files):
    cached = files.cached()
    for _ in range(WARM_TRIES):  # others' use of the machine may take pages meanwhile
        if cached < files.bytes:
            cached = files.warm()
    if cached < files.bytes:
        raise Failed(f"only {cached} of {files.bytes} bytes stayed in the page cache")


def cold(files):
    left = files.evict()
    if left:
        raise Failed(f"{left} bytes could not be evicted from the page cache")
