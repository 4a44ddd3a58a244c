# What: memcached with ten clients in flight, each counting up; none of them sees an error.
# Go: file
# Copy: no
# Needs: python3 memcached
# Options: --tcp-established
import os, socket, subprocess, sys, threading, time

folder = sys.argv[1]
at = lambda name: os.path.join(folder, name)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
null = subprocess.DEVNULL
args = ["-p", str(port), "-l", "127.0.0.1", "-U", "0", "-u", "root", "-t", "4"]
server = subprocess.Popen(["memcached", *args], stdin=null, stdout=null, stderr=null)
going, wrong, rounds = True, [], [0] * 10


def connect():
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise TimeoutError("memcached does not listen")


def client(c):
    try:
        with connect() as s, s.makefile("rb") as answers:
            s.sendall(b"set client%d 0 0 1\r\n0\r\n" % c)
            if answers.readline() != b"STORED\r\n":
                raise ValueError("not stored")
            while going:
                s.sendall(b"incr client%d 1\r\n" % c)
                answer = answers.readline()
                rounds[c] += 1
                if answer != b"%d\r\n" % rounds[c]:
                    raise ValueError(f"{answer} instead of {rounds[c]}")
    except Exception as e:
        wrong.append(f"client {c}: {e!r}")


threads = [threading.Thread(target=client, args=(c,)) for c in range(10)]
[t.start() for t in threads]
while not wrong and min(rounds) < 20:
    time.sleep(0.005)
open(at("ready"), "w").close()
seen = rounds
while not os.path.exists(at("go")):
    time.sleep(0.005)
seen = list(rounds)
end = time.monotonic() + 15
while not wrong and min(r - s for r, s in zip(rounds, seen)) < 20:
    if time.monotonic() > end:
        wrong.append(f"after the restore: {seen} {rounds}")
    time.sleep(0.005)
going = False
[t.join() for t in threads]
server.terminate()
server.wait()
with open(at("part"), "w") as f:
    f.write((wrong[0] if wrong else "OK") + "\n")
os.rename(at("part"), at("result"))
