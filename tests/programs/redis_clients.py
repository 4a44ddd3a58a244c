# What: redis with ten clients in flight, each counting up; none of them sees an error.
# Go: file
# Copy: no
# Needs: python3 redis-server
# Options: --tcp-established
import os, socket, subprocess, sys, threading, time

folder = sys.argv[1]
at = lambda name: os.path.join(folder, name)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
null = subprocess.DEVNULL
args = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
server = subprocess.Popen(["redis-server", *args], stdin=null, stdout=null, stderr=null)
going, wrong, rounds = True, [], [0] * 10


def connect():
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise TimeoutError("redis does not listen")


def client(c):
    try:
        with connect() as s, s.makefile("rb") as answers:
            while going:
                s.sendall(b"INCR client%d\r\n" % c)
                answer = answers.readline()
                rounds[c] += 1
                if answer != b":%d\r\n" % rounds[c]:
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
