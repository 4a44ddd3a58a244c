#!/bin/sh
# Runs the examples as a user would and says of each `ok NAME` or `failed NAME: why`. Needs pkg-config to find criu, PYTHON with
# pycriu, CRIU (the command), RUST_CHECKPOINT (the Rust example, built). Works in a fresh folder.
set -u
here=$(cd "$(dirname "$0")" && pwd)
room=$(mktemp -d)
cd "$room" || exit 1
started=

end() {
	for pid in $started; do kill -KILL "$pid" 2>/dev/null; done
	rm -rf "$room"
}
trap end EXIT

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
	left=$(($1 * 20))
	shift
	until "$@" >/dev/null 2>&1; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || return 1
		sleep 0.05
	done
}

# A zombie counts as gone: who reaps it does not matter here.
gone() {
	state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) || return 0
	[ "$state" = Z ] || [ -z "$state" ]
}

# Not even its pid is taken.
free() {
	! [ -e "/proc/$1" ]
}

# example NAME: runs the function example_NAME, whose output is shown when it fails.
example() {
	if "example_$1" >"$1.said" 2>&1; then
		echo "ok $1"
	else
		echo "failed $1: $(tail -n 5 "$1.said" | tr '\n' ' ')"
	fi
}

compile() {
	# shellcheck disable=SC2046
	cc -Wall -o "$1" "$here/$1.c" $(pkg-config --cflags --libs criu) -pthread
}

# start COMMAND...: in a session of its own, detached from ours; leaves its pid in $pid.
start() {
	setsid sh -c 'echo $$ >pid; exec "$@"' sh "$@" </dev/null >>started.said 2>&1 &
	wait_for 10 test -s pid && pid=$(cat pid) && rm pid && started="$started $pid"
}

grows() {
	lines=$(wc -l <"$1")
	wait_for 10 sh -c "[ \$(wc -l <$1) -gt $lines ]"
}

example_checkpoint() {
	compile counter && compile checkpoint && mkdir ck || return 1
	start ./counter "$room/count" && wait_for 10 test -s count || return 1
	./checkpoint dump "$pid" ck && wait_for 10 free "$pid" || return 1
	./checkpoint restore ck && grows count
}

example_watched() {
	compile counter && compile watched || return 1
	start ./counter "$room/seen" && wait_for 10 test -s seen || return 1
	./watched "$pid" wd && test -f wd/inventory.img && grows seen
}

example_self() {
	compile self && compile checkpoint && mkdir self.d || return 1
	start ./self "$room/self.d" "$room/self.out" && wait_for 10 free "$pid" || return 1
	test -f self.d/inventory.img && ./checkpoint restore self.d && wait_for 20 grep "done" self.out
	grep "returned 1" self.out
}

example_interval() {
	compile interval && compile checkpoint || return 1
	start ./interval "$room/iv" 1 100 && wait_for 20 test -e iv/last || return 1
	kill -KILL "$pid" && wait_for 10 free "$pid" || return 1
	./checkpoint restore iv/last && wait_for 30 grep "done" started.said && grep "goes on" started.said
}

example_sigterm() {
	start "$PYTHON" "$here/python/sigterm.py" "$room/st" "$room/st.out" && wait_for 20 grep ready st.out || return 1
	kill -TERM "$pid" && wait_for 20 free "$pid" || return 1
	"$PYTHON" "$here/python/sigterm.py" --continue st && grep "pid $pid goes on" st.out && grep "done" st.out
}

example_warm_start() {
	"$PYTHON" "$here/python/warm_start.py" ws && "$PYTHON" "$here/python/warm_start.py" ws >again || return 1
	grep "answer 123456" again && ! grep started again
}

example_rust() {
	compile counter || return 1
	start ./counter "$room/rust" && wait_for 10 test -s rust || return 1
	"$RUST_CHECKPOINT" dump "$pid" rd && wait_for 10 free "$pid" || return 1
	"$RUST_CHECKPOINT" restore rd && grows rust
}

for name in checkpoint watched self interval sigterm warm_start rust; do
	example "$name"
done
