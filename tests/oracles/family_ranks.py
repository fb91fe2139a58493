# SPDX-License-Identifier: Apache-2.0
"""Loads ranks of a checkpoint with `wload load --device host --out`, and compares each parameter with
what family_reference.py makes of it: names, types, shapes, bytes."""

import concurrent.futures
import os
import shutil
import subprocess

import family_reference
import thin

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WLOAD = os.path.join(ROOT, "build", os.environ.get("BUILD", "release"), "wload")
DEVICE = os.environ.get("WLOAD_DEVICE", "host")  # "cuda": what a GPU holds is compared
RANKS = {1: (0,), 2: (0, 1), 3: (0, 1, 2), 4: (0, 1, 2, 3), 8: (0, 3, 7)}


def load(folder, out, layout, tp, rank, ep, *more):
    return subprocess.run([WLOAD, "load", folder, "--device", DEVICE, "--quiet", "--verify",
                           "--out", out, "--tp", str(tp), "--rank", str(rank), "--ep", str(ep),
                           "--layout", layout, *more], capture_output=True, text=True, check=False)


def check(folder, tensors, config, layout, tp, rank, ep):
    """What is wrong with one rank; None: nothing; "": it is refused, as it must."""
    out = f"{folder}.{layout}.{tp}.{rank}.{ep}"
    done = load(folder, out, layout, tp, rank, ep)
    try:
        want = family_reference.Model(tensors, config, layout, tp, rank, ep).load()
    except family_reference.Impossible:
        said = f"rank {rank} of {tp}: tensor '" in done.stderr and "dimension" in done.stderr
        return "" if done.returncode == 1 and said and not os.path.exists(out) else done.stderr
    if done.returncode or done.stderr:
        return done.stderr or f"exit {done.returncode}"
    wrong = family_reference.difference(want, family_reference.read(out))
    shutil.rmtree(out)
    return wrong


def check_ranks(folder, config, layout, tp, ep):
    """The ranks of one way to split; gives (what is wrong or None, how many were refused)."""
    tensors, refused = family_reference.read(folder), 0
    for rank in RANKS[tp]:
        wrong = check(folder, tensors, config, layout, tp, rank, ep)
        if wrong:
            return f"rank {rank}: {wrong}", refused
        refused += wrong == ""
    return None, refused


def check_ways(folder, config, has_experts):
    """The ways to split a checkpoint that thin.py takes; yields (wrong or None, what was done)."""
    ways = [(layout, tp, ep) for layout in ("trtllm", "vllm") for tp in RANKS
            for ep in ((1, 2) if tp % 2 == 0 and has_experts else (1,))]
    ways = [w for w in ways if thin.takes(f"{os.path.basename(folder)} {w}")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda way: check_ranks(folder, config, *way), ways)
        for (layout, tp, ep), (wrong, refused) in zip(ways, results):
            yield wrong, f"{layout}, tp {tp}, ep {ep}{', refused' if refused else ''}"
