#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A model computes the same from a mount, and from its ranks put together again.

usage: torch_forward.py [CONFIG…]     (such as LlamaConfig; all that this transformers has)

Of each family a small model with random weights, saved by transformers and mounted by a wloadfs of
its own. Then, with the folder as it was saved as the reference:

  - from_pretrained() of the mount's root gives the same logits, bit for bit;
  - so does it of ranks/0, where that is the only rank and its names are the checkpoint's own;
  - every rank of 1, 2 and 4, in both layouts, is loaded from the mount by `wload load --out`; the
    ranks un-fused and put together again by rank_rebuild.py are the original, byte for byte, and what
    is written of that as a checkpoint gives the same logits;
  - all ranks/R of a mount for so many ranks, fused or by the checkpoint's own names, read with
    safetensors' safe_open, come back to the original in the same way.

A control shows that a model of ranks in the wrong order is found. Prints TAP; exit 77 without torch
or transformers, or where nothing can be mounted."""

import concurrent.futures
import gc
import json
import os
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
try:
    import torch
    import transformers
    import safetensors
    import family_ranks
    import family_reference
    import rank_rebuild
    import torch_models
    import write_tensors
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

sys.path.insert(0, os.path.join(family_ranks.ROOT, "tests/bench"))
import mounts  # noqa: E402
import processes  # noqa: E402

WLOADFS = os.path.join(os.path.dirname(family_ranks.WLOAD), "wloadfs")
RANKS = ((1, 1), (2, 1), (4, 1), (4, 2))  # of how many, among how many of them experts are shared out
WAYS = [(layout, tp, ep) for layout in ("trtllm", "vllm") for tp, ep in RANKS]
FILES = [(layout, names, tp, ep) for layout, names in
         (("trtllm", "fused"), ("vllm", "fused"), ("trtllm", "hf")) for tp, ep in RANKS]
MORE_EXPERTS = (4, 1)  # as many experts on each rank of four, which files need not show again
BITS = {"BF16": torch.int16, "F32": torch.int32}
# The plain code of attention and experts: it has no wishes about sizes.
EAGER = {"attn_implementation": "eager"}
if transformers.__version__.split(".")[0] != "4":
    EAGER["experts_implementation"] = "eager"
POSSIBLE = {"Qwen2Config": {"num_key_value_heads": 2}}  # three heads are for no rank of two
ran = failed = 0


def ok(wrong, what):
    global ran, failed
    ran += 1
    failed += bool(wrong)
    print(f"{'not ok' if wrong else 'ok'} {ran} - {what}{f' # {wrong}' if wrong else ''}", flush=True)


def logits(auto, folder):
    model = auto.from_pretrained(folder, **EAGER)
    model = getattr(model, "language_model", model)  # of one with images what computes text
    with torch.no_grad():
        return model.eval()(torch.arange(3, 3 + 16)[None] * 7 % 199).logits


def difference(want, got):
    """What is wrong with logits, or None."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"logits are {got.dtype} {tuple(got.shape)}"
    if not torch.equal(got, want):
        return f"{int((got != want).sum())} of {want.numel()} logits differ"
    return None


def load_rank(mount, out, layout, tp, rank, ep):
    done = family_ranks.load(mount, out, layout, tp, rank, ep, "--no-consume")
    if done.returncode or done.stderr:
        raise rank_rebuild.Contradiction(f"rank {rank}: {done.stderr.strip() or done.returncode}")
    return family_reference.read(out)


