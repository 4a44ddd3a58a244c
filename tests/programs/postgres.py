# What: PostgreSQL as it is started on a host: idle; with clients connected, one of them in an open transaction.
# Variants: idle busy
# Go: file
# Copy: no
# Needs: python3 psql setpriv
# Options: --tcp-established
# Seconds: 60
import glob, os, shutil, socket, subprocess, sys, tempfile, time

folder, variant = sys.argv[1:3]
USER, GROUP = "65534", "65534"
null = subprocess.DEVNULL
# The server refuses to be root, and its user must be able to reach its files; sun_path is short.
room = tempfile.mkdtemp(prefix="criu-pg-", dir="/tmp")
data, clients, server = os.path.join(room, "data"), [], None


def program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name)


def finish(text, status=0):
    with open(os.path.join(folder, "part"), "w") as f:
        f.write(text + "\n")
    os.rename(os.path.join(folder, "part"), os.path.join(folder, "result"))
    sys.exit(status)


def as_user(*args, **options):
    words = ["setpriv", f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups", *args]
    return subprocess.Popen(words, stdin=options.pop("stdin", null), cwd=room, **options)


class Client:
    """psql that is told one line at a time."""

    def __init__(self, host):
        words = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", str(port), "-U", "postgres", "postgres"]
        self.process = as_user(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ask(self, line):
        self.process.stdin.write(line.encode() + b"\n\\echo end\n")
        self.process.stdin.flush()
        answer = []
        while True:
            line = self.process.stdout.readline().decode().rstrip("\n")
            if line == "end":
                return "|".join(answer)
            if not line and self.process.poll() is not None:
                raise AssertionError(f"psql ended: {answer}")
            answer.append(line)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0


def connect(host):
    client = Client(host)
    clients.append(client)
    return client


def is_up():
    words = ["psql", "-XAtqc", "select 1", "-h", room, "-p", str(port), "-U", "postgres", "postgres"]
    return as_user(*words, stdout=null, stderr=null).wait() == 0


wrong = "OK"
try:
    os.chown(room, int(USER), int(GROUP))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = as_user(program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", stdout=null, stderr=subprocess.PIPE)
    if made.wait() != 0:
        finish(f"initdb: {made.stderr.read().decode()}", 77 if not program("initdb") else 1)
    log = open(os.path.join(room, "log"), "w")
    words = [program("postgres"), "-D", data, "-k", room, "-p", str(port), "-h", "127.0.0.1"]
    server = as_user(*words, stdout=log, stderr=log)
    end = time.monotonic() + 50
    while not is_up():
        assert server.poll() is None and time.monotonic() < end, open(log.name).read()[-800:]
        time.sleep(0.1)
    if variant == "busy":
        one, other, idle = connect(room), connect("127.0.0.1"), connect("127.0.0.1")
        one.ask("create table t (n int primary key, s text); create index on t (s);")
        one.ask("insert into t select n, repeat('x', 100) from generate_series(1, 20000) n;")
        one.ask("begin;")
        one.ask("insert into t values (20001, 'mine'); update t set s = 'changed' where n <= 10;")
        one.ask("declare c cursor for select n from t where n <= 1000 order by n;")
        assert one.ask("fetch 3 from c;") == "1|2|3"
        # Not yet to be seen by others, who hold what ends with their session.
        assert other.ask("select count(*) from t;") == "20000"
        other.ask("select pg_advisory_lock(7); create temp table mine as select 5 as five; prepare p as select $1 + 1;")
        idle.ask("listen word;")
        backends = [c.ask("select pg_backend_pid();") for c in clients]
    open(os.path.join(folder, "ready"), "w").close()
    while not os.path.exists(os.path.join(folder, "go")):
        assert server.poll() is None, open(log.name).read()[-800:]
        time.sleep(0.01)
    if variant == "busy":
        assert [c.ask("select pg_backend_pid();") for c in clients] == backends
        assert one.ask("fetch 3 from c;") == "4|5|6"
        assert other.ask("select count(*) from t where s = 'changed';") == "0"
        assert other.ask("execute p(41); select five from mine;") == "42|5"
        assert idle.ask("select pg_try_advisory_lock(7);") == "f"
        one.ask("notify word, 'text'; commit;")
        assert other.ask("select count(*), count(*) filter (where s = 'changed') from t;") == "20001|10"
        assert "text" in idle.ask("select 1;") + idle.ask("select 1;")
        # Buffers of the server go to disk and back, and its other processes answer.
        assert one.ask("checkpoint; select sum(n) from t;") == str(20001 * 20002 // 2)
        [c.end() for c in clients]
    late = connect("127.0.0.1")
    assert late.ask("create table u (n int); insert into u values (3); vacuum u; select n from u;") == "3"
    assert late.ask("select count(*) from pg_stat_activity where backend_type = 'checkpointer';") == "1"
    late.end()
    server.send_signal(2)
    assert server.wait(30) == 0, open(log.name).read()[-800:]
except BaseException as e:
    import traceback

    traceback.print_exc()
    wrong = repr(e)
    if isinstance(e, SystemExit):
        raise
finally:
    for process in [c.process for c in clients] + [server]:
        if process and process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(room, ignore_errors=True)
finish(wrong, wrong != "OK")
