# What: a Python asyncio server on a unix socket, ten clients of another process in flight, and new ones afterwards.
# Go: file
# Copy: no
# Needs: python3
import asyncio, os, socket, sys

folder = sys.argv[1]
# Short enough for sun_path whatever the folder is.
path = f"/tmp/criu-python-unix-{os.getpid()}"
CLIENTS = 10


def goes_on():
    return not os.path.exists(os.path.join(folder, "go"))


async def echo(reader, writer):
    while data := await reader.readline():
        writer.write(data.upper())
        await writer.drain()
    writer.close()


async def talk(which, counts, until):
    reader, writer = await asyncio.open_unix_connection(path)
    n = 0
    while not until(n):
        writer.write(f"client {which} line {n}\n".encode())
        assert await reader.readline() == f"CLIENT {which} LINE {n}\n".encode()
        counts[which] += 1
        n += 1
        await asyncio.sleep(0.002)
    writer.close()
    await writer.wait_closed()


async def client(which, counts):
    await talk(which, counts, lambda _: not goes_on())
    # The name leads to the server as before.
    await talk(which, counts, lambda n: n == 3)


async def clients():
    counts = [0] * CLIENTS
    tasks = [asyncio.create_task(client(i, counts)) for i in range(CLIENTS)]
    while min(counts) < 10:
        await asyncio.sleep(0.005)
    open(os.path.join(folder, "ready"), "w").close()
    await asyncio.gather(*tasks)
    return min(counts)


async def serve(child):
    server = await asyncio.start_unix_server(echo, path)
    # The child may connect from now on.
    os.write(child[1], b"x")
    loop = asyncio.get_running_loop()
    _, status = await loop.run_in_executor(None, os.waitpid, child[0], 0)
    server.close()
    return os.waitstatus_to_exitcode(status)


wait, go = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(wait, 1)
    try:
        os._exit(0 if asyncio.run(clients()) >= 10 else 3)
    except Exception:
        import traceback

        traceback.print_exc()
        os._exit(2)
wrong = "OK"
try:
    code = asyncio.run(serve((pid, go)))
    assert code == 0, f"the clients ended with {code}"
    assert os.path.exists(path)
    os.unlink(path)
except Exception as e:
    wrong = repr(e)
with open(os.path.join(folder, "part"), "w") as f:
    f.write(wrong + "\n")
os.rename(os.path.join(folder, "part"), os.path.join(folder, "result"))
sys.exit(wrong != "OK")
