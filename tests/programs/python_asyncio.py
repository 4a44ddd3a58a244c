# What: Python with asyncio (epoll, a socket pair, timers, a subprocess) and an sqlite database.
# Go: file
# Copy: no
# Options: --file-locks
# Needs: python3
import asyncio, os, sqlite3, sys

folder = sys.argv[1]
base = sqlite3.connect(f"{folder}/base.sqlite")
memory = sqlite3.connect(":memory:")
for db in (base, memory):
    db.execute("create table steps (n integer primary key, word text)")
    db.commit()


async def step(limit):
    n = 0
    while not limit.is_set():
        for db in (base, memory):
            db.execute("insert into steps values (?, ?)", (n, f"word {n}"))
            db.commit()
        n += 1
        if n == 10:
            open(os.path.join(folder, "ready"), "w").close()
        await asyncio.sleep(0.005)
    return n


async def echo(reader, writer):
    while data := await reader.readline():
        writer.write(data.upper())
        await writer.drain()


async def talk(limit):
    import socket

    a, b = socket.socketpair()
    ar, aw = await asyncio.open_connection(sock=a)
    br, bw = await asyncio.open_connection(sock=b)
    server, n = asyncio.create_task(echo(br, bw)), 0
    while not limit.is_set():
        aw.write(f"line {n}\n".encode())
        assert await ar.readline() == f"LINE {n}\n".encode()
        n += 1
        await asyncio.sleep(0.002)
    server.cancel()
    return n


async def pipe(limit):
    cat = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    n = 0
    while not limit.is_set():
        cat.stdin.write(f"{n}\n".encode())
        assert await cat.stdout.readline() == f"{n}\n".encode()
        n += 1
        await asyncio.sleep(0.003)
    cat.stdin.close()
    assert await cat.wait() == 0
    return n


async def main():
    limit = asyncio.Event()
    tasks = [asyncio.create_task(t(limit)) for t in (step, talk, pipe)]
    while not os.path.exists(os.path.join(folder, "go")):
        await asyncio.sleep(0.005)
        for t in tasks:
            if t.done():
                t.result()
    limit.set()
    return await asyncio.gather(*tasks)


wrong = "OK"
try:
    n, lines, piped = asyncio.run(main())
    for db in (base, memory):
        rows = db.execute("select n, word from steps order by n").fetchall()
        assert rows == [(i, f"word {i}") for i in range(n)], f"{n} steps, {len(rows)} rows"
    assert base.execute("pragma integrity_check").fetchone() == ("ok",)
    assert lines > 2 and piped > 2
except Exception as e:
    import traceback

    traceback.print_exc()
    wrong = repr(e)
with open(os.path.join(folder, "part"), "w") as f:
    f.write(wrong + "\n")
os.rename(os.path.join(folder, "part"), os.path.join(folder, "result"))
sys.exit(wrong != "OK")
