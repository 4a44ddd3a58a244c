"""A restored child and the terminal, standard input and output of whoever restores it."""

import os
import pty
import select
import signal
import sys
import time

#: Restores the child of an image directory and waits for it, as a program in a terminal would.
PARENT = """
import ctypes, os, signal, subprocess, sys
import pycriu
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
assert sys.stdin.readline() == "dump it\\n"
pycriu.dump(child.pid, sys.argv[2], shell_job=True)
assert child.wait() == -9
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("gone", flush=True)
assert sys.stdin.readline() == "restore it\\n"
pid = pycriu.restore(sys.argv[2], child=True, shell_job=True)
assert pid == child.pid
print("restored", flush=True)
print("ended by", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
assert sys.stdin.readline() == "and this\\n"
print("all read", flush=True)
"""

CHILD = """
import os, signal, sys, time
print("columns", os.get_terminal_size(1).columns, flush=True)
waits = True
def go(*_):
    global waits
    waits = False
signal.signal(signal.SIGUSR1, go)
print("pid", os.getpid(), flush=True)
while waits:
    time.sleep(0.01)
assert os.isatty(0) and os.isatty(1) and os.tcgetpgrp(0) == os.getpgrp()
print("your name?", flush=True)
print("hello,", input(), "columns", os.get_terminal_size(1).columns, flush=True)
with open("/dev/tty", "w") as tty:
    tty.write("by its name\\n")
try:
    while True:
        time.sleep(0.01)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    os._exit(5)
"""


class Terminal:
    """A program on a terminal of its own, and what it has shown so far."""

    def __init__(self, *words):
        self.shown = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execv(words[0], words)

    def until(self, text):
        end = time.monotonic() + 60
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.master, 4096)
                except OSError:
                    assert text in self.shown, self.shown
        before, self.shown = self.shown.split(text, 1)
        return before

    def type(self, text):
        os.write(self.master, text)

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        os.close(self.master)


def test_a_restored_child_uses_the_terminal(tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    terminal = Terminal(sys.executable, str(program), CHILD, str(tmp_path / "images"))
    try:
        terminal.until(b"columns ")
        columns = terminal.until(b"pid ").strip()
        child = int(terminal.until(b"\r\n"))
        terminal.type(b"dump it\n")
        terminal.until(b"gone")
        terminal.type(b"restore it\n")
        terminal.until(b"restored")
        os.kill(child, signal.SIGUSR1)
        terminal.until(b"your name?")
        terminal.type(b"somebody\n")
        terminal.until(b"hello, somebody columns " + columns)
        terminal.until(b"by its name")
        terminal.type(b"\x03")
        terminal.until(b"interrupted")
        terminal.until(b"ended by 5")
        # The parent reads on.
        terminal.type(b"and this\n")
        terminal.until(b"all read")
    finally:
        terminal.end()
