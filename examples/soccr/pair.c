/*
 * Makes a connected pair of TCP sockets out of nothing: two sockets in repair mode are told that they are connected. No SYN
 * is sent, nobody listens.
 *
 *	cc pair.c $(pkg-config --cflags --libs soccr) && sudo ./a.out
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <soccr/soccr.h>

/* ESTABLISHED in TCP_INFO. */
#define ESTABLISHED 1

static union libsoccr_addr address(int port)
{
	union libsoccr_addr a = { 0 };
	a.v6.sin6_family = AF_INET6;
	a.v6.sin6_addr = in6addr_loopback;
	a.v6.sin6_port = htons(port);
	return a;
}

/* One end: it has already sent `outq` up to sequence number `sent`, and expects `expected`. */
static struct libsoccr_sk *end(int fd, int own, int peer, __u32 sent, __u32 expected, char *outq)
{
	union libsoccr_addr a = address(own), b = address(peer);
	struct libsoccr_sk *sk = libsoccr_pause(fd);
	struct libsoccr_sk_data data = {
		.state = ESTABLISHED,
		.inq_seq = expected,
		.outq_seq = sent,
		.outq_len = strlen(outq),
		.mss_clamp = 1440,
		.opt_mask = TCPI_OPT_SACK | TCPI_OPT_WSCALE,
		.snd_wscale = 7,
		.rcv_wscale = 7,
	};

	if (!sk)
		err(1, "libsoccr_pause");
	if (libsoccr_set_addr(sk, 1, &a, 0) < 0 || libsoccr_set_addr(sk, 0, &b, 0) < 0 ||
	    libsoccr_set_queue_bytes(sk, TCP_SEND_QUEUE, outq, 0) < 0 || libsoccr_restore(sk, &data, sizeof(data)) < 0)
		err(1, "cannot make port %d", own);
	return sk;
}

static void expect(int fd, const char *text)
{
	char got[64];
	ssize_t len = recv(fd, got, strlen(text), MSG_WAITALL);
	if (len != (ssize_t)strlen(text) || memcmp(got, text, len))
		errx(1, "did not hear \"%s\"", text);
}

int main(void)
{
	int left = socket(AF_INET6, SOCK_STREAM, 0), right = socket(AF_INET6, SOCK_STREAM, 0);

	/* What the left one has sent is on its way: it is sent again until the right one has it. */
	struct libsoccr_sk *l = end(left, 7001, 7002, 1000, 5000, "from nothing");
	struct libsoccr_sk *r = end(right, 7002, 7001, 5000, 1000 - strlen("from nothing"), "");
	libsoccr_resume(l);
	libsoccr_resume(r);

	if (send(right, "answer", 6, 0) != 6 || send(left, " comes something", 16, 0) != 16)
		err(1, "send");
	expect(right, "from nothing comes something");
	expect(left, "answer");

	/* They also part as others do. */
	close(left);
	expect(right, "");
	char end_of_stream;
	if (recv(right, &end_of_stream, 1, 0) != 0)
		errx(1, "the stream has no end");
	puts("connected");
	return 0;
}
