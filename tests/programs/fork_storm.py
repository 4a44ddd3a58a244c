# What: a tree in which processes are forked and exit all the time goes on; every child ends as it was told to, and is waited for once.
# Go: file
# Needs: python3
import ctypes, os, random, signal, sys, time

folder = sys.argv[1]
STORMS = 3
PR_SET_CHILD_SUBREAPER = 36


def path(name):
    return os.path.join(folder, name)


def child(code):
    """One in three has a child of its own, which it may leave to its ancestors."""
    if code % 3 == 0:
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(code + 1)
        if code % 2 == 0:
            got, status = os.waitpid(grandchild, 0)
            if (got, os.waitstatus_to_exitcode(status)) != (grandchild, code + 1):
                os._exit(255)
    if code % 7 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(code)


def storm(seed):
    dice, count = random.Random(seed), 0
    while count == 0 or not os.path.exists(path("go")):
        code = dice.randrange(1, 100)
        pid = os.fork()
        if pid == 0:
            child(code)
        got, status = os.waitpid(pid, 0)
        wanted = -signal.SIGKILL if code % 7 == 0 else code
        if (got, os.waitstatus_to_exitcode(status)) != (pid, wanted):
            os._exit(1)
        count += 1
    os._exit(0)


ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
storms = []
for seed in range(STORMS):
    pid = os.fork()
    if pid == 0:
        storm(seed)
    storms.append(pid)
time.sleep(0.2)
open(path("ready"), "w").close()
ends, orphans = [], 0
while len(ends) < STORMS:
    pid, status = os.wait()
    if pid in storms:
        ends.append(os.waitstatus_to_exitcode(status))
    else:
        orphans += 1
        if os.waitstatus_to_exitcode(status) not in range(2, 102):
            ends += [status] * STORMS
with open(path("result.part"), "w") as result:
    result.write("OK\n" if ends == [0] * STORMS else f"the storms ended by {ends}, {orphans} orphans\n")
os.rename(path("result.part"), path("result"))
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
