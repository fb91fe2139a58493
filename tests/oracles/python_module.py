#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""loader/python/wload.py gives what the safetensors package reads, fused, and lives as long as asked.

The oracles are the packages safetensors (bytes, shapes, types) and numpy (joins them; imports
DLPack). Struct layouts are compared with what the C compiler says (tests/tools/abi.c)."""

import ctypes
import errno
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

try:
    import numpy as np
    from safetensors import deserialize, safe_open
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", os.environ.get("BUILD", "release"))
os.environ["WLOAD_LIBRARY"] = os.path.join(BUILD, "libwload.so")

sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import sanitizer  # noqa: E402

preload = sanitizer.environment(os.environ.get("BUILD"))
if preload and "LD_PRELOAD" not in os.environ:
    os.environ.update(preload)
    os.execv(sys.executable, [sys.executable, *sys.argv])

sys.modules["torch"] = None  # NumPy's arrays are what is compared here, wherever this runs
sys.path.insert(0, os.path.join(ROOT, "loader", "python"))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import wload  # noqa: E402
import wload_families  # noqa: E402
import wload_writer  # noqa: E402

ran = failed = 0
RNG = np.random.default_rng(7)
HIDDEN, FFN, KV = 48, 80, 16


def ok(passed, what):
    global ran, failed
    ran += 1
    failed += not passed
    print(f"{'ok' if passed else 'not ok'} {ran} - {what}", flush=True)


def raises(kind, call, what, code=None):
    try:
        call()
    except kind as e:
        ok(code is None or e.errno == code, f"{what}: {e}")
    else:
        ok(False, f"{what}: raises {kind.__name__}")


# type -> bits, and what numpy sees of it
TYPES = {"U8": (8, "|u1"), "I8": (8, "|i1"), "I16": (16, "<i2"), "U16": (16, "<u2"),
         "F16": (16, "<f2"), "BF16": (16, "<u2"), "I32": (32, "<i4"), "U32": (32, "<u4"),
         "F32": (32, "<f4"), "F64": (64, "<f8"), "I64": (64, "<i8"), "U64": (64, "<u8"),
         "C64": (64, "<c8"), "BOOL": (8, "|b1"), "F8_E5M2": (8, "|u1"), "F8_E4M3": (8, "|u1"),
         "F8_E8M0": (8, "|u1"), "F4": (4, None), "F6_E2M3": (6, None)}
FUSED = {"self_attn.qkv_proj": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
         "mlp.gate_up_proj": ["mlp.gate_proj", "mlp.up_proj"]}


def inventory():
    """A Llama of two layers, a tensor of every type, odd shapes and names."""
    for layer in range(2):
        base = f"model.layers.{layer}."
        for name, rows, columns in (
                ("self_attn.q_proj", HIDDEN, HIDDEN), ("self_attn.k_proj", KV, HIDDEN),
                ("self_attn.v_proj", KV, HIDDEN), ("self_attn.o_proj", HIDDEN, HIDDEN),
                ("mlp.gate_proj", FFN, HIDDEN), ("mlp.up_proj", FFN, HIDDEN),
                ("mlp.down_proj", HIDDEN, FFN)):
            yield base + name + ".weight", "BF16", [rows, columns]
        yield base + "input_layernorm.weight", "F32", [HIDDEN]
    for dtype in TYPES:
        yield f"types.{dtype}", dtype, [3, 8]
    yield "shapes.scalar", "F32", []
    yield "shapes.empty", "F32", [0, 4]
    yield "names.a/b %\n\0ü", "F32", [2]


def checkpoint(folder):
    header, data = {}, b""
    for name, dtype, shape in inventory():
        size = int(np.prod(shape)) * TYPES[dtype][0] // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(RNG.integers(0, 2, size, "u1")) if dtype == "BOOL" else RNG.bytes(size)
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + data)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"model_type": "llama", "num_attention_heads": 6, "num_key_value_heads": 2}, f)


def expected(folder):
    """name -> array, as an engine wants them: read by safetensors, joined by numpy."""
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        read = dict(deserialize(f.read()))
    arrays = {}
    for name, t in read.items():
        bits, typestr = TYPES[t["dtype"]]
        shape = t["shape"] if typestr else [*t["shape"][:-1], t["shape"][-1] * bits // 8]
        arrays[name] = np.frombuffer(bytes(t["data"]), typestr or "|u1").reshape(shape)
    for layer in range(2):
        base = f"model.layers.{layer}."
        for into, parts in FUSED.items():
            arrays[f"{base}{into}.weight"] = np.concatenate(
                [arrays.pop(f"{base}{part}.weight") for part in parts])
    return arrays


# ---- what is compared ---------------------------------------------------------------------------


def check_abi():
    structs = {"struct wload_error": wload.CError, "struct wload_progress": wload.CProgress,
               "struct wload_load_options": wload.CLoadOptions,
               "struct wload_module": wload.CModule,
               "struct wload_sample": wload.CSample,
               "struct wload_report": wload.CReport, "struct wload_loaded": wload.CLoaded,
               "struct wload_dtype_desc": wload.CDtypeDesc, "DLDevice": wload.CDevice,
               "DLDataType": wload.CDataType, "DLTensor": wload.CTensor,
               "DLManagedTensor": wload.CManagedTensor}
    lines = subprocess.run([os.path.join(BUILD, "tests", "abi")], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    seen = {name: set() for name in structs}
    for line in lines:
        name, field, offset, size = line.rsplit(" ", 3)
        struct = structs[name]
        if field == "-":
            ok(ctypes.sizeof(struct) == int(size), f"layout: {name} has {size} bytes")
            continue
        seen[name].add(field)
        laid = getattr(struct, field)
        if (laid.offset, laid.size) != (int(offset), int(size)):
            ok(False, f"layout: {name}.{field} is at {offset}, {size} bytes")
    for name, struct in structs.items():
        if seen[name]:
            ok(seen[name] == {field[0] for field in struct._fields_}, f"layout: {name}'s fields")


def same(got, want):
    return (got.dtype == want.dtype and got.shape == want.shape
            and got.tobytes() == want.tobytes())


def check_arrays(folder, want):
    weights = wload.load(folder, device="host")
    ok(set(weights) == set(want), "names")
    different = [name for name in want if not same(np.asarray(weights[name]), want[name])]
    ok(not different, f"every array equals safetensors' own, fused ({different})")
    ok(all(a.flags.writeable and a.flags.c_contiguous for a in weights.values()),
       "arrays can be written")
    ok(weights.report["device"] == "host" and not weights.report["mount"]
       and weights.report["parameters"] == len(want) and weights.report["consumed_tensors"] == 0
       and weights.report["unused"] == [], "report")
    name = "model.layers.0.mlp.down_proj.weight"
    with safe_open(os.path.join(folder, "model.safetensors"), "numpy") as f:
        ok(tuple(weights.parameters[name].shape) == tuple(f.get_slice(name).get_shape())
           and weights.parameters[name].dtype == f.get_slice(name).get_dtype(),
           "shape and type are those of safe_open")


def check_rank(folder):
    """One of three ranks: numpy's slices of each source, joined. The types.* are of no split rule."""
    raises(wload.Error, lambda: wload.load(folder, device="host", tp=2, rank=1),
           "a tensor that no rule splits is refused", errno.EOPNOTSUPP)
    raises(wload.Error, lambda: wload.load(folder, device="host", tp=2, rank=2),
           "a rank past the last is refused", errno.EINVAL)
    for name, number in (("tp", 0), ("tp", -1), ("tp", 2**32 + 1), ("rank", -1), ("rank", 2**32),
                         ("staging", -1), ("staging", 2**64), ("threads", -1), ("threads", 2**32)):
        raises(ValueError, lambda n=name, v=number: wload.load(folder, device="host", **{n: v}),
               f"{name}={number} is refused, not cut off")
    raises(TypeError, lambda: wload.load(folder, device="host", tp=2.0), "tp=2.0 is refused")
    with tempfile.TemporaryDirectory() as top:
        rules = os.path.join(top, "rules.json")
        with open(rules, "w", encoding="utf-8") as f:
            json.dump({"family": "f", "model_types": ["m"], "split": [
                {"modules": ["types", "shapes"], "along": "whole"},
                {"modules": ["q_proj", "k_proj", "v_proj"], "along": "column"},
                {"modules": ["gate_proj", "up_proj"], "along": "vocab"},
                {"modules": ["o_proj", "down_proj"], "along": "row"}]}, f)
        weights = wload.load(folder, device="host", tp=3, rank=2, rules=rules)
        whole = wload.load(folder, device="host", rules=rules)
    different = []
    for name, array in whole.items():
        module = name.split(".")[-2]
        if module in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"):
            array = array[2 * -(-len(array) // 3):]
        elif module in ("o_proj", "down_proj"):
            array = array[:, 2 * -(-array.shape[1] // 3):]
        if not same(np.asarray(weights[name]), array):
            different.append(name)
    ok(not different and weights.report["tp"] == 3 and weights.report["rank"] == 2,
       f"rank 2 of 3 is numpy's slices ({different})")


def check_experts():
    """Stacked experts, by layout and by rank."""
    with tempfile.TemporaryDirectory() as folder:
        config, tensors = wload_families.build("tiny-mixtral")
        wload_writer.write_checkpoint(folder, list(wload_writer.sized(tensors)), 1 << 20)
        wload_writer.write_json(os.path.join(folder, "config.json"), config)
        stem, half = "model.layers.0.block_sparse_moe.experts.", config["intermediate_size"]
        up_first = wload.load(folder, device="host")
        gate_first = wload.load(folder, device="host", layout="vllm")
        second = wload.load(folder, device="host", tp=2, rank=1, ep=2)
        own = wload.load(folder, device="host", tp=2, rank=1, names="hf")
        ok(same(np.asarray(own[stem + "0.w1.weight"]),
                np.asarray(wload.load(folder, device="host", names="hf")[stem + "0.w1.weight"])
                [half // 2:]) and stem + "w3_w1_weight" not in own,
           "names: a rank's part of the checkpoint's own tensors")
        raises(ValueError, lambda: wload.load(folder, device="host", names="own"),
               "unknown names are refused")
        raises(wload.Error, lambda: wload.load(folder, device="host", ep=2),
               "ep without ranks is refused")
        raises(ValueError, lambda: wload.load(folder, device="host", layout="sglang"),
               "an unknown layout is refused")
        raises(wload.Error, lambda: wload.load(folder, device="host", dequantise=True, swizzle=True),
               "to dequantise and to swizzle is refused")
    mine, other = (np.asarray(w[stem + n]) for w, n in ((up_first, "w3_w1_weight"),
                                                        (gate_first, "w13_weight")))
    ok(same(mine[:, :half], other[:, half:]) and same(mine[:, half:], other[:, :half]),
       "layouts: rows of up and gate change places")
    ok(same(np.asarray(second[stem + "w3_w1_weight"]), mine[2:]), "ep: the second half of them")
    ok((gate_first.report["layout"], second.report["ep"]) == ("vllm", 2), "both are in the report")


def check_dlpack(folder, want):
    """The C export, through numpy's importer."""
    weights = wload.load(folder, device="host")
    for kind in ("float32", "bits of what numpy lacks"):
        parameters = {n: p.bits() if kind != "float32" else p
                      for n, p in weights.parameters.items()
                      if (p.dtype == "F32") == (kind == "float32") and TYPES[p.dtype][1]}
        if np.lib.NumpyVersion(np.__version__) < "1.25.0":
            parameters = {n: p for n, p in parameters.items() if p.dtype != "BOOL"}
        different = [n for n, p in parameters.items() if not same(np.from_dlpack(p), want[n])]
        ok(parameters and not different, f"np.from_dlpack: {kind} ({different})")
    shared = np.from_dlpack(weights.parameters["types.F64"])
    ok(shared.ctypes.data == weights["types.F64"].ctypes.data, "np.from_dlpack: no copy")
    raises(BufferError, lambda: weights.parameters["types.I8"].__dlpack__(copy=True),
           "a copy is refused")


def count_unrefs():
    """Counts what the library frees, by the number of loads that live."""
    live = set()
    real = wload._Load.__init__

    def counted(self, pointer):
        real(self, pointer)
        key = id(self)
        live.add(key)
        wload.weakref.finalize(self, live.discard, key)

    wload._Load.__init__ = counted
    return live


def check_lifetime(folder, want):
    name = "model.layers.1.self_attn.qkv_proj.weight"
    live = count_unrefs()
    weights = wload.load(folder, device="host")
    array = weights[name]
    del weights
    gc.collect()
    ok(len(live) == 1 and same(array, want[name]), "an array outlives its dict")
    part = array[3:5, 1:]
    del array
    gc.collect()
    ok(len(live) == 1 and same(np.ascontiguousarray(part),
                               np.ascontiguousarray(want[name][3:5, 1:])), "a slice outlives both")
    del part
    gc.collect()
    ok(not live, "the last one frees the load")

    weights = wload.load(folder, device="host")
    weights.clear()
    gc.collect()
    imported = np.from_dlpack(weights.parameters[name].bits())
    capsule = weights.parameters[name].bits().__dlpack__()
    del weights
    gc.collect()
    ok(same(imported, want[name]), "what DLPack imported outlives everything of ours")
    ok(not live, "and then the library alone counts")
    del capsule  # never consumed: its destructor drops the reference
    gc.collect()
    ok(same(imported, want[name]), "a capsule that nobody took is dropped")
    del imported

    loads = [wload.load(folder, device="host") for _ in range(3)]
    first = [w[name] for w in loads]
    del loads[1], first[0]
    gc.collect()
    ok(all(same(a, want[name]) for a in first), "several loads, dropped in another order")


def check_failures(folder, empty):
    raises(wload.Error, lambda: wload.load(empty, device="host"), "an empty folder", 2)
    raises(wload.Error, lambda: wload.load(folder, device="gpu"), "a device of no kind", 22)
    raises(ImportError, lambda: wload.load(folder, device="cuda"), "cuda without torch")
    raises(wload.Error, lambda: wload.load(folder, device="host", rules="/nonexistent"),
           "rules that are not there", 2)
    for what, arguments in {"path": {"path": folder + "\0x"}, "device": {"device": "host\0x"},
                            "out": {"out": folder + ".out\0x"},
                            "rules": {"rules": "/dev/null\0x"}}.items():
        raises(ValueError, lambda a=arguments: wload.load(
            **{"path": folder, "device": "host", **a}), f"a zero byte in {what}")
    raises(ValueError, lambda: wload.mark_consumed(folder + "\0x", "model"), "and of a mount")
    raises(wload.Error, lambda: wload.mark_consumed(folder, "model"), "not a mount", 19)
    raises(wload.Error, lambda: wload.restore(folder), "not a mount either", 19)
    ok(not wload.load(folder, device="null"), "null gives no arrays")
    told = []
    wload.load(folder, device="host", progress=told.append)
    ok(told and told[-1].bytes_read == told[-1].bytes_total > 0, "progress is told")

    def stop(_):
        raise RuntimeError("enough")
    raises(RuntimeError, lambda: wload.load(folder, device="host", progress=stop),
           "an exception in progress ends the load")


def check_modules(folder, want):
    seen, kept = {}, []

    def engine(module, parameters):
        ok_names = all(n.rpartition(".")[0] == module for n in parameters)
        seen.update({n: (ok_names and same(a, want[n]), a) for n, a in parameters.items()})

    weights = wload.load(folder, device="host", on_module=engine)
    ok(set(seen) == set(want) and all(right for right, _ in seen.values()),
       "on_module: every parameter, with its module")
    ok(all(np.shares_memory(seen[n][1], a) for n, a in weights.items() if a.size),
       "on_module: the memory that the load gives")

    def refuse(module, parameters):
        kept.extend(parameters.items())
        raise RuntimeError("enough")
    raises(RuntimeError, lambda: wload.load(folder, device="host", on_module=refuse),
           "an exception in on_module ends the load")
    gc.collect()
    ok(kept and all(same(a, want[n]) for n, a in kept), "what it kept is its own")


class Counted:
    """Stands in for the library's wload_load() and wload_load_unref(), and counts."""

    def __init__(self, after_load):
        self.loaded = self.dropped = 0
        self._after_load = after_load
        self._real = wload._lib.wload_load, wload._lib.wload_load_unref

    def load(self, *arguments):
        code = self._real[0](*arguments)
        self.loaded += code >= 0
        self._after_load()
        return code

    def drop(self, pointer):
        self.dropped += 1
        self._real[1](pointer)

    def __enter__(self):
        wload._lib.wload_load, wload._lib.wload_load_unref = self.load, self.drop
        return self

    def __exit__(self, *exception):
        wload._lib.wload_load, wload._lib.wload_load_unref = self._real


def until(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)


def check_interrupts(folder):
    calls, interrupts, told = [], [], []
    real = wload._Call.__init__

    def handler(number, frame):
        interrupts.append(number)
        raise KeyboardInterrupt

    def remembered(self, *arguments):
        real(self, *arguments)
        calls.append(self)

    def interrupt(count=1):
        """Ctrl-C, from the load's thread, so many times; each is seen before the next."""
        interrupts.clear()
        for each in range(count):
            os.kill(os.getpid(), signal.SIGINT)
            until(lambda: len(interrupts) > each and calls[-1]._stopped)

    def check(what, loads, progress=None, after_load=lambda: None):
        with Counted(after_load) as counted:
            raises(KeyboardInterrupt, lambda: wload.load(folder, "host", progress=progress),
                   f"Ctrl-C {what}")
            for thread in threading.enumerate():
                if thread.name == "wload":
                    thread.join(20)
            ok(counted.loaded == counted.dropped == loads, f"and no load is left: {what}")

    def tell(now):
        told.append(now)
        if len(told) == 1:
            interrupt()

    wload._Call.__init__ = remembered
    old = signal.signal(signal.SIGINT, handler)
    check("in a load stops it", 0, progress=tell)
    ok(len(told) == 1, "and progress is told no more")
    check("that comes too late drops what was loaded", 1, after_load=interrupt)
    check("twice does not wait, the load drops itself", 1, after_load=lambda: interrupt(2))
    signal.signal(signal.SIGINT, old)
    wload._Call.__init__ = real


def check_out(folder, empty, want):
    out = os.path.join(empty, "out")
    wload.load(folder, device="host", out=out, verify=True)
    again = wload.load(out, device="host")
    ok(set(again) == set(want) and all(same(again[n], want[n]) for n in want),
       "what was written loads as it was")


def main():
    with tempfile.TemporaryDirectory() as top:
        folder, empty = os.path.join(top, "checkpoint"), os.path.join(top, "empty")
        os.mkdir(folder)
        os.mkdir(empty)
        checkpoint(folder)
        want = expected(folder)
        check_abi()
        check_arrays(folder, want)
        check_rank(folder)
        check_experts()
        check_dlpack(folder, want)
        check_lifetime(folder, want)
        check_modules(folder, want)
        check_failures(folder, empty)
        check_interrupts(folder)
        check_out(folder, empty, want)
    print(f"1..{ran}")
    sys.exit(1 if failed else 0)


main()
