"""Starts a program that takes long to start from a checkpoint of it, taken once: warm_start.py DIR

The first run starts the program, waits until it is ready and saves it; every run restores it, which takes milliseconds.
"""

import os
import signal
import sys
import time

import pycriu


def program(ready, work):
    """Stands for an interpreter with its modules, a model with its weights, a server with its caches."""
    os.setsid()
    for fd in range(3):
        os.close(fd)
    table = {n: str(n) for n in range(300_000)}
    time.sleep(1)
    os.write(ready, b"!")
    os.close(ready)
    while not os.path.exists(work):
        time.sleep(0.01)
    with open(work + ".answer", "w") as out:
        out.write(table[123_456])
    os._exit(0)


def save(images, work):
    """A checkpoint of the program at the moment it is ready."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        program(told, work)
    os.close(told)
    if os.read(ready, 1) != b"!":
        raise RuntimeError("the program ended before it was ready")
    os.close(ready)
    try:
        pycriu.dump(pid, images)
    except pycriu.Error as e:
        os.kill(pid, signal.SIGKILL)
        print(f"it cannot be saved: {e}; {e.hint}", file=sys.stderr)
        raise
    finally:
        os.waitpid(pid, 0)


def main(images):
    work = os.path.join(os.path.abspath(images), "work")
    os.makedirs(images, exist_ok=True)
    if not os.path.exists(os.path.join(images, "inventory.img")):
        start = time.monotonic()
        save(images, work)
        print(f"started and saved in {time.monotonic() - start:.2f} s")
    start = time.monotonic()
    pid = pycriu.restore(images, child=True)
    print(f"ready in {time.monotonic() - start:.3f} s")
    open(work, "w").close()
    os.waitpid(pid, 0)
    with open(work + ".answer") as answer:
        print("answer", answer.read())
    os.remove(work)
    os.remove(work + ".answer")


if __name__ == "__main__":
    main(sys.argv[1])
