# What: tmux, its server, an attached client and bash with a job running in the foreground and one in the background.
# Go: file
# Copy: no
# Needs: python3 bash tmux
# Terminals: own
import ctypes, fcntl, os, pty, re, select, signal, struct, subprocess, sys, termios, threading, time

PR_SET_CHILD_SUBREAPER = 36
folder = sys.argv[1]
# Short enough for sun_path whatever the folder is.
name = f"/tmp/criu-tmux-{os.getpid()}"
environment = {k: v for k, v in os.environ.items() if not k.startswith("TMUX")}
environment.update(TERM="screen", HISTFILE="", LC_ALL="C.UTF-8")
seen = b""


def tmux(*args):
    done = subprocess.run(["tmux", "-S", name, "-f", "/dev/null", *args], env=environment, capture_output=True, timeout=15)
    if done.returncode:
        raise AssertionError(f"tmux {args}: {done.stderr.decode()}")
    return done.stdout.decode()


def until(what, done, seconds=15):
    end = time.monotonic() + seconds
    while not (found := done()):
        if time.monotonic() > end:
            raise AssertionError(f"no {what}; the pane: {pane()[-300:]!r}; the client: {seen[-300:]!r}")
        time.sleep(0.02)
    return found


def pane():
    """What is on the pane and what has scrolled off it, lines joined as they were printed."""
    return tmux("capture-pane", "-p", "-J", "-S", "-")


def ticks():
    return [int(n) for n in re.findall(r"^tick (\d+)\.", pane(), re.M)]


def watch():
    """The client's terminal: what it is shown."""
    global seen
    try:
        while data := os.read(master, 65536):
            seen = seen[-65536:] + data
    except OSError:
        pass


wrong = "OK"
try:
    # The server is a daemon: it becomes a child of this process.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    tmux("new-session", "-d", "-s", "work", "-x", "97", "-y", "31", "env", "PS1=$ ", "bash", "--norc", "--noprofile", "-i")
    server = int(tmux("display-message", "-p", "#{pid}"))
    shell = int(tmux("display-message", "-p", "#{pane_pid}"))
    client, master = pty.fork()
    if client == 0:
        os.execvpe("tmux", ["tmux", "-S", name, "attach", "-t", "work"], environment)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    threading.Thread(target=watch, daemon=True).start()
    until("prompt", lambda: "$ " in pane())
    os.write(master, b"sleep 1000 &\r")
    until("job", lambda: "[1] " in pane())
    os.write(master, b"n=0; while :; do n=$((n + 1)); echo tick $n.; sleep 0.03; done\r")
    until("ticks", lambda: len(ticks()) > 5)
    until("ticks on the client", lambda: b"tick " in seen)
    open(os.path.join(folder, "ready"), "w").close()
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.01)
    last = ticks()[-1]
    # The job goes on, and what was on the screen is still there.
    until("more ticks", lambda: ticks()[-1] > last + 5)
    found = ticks()
    assert found == list(range(1, len(found) + 1)), found
    seen = b""
    until("more ticks on the client", lambda: b"tick " in seen)
    # The same server and shell, the keys reach them, the job in the background is the shell's.
    assert int(tmux("display-message", "-p", "#{pid}")) == server
    assert int(tmux("display-message", "-p", "#{pane_pid}")) == shell
    # A shell goes on when the command that it waits for has ended by itself in the moment of the key.
    for again in reversed(range(40)):
        os.write(master, b"\x03")
        try:
            until("prompt", lambda: pane().rstrip().endswith("$"), 15 if not again else 0.5)
            break
        except AssertionError:
            if not again:
                raise
    os.write(master, b"clear; stty size; jobs; kill %1; wait; echo left $?\r")
    until("jobs", lambda: "Running" in pane() and re.search(r"^left \d", pane(), re.M))
    assert re.search(r"^(30|31) 97$", pane(), re.M), pane()
    # A new window, and detaching.
    tmux("new-window", "-t", "work", "cat")
    tmux("send-keys", "-t", "work", "hello", "Enter")
    until("echo", lambda: pane().count("hello") >= 2)
    os.write(master, b"\x02d")
    until("end of the client", lambda: os.waitpid(client, os.WNOHANG)[0])
    tmux("kill-server")
    until("end of the server", lambda: os.waitpid(server, os.WNOHANG)[0])
except BaseException as e:
    import traceback

    traceback.print_exc()
    wrong = repr(e)
    subprocess.run(["tmux", "-S", name, "kill-server"], capture_output=True)
try:
    while os.waitpid(-1, os.WNOHANG)[0]:
        pass
except ChildProcessError:
    pass
if os.path.exists(name):
    os.unlink(name)
with open(os.path.join(folder, "part"), "w") as f:
    f.write(wrong + "\n")
os.rename(os.path.join(folder, "part"), os.path.join(folder, "result"))
sys.exit(wrong != "OK")
