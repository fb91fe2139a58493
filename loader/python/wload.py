# SPDX-License-Identifier: Apache-2.0
"""Loads a safetensors checkpoint, or a wloadfs mount, into torch tensors or NumPy arrays.

    import wload
    weights = wload.load("/mnt/weights", device="cuda")   # reads, fuses, uploads, consumes
    weights["model.layers.0.self_attn.qkv_proj.weight"]   # a torch tensor, nothing copied
    weights.report["peak_host_bytes"]

With torch, values are torch tensors of the true data type (bfloat16, float8_e4m3fn, …). Without, on
the host, they are NumPy arrays; what NumPy lacks is the unsigned integer of the same width, as in a
mount's npy/. Packed 4- and 6-bit floats are their bytes (uint8) in both.

The one idea: nothing is copied and nobody owns the memory alone. The C library counts references to
a load; every tensor holds one (torch through DLPack's deleter, NumPy through its base object), and
the dict another, so they may be dropped in any order.

No build: ctypes on libwload.so, looked for as $WLOAD_LIBRARY says, then beside this file, in an
installed tree, in a source tree's build/release, and where the system looks.
"""

import collections
import ctypes
import errno
import operator
import os
import threading
import weakref

__all__ = ["Error", "Progress", "Sample", "Weights", "load", "mark_consumed", "mark_consumed_keys",
           "release", "restore"]


class Error(OSError):
    """What libwload says: .errno and .strerror."""


# ---- the C library, as include/wloadfs/*.h declares it (tests/oracles/python_module.py compares) --


class CError(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class CProgress(ctypes.Structure):
    _fields_ = [("bytes_total", ctypes.c_uint64), ("bytes_read", ctypes.c_uint64),
                ("host_bytes", ctypes.c_uint64), ("consumed_bytes", ctypes.c_uint64),
                ("seconds", ctypes.c_double)]


PROGRESS_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.POINTER(CProgress))


class CModule(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("params", ctypes.POINTER(ctypes.c_uint32)),
                ("count", ctypes.c_uint32)]


MODULE_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
                                   ctypes.POINTER(CModule), ctypes.POINTER(CError))


RANK_OF_PATH = (1 << 32) - 1
IO = ("auto", "buffered", "direct")
LAYOUTS = ("trtllm", "vllm")
NAMES = ("fused", "hf")
DTYPES = ("bf16", "f16", "f32")


class CLoadOptions(ctypes.Structure):
    _fields_ = [("device", ctypes.c_char_p), ("keep", ctypes.c_bool), ("release", ctypes.c_bool),
                ("verify", ctypes.c_bool), ("verify_every", ctypes.c_uint32),
                ("out_dir", ctypes.c_char_p),
                ("rules", ctypes.c_void_p), ("staging_bytes", ctypes.c_uint64),
                ("threads", ctypes.c_uint), ("io", ctypes.c_int), ("tp", ctypes.c_uint32),
                ("rank", ctypes.c_uint32), ("ep", ctypes.c_uint32), ("layout", ctypes.c_int),
                ("names", ctypes.c_int), ("dequantise", ctypes.c_bool), ("swizzle", ctypes.c_bool),
                ("dtype", ctypes.c_int), ("apart", ctypes.c_bool),
                ("module_done", MODULE_FUNCTION), ("module_ctx", ctypes.c_void_p),
                ("progress", PROGRESS_FUNCTION),
                ("progress_ctx", ctypes.c_void_p)]


class CReport(ctypes.Structure):
    _fields_ = [("device", ctypes.c_char_p), ("family", ctypes.c_char_p),
                ("note", ctypes.c_char_p), ("mount", ctypes.c_bool), ("claims", ctypes.c_bool),
                ("tensors", ctypes.c_uint64), ("parameters", ctypes.c_uint64),
                ("bytes_read", ctypes.c_uint64), ("bytes_direct", ctypes.c_uint64),
                ("bytes_uploaded", ctypes.c_uint64), ("bytes_verified", ctypes.c_uint64),
                ("verify_every", ctypes.c_uint32), ("seconds", ctypes.c_double), ("bytes_per_second", ctypes.c_double),
                ("peak_host_bytes", ctypes.c_uint64), ("cgroup_peak_bytes", ctypes.c_uint64),
                ("consumed_tensors", ctypes.c_uint64), ("consumed_bytes", ctypes.c_uint64),
                ("checkpoint_bytes", ctypes.c_uint64), ("unused_tensors", ctypes.c_uint64),
                ("tp", ctypes.c_uint32), ("rank", ctypes.c_uint32), ("ep", ctypes.c_uint32),
                ("layout", ctypes.c_int)]


