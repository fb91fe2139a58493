# SPDX-License-Identifier: Apache-2.0
"""Children: each has a deadline, each is remembered, none outlives the run.

A child leads a process group of its own, so that what it starts ends with it, and so that a Ctrl-C
in the terminal reaches the run alone, which then ends its children in its own order.
"""

import ctypes
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Failed(Exception):
    """A measurement that could not be made; its text is the reason."""


def last_line(text):
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


class Processes:
    def __init__(self, seconds=None):
        self.end = time.monotonic() + seconds if seconds else None
        self.live = []
        self.stopping = None  # an exception to end the run with, if it got lost where it was raised
        self.starting = False  # a child that nobody knows of yet: not the moment to raise

    def left(self, want):
        """The seconds that something may take, of those that it wants."""
        if self.end is None:
            return want
        left = self.end - time.monotonic()
        if left <= 0:
            raise Failed("the run's --deadline had passed")
        return min(want, left)

    def start(self, argv, cpu=None, **more):
        """A process that is ended when this one is, on one CPU if asked."""
        if self.stopping:
            raise self.stopping

        def prepare():
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
        self.starting = True
        try:
            process = subprocess.Popen(argv, start_new_session=True, preexec_fn=prepare, **more)
            self.live.append(process)
        except (OSError, subprocess.SubprocessError) as e:
            why = getattr(e, "strerror", None) or e
            raise Failed(f"cannot run '{os.path.basename(argv[0])}': {why}") from None
        finally:
            self.starting = False
        if self.stopping:
            raise self.stopping
        return process

    def run(self, argv, seconds=120, cpu=None, stdin_text=None, check=True, **more):
        """Runs to the end; gives stdout."""
        name = os.path.basename(argv[0])
        seconds = self.left(seconds)
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stdin", subprocess.DEVNULL if stdin_text is None else subprocess.PIPE)
        process = self.start(argv, cpu, text=True, stderr=subprocess.PIPE, **more)
        try:
            out, err = process.communicate(stdin_text, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"'{name}' did not end within {seconds:.0f} s") from None
        finally:
            self.stop(process)
        if check and process.returncode != 0:
            raise Failed(f"'{name}' ended with {process.returncode}: {last_line(err)}")
        return out

    def timed(self, argv, **more):
        """The seconds that a command takes, its output thrown away."""
        begin = time.monotonic()
        self.run(argv, stdout=subprocess.DEVNULL, **more)
        return time.monotonic() - begin

    def stop(self, process, seconds=10):
        """Ends a process that may have ended, with all that it started; gives its exit status."""
        if process.poll() is None:
            self._signal(process, signal.SIGTERM)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        self._signal(process, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
        if process in self.live:
            self.live.remove(process)
        return process.returncode

    @staticmethod
    def _signal(process, number):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def stop_all(self):
        for process in reversed(self.live[:]):
            self.stop(process, 5)
