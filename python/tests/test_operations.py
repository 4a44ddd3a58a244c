"""Real dumps and restores."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest

import pycriu
from pycriu import images

PR_SET_CHILD_SUBREAPER = 36
COUNTER = """
import os, sys, time
path = sys.argv[1]
n = 0
while True:
    n += 1
    with open(path + ".new", "w") as f:
        f.write(str(n))
    os.rename(path + ".new", path)
    time.sleep(0.01)
"""


@pytest.fixture(autouse=True, scope="module")
def reaper():
    """Orphans become this process's: a pid that is to be restored is then free at once."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans():
    """The worker of a process's own checkpoint was in that process's session; until it is gone, so is not the pid."""
    end = time.monotonic() + 5
    try:
        while time.monotonic() < end:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
    except ChildProcessError:
        pass


class Counter:
    """A process that counts into a file."""

    def __init__(self, folder):
        self.path = folder / "count"
        child = subprocess.Popen(
            [sys.executable, "-c", COUNTER, str(self.path)], start_new_session=True, close_fds=True, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self.pid = child.pid
        self.child = child
        self.wait_beyond(3)

    def count(self):
        try:
            return int(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def wait_beyond(self, count):
        end = time.monotonic() + 20
        while self.count() <= count:
            assert time.monotonic() < end, "it does not count"
            time.sleep(0.01)

    def reap(self):
        """After a dump: the process is gone."""
        self.child.returncode = -9
        os.waitpid(self.pid, 0)

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        self.child.returncode = -9


@pytest.fixture
def counter(tmp_path):
    c = Counter(tmp_path)
    yield c
    c.end()


def test_dump_and_restore(counter, tmp_path):
    told, lines, stages = [], [], []
    pycriu.dump(
        counter.pid, tmp_path / "images",
        progress=lambda *p: told.append(p), log=lambda *line: lines.append(line), notify=lambda *n: stages.append(n[0]),
    )
    counter.reap()
    saved = counter.count()
    assert stages and "post-dump" in stages
    assert lines and all(isinstance(level, int) for level, _ in lines)
    phases = {phase for phase, _, _ in told}
    assert len(phases) >= 2 and all(0 <= done <= total for _, done, total in told), told
    for phase in phases:
        counts = [done for p, done, _ in told if p == phase]
        assert counts == sorted(counts), (phase, counts)
    with (tmp_path / "images" / "pstree.img").open("rb") as f:
        assert images.load(f)["entries"][0]["pid"] == counter.pid
    assert pycriu.restore(tmp_path / "images", child=True) == counter.pid
    counter.wait_beyond(saved + 3)


def test_a_dump_that_leaves_it_running(counter, tmp_path):
    pycriu.dump(counter.pid, tmp_path / "images", leave_running=True)
    counter.wait_beyond(counter.count() + 3)


def state(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0]


def test_a_dump_that_leaves_it_stopped(counter, tmp_path):
    pycriu.dump(counter.pid, tmp_path / "images", leave_stopped=True)
    assert state(counter.pid) == "T"
    stood_at = counter.count()
    time.sleep(0.1)
    assert counter.count() == stood_at and state(counter.pid) == "T"
    os.kill(counter.pid, signal.SIGCONT)
    counter.wait_beyond(stood_at + 3)


def test_class_criu(counter, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    c = pycriu.criu()
    c.opts.pid = counter.pid
    c.opts.images_dir_fd = os.open(folder, os.O_DIRECTORY)
    c.opts.log_level = 4
    assert not c.dump().restored
    counter.reap()
    saved = counter.count()
    c.opts.ClearField("pid")
    c.opts.rst_sibling = True
    assert c.restore().pid == counter.pid
    os.close(c.opts.images_dir_fd)
    counter.wait_beyond(saved + 3)
    assert (folder / "criu.log").exists()


def test_preflight_of_what_can_be_dumped(counter):
    assert pycriu.preflight(counter.pid) == ()
    counter.wait_beyond(counter.count() + 3)


def test_blockers_are_told(tmp_path):
    """One end of a stream pair is outside the tree."""
    import socket

    ours, theirs = socket.socketpair()
    child = subprocess.Popen(
        ["sleep", "100"], stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        found = pycriu.preflight(child.pid)
        assert found and found[0].pid == child.pid and found[0].cause
        with pytest.raises(pycriu.Error) as e:
            pycriu.dump(child.pid, tmp_path / "images")
        assert e.value.blockers or e.value.pid == child.pid
        assert child.poll() is None
        assert not (tmp_path / "images" / "inventory.img").exists()
    finally:
        child.kill()
        child.wait()
        ours.close()
        theirs.close()


def test_an_exception_in_a_callback_ends_the_dump(counter, tmp_path):
    def log(level, line):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        pycriu.dump(counter.pid, tmp_path / "images", log=log)
    counter.wait_beyond(counter.count() + 3)


def test_a_refusing_notify(counter, tmp_path):
    with pytest.raises(pycriu.Error):
        pycriu.dump(counter.pid, tmp_path / "images", notify=lambda stage, pid, fd: False)
    counter.wait_beyond(counter.count() + 3)


def test_a_restore_of_nothing(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(pycriu.Error, match="inventory|pstree"):
        pycriu.restore(tmp_path / "images")


def test_asyncio(counter, tmp_path):
    async def both():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.ensure_future(tick())
        await pycriu.aio.dump(counter.pid, tmp_path / "images", leave_running=True)
        ticking.cancel()
        return ticks

    assert asyncio.run(both()) > 1
    counter.wait_beyond(counter.count() + 3)


CHECKPOINT = """
import os, sys, threading, time
import pycriu
numbers = list(range(1000))
beats = []
def beat():
    while True:
        beats.append(time.monotonic())
        time.sleep(0.01)
for _ in range(3):
    threading.Thread(target=beat, daemon=True).start()
while len(beats) < 10:
    time.sleep(0.01)
restored = pycriu.checkpoint(sys.argv[1])
before = len(beats)
end = time.monotonic() + 10
while len(beats) < before + 10 and time.monotonic() < end:
    time.sleep(0.01)
with open(sys.argv[1] + (".restored" if restored else ".saved"), "w") as f:
    f.write("beats %s, sum %d" % (len(beats) >= before + 10, sum(numbers)))
os._exit(7 if restored else 0)
"""


def test_checkpoint_of_a_program_with_threads(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CHECKPOINT)
    folder = tmp_path / "images"
    child = subprocess.Popen(
        [sys.executable, str(program), str(folder)], start_new_session=True, cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(tmp_path / "err").open("w"),
    )
    assert child.wait(60) == 0, (tmp_path / "err").read_text()
    assert (tmp_path / "images.saved").read_text() == "beats True, sum 499500"
    reap_orphans()
    pid = pycriu.restore(folder, child=True)
    assert pid == child.pid
    _, status = os.waitpid(pid, 0)
    assert os.WEXITSTATUS(status) == 7
    assert (tmp_path / "images.restored").read_text() == "beats True, sum 499500"


NUMPY = """
import os, sys, threading, time
import numpy as np
import pycriu
size = 500
left = np.random.default_rng(7).random((size, size))
right = np.random.default_rng(8).random((size, size))
product = left @ right                      # numpy's library has started its threads by now
shared = np.zeros(64, dtype=np.int64)
def work(i):
    while True:
        shared[i] += int((left[i] > 0.5).any())
        time.sleep(0.005)
for i in range(4):
    threading.Thread(target=work, args=(i,), daemon=True).start()
def all_go_on():
    before, end = shared[:4].copy(), time.monotonic() + 20
    while not (shared[:4] > before + 2).all() and time.monotonic() < end:
        time.sleep(0.01)
    return bool((shared[:4] > before + 2).all())
first = all_go_on()
restored = pycriu.checkpoint(sys.argv[1])
same = bool(np.array_equal(left @ right, product))
threads = len(os.listdir("/proc/self/task"))
with open(sys.argv[1] + (".restored" if restored else ".saved"), "w") as f:
    f.write("before %s, after %s, product %s, several threads %s" % (first, all_go_on(), same, threads >= 5))
os._exit(7 if restored else 0)
"""


def test_checkpoint_of_a_program_with_numpy_and_threads(tmp_path):
    pytest.importorskip("numpy", reason="numpy is not installed")
    program = tmp_path / "program.py"
    program.write_text(NUMPY)
    folder = tmp_path / "images"
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="3")
    child = subprocess.Popen(
        [sys.executable, str(program), str(folder)], start_new_session=True, cwd="/", env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(tmp_path / "err").open("w"),
    )
    assert child.wait(120) == 0, (tmp_path / "err").read_text()
    well = "before True, after True, product True, several threads True"
    assert (tmp_path / "images.saved").read_text() == well
    reap_orphans()
    pid = pycriu.restore(folder, child=True)
    assert pid == child.pid
    _, status = os.waitpid(pid, 0)
    assert os.WEXITSTATUS(status) == 7
    assert (tmp_path / "images.restored").read_text() == well
