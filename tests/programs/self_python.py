# What: Python that checkpoints itself through ctypes.
# Self: yes
# Modes: plain leave
# Needs: python3
import ctypes, os, sys, threading, time

folder = sys.argv[1]
at = lambda name: os.path.join(folder, name)


def say(text):
    with open(at("part"), "w") as f:
        f.write(text + "\n")
    os.rename(at("part"), at("result"))
    sys.exit(text != "OK")


def main():
    criu = ctypes.CDLL(os.path.join(os.environ["CRIU_TEST_LIB"], "libcriu.so.2"), use_errno=True)
    ticks = []
    threading.Thread(target=lambda: [ticks.append(time.sleep(0.002)) for _ in iter(int, 1)], daemon=True).start()
    while not os.path.exists(at("go")):
        time.sleep(0.005)
    leave = os.path.exists(at("leave"))
    os.mkdir(at("images-1"))
    fd = os.open(at("images-1"), os.O_RDONLY | os.O_DIRECTORY)
    if criu.criu_init_opts():
        say("criu_init_opts")
    criu.criu_set_images_dir_fd(fd)
    criu.criu_set_log_file(b"dump.log")
    criu.criu_set_log_level(4)
    criu.criu_set_leave_running(ctypes.c_bool(leave))
    me = os.getpid()
    ret = criu.criu_dump()
    if ret < 0 or (ret == 0 and not leave):
        say(f"criu_dump returned {ret} ({os.strerror(ctypes.get_errno())})")
    n = len(ticks)
    time.sleep(0.1)
    if len(ticks) <= n or os.getpid() != me:
        say("the other thread stands still")
    say("OK")


main()
