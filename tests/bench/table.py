# SPDX-License-Identifier: Apache-2.0
"""The rows: what is compared with what, and how far apart they may be.

A section measures series of values under keys (SCENARIO/SIDE[/WHAT]); a row names the keys of its
two sides, how a series becomes one figure, and the bound. So a row is judged from the results
alone, and one whose side was not measured says why instead of going away.
"""

from typing import NamedTuple, Optional

GB, MIB = "GB/s", "MiB"


class Row(NamedTuple):
    id: str
    section: str
    what: str
    unit: str
    ours: str                       # a key
    theirs: tuple = ()              # keys, of which the best one counts; none: ours alone is judged
    bound: Optional[tuple] = None   # (">=" or "<=", number); of ours / theirs, or of ours alone
    pick: str = "median"            # median, best or most: how a series becomes a figure
    against: str = ""               # theirs, in words


class Loader(NamedTuple):
    name: str       # as keys have it
    title: str
    program: str    # tests/bench/peers/PROGRAM.py
    options: tuple = ()
    env: tuple = ()
    package: str = ""  # what must be importable


LOADERS = {loader.name: loader for loader in [
    Loader("wload", "wload", "with_wload"),
    Loader("instanttensor", "InstantTensor", "with_instanttensor", package="instanttensor"),
    Loader("instanttensor-buffered", "InstantTensor, BUFFERED", "with_instanttensor",
           ("--buffered",), package="instanttensor"),
    Loader("fastsafetensors", "fastsafetensors", "with_fastsafetensors",
           package="fastsafetensors"),
    Loader("fastsafetensors-buffered", "fastsafetensors, buffered", "with_fastsafetensors",
           env=(("FASTSAFETENSORS_ODIRECT", "0"),), package="fastsafetensors"),
    Loader("runai", "Run:ai Model Streamer", "with_runai", package="runai_model_streamer"),
    Loader("runai-buffered", "Run:ai Model Streamer, buffered", "with_runai",
           env=(("RUNAI_STREAMER_FS_STRATEGY", "io_uring_buffered,sync_buffered"),),
           package="runai_model_streamer"),
    Loader("safetensors", "safetensors load_file", "with_safetensors", package="safetensors"),
    Loader("safetensors-pread", "safetensors load_file, pread", "with_safetensors",
           ("--backend", "pread"), package="safetensors"),
]}

# What each loading scenario runs, wload first: the sides are interleaved in this order.
EVERY = tuple(LOADERS)
AS_INSTALLED = ("wload", "instanttensor", "fastsafetensors", "runai", "safetensors")
ON_CPU = ("wload", "fastsafetensors", "fastsafetensors-buffered", "runai", "runai-buffered",
          "safetensors", "safetensors-pread")
SCENARIOS = {
    "gpu-cached": ("page-cached file to the GPU", EVERY),
    "gpu-tmpfs": ("tmpfs to the GPU", AS_INSTALLED),
    "gpu-cold": ("cold disk to the GPU", AS_INSTALLED),
    "gpu-sparse": ("O_DIRECT to the GPU, no disk needed", ("wload", "instanttensor")),
    "host-warm": ("page-cached file to host memory", ON_CPU),
    "host-cold": ("cold disk to host memory", ON_CPU),
}
DISK = "the best O_DIRECT rate of fio"
PINNED = "pinned host-to-device copies"


def load_row(scenario, name, what, theirs, bound, against):
    return Row(f"{scenario}-{name}", scenario, what, GB, f"{scenario}/wload",
               tuple(f"{scenario}/{t}" for t in theirs), bound, "best", against)


def peer_rows(scenario, bounds):
    """A row for each peer of a scenario, with a bound where the table has one."""
    title, loaders = SCENARIOS[scenario]
    for name in loaders[1:]:
        yield load_row(scenario, name, title, [name], bounds.get(name), LOADERS[name].title)


def memory_rows(scenario, bound):
    title, loaders = SCENARIOS[scenario]
    for name in loaders:
        yield Row(f"{scenario}-memory-{name}", scenario,
                  f"host memory beyond a ready process's, {title}: {LOADERS[name].title}", MIB,
                  f"{scenario}/{name}/memory", (), bound if name == "wload" else None, "most")


def mount_row(section, name, what, bound, pick="median"):
    return Row(f"{section}-{name}", section, what, GB, f"{section}/{name}/mount",
               (f"{section}/{name}/bare",), (">=", bound), pick, "bare file")