class CSample(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_double), ("host_bytes", ctypes.c_uint64),
                ("device_bytes", ctypes.c_uint64)]


class CLoaded(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("shape", ctypes.POINTER(ctypes.c_uint64)),
                ("rank", ctypes.c_uint32), ("dtype", ctypes.c_int), ("bytes", ctypes.c_uint64),
                ("device_ptr", ctypes.c_void_p)]


class CDtypeDesc(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("bits", ctypes.c_uint), ("numpy", ctypes.c_char_p),
                ("dlpack", ctypes.c_uint8)]


class CDevice(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class CDataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class CTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", CDevice), ("ndim", ctypes.c_int32),
                ("dtype", CDataType), ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]


class CManagedTensor(ctypes.Structure):
    pass


DELETER_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.POINTER(CManagedTensor))
CManagedTensor._fields_ = [("dl_tensor", CTensor), ("manager_ctx", ctypes.c_void_p),
                           ("deleter", DELETER_FUNCTION)]

DEVICE_NULL, DEVICE_HOST, DEVICE_CUDA = range(3)
DLPACK_CPU, DLPACK_CUDA = 1, 2
DLPACK_INT, DLPACK_UINT = 0, 1

_PTR, _STR, _ERR = ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(CError)
_OUT, _COUNT = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_uint64)
_PROTOTYPES = {
    "wload_dtype_describe": (ctypes.POINTER(CDtypeDesc), ctypes.c_int),
    "wload_dtype_parse": (ctypes.c_int, _STR, ctypes.POINTER(ctypes.c_int)),
    "wload_rules_load": (ctypes.c_int, _STR, _OUT, _ERR),
    "wload_rules_free": (None, _PTR),
    "wload_load": (ctypes.c_int, _STR, ctypes.POINTER(CLoadOptions), _OUT, _ERR),
    "wload_load_ref": (_PTR, _PTR),
    "wload_load_unref": (None, _PTR),
    "wload_load_report": (ctypes.POINTER(CReport), _PTR),
    "wload_load_device": (ctypes.c_int, _PTR, ctypes.POINTER(ctypes.c_int)),
    "wload_load_count": (ctypes.c_uint32, _PTR),
    "wload_load_param": (ctypes.POINTER(CLoaded), _PTR, ctypes.c_uint32),
    "wload_load_samples": (ctypes.POINTER(CSample), _PTR, ctypes.POINTER(ctypes.c_uint32)),
    "wload_load_unused": (_STR, _PTR, ctypes.c_uint32),
    "wload_load_dlpack": (ctypes.c_int, _PTR, ctypes.c_uint32, ctypes.c_bool, _OUT, _ERR),
    "wload_mount_open": (ctypes.c_int, _STR, _OUT, _ERR),
    "wload_mount_close": (None, _PTR),
    "wload_mark_consumed": (ctypes.c_int, _PTR, _STR, _COUNT, _ERR),
    "wload_mark_consumed_keys": (ctypes.c_int, _PTR, ctypes.POINTER(_STR), ctypes.c_size_t,
                                 _COUNT, _ERR),
    "wload_mount_restore": (ctypes.c_int, _PTR, _STR, _COUNT, _ERR),
    "wload_mount_release": (ctypes.c_int, _PTR, ctypes.c_uint32, _COUNT, _ERR),
}


def _candidates():
    named = os.environ.get("WLOAD_LIBRARY")
    if named:
        return [named]
    here = os.path.dirname(os.path.abspath(__file__))
    up = os.path.dirname
    return [path for path in (
        os.path.join(here, "libwload.so"),
        os.path.join(up(up(up(here))), "lib", "libwload.so.0"),    # PREFIX/share/wloadfs/python
        os.path.join(up(up(here)), "build", "release", "libwload.so"),
    ) if os.path.exists(path)] + ["libwload.so.0"]


def _open_library():
    path = _candidates()[0]
    try:
        lib = ctypes.CDLL(path)
    except OSError as e:
        raise ImportError(f"cannot load '{path}' (set WLOAD_LIBRARY to libwload.so): {e}") from None
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


_lib = _open_library()


def _check(code, err):
    if code < 0:
        raise Error(-code, err.text.decode("utf-8", "replace"))


def _to_name(raw):
    """A name of libwload's, where a NUL is C0 80, as a str."""
    return raw.replace(b"\xc0\x80", b"\0").decode("utf-8")


