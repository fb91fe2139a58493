#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every family's parameters, as `wload plan --json` says how to make them, are the reference's.

usage: plans_agree.py [FAMILY…]    (of scripts/make-checkpoint --list)

As families_agree.py, but that the plan is carried out by plan_steps.py and no byte by wload: what is
wrong here is a plan, what is wrong there alone the loading. And plans of the checkpoint's own names,
against family_own.py."""

import itertools
import json
import os
import subprocess
import sys
import tempfile

try:
    import family_ranks
    import plan_steps
    import thin
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

sys.path.insert(0, os.path.join(family_ranks.ROOT, "scripts"))
import family_own  # noqa: E402
import family_reference  # noqa: E402
import wload_families  # noqa: E402
import wload_writer  # noqa: E402

MODELS = {"fused": family_reference.Model, "hf": family_own.Own}
FAMILIES = [n for n in wload_families.FAMILIES if n.startswith("tiny-")]


def check(folder, tensors, config, names, layout, tp, rank, ep):
    """What is wrong with one rank; None: nothing; "": it is refused, as it must."""
    done = subprocess.run([family_ranks.WLOAD, "plan", folder, "--json", "--tp", str(tp), "--rank",
                           str(rank), "--ep", str(ep), "--layout", layout, "--names", names],
                          capture_output=True, text=True, check=False)
    try:
        want = MODELS[names](tensors, config, layout, tp, rank, ep).load()
    except family_reference.Impossible:
        said = f"rank {rank} of {tp}: tensor '" in done.stderr and "dimension" in done.stderr
        return "" if done.returncode == 1 and said else done.stderr or "it is not refused"
    if done.returncode or done.stderr:
        return done.stderr or f"exit {done.returncode}"
    plan = json.loads(done.stdout)
    return plan["note"] or family_reference.difference(want, plan_steps.parameters(plan, folder))


def check_ways(folder, config, has_experts):
    tensors = family_reference.read(folder)
    for names, layout, tp in itertools.product(MODELS, ("trtllm", "vllm"), family_ranks.RANKS):
        for ep in (1, 2) if tp % 2 == 0 and has_experts else (1,):
            what = f"{names}, {layout}, tp {tp}, ep {ep}"
            if not thin.takes(f"{os.path.basename(folder)} {what}"):
                continue
            wrong = {r: check(folder, tensors, config, names, layout, tp, r, ep)
                     for r in family_ranks.RANKS[tp]}
            refused = ", refused" if "" in wrong.values() else ""
            yield ("; ".join(f"rank {r}: {w.strip()}" for r, w in wrong.items() if w), what + refused)


def main():
    ran = failed = 0
    for name in sys.argv[1:] or FAMILIES:
        config, tensors = wload_families.build(name)
        with tempfile.TemporaryDirectory() as top:
            folder = os.path.join(top, name)
            os.mkdir(folder)
            wload_writer.write_checkpoint(folder, list(wload_writer.sized(tensors)), 1 << 20)
            wload_writer.write_json(os.path.join(folder, "config.json"), config)
            experts = any(".experts." in t[0] for t in tensors)
            for wrong, what in check_ways(folder, config, experts):
                ran += 1
                failed += bool(wrong)
                print(f"{'not ok' if wrong else 'ok'} {ran} - {name}, {what}"
                      f"{' # ' + wrong if wrong else ''}", flush=True)
    thin.tell()
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
