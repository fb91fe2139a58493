#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How a run uses a machine: its children, mounts, test files, memory. Measures nothing."""

import importlib.machinery
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import types
import unittest

sys.dont_write_bytecode = True  # scripts/ is no place for it
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import environment  # noqa: E402
import mounts  # noqa: E402
import sections_scale  # noqa: E402
import testfiles  # noqa: E402
from processes import Failed, Processes  # noqa: E402
from record import Record  # noqa: E402


def bench_script():
    root = os.path.dirname(os.path.dirname(HERE))
    loader = importlib.machinery.SourceFileLoader("bench", os.path.join(root, "scripts", "bench"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench", loader))
    loader.exec_module(module)
    return module


class Stopped(BaseException):
    pass


class Children(unittest.TestCase):
    def test_an_interruption_at_a_start_comes_when_the_child_is_known(self):
        processes = Processes()

        def interrupt(number, frame):  # as scripts/bench does
            processes.stopping = Stopped()
            if not processes.starting:
                raise processes.stopping

        class Late(list):  # the moment between a child's birth and its being known
            def append(self, process):
                signal.raise_signal(signal.SIGUSR1)
                super().append(process)

        processes.live = Late()
        before = signal.signal(signal.SIGUSR1, interrupt)
        try:
            with self.assertRaises(Stopped):
                processes.start(["sleep", "60"])
            self.assertEqual(len(processes.live), 1)
        finally:
            processes.stop_all()
            signal.signal(signal.SIGUSR1, before)
        self.assertEqual(len(processes.live), 0)

    def test_a_cpu_that_is_not_ours_is_a_reason(self):
        with self.assertRaisesRegex(Failed, "cannot run 'true'"):
            Processes().run(["true"], cpu=max(os.sched_getaffinity(0)) + 4000)


class Stub:
    """As much of a run as a section needs."""

    def __init__(self, folder):
        self.processes = Processes()
        self.record = Record(folder, {}, {})
        self.folder, self.repeat = folder, 3

    def scratch(self, name):
        return os.path.join(self.folder, name)


class Sections(unittest.TestCase):
    def setUp(self):
        self.kept = []

    def replace(self, module, name, value):
        self.kept.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    def tearDown(self):
        for module, name, value in self.kept:
            setattr(module, name, value)

    def test_removing_takes_turns_at_going_first_on_a_cpu_that_may_be_used(self):
        turns, cpus = [], set()

        class Mount:
            def __init__(self, kind, cpu):
                self.kind = kind
                cpus.add(cpu)

            def __enter__(self):
                return self

            def __exit__(self, *exception):
                pass

        class Names:
            tensors, paths = [], []

            def files(self):
                return testfiles.Files([])

        with tempfile.TemporaryDirectory() as folder:
            bench = Stub(folder)
            bench.checkpoint = lambda kind: Names()
            self.replace(os, "sched_getaffinity", lambda pid: {3, 5})
            self.replace(mounts, "wloadfs", lambda bench, checkpoint, cpu: Mount("mount", cpu))
            self.replace(mounts, "noop_server", lambda bench, names, cpu: Mount("noop", cpu))
            self.replace(sections_scale, "remove_once", lambda bench, what, mount, names, cpu:
                         turns.append(mount.kind) or 1.0)
            sections_scale.run_remove(bench)
        self.assertEqual(turns[:6], ["mount", "noop", "noop", "mount", "mount", "noop"])
        self.assertEqual(cpus, {3, None})

    def test_tmpfs_is_given_back_after_its_section_and_its_size_known(self):
        script = bench_script()
        bench = script.Bench.__new__(script.Bench)
        bench.args = types.SimpleNamespace(only=["gpu-tmpfs", "gpu-cold"], quiet=True,
                                           pretend_gpu=False)
        bench.device, bench.size, bench.write = "cpu", 1, lambda: None  # "no GPU here"
        with tempfile.TemporaryDirectory() as top:
            bench.record = Record(top, {}, {"bytes": {}})
            bench.folders = {"tmpfs": os.path.join(top, "tmpfs")}
            os.mkdir(bench.folders["tmpfs"])
            bench.checkpoints = {"tmpfs": types.SimpleNamespace(bytes=123)}
            bench.run()
            self.assertEqual(os.listdir(top), [])
        self.assertEqual(bench.record.settings["bytes"], {"gpu-tmpfs": 123, "gpu-cold": 1})


class SafeOpen(unittest.TestCase):
    def test_one_thread_copies(self):
        torch = ("threads = 8\nuint8 = None\nset_num_threads = lambda n: globals().update(threads=n)\n"
                 "get_num_threads = lambda: threads\nzeros = lambda n, dtype: None\n")
        safetensors = ("import contextlib\n@contextlib.contextmanager\n"
                       "def safe_open(path, framework):\n    yield {}\n")
        with tempfile.TemporaryDirectory() as top:
            for name, code in (("torch.py", torch), ("safetensors.py", safetensors),
                               ("a.safetensors", "")):
                with open(os.path.join(top, name), "w", encoding="utf-8") as f:
                    f.write(code)
            told = subprocess.run(
                [sys.executable, "-B", os.path.join(HERE, "peers", "open_all.py"), "3", top],
                env=dict(os.environ, PYTHONPATH=top), capture_output=True, check=True).stdout
        self.assertEqual(json.loads(told), {"threads": 1, "rates": {top: [0.0, 0.0, 0.0]}})


class Files(unittest.TestCase):
    def test_what_could_not_be_made_whole_goes(self):
        class Full:
            def run(self, argv, seconds):
                os.mkdir(argv[-1])
                raise Failed("no space")

        with tempfile.TemporaryDirectory() as top:
            with self.assertRaises(Failed):
                testfiles.make(Full(), os.path.join(top, "a"), 10**6)
            self.assertEqual(os.listdir(top), [])


class Machine(unittest.TestCase):
    def test_a_mount_point_with_blanks_is_found_in_mountinfo(self):
        self.assertEqual(mounts.point_of(b"1 2 0:3 / /a\\040b\\134c rw - ext4 x rw"), b"/a b\\c")

    def test_a_mount_is_found_through_a_link(self):
        with tempfile.TemporaryDirectory() as top:
            os.symlink("/", os.path.join(top, "link"))
            self.assertTrue(mounts.is_mounted(os.path.join(top, "link", "proc")))
            self.assertFalse(mounts.is_mounted(os.path.join(top, "proc")))

    def test_a_mount_that_the_kernel_refuses_to_end_is_fusermounts(self):
        with tempfile.TemporaryDirectory() as top:
            tool, told = os.path.join(top, "fusermount3"), os.path.join(top, "told")
            with open(tool, "w", encoding="utf-8") as f:
                f.write(f'#!/bin/sh\necho "$@" >"{told}"\n')
            os.chmod(tool, 0o755)
            path = os.environ["PATH"]
            os.environ["PATH"] = f"{top}:{path}"
            try:
                mounts.detach(os.path.join(top, "no mount"))
            finally:
                os.environ["PATH"] = path
            with open(told, encoding="utf-8") as f:
                self.assertEqual(f.read(), f"-u -z {top}/no mount\n")

    def test_memory_is_what_the_narrowest_cgroup_leaves(self):
        with tempfile.TemporaryDirectory() as root:
            inner = os.path.join(root, "a", "b")
            os.makedirs(inner)
            for folder, most, now in ((inner, "max", 50), (os.path.join(root, "a"), 1000, 700)):
                for name, value in (("max", most), ("current", now), ("stat", "anon 1\nfile 400")):
                    with open(os.path.join(folder, f"memory.{name}"), "w", encoding="ascii") as f:
                        f.write(f"{value}\n")
            self.assertEqual(environment.cgroup_room(root, "/a/b"), 700)
            self.assertIsNone(environment.cgroup_room(inner, "/"))

    def test_a_python_that_does_not_run_is_none(self):
        self.assertIsNone(environment.ask_python("/no/python"))


if __name__ == "__main__":
    unittest.main()