def _path_bytes(path):
    """A path, or a device, for C, which would take what is before a zero byte for all of it."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError(f"{path!r} has a zero byte")
    return encoded


def _from_name(name):
    return name.encode("utf-8").replace(b"\0", b"\xc0\x80")


# ---- one load and its memory --------------------------------------------------------------------


class _Load:
    """A reference to a load; whoever needs its memory keeps this object."""

    def __init__(self, pointer):
        self.pointer = pointer
        self._end = weakref.finalize(self, _lib.wload_load_unref, pointer)
        self._end.atexit = False  # the process is going, and others may still look at the memory
        ordinal = ctypes.c_int(0)
        self.kind = _lib.wload_load_device(pointer, ctypes.byref(ordinal))
        self.ordinal = ordinal.value


_pythonapi = ctypes.pythonapi
_CAPSULE_DESTRUCTOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# Capsules go by address: in a destructor the object's count is 0 and must not be touched.
_capsule_new = ctypes.PYFUNCTYPE(ctypes.py_object, _PTR, _STR, _CAPSULE_DESTRUCTOR)(
    ("PyCapsule_New", _pythonapi))
_capsule_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, _PTR, _STR)(
    ("PyCapsule_IsValid", _pythonapi))
_capsule_pointer = ctypes.PYFUNCTYPE(_PTR, _PTR, _STR)(("PyCapsule_GetPointer", _pythonapi))


@_CAPSULE_DESTRUCTOR
def _drop_capsule(capsule):
    """A capsule that nobody consumed (a consumer renames it) still owns its tensor."""
    if _capsule_is_valid(capsule, b"dltensor"):
        tensor = ctypes.cast(_capsule_pointer(capsule, b"dltensor"),
                             ctypes.POINTER(CManagedTensor))
        tensor.contents.deleter(tensor)


class Parameter:
    """One loaded parameter, for any importer of DLPack: np.from_dlpack(), torch.from_dlpack() …

    as_bits  what NumPy lacks (BF16, 8-bit floats) as the unsigned integer of its width"""

    def __init__(self, load, index, as_bits=False):
        loaded = _lib.wload_load_param(load.pointer, index).contents
        described = _lib.wload_dtype_describe(loaded.dtype).contents
        self._load, self._index, self._as_bits = load, index, as_bits
        self._typestr = described.numpy and described.numpy.decode()
        self._address = loaded.device_ptr
        self.name = _to_name(loaded.name)
        self.shape = tuple(loaded.shape[:loaded.rank])
        self.dtype = described.name.decode()
        self._bits = described.bits
        self.nbytes = loaded.bytes

    def __dlpack_device__(self):
        if self._load.kind == DEVICE_CUDA:
            return (DLPACK_CUDA, self._load.ordinal)
        return (DLPACK_CPU, 0)

    # The load is over when a Parameter exists, so there is no stream to wait for.
    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if copy:
            raise BufferError("wload exports without a copy only")
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError("wload exports on the device it loaded to only")
        return self._capsule()

    def _capsule(self, code=None):
        tensor, err = ctypes.c_void_p(), CError()
        _check(_lib.wload_load_dlpack(self._load.pointer, self._index, self._as_bits,
                                      ctypes.byref(tensor), ctypes.byref(err)), err)
        if code is not None:
            described = ctypes.cast(tensor, ctypes.POINTER(CManagedTensor)).contents.dl_tensor
            described.dtype.code = code
        return _capsule_new(tensor, b"dltensor", _drop_capsule)

    def bits(self):
        """The same memory, with as_bits."""
        return Parameter(self._load, self._index, as_bits=True)

    def packed_shape(self):
        """Of the bytes of a type narrower than 8 bits: rows stay rows where they end on a byte."""
        *outer, last = self.shape or (1,)
        if self.shape and last * self._bits % 8 == 0:
            return (*outer, last * self._bits // 8)
        return (self.nbytes,)

    def buffer(self):
        """Host memory that keeps the load."""
        memory = (ctypes.c_uint8 * self.nbytes).from_address(self._address or 0)
        memory.wload = self._load
        return memory

    def cuda_bytes(self):
        return _CudaBytes(self)


class _CudaBytes:
    """Device memory that keeps the load, where DLPack has no type for it."""

    def __init__(self, parameter):
        self._parameter = parameter
        self.__cuda_array_interface__ = {
            "shape": parameter.packed_shape(), "typestr": "|u1", "version": 3,
            "data": (parameter._address or 0, False)}


# ---- as arrays ----------------------------------------------------------------------------------


def _numpy_array(numpy, parameter):
    """Not np.from_dlpack(): that gives read-only arrays, and before NumPy 1.25 knew no bool."""
    shape = parameter.shape if parameter._typestr else parameter.packed_shape()
    if not parameter.nbytes:
        return numpy.empty(shape, parameter._typestr or "|u1")
    return numpy.ndarray(shape, parameter._typestr or "|u1", parameter.buffer())


# Types that not every release of torch imports by their DLPack code: the code of the integer that
# is imported instead and viewed, and torch's name for the type. A torch that has no such type (16-
# to 64-bit unsigned before 2.3, some 8-bit floats) leaves the integer: a load that has consumed its
# sources must not fail any more.
_TORCH_VIEWED = {
    "F8_E5M2": (DLPACK_UINT, "float8_e5m2"), "F8_E4M3": (DLPACK_UINT, "float8_e4m3fn"),
    "F8_E8M0": (DLPACK_UINT, "float8_e8m0fnu"), "F8_E4M3FNUZ": (DLPACK_UINT, "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": (DLPACK_UINT, "float8_e5m2fnuz"), "BOOL": (DLPACK_UINT, "bool"),
    "U16": (DLPACK_INT, "uint16"), "U32": (DLPACK_INT, "uint32"), "U64": (DLPACK_INT, "uint64"),
}


def _torch_packed(torch, parameter):
    if not parameter.nbytes:
        packed = torch.empty(parameter.packed_shape(), dtype=torch.uint8)
    elif parameter._load.kind == DEVICE_CUDA:
        packed = torch.as_tensor(parameter.cuda_bytes(), device=f"cuda:{parameter._load.ordinal}")
    else:
        packed = torch.frombuffer(parameter.buffer(), dtype=torch.uint8)
        packed = packed.reshape(parameter.packed_shape())
    if parameter.dtype == "F4" and hasattr(torch, "float4_e2m1fn_x2"):
        packed = packed.view(torch.float4_e2m1fn_x2)
    return packed


def _torch_tensor(torch, parameter):
    if not parameter._typestr:
        return _torch_packed(torch, parameter)
    code, name = _TORCH_VIEWED.get(parameter.dtype, (None, None))
    tensor = torch.utils.dlpack.from_dlpack(parameter._capsule(code))
    dtype = getattr(torch, name, None) if name else None
    return tensor if dtype is None else tensor.view(dtype)


def _array_maker(device):
    """What makes arrays of parameters, chosen before anything is loaded or consumed."""
    if device == "null":
        return None
    try:
        import torch
        import torch.utils.dlpack
        return lambda parameter: _torch_tensor(torch, parameter)
    except ImportError:
        pass
    if device == "auto" or device.startswith("cuda"):
        raise ImportError(f"device '{device}' needs torch; device='host' gives NumPy arrays")
    import numpy
    return lambda parameter: _numpy_array(numpy, parameter)


Sample = collections.namedtuple("Sample", [name for name, _ in CSample._fields_])


def _read_samples(load):
    count = ctypes.c_uint32(0)
    samples = _lib.wload_load_samples(load.pointer, ctypes.byref(count))
    return [Sample(*(getattr(s, f) for f in Sample._fields)) for s in samples[:count.value]]


class Weights(dict):
    """Parameters by name.

    .report       a dict: what `wload --json` prints
    .samples      a list of Sample: host memory and bytes on the device over time
    .parameters   a dict name -> Parameter, for any other importer of DLPack"""

    def __init__(self, load, report):
        super().__init__()
        self.report = report
        self.samples = _read_samples(load)
        self.parameters = {}
        for index in range(_lib.wload_load_count(load.pointer)):
            parameter = Parameter(load, index)
            self.parameters[parameter.name] = parameter


# ---- loading ------------------------------------------------------------------------------------

Progress = collections.namedtuple("Progress", [name for name, _ in CProgress._fields_])


def _read_report(load):
    struct = _lib.wload_load_report(load.pointer).contents
    report = {}
    for name, kind in CReport._fields_:
        value = getattr(struct, name)
        report[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    report["layout"] = LAYOUTS[report["layout"]]
    if not report["cgroup_peak_bytes"]:
        del report["cgroup_peak_bytes"]
    report["unused"] = []
    while True:
        name = _lib.wload_load_unused(load.pointer, len(report["unused"]))
        if name is None:
            return report
        report["unused"].append(_to_name(name))


class _Call:
    """wload_load() on a thread of its own: the caller's waits in Python, where Ctrl-C reaches it.

    An exception in the caller's thread stops the load and waits for its end; another one then does
    not wait. Whoever comes last of the two threads drops what was loaded all the same."""

    def __init__(self, path, options, progress, on_module=None, make=None):
        self._path, self._options, self._tell = path, options, progress
        self._on_module, self._make = on_module, make
        self._lock = threading.Lock()
        self._begun = self._stopped = False  # under the lock
        self._ended = threading.Event()
        self._code, self._pointer, self._err = None, ctypes.c_void_p(), CError()
        self._failed = None
        self._callback = PROGRESS_FUNCTION(self._progress)
        options.progress = self._callback
        if on_module:
            self._module_callback = MODULE_FUNCTION(self._module)
            options.module_done = self._module_callback

    def _progress(self, _, now):
        try:
            if self._tell and not self._stopped:
                self._tell(Progress(*(getattr(now.contents, f) for f in Progress._fields)))
        except BaseException as e:  # nothing may pass through C; told when the load has ended
            self._failed = e
        return not self._stopped and self._failed is None

    def _module(self, _, pointer, module, err):
        try:
            load = _Load(_lib.wload_load_ref(pointer))
            module = module.contents
            parameters = [Parameter(load, i) for i in module.params[:module.count]]
            self._on_module(_to_name(module.name),
                            {p.name: self._make(p) if self._make else p for p in parameters})
        except BaseException as e:  # nothing may pass through C; told when the load has ended
            self._failed = e
            err.contents.text = b"on_module raised an exception"
            return -errno.ECANCELED
        return 0

    def _begin(self):
        with self._lock:
            self._begun = not self._stopped
            return self._begun

    def _run(self):
        if not self._begin():
            return
        try:
            self._code = _lib.wload_load(self._path, ctypes.byref(self._options),
                                         ctypes.byref(self._pointer), ctypes.byref(self._err))
        finally:
            self._ended.set()
            if self._stopped:
                self._drop()

    def _stop(self):
        """Gives whether a load runs, or ran, on the other thread."""
        with self._lock:
            self._stopped = True
            return self._begun

    def _drop(self):
        with self._lock:
            pointer, self._pointer = self._pointer, ctypes.c_void_p()
        if pointer:
            _lib.wload_load_unref(pointer)

    def __call__(self):
        try:
            threading.Thread(target=self._run, name="wload").start()
            while not self._ended.wait(0.1):  # a signal that another thread took is seen here
                pass
        except BaseException:
            if self._stop():
                self._ended.wait()
                self._drop()
            raise
        if self._code is None:
            raise Error(errno.EIO, "the load's thread ended before the load")
        load = _Load(self._pointer.value) if self._code >= 0 else None
        if self._failed is not None:
            raise self._failed
        _check(self._code, self._err)
        return load


def _load_rules(path):
    rules, err = ctypes.c_void_p(), CError()
    if path is not None:
        _check(_lib.wload_rules_load(_path_bytes(path), ctypes.byref(rules), ctypes.byref(err)),
               err)
    return rules


def _whole(name, value, bits, least=0):
    """A number that C has room for: ctypes would cut off what is more."""
    value = operator.index(value)
    if not least <= value < 1 << bits:
        raise ValueError(f"{name}={value} is not a number from {least} to 2^{bits} - 1")
    return value


def _dtype_code(name):
    code = ctypes.c_int(0)
    if name is not None:
        _lib.wload_dtype_parse(name.upper().encode(), ctypes.byref(code))
    return code.value


def load(path, device="cuda", *, tp=None, rank=None, ep=1, layout="trtllm", consume=True,
         dequantise=False, dtype=None, swizzle=False, verify=False, verify_every=0, rules=None,
         out=None, staging=0, threads=0, io="auto", progress=None, on_module=None, names="fused"):
    """Loads a mount's root, its ranks/R, a checkpoint's folder or one .safetensors file.

    device    "cuda", "cuda:N", "host" (or "cpu"), "auto", or a torch.device
    tp, rank  load what this one, from 0, of tp tensor-parallel ranks has. With tp over 1 a mount's
              root is not consumed from: the other ranks need the tensors still; its ranks/R is,
              where the rank is R, and only R's claims are dropped. On a mount with -o tp=N that
              folder is what rank R of N has, with the mount's ep, layout and rules, unless tp says
              otherwise (1: everything)
    ep        share experts out among so many of the ranks, a divisor of tp
    layout    whose names and orders parameters have: "trtllm" or "vllm"
    names     "fused": what the rules make; "hf": the checkpoint's own tensors, or a rank's part
    dequantise  make numbers of quantised weights (FP8, NVFP4, MXFP4): BF16, or dtype's
    dtype     what all numbers become: "bf16", "f16", "f32"; None: each keeps its type
    swizzle   NVFP4's block scales in the layout of tensor cores; not with dequantise
    consume   let go of a mount's tensors as they arrive (a plain checkpoint is never touched)
    verify    compare with the source before it is consumed; verify_every=N: every Nth parameter only
    rules     a file of rules instead of the built-in ones
    out       a folder to write what was loaded to, as safetensors
    staging   bytes of all staging buffers together; threads: readers; 0: chosen by the machine
    io        "auto" (cached bytes from the page cache, others past it), "buffered", "direct"
    progress  called with a Progress about ten times a second, on another thread
    on_module called with a module's name and a dict of its parameters, as soon as all of them are
              there, on another thread, one module at a time; others are read meanwhile. Their
              sources are consumed when it has returned, or, with consume=False, when it calls
              mark_consumed() itself. An exception that it raises ends the load, and load() raises it

    Gives Weights, a dict; raises Error, ImportError where device needs torch, TypeError and
    ValueError for arguments that are none of these."""
    device = str(device)
    device = "host" if device == "cpu" else device
    make = _array_maker(device)
    if io not in IO:
        raise ValueError(f"io={io!r} is none of {', '.join(IO)}")
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} is none of {', '.join(LAYOUTS)}")
    if names not in NAMES:
        raise ValueError(f"names={names!r} is none of {', '.join(NAMES)}")
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is none of {', '.join(DTYPES)}")
    numbers = {"staging_bytes": _whole("staging", staging, 64),
               "threads": _whole("threads", threads, 32),
               "verify_every": _whole("verify_every", verify_every, 32),
               "tp": 0 if tp is None else _whole("tp", tp, 32, 1), "ep": _whole("ep", ep, 32, 1),
               "rank": RANK_OF_PATH if rank is None else _whole("rank", rank, 32),
               "dequantise": bool(dequantise), "swizzle": bool(swizzle),
               "dtype": _dtype_code(dtype)}
    rules = _load_rules(rules)
    try:
        done = _Call(_path_bytes(path), CLoadOptions(
            device=_path_bytes(device), keep=not consume, verify=verify,
            out_dir=None if out is None else _path_bytes(out), rules=rules,
            io=IO.index(io), layout=LAYOUTS.index(layout), names=NAMES.index(names),
            **numbers), progress, on_module, make)()
    finally:
        _lib.wload_rules_free(rules)
    weights = Weights(done, _read_report(done))
    if make:
        for name, parameter in weights.parameters.items():
            weights[name] = make(parameter)
    return weights


# ---- mounts -------------------------------------------------------------------------------------


class _Mount:
    def __init__(self, path):
        self._pointer, err = ctypes.c_void_p(), CError()
        _check(_lib.wload_mount_open(_path_bytes(path), ctypes.byref(self._pointer),
                                     ctypes.byref(err)), err)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        _lib.wload_mount_close(self._pointer)

    def call(self, function, *arguments):
        count, err = ctypes.c_uint64(0), CError()
        _check(function(self._pointer, *arguments, ctypes.byref(count), ctypes.byref(err)), err)
        return count.value


def mark_consumed(mount, prefix):
    """Consumes every tensor under prefix + "."; gives how many were live."""
    with _Mount(mount) as m:
        return m.call(_lib.wload_mark_consumed, _from_name(prefix))


def mark_consumed_keys(mount, names):
    """Consumes tensors by their exact names; gives how many were live."""
    raw = [_from_name(name) for name in names]
    with _Mount(mount) as m:
        return m.call(_lib.wload_mark_consumed_keys, (ctypes.c_char_p * len(raw))(*raw), len(raw))


def restore(mount, prefix=None):
    """Brings consumed tensors back, all or those under prefix + "."; gives how many."""
    with _Mount(mount) as m:
        return m.call(_lib.wload_mount_restore, None if prefix is None else _from_name(prefix))


def release(mount, rank):
    """Drops all claims of a rank, such as one that died; gives how many tensors it had claimed."""
    with _Mount(mount) as m:
        return m.call(_lib.wload_mount_release, _whole("rank", rank, 32))