def read_rows():
    for section, state, bound in [("shards", "page-cached", 0.95),
                                  ("shards-cold", "cold", 0.98)]:
        for mode, how in [("read", "read()"), ("mmap", "mmap")]:
            for threads in "1N":
                yield mount_row(section, f"{mode}-{threads}",
                                f"shard through the mount, {how}, {threads} "
                                f"thread{'' if threads == '1' else 's'}, {state}", bound)
    yield mount_row("safe-open", "all", "safetensors safe_open through the mount, all tensors",
                    0.97)
    yield mount_row("tensor-files", "read-1", "tensor files through the mount, read(), 1 reader",
                    0.5)
    yield mount_row("tensor-files", "read-N", "tensor files through the mount, read(), N readers",
                    0.7)


def scale_rows():
    yield Row("mount-ls", "scale", "mount of R1-FP4 until `ls tensors` answers", "s",
              "scale/mount-ls", bound=("<=", 1.0))
    yield Row("mount-resident", "scale", "the daemon's resident memory then", MIB,
              "scale/resident", bound=("<=", 64), pick="most")
    yield Row("list", "scale", "`ls -f` of all names", "s", "scale/list", bound=("<=", 0.3))
    yield Row("stat-first", "scale", "stat of all names, the first time, each", "us",
              "scale/stat-first")
    yield Row("stat-again", "scale", "stat of all names, after the first, each", "us",
              "scale/stat-again", bound=("<=", 4))
    for cached in ("uncached", "cached"):
        for when in ("before", "after"):
            yield Row(f"consume-{cached}-{when}", "consume",
                      f"`wload consume MNT --all`, {cached} shards, {when} `ls -l`", "s",
                      f"consume/{cached}-{when}", bound=("<=", 0.2))


def remove_rows():
    for how, bound in [("pinned", ("<=", 1.5)), ("unpinned", None)]:
        where = "client and daemon on one CPU" if how == "pinned" else "on any CPU"
        for name, what in [("find", "find tensors -type f -delete"), ("rm", "rm -r modules"),
                           ("unlink", "unlink() of all names, in one process")]:
            if (name, how) != ("unlink", "unpinned"):
                yield Row(f"remove-{name}-{how}", "remove", f"`{what}`, {where}"
                          if name != "unlink" else f"{what}, {where}", "s",
                          f"remove/{name}-{how}/mount", (f"remove/{name}-{how}/noop",),
                          bound if name != "unlink" else None, "median",
                          "a server whose unlink does nothing")


FLAT = {"r1": "R1-FP4 (424 GB)", "llama": "Llama-70B (141 GB)", "layer": "one layer of R1-FP4"}
FLAT_WAYS = {"null": "`--device null`", "host": "`--device host --release`"}


def flat_rows():
    for way, how in FLAT_WAYS.items():
        for name, what in FLAT.items():
            key = f"flat/{name}-{way}"
            yield Row(f"flat-{name}-{way}-peak", "flat",
                      f"daemon's, loader's and page cache's peak, {what}, {how}", MIB,
                      f"{key}/peak", bound=("<=", 256), pick="most")
            yield Row(f"flat-{name}-{way}-hits", "flat",
                      f"times that it met its limit of 512 MiB, {what}, {how}", "times",
                      f"{key}/hits", bound=("<=", 0), pick="most")
            yield Row(f"flat-{name}-{way}-seconds", "flat", f"the load, {what}, {how}", "s",
                      f"{key}/seconds")
        for name in ("r1", "layer"):
            yield Row(f"flat-{name}-{way}-rest", "flat",
                      f"the peak less 256 bytes a tensor, {FLAT[name]}, {how}", MIB,
                      f"flat/{name}-{way}/rest", (f"flat/llama-{way}/rest",), ("<=", 1.1), "most",
                      FLAT["llama"])


class Mode(NamedTuple):
    title: str
    options: Optional[tuple]  # of the mount; None: no mount
    bound: Optional[tuple] = None  # of its rate / the bare folder's


MODES = {
    "bare": Mode("the bare folder", None),
    "mount": Mode("the mount", (), (">=", 0.97)),
    "served": Mode("the mount, `-o shards=served`", ("shards=served",)),
    "budget": Mode("the mount, `-o budget=256M`", ("budget=256M",)),
    "consume-read": Mode("the mount, `-o consume=read`", ("consume=read",)),
}
MODE_STATES = {"warm": "page-cached", "cold": "cold"}


