/*
 * Moves one end of a TCP connection from one process to another while data wait in both directions; its peer notices nothing.
 *
 * While nobody has the connection, the kernel answers whatever the peer sends with a reset. Here the peer is silent that long:
 * all that was sent has been acknowledged, and it sends on when the new process has the connection. For a peer that one cannot
 * keep silent, a firewall rule has to drop the packets of the connection from before the pause until the new socket stands.
 *
 *	cc move.c $(pkg-config --cflags --libs soccr) && sudo ./a.out
 */
#include <err.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <soccr/soccr.h>

/* What goes from the old process to the new one, before the bytes of both queues. */
struct parcel {
	struct libsoccr_sk_data data;
	union libsoccr_addr own, peer;
};

static void say(const void *what, size_t len, int fd)
{
	if (len && write(fd, what, len) != (ssize_t)len)
		err(1, "write");
}

static void hear(void *what, size_t len, int fd)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = read(fd, (char *)what + got, len - got);
		if (n <= 0)
			errx(1, "read: %s", n ? strerror(errno) : "nothing left");
		got += n;
	}
}

static void expect(int fd, const char *text)
{
	char got[64] = "";
	hear(got, strlen(text), fd);
	if (strcmp(got, text))
		errx(1, "heard \"%s\" instead of \"%s\"", got, text);
}

/* Waits until the other side's kernel has everything: then neither side repeats anything, and no acknowledgement is due. */
static void await_acknowledged(int fd)
{
	for (int left = 1, i = 0; left; i++) {
		if (ioctl(fd, SIOCOUTQ, &left))
			err(1, "SIOCOUTQ");
		if (i == 10000)
			errx(1, "the other side does not acknowledge");
		usleep(left ? 1000 : 0);
	}
}

/* The old process: packs the connection, and is gone without a word to the peer. */
static void pack(int fd, int to)
{
	struct parcel parcel = { 0 };
	struct libsoccr_sk *sk = libsoccr_pause(fd);

	if (!sk || libsoccr_save(sk, &parcel.data, sizeof(parcel.data)) < 0)
		err(1, "cannot save the connection");
	parcel.own = *libsoccr_get_addr(sk, 1, 0);
	parcel.peer = *libsoccr_get_addr(sk, 0, 0);
	say(&parcel, sizeof(parcel), to);
	say(libsoccr_get_queue_bytes(sk, TCP_RECV_QUEUE, 0), parcel.data.inq_len, to);
	say(libsoccr_get_queue_bytes(sk, TCP_SEND_QUEUE, 0), parcel.data.outq_len, to);
	libsoccr_release(sk);
	close(fd);
	close(to);
}

/* The new process: makes a socket of what it gets. The queues it hands over to the library. */
static int unpack(int from)
{
	struct parcel parcel;
	hear(&parcel, sizeof(parcel), from);
	char *inq = malloc(parcel.data.inq_len), *outq = malloc(parcel.data.outq_len);
	hear(inq, parcel.data.inq_len, from);
	hear(outq, parcel.data.outq_len, from);
	/* There can be only one socket with these addresses: wait until the old process has closed its own, and then the pipe. */
	char none;
	if (read(from, &none, 1) != 0)
		errx(1, "more than was announced");

	int fd = socket(parcel.own.sa.sa_family, SOCK_STREAM, 0);
	struct libsoccr_sk *sk = libsoccr_pause(fd);
	if (!sk)
		err(1, "libsoccr_pause");
	libsoccr_set_addr(sk, 1, &parcel.own, 0);
	libsoccr_set_addr(sk, 0, &parcel.peer, 0);
	libsoccr_set_queue_bytes(sk, TCP_RECV_QUEUE, inq, SOCCR_MEM_EXCL);
	libsoccr_set_queue_bytes(sk, TCP_SEND_QUEUE, outq, SOCCR_MEM_EXCL);
	if (libsoccr_restore(sk, &parcel.data, sizeof(parcel.data)) < 0)
		err(1, "libsoccr_restore");
	libsoccr_resume(sk);
	return fd;
}

static void print(unsigned int level, const char *fmt, ...)
{
	va_list args;
	(void)level;
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
}

int main(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), way[2], news[2], status;

	libsoccr_set_log(SOCCR_LOG_ERR, print);
	if (listen(listener, 1) || getsockname(listener, (struct sockaddr *)&at, &len) || pipe(way) || pipe(news))
		err(1, "setting up");
	if (connect(client, (struct sockaddr *)&at, len))
		err(1, "connect");
	int server = accept(listener, NULL, NULL);

	say("asked before the move", 21, client);
	say("answered before the move", 24, server);

	pid_t heir = fork();
	if (heir == 0) {
		close(server);
		close(way[1]);
		server = unpack(way[0]);
		say("!", 1, news[1]);
		expect(server, "asked before the move");
		expect(server, ", and after it");
		say(", and after it", 14, server);
		return 0;
	}
	close(way[0]);
	close(news[1]);
	await_acknowledged(client);
	await_acknowledged(server);
	pack(server, way[1]);

	char stands;
	hear(&stands, 1, news[0]);
	expect(client, "answered before the move");
	say(", and after it", 14, client);
	expect(client, ", and after it");
	if (waitpid(heir, &status, 0) != heir || status)
		errx(1, "the new process failed");
	puts("moved");
	return 0;
}
