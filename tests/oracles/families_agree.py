#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every family's parameters, as `wload load --device host --out` writes them, are the reference's.

usage: families_agree.py [FAMILY…]    (of scripts/make-checkpoint --list)

Of each family a small checkpoint of its true structure, whose every 8 bytes tell where they belong;
1, 2, 3, 4 and 8 ranks, experts shared out among 1 and 2 of them, both layouts; compared name by
name and byte by byte with family_reference.py. What the reference asserts against, wload refuses
before it reads, naming tensor, dimension and rank."""

import os
import sys
import tempfile

try:
    import family_ranks
    import thin
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

sys.path.insert(0, os.path.join(family_ranks.ROOT, "scripts"))
import wload_families  # noqa: E402
import wload_writer  # noqa: E402

FAMILIES = [n for n in wload_families.FAMILIES if n.startswith("tiny-")]


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
            for wrong, what in family_ranks.check_ways(folder, config, experts):
                ran += 1
                failed += bool(wrong)
                print(f"{'not ok' if wrong else 'ok'} {ran} - {name}, {what}"
                      f"{' # ' + wrong.strip() if wrong else ''}", flush=True)
    thin.tell()
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
