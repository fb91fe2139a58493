#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every family's parameters, as `wload load --device host --out` writes them, are the reference's.

usage: families_agree.py [FAMILY…]    (of scripts/make-checkpoint --list)

Of each family a small checkpoint of its true structure, whose every 8 bytes tell where they belong;
1, 2, 3, 4 and 8 ranks, experts shared out among 1 and 2 of them, both layouts; compared name by
name and byte by byte with family_reference.py. What the reference asserts against, wload refuses
before it reads, naming tensor, dimension and rank."""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import family_reference
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import wload_families  # noqa: E402
import wload_writer  # noqa: E402

WLOAD = os.path.join(ROOT, "build", os.environ.get("BUILD", "release"), "wload")
RANKS = {1: (0,), 2: (0, 1), 3: (0, 1, 2), 4: (0, 1, 2, 3), 8: (0, 3, 7)}
FAMILIES = [n for n in wload_families.FAMILIES if n.startswith("tiny-")]
ran = failed = 0


def ok(passed, what):
    global ran, failed
    ran += 1
    failed += not passed
    print(f"{'ok' if passed else 'not ok'} {ran} - {what}", flush=True)


def load(folder, out, layout, tp, rank, ep):
    return subprocess.run([WLOAD, "load", folder, "--device", "host", "--quiet", "--verify",
                           "--out", out, "--tp", str(tp), "--rank", str(rank), "--ep", str(ep),
                           "--layout", layout], capture_output=True, text=True, check=False)


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


def check_all(folder, config, layout, tp, ep):
    """The ranks of one way to split; gives (what is wrong or None, how many were refused)."""
    tensors, refused = family_reference.read(folder), 0
    for rank in RANKS[tp]:
        wrong = check(folder, tensors, config, layout, tp, rank, ep)
        if wrong:
            return f"rank {rank}: {wrong}", refused
        refused += wrong == ""
    return None, refused


def check_family(name, top):
    config, tensors = wload_families.build(name)
    folder = os.path.join(top, name)
    os.mkdir(folder)
    wload_writer.write_checkpoint(folder, list(wload_writer.sized(tensors)), 1 << 20)
    wload_writer.write_json(os.path.join(folder, "config.json"), config)
    ways = [(layout, tp, ep) for layout in ("trtllm", "vllm") for tp in RANKS
            for ep in ((1, 2) if tp % 2 == 0 and any(".experts." in t[0] for t in tensors)
                       else (1,))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda way: check_all(folder, config, *way), ways)
        for (layout, tp, ep), (wrong, refused) in zip(ways, results):
            ok(not wrong, f"{name}, {layout}, tp {tp}, ep {ep}{', refused' if refused else ''}"
                          f"{' # ' + wrong.strip() if wrong else ''}")
    shutil.rmtree(folder)


def main():
    with tempfile.TemporaryDirectory() as top:
        for name in sys.argv[1:] or FAMILIES:
            check_family(name, top)
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