def mode_rows():
    for state, how in MODE_STATES.items():
        for name, mode in MODES.items():
            key = f"modes/{name}-{state}"
            yield Row(f"modes-{name}-{state}", "modes",
                      f"safe_open, all tensors, {mode.title}, {how}", GB, key,
                      () if mode.options is None else (f"modes/bare-{state}",),
                      mode.bound, "median", "" if mode.options is None else "the bare folder")
            yield Row(f"modes-{name}-{state}-peak", "modes",
                      f"memory of reader, daemon and the pages they brought in, {mode.title}, {how}",
                      MIB, f"{key}/peak", pick="most")


MODELS = {"r1": "rank 0 of 8 of R1-FP4", "llama": "rank 0 of 4 of Llama-70B",
          "hunyuan": "rank 0 of 4 of Hunyuan-A13B", "glm": "rank 0 of 4 of GLM-4.5-Air"}


def model_rows():
    for name, what in MODELS.items():
        key = f"models/{name}"
        yield Row(f"models-{name}-rate", "models", f"{what}, sparse, the load", GB, f"{key}/rate")
        yield Row(f"models-{name}-bytes", "models", f"{what}, placed in parameters", "GB",
                  f"{key}/bytes")
        yield Row(f"models-{name}-peak", "models", f"{what}, peak_host_bytes", MIB, f"{key}/peak",
                  bound=("<=", 256), pick="most")


def gpu_rows():
    yield load_row("gpu-cached", "rate", "page-cached file to the GPU", [], (">=", 25), "")
    yield from peer_rows("gpu-cached", {
        "instanttensor": (">=", 10), "instanttensor-buffered": (">=", 10),
        "fastsafetensors": (">=", 10), "fastsafetensors-buffered": (">=", 10),
        "safetensors": (">=", 4), "safetensors-pread": (">=", 4)})
    yield load_row("gpu-tmpfs", "pinned", "tmpfs to the GPU", ["pinned"], (">=", 0.75), PINNED)
    yield from peer_rows("gpu-tmpfs", {"instanttensor": (">=", 1.1)})
    yield load_row("gpu-cold", "disk", "cold disk to the GPU", ["disk"], (">=", 0.97), DISK)
    yield from peer_rows("gpu-cold", dict.fromkeys(AS_INSTALLED, (">=", 1.0)))
    yield load_row("gpu-sparse", "pinned", "O_DIRECT to the GPU, no disk needed", ["pinned"],
                   (">=", 0.85), PINNED)
    yield from peer_rows("gpu-sparse", {})
    for scenario in ("gpu-cached", "gpu-tmpfs", "gpu-cold", "gpu-sparse"):
        yield from memory_rows(scenario, ("<=", 128))
        yield Row(f"{scenario}-reported", scenario,
                  "peak_host_bytes as `wload --json` reports it, " + SCENARIOS[scenario][0], MIB,
                  f"{scenario}/wload/reported", bound=("<=", 128), pick="most")


def host_rows():
    for scenario in ("host-warm", "host-cold"):
        title = SCENARIOS[scenario][0]
        yield load_row(scenario, "best", title,
                       ["fastsafetensors", "fastsafetensors-buffered", "runai", "runai-buffered"],
                       (">=", 1.3), "the best of fastsafetensors and Run:ai")
        yield load_row(scenario, "pread", title, ["pread"], (">=", 0.95),
                       "threaded pread into fresh memory")
        yield load_row(scenario, "pread-huge", title, ["pread-huge"], None,
                       "the same into huge pages")
        yield from peer_rows(scenario, {})
        yield from memory_rows(scenario, None)


ROWS = [*read_rows(), *scale_rows(), *remove_rows(), *flat_rows(), *mode_rows(), *model_rows(),
        *gpu_rows(), *host_rows()]
# In the order that they run: what a deadline may cut off comes last.
SECTIONS = ["gpu-cached", "gpu-tmpfs", "gpu-sparse", "gpu-cold", "host-warm", "host-cold",
            "shards", "shards-cold", "safe-open", "tensor-files", "scale", "consume", "remove",
            "modes", "models", "flat"]


def choose_sections(text):
    """'gpu,shards' -> the sections that are named so, or whose name begins so; KeyError names what
    is no section."""
    chosen = []
    for word in text.split(","):
        found = [s for s in SECTIONS if s == word] or \
                [s for s in SECTIONS if s.startswith(word + "-")]
        if not found:
            raise KeyError(word)
        chosen += found
    return [s for s in SECTIONS if s in chosen]
