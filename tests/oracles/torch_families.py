#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What transformers saves, wload loads as the reference would.

usage: torch_families.py [CONFIG…]     (such as LlamaConfig; all that this transformers has)

The small models of torch_models.py, then as families_agree.py."""

import os
import sys
import tempfile

try:
    import transformers  # noqa: F401  is what may be missing
    import family_ranks
    import thin
    import torch_models
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)


def main():
    ran = failed = 0
    for family in torch_models.families(sys.argv[1:]):
        with tempfile.TemporaryDirectory() as top:
            folder = os.path.join(top, family.name)
            config = torch_models.save(family, folder)
            experts = any("expert" in key for key in family.more)
            for wrong, what in family_ranks.check_ways(folder, config, experts):
                ran += 1
                failed += bool(wrong)
                print(f"{'not ok' if wrong else 'ok'} {ran} - {family.name}, {what}"
                      f"{' # ' + wrong.strip() if wrong else ''}", flush=True)
    thin.tell()
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