def load_ranks(mount, top, layout, tp, ep):
    """Every rank as wload wrote it, in their order."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda rank: load_rank(
            mount, os.path.join(top, f"{layout}.{tp}.{rank}.{ep}"), layout, tp, rank, ep), range(tp)))


def read_rank(folder):
    """{name: (data type, array)} of a checkpoint, as safetensors reads it."""
    with open(os.path.join(folder, "model.safetensors.index.json"), encoding="utf-8") as f:
        files = json.load(f)["weight_map"]
    found = {}
    for file in sorted(set(files.values())):
        with safetensors.safe_open(os.path.join(folder, file), "pt") as f:
            for name in f.keys():
                bits = BITS[f.get_slice(name).get_dtype()]
                found[name] = (f.get_slice(name).get_dtype(),
                               f.get_tensor(name).view(bits).numpy().copy())
    if found.keys() != files.keys():
        raise rank_rebuild.Contradiction("the index has other names than the files")
    return found


def write_copy(tensors, folder, copy):
    """A checkpoint of tensors, with all else that a folder has."""
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors*"))
    write_tensors.write(os.path.join(copy, "model.safetensors"), tensors)


class Checkpoint:
    """A saved model, what it computes, and where it is mounted."""

    def __init__(self, top, folder, family):
        self.top, self.folder, self.family = top, folder, family
        self.config = torch_models.save(family, folder)
        self.tensors = family_reference.read(folder)
        self.logits = logits(torch_models.auto(family.config), folder)
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again takes most of the time

    def logits_differ(self, folder):
        got = logits(torch_models.auto(self.family.config), folder)
        gc.collect()  # mappings of a mount go before it does: a model holds itself
        return difference(self.logits, got)

    def rebuild(self, ranks, layout, ep, names="fused"):
        return rank_rebuild.Rebuild(ranks, self.config, layout, self.tensors, ep,
                                    names == "hf").load()

    def has_experts(self):
        return any(".experts." in tensor for tensor in self.tensors)

    def check_loads(self, mount, name):
        for layout, tp, ep in WAYS:
            if ep == 1 or self.has_experts():
                ok(self.check_load(mount, layout, tp, ep),
                   f"{name}: {layout}, tp {tp}, ep {ep}, loaded and put together again")

    def check_load(self, mount, layout, tp, ep):
        """What is wrong with the ranks put together, or None."""
        with tempfile.TemporaryDirectory(dir=self.top) as top:
            try:
                tensors = self.rebuild(load_ranks(mount, top, layout, tp, ep), layout, ep)
            except rank_rebuild.Contradiction as e:
                return str(e)
            wrong = family_reference.difference(self.tensors, tensors)
            if wrong:
                return wrong
            copy = os.path.join(top, "copy")
            write_copy(tensors, self.folder, copy)
            return self.logits_differ(copy)

    def check_files(self, daemons, point, name):
        for layout, names, tp, ep in FILES:
            if (tp, ep) == (MORE_EXPERTS if self.has_experts() else (4, 2)):
                continue
            options = f"tp={tp},ep={ep},layout={layout},names={names}"
            with mounts.Mount(daemons, [WLOADFS, "-f", "-o", options, self.folder, point], point):
                ok(self.check_ranks(point, layout, names, tp, ep), f"{name}: ranks/ of -o {options}")
                if names == "hf" and tp == 1:
                    ok(self.logits_differ(os.path.join(point, "ranks/0")),
                       f"{name}: the same from ranks/0 of -o {options}")
                gc.collect()

    def check_ranks(self, point, layout, names, tp, ep):
        try:
            ranks = [read_rank(os.path.join(point, "ranks", str(rank))) for rank in range(tp)]
            tensors = self.rebuild(ranks, layout, ep, names)
        except rank_rebuild.Contradiction as e:
            return str(e)
        return family_reference.difference(self.tensors, tensors)

    def check_control(self, mount):
        """Ranks in the wrong order are another model, of other logits."""
        with tempfile.TemporaryDirectory(dir=self.top) as top:
            ranks = load_ranks(mount, top, "trtllm", 2, 1)
            tensors = self.rebuild(ranks[::-1], "trtllm", 1)
            copy = os.path.join(top, "copy")
            write_copy(tensors, self.folder, copy)
            if not family_reference.difference(self.tensors, tensors):
                return "its tensors are the same"
            return None if self.logits_differ(copy) else "its logits are the same"


def check(family, daemons):
    with tempfile.TemporaryDirectory() as top:
        folder, point = os.path.join(top, family.name), os.path.join(top, "mnt")
        checkpoint = Checkpoint(top, folder, family)
        ok(None if torch.isfinite(checkpoint.logits.float()).all() else "some are not finite",
           f"{family.name}: logits of {len(checkpoint.tensors)} tensors")
        with mounts.Mount(daemons, [WLOADFS, "-f", folder, point], point):
            ok(checkpoint.logits_differ(point), f"{family.name}: the same from a mount")
            checkpoint.check_loads(point, family.name)
            if family.config == "LlamaConfig":
                ok(checkpoint.check_control(point), f"{family.name}: ranks in the wrong order")
            gc.collect()
        checkpoint.check_files(daemons, point, family.name)


def main():
    reason = mounts.fuse_reason()
    if reason:
        print(f"1..0 # SKIP {reason}")
        sys.exit(77)
    torch.set_num_threads(1)
    daemons = processes.Processes()
    try:
        for family in torch_models.families(sys.argv[1:], POSSIBLE):
            check(family, daemons)
    finally:
        daemons.stop_all()
    print(f"1..{ran}")
    sys.exit(1 if failed or not ran else 0)


main()
