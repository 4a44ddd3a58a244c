# What: nginx with keep-alive downloads running; every byte arrives and no client sees an error.
# Go: file
# Copy: no
# Needs: python3 nginx
# Options: --tcp-established
import http.client, os, socket, subprocess, sys, threading, time

folder = sys.argv[1]
at = lambda name: os.path.join(folder, name)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
data = bytes(i * 7 % 251 for i in range(1 << 20))
with open(at("file"), "wb") as f:
    f.write(data)
with open(at("conf"), "w") as f:
    f.write(f"""daemon off; master_process on; worker_processes 2; user root; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 64; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
server {{ listen 127.0.0.1:{port}; root {folder}; limit_rate 8m; }} }}
""")
null = subprocess.DEVNULL
server = subprocess.Popen(["nginx", "-c", at("conf"), "-e", at("error")], stdin=null, stdout=null, stderr=null)
going, wrong, rounds = True, [], [0] * 4


def client(c):
    try:
        for attempt in range(500):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        while going:
            connection.request("GET", "/file")
            answer = connection.getresponse()
            if answer.read() != data:
                raise ValueError("other bytes")
            rounds[c] += 1
        connection.close()
    except Exception as e:
        wrong.append(f"client {c}: {e!r}")


threads = [threading.Thread(target=client, args=(c,)) for c in range(4)]
[t.start() for t in threads]
while not wrong and min(rounds) < 1:
    time.sleep(0.005)
open(at("ready"), "w").close()
while not os.path.exists(at("go")):
    time.sleep(0.005)
seen = list(rounds)
end = time.monotonic() + 15
while not wrong and min(r - s for r, s in zip(rounds, seen)) < 2:
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
