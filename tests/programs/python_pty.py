# What: Python that has bash in a pseudo terminal, with a job in the foreground and one in the background.
# Go: file
# Copy: no
# Needs: python3 bash
# Terminals: own
import fcntl, os, pty, select, struct, sys, termios

folder = sys.argv[1]
said = b""


def fd_until(done, what, rounds=1500):
    global said
    for _ in range(rounds):
        if done():
            return
        if select.select([master], [], [], 0.01)[0]:
            said += os.read(master, 4096)
    raise AssertionError(f"no {what} in {said[-400:]}")


def until(text, rounds=1500):
    global said
    fd_until(lambda: text in said, text, rounds)
    said = said[said.index(text) + len(text) :]


def tell(text):
    os.write(master, text)


wrong = "OK"
try:
    child, master = pty.fork()
    if child == 0:
        os.environ.update(PS1="$ ", TERM="dumb", HISTFILE="")
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    until(b"$ ")
    tell(b"sleep 1000 &\r")
    until(b"$ ")
    tell(b"n=0; (while :; do n=$((n + 1)); echo tick $n.; sleep 0.02; done)\r")
    tick = 0
    while not os.path.exists(os.path.join(folder, "go")):
        tick += 1
        until(b"tick %d." % tick)
        if tick == 5:
            open(os.path.join(folder, "ready"), "w").close()
    for tick in range(tick + 1, tick + 6):
        until(b"tick %d." % tick)
    # A shell goes on when the command that it waits for has ended by itself in the moment of the key.
    for again in reversed(range(40)):
        tell(b"\x03")
        try:
            until(b"$ ", 40)
            break
        except AssertionError:
            if not again:
                raise
    tell(b"stty size; jobs\r")
    until(b"31 97")
    until(b"Running")
    until(b"$ ")
    tell(b"fg\r")
    # Named before it has the terminal.
    fd_until(lambda: os.tcgetpgrp(master) != child, "job in the foreground")
    tell(b"\x1a")
    until(b"Stopped")
    until(b"$ ")
    tell(b"bg; kill -9 %1; wait; exit 7\r")
    status = os.waitpid(child, 0)[1]
    assert os.WEXITSTATUS(status) == 7, status
except BaseException as e:
    import traceback

    traceback.print_exc()
    wrong = repr(e)
with open(os.path.join(folder, "part"), "w") as f:
    f.write(wrong + "\n")
os.rename(os.path.join(folder, "part"), os.path.join(folder, "result"))
sys.exit(wrong != "OK")
