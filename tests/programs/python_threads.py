# What: Python with threads, a lock, a queue, a timer and a generator half-way.
# Go: file
# Needs: python3
import os, queue, sys, threading, time

folder = sys.argv[1]
gone = os.path.join(folder, "go")
numbers, sums = queue.Queue(maxsize=50), {}
lock, stop = threading.Lock(), threading.Event()
ticks = []


def produce():
    n = 0
    while not stop.is_set():
        numbers.put(n)
        n += 1
    for _ in range(4):
        numbers.put(None)
    sums["produced"] = n


def consume(name):
    count = total = 0
    while (n := numbers.get()) is not None:
        count, total = count + 1, total + n
        time.sleep(0.0005)
    with lock:
        sums[name] = (count, total)


def tick():
    while not stop.wait(0.01):
        ticks.append(time.monotonic())


def squares():
    n = 0
    while True:
        yield n * n
        n += 1


workers = [threading.Thread(target=produce)] + [threading.Thread(target=consume, args=(i,)) for i in range(4)]
workers.append(threading.Thread(target=tick))
for w in workers:
    w.start()
gen, last, held = squares(), -1, {i: str(i) * 20 for i in range(20000)}
for _ in range(100):
    last = next(gen)
while len(ticks) < 2:
    time.sleep(0.01)
open(os.path.join(folder, "ready"), "w").close()
while not os.path.exists(gone):
    time.sleep(0.005)
stop.set()
for w in workers:
    w.join()
n = sums.pop("produced")
wrong = []
if sum(c for c, _ in sums.values()) != n or sum(t for _, t in sums.values()) != n * (n - 1) // 2:
    wrong.append(f"{n} numbers produced, consumed {sums}")
if next(gen) != 100 * 100:
    wrong.append("the generator lost its place")
if ticks != sorted(ticks) or len(ticks) < 2:
    wrong.append("time ran backwards")
if any(held[i] != str(i) * 20 for i in held):
    wrong.append("memory differs")
with open(os.path.join(folder, "part"), "w") as f:
    f.write("; ".join(wrong) or "OK")
    f.write("\n")
os.rename(os.path.join(folder, "part"), os.path.join(folder, "result"))
sys.exit(bool(wrong))
