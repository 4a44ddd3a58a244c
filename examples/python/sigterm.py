"""A long computation that saves itself and ends when it is told to: sigterm.py DIR FILE

On SIGTERM it saves itself into DIR; `sigterm.py --continue DIR` goes on with it. Steps are counted in FILE.
"""

import os
import signal
import sys
import time

import pycriu

told = False


def on_term(_signal, _frame):
    global told
    told = True


def compute(images, name):
    with open(name, "a", buffering=1) as out:
        print("ready", file=out)
        for step in range(1, 61):
            time.sleep(0.05)  # stands for a step of the computation
            if told:
                save(images, out, step)
        print("done", file=out)


def save(images, out, step):
    """Returns in the restored process alone."""
    global told
    told = False
    if pycriu.checkpoint(images):
        print(f"pid {os.getpid()} goes on at step {step}", file=out)
    else:
        # At once: what is done at an orderly end belongs to the one that goes on, and its file must not grow meanwhile.
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "--continue":
        pid = pycriu.restore(sys.argv[2], child=True)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    signal.signal(signal.SIGTERM, on_term)
    compute(*sys.argv[1:3])
