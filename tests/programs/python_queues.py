# What: Python's multiprocessing: four processes, queues, locks, shared values, a pool's pipes.
# Go: file
# Needs: python3
import multiprocessing as mp, os, sys, time

folder = sys.argv[1]
mp.set_start_method("fork")


def work(todo, done, lock, shared):
    while (n := todo.get()) is not None:
        with lock:
            shared.value += n
        done.put((n, n * n))
    done.put(None)


if __name__ == "__main__":
    todo, done, lock, shared = mp.Queue(100), mp.Queue(), mp.Lock(), mp.Value("q", 0, lock=False)
    workers = [mp.Process(target=work, args=(todo, done, lock, shared)) for _ in range(4)]
    for w in workers:
        w.start()
    n, got = 0, {}
    while not os.path.exists(os.path.join(folder, "go")):
        todo.put(n)
        n += 1
        while not done.empty():
            k, v = done.get()
            got[k] = v
        if n == 50:
            open(os.path.join(folder, "ready"), "w").close()
        time.sleep(0.002)
    for _ in workers:
        todo.put(None)
    ended = 0
    while ended < len(workers):
        item = done.get(timeout=10)
        if item is None:
            ended += 1
        else:
            got[item[0]] = item[1]
    for w in workers:
        w.join()
    wrong = "OK"
    if got != {i: i * i for i in range(n)}:
        wrong = f"{n} numbers sent, {len(got)} came back"
    elif shared.value != n * (n - 1) // 2:
        wrong = f"the shared sum is {shared.value}"
    elif any(w.exitcode for w in workers):
        wrong = f"exit codes {[w.exitcode for w in workers]}"
    with open(os.path.join(folder, "part"), "w") as f:
        f.write(wrong + "\n")
    os.rename(os.path.join(folder, "part"), os.path.join(folder, "result"))
    sys.exit(wrong != "OK")
