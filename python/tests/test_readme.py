"""The commands in README.md, as they are printed there."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
PR_SET_CHILD_SUBREAPER = 36


def lines():
    """The indented lines of README.md that run Python."""
    return [line.strip() for line in README.read_text().splitlines() if re.match(r" {4}python3? -c ", line)]


@pytest.fixture
def shell(tmp_path):
    """Runs a line in an empty folder, where `python` is this interpreter, as in a virtual environment that is active."""
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

    def run(line):
        return subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_each_line(shell, tmp_path):
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    victim = subprocess.Popen(
        ["sleep", "600"], start_new_session=True, cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        printed = lines()
        assert len(printed) >= 4, "README.md has no lines of Python"
        for line in printed:
            done = shell(line.replace("4213", str(victim.pid)).replace("/tmp/ck", str(tmp_path / "ck")))
            assert done.returncode == 0, f"{line}: {done.stderr}"
            assert done.stdout.strip(), f"{line}: it prints nothing"
            if "dump(" in line:
                # Its parent collects it, so that its pid is free.
                assert victim.wait(30) == -signal.SIGKILL
        os.kill(victim.pid, 0)
        with open(f"/proc/{victim.pid}/comm") as f:
            assert f.read() == "sleep\n"
    finally:
        try:
            os.kill(victim.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                os.waitpid(victim.pid, os.WNOHANG)
            except ChildProcessError:
                break
            time.sleep(0.01)
        shutil.rmtree(tmp_path / "ck", ignore_errors=True)
