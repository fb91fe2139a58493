# SPDX-License-Identifier: Apache-2.0
"""What a run ran on: hardware, kernel, versions, date. No names of hosts, users or folders."""

import datetime
import json
import os
import platform
import re
import subprocess

PACKAGES = ["torch", "numpy", "safetensors", "instanttensor", "fastsafetensors",
            "runai-model-streamer"]
# The peers by the name that is imported, as Loader.package has it.
MODULES = ["torch", "numpy", "ml_dtypes", "safetensors", "instanttensor", "fastsafetensors",
           "runai_model_streamer"]

_ASK_PYTHON = """
import importlib.metadata as m, importlib.util as u, json, platform, sys
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
packages, modules = json.loads(sys.argv[1])
print(json.dumps({"python": platform.python_version(),
                  "packages": {p: version(p) for p in packages},
                  "modules": {n: u.find_spec(n) is not None for n in modules}}))
"""


def ask(argv, seconds=60):
    """A command's output, or '' where there is none."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=seconds,
                              stdin=subprocess.DEVNULL).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def ask_python(python):
    """Python's own version, its packages' versions, and which modules can be imported; None where
    it does not run."""
    out = ask([python, "-c", _ASK_PYTHON, json.dumps([PACKAGES, MODULES])])
    return json.loads(out) if out else None


def cpu():
    text = read("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.M)
    return f"{len(os.sched_getaffinity(0))} x {model[1] if model else platform.machine()}"


def memory_bytes(field):
    found = re.search(rf"^{field}:\s*(\d+) kB", read("/proc/meminfo"), re.M)
    return int(found[1]) * 1024 if found else 0


def cgroup_room(root="/sys/fs/cgroup", inside=None):
    """What memory the cgroup (v2) of this process, and those around it, leave; None: any."""
    if inside is None:
        found = re.search(r"^0::(/.*)$", read("/proc/self/cgroup"), re.M)
        inside = found[1] if found else "/"
    folder, room = os.path.join(root, inside.strip("/")), None
    while folder.startswith(root):
        most, now = (read(os.path.join(folder, "memory." + n)).strip() for n in ("max", "current"))
        if most.isdigit() and now.isdigit():
            # Page cache makes way.
            cache = re.search(r"^file (\d+)$", read(os.path.join(folder, "memory.stat")), re.M)
            left = int(most) - int(now) + (int(cache[1]) if cache else 0)
            room = left if room is None else min(room, left)
        folder = os.path.dirname(folder)
    return room


def memory_available():
    """Bytes that can be taken, by the machine's count or the cgroup's."""
    room = cgroup_room()
    available = memory_bytes("MemAvailable")
    return available if room is None else max(0, min(available, room))


def filesystem(path):
    """The type of the filesystem that a path is on."""
    found = ("?", "")
    path = os.path.realpath(path)
    for line in read("/proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4].encode().decode("unicode_escape")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[1]):
            found = (rest.split()[0], point)
    return found[0]


def gpu():
    """(name and driver, CUDA's version), or (None, None)."""
    line = ask(["nvidia-smi", "--query-gpu=name,driver_version,memory.total",
                "--format=csv,noheader"]).split("\n")[0]
    cuda = re.search(r"CUDA Version:\s*([0-9.]+)", ask(["nvidia-smi"]))
    if not line or "," not in line:
        return None, None
    name, driver, memory = (part.strip() for part in line.split(",")[:3])
    return f"{name}, {memory}, driver {driver}", cuda[1] if cuda else "?"


def describe(build, python, asked, folders):
    """The environment, in the order that it is shown."""
    card, cuda = gpu()
    libfuse = re.search(r"libfuse ([0-9.]+)", ask([os.path.join(build, "wloadfs"), "-V"]))
    version = re.search(r"wload\S* ([0-9.]+)", ask([os.path.join(build, "wload"), "-V"]))
    found = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "wloadfs": version[1] if version else "?",
        "cpu": cpu(),
        "memory": f"{memory_bytes('MemTotal') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "filesystem": ", ".join(dict.fromkeys(filesystem(f) for f in folders if f)),
        "gpu": card or "none",
        "cuda": cuda or "none",
        "libfuse": libfuse[1] if libfuse else "?",
        "python": asked["python"],
    }
    found.update({name: version or "not installed"
                  for name, version in asked["packages"].items()})
    fio = ask(["fio", "--version"])
    found["fio"] = fio.removeprefix("fio-") if fio else "not installed"
    return found
