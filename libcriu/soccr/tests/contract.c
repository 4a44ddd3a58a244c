/* The header against the contract, and misuse of every function. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <soccr/soccr.h>

#define AT(member, number) _Static_assert(offsetof(struct libsoccr_sk_data, member) == 4 * number, #member)

AT(state, 0);
AT(inq_len, 1);
AT(inq_seq, 2);
AT(outq_len, 3);
AT(outq_seq, 4);
AT(unsq_len, 5);
AT(opt_mask, 6);
AT(mss_clamp, 7);
AT(snd_wscale, 8);
AT(rcv_wscale, 9);
AT(timestamp, 10);
AT(flags, 11);
AT(snd_wl1, 12);
AT(snd_wnd, 13);
AT(max_window, 14);
AT(rcv_wnd, 15);
AT(rcv_wup, 16);
_Static_assert(sizeof(struct libsoccr_sk_data) == 4 * 17, "size");
_Static_assert(SOCCR_FLAGS_WINDOW == 1 && SOCCR_MEM_EXCL == 1 && SOCCR_LOG_ERR == 1 && SOCCR_LOG_DBG == 2, "numbers");
_Static_assert(SOCCR_MARK == 0xC114, "mark");

static char last[512];

static void keep(unsigned int level, const char *fmt, ...)
{
	va_list args;
	if (level != SOCCR_LOG_ERR)
		return;
	va_start(args, fmt);
	vsnprintf(last, sizeof(last), fmt, args);
	va_end(args);
}

#define FAILS(what, number)                            \
	do {                                           \
		errno = 0;                             \
		last[0] = 0;                           \
		assert((what) < 0 && errno == number); \
		assert(last[0]);                       \
	} while (0)

int main(void)
{
	struct libsoccr_sk_data data = { 0 };
	union libsoccr_addr a = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0);

	libsoccr_set_log(SOCCR_LOG_DBG, keep);
	assert(!libsoccr_pause(-1) && errno == EBADF);
	assert(!libsoccr_pause(udp) && errno);
	assert(!listen(listener, 1) && !libsoccr_pause(listener) && errno == ENOTCONN && strstr(last, "state"));
	FAILS(libsoccr_save(NULL, &data, sizeof(data)), EINVAL);
	FAILS(libsoccr_restore(NULL, &data, sizeof(data)), EINVAL);
	FAILS(libsoccr_set_addr(NULL, 1, &a, 0), EINVAL);
	FAILS(libsoccr_set_queue_bytes(NULL, TCP_RECV_QUEUE, NULL, 0), EINVAL);
	libsoccr_resume(NULL);
	libsoccr_release(NULL);

	struct libsoccr_sk *sk = libsoccr_pause(fd);
	assert(sk && !libsoccr_get_addr(sk, 1, 0));
	FAILS(libsoccr_save(sk, NULL, sizeof(data)), EINVAL);
	FAILS(libsoccr_save(sk, &data, sizeof(data) - 1), EINVAL);
	FAILS(libsoccr_restore(sk, NULL, sizeof(data)), EINVAL);
	FAILS(libsoccr_restore(sk, &data, 4), EINVAL);
	FAILS(libsoccr_set_addr(sk, 1, NULL, 0), EINVAL);
	FAILS(libsoccr_set_addr(sk, 1, &a, 0), EINVAL);
	a.v4.sin_family = AF_INET;
	FAILS(libsoccr_set_addr(sk, 1, &a, 8), EINVAL);
	assert(!libsoccr_get_queue_bytes(sk, 5, 0) && errno == EINVAL);

	/* The address is not set, then no state has this number. */
	FAILS(libsoccr_restore(sk, &data, sizeof(data)), EINVAL);
	union libsoccr_addr *owned = malloc(sizeof(a));
	*owned = a;
	assert(!libsoccr_set_addr(sk, 1, owned, SOCCR_MEM_EXCL) && !libsoccr_set_addr(sk, 0, &a, 0));
	FAILS(libsoccr_restore(sk, &data, sizeof(data)), ENOTCONN);
	data.state = 1;
	data.inq_len = 3;
	FAILS(libsoccr_restore(sk, &data, sizeof(data)), EINVAL);
	assert(strstr(last, "inq_len"));

	/* Not read: it cannot be so long. */
	data.inq_len = 0xffffffff;
	assert(!libsoccr_set_queue_bytes(sk, TCP_RECV_QUEUE, last, 0));
	FAILS(libsoccr_restore(sk, &data, sizeof(data)), EINVAL);
	assert(!libsoccr_set_queue_bytes(sk, TCP_RECV_QUEUE, NULL, 0));

	/* Members that a later version has. */
	struct {
		struct libsoccr_sk_data known;
		__u32 more[3];
	} longer;
	memset(&longer, 0x55, sizeof(longer));
	assert(libsoccr_save(sk, &longer.known, sizeof(longer)) == sizeof(data));
	assert(!longer.more[0] && !longer.more[1] && !longer.more[2] && longer.known.state == 7);

	/* Memory that changes hands, both ways, once. */
	char *bytes = strdup("abc");
	assert(!libsoccr_set_queue_bytes(sk, TCP_RECV_QUEUE, bytes, SOCCR_MEM_EXCL));
	assert(!libsoccr_set_queue_bytes(sk, TCP_RECV_QUEUE, bytes, SOCCR_MEM_EXCL));
	assert(libsoccr_get_queue_bytes(sk, TCP_RECV_QUEUE, SOCCR_MEM_EXCL) == bytes);
	free(bytes);
	assert(libsoccr_save(sk, &data, sizeof(data)) == sizeof(data) && data.state == 7);
	owned = libsoccr_get_addr(sk, 1, SOCCR_MEM_EXCL);
	assert(owned && owned != libsoccr_get_addr(sk, 1, 0) && owned->sa.sa_family == AF_INET);
	free(owned);
	libsoccr_resume(sk);
	close(fd);
	puts("as agreed");
	return 0;
}
