/*
 * libsoccr: pause, save, restore and resume one TCP connection (TCP_REPAIR, Linux 4.20, CAP_NET_ADMIN; CAP_NET_RAW too for
 * connections whose peer has closed).
 *
 * Moving a connection:
 *
 *	old = libsoccr_pause(old_fd);             new = libsoccr_pause(socket(family, SOCK_STREAM, 0));
 *	libsoccr_save(old, &data, sizeof(data));  libsoccr_set_addr(new, 1, own, 0);
 *	own = libsoccr_get_addr(old, 1, 0);       libsoccr_set_addr(new, 0, peer, 0);
 *	peer = libsoccr_get_addr(old, 0, 0);      libsoccr_set_queue_bytes(new, TCP_RECV_QUEUE, inq, 0);
 *	inq = libsoccr_get_queue_bytes(...);      libsoccr_set_queue_bytes(new, TCP_SEND_QUEUE, outq, 0);
 *	libsoccr_release(old); close(old_fd);     libsoccr_restore(new, &data, sizeof(data));
 *	                                          libsoccr_resume(new);
 *
 * Repair mode does not stop packets: keep those of the connection away while it moves, in both directions, but let packets
 * with the mark SOCCR_MARK pass.
 *
 * Functions that return int return a negative number on failure, those that return a pointer NULL; errno tells why, and the
 * log function tells more. A handle is used by one thread at a time.
 */
#ifndef __LIBSOCCR_H__
#define __LIBSOCCR_H__

#include <linux/types.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values of TCP_REPAIR_QUEUE, from linux/tcp.h, which cannot be included together with netinet/tcp.h. */
#define TCP_NO_QUEUE   0
#define TCP_RECV_QUEUE 1
#define TCP_SEND_QUEUE 2

/* Packets with this mark (SO_MARK) have to pass a network lock. */
#define SOCCR_MARK 0xC114

/* Levels of messages. */
#define SOCCR_LOG_ERR 1
#define SOCCR_LOG_DBG 2

/* Messages up to the level go to the function, which is like printf; none before it was set. */
void libsoccr_set_log(unsigned int level, void (*fn)(unsigned int level, const char *fmt, ...));

/* A paused socket. */
struct libsoccr_sk;

union libsoccr_addr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct libsoccr_sk_data {
	__u32 state;      /* as in TCP_INFO */
	__u32 inq_len;    /* bytes received and not read, without a FIN */
	__u32 inq_seq;    /* sequence number expected next; a FIN counts */
	__u32 outq_len;   /* bytes not acknowledged, without a FIN */
	__u32 outq_seq;   /* sequence number behind all that was written; a FIN counts */
	__u32 unsq_len;   /* those of outq_len that were never sent */
	__u32 opt_mask;   /* TCPI_OPT_ of TCP_INFO: what both sides agreed on */
	__u32 mss_clamp;  /* largest segment, in bytes */
	__u32 snd_wscale; /* the peer's window scale, and ours */
	__u32 rcv_wscale;
	__u32 timestamp; /* clock of our timestamps */
	__u32 flags;     /* SOCCR_FLAGS_ */
	/* As in struct tcp_repair_window; valid with SOCCR_FLAGS_WINDOW. */
	__u32 snd_wl1;
	__u32 snd_wnd;
	__u32 max_window;
	__u32 rcv_wnd;
	__u32 rcv_wup;
};

/* The last five members are valid. */
#define SOCCR_FLAGS_WINDOW 1
/* In state CLOSE: the socket has an error that nobody has seen yet; it is restored as a reset by the peer. */
#define SOCCR_FLAGS_ERROR 2

/*
 * Memory changes hands: what a get function returns is the caller's, who frees it; what a set function is given came from
 * malloc and is freed by the library. Without it, what was got is valid until the handle is resumed or released, and what
 * was set has to be.
 */
#define SOCCR_MEM_EXCL 1

/*
 * Puts the socket into repair mode. The descriptor stays the caller's and stays open while the handle is used. It may be a
 * connection, which can be saved, or a fresh socket, which can be restored into.
 */
struct libsoccr_sk *libsoccr_pause(int fd);

/*
 * Both end the handle. Resume: the connection goes on; restored data not sent yet are sent, the peer is asked for its window.
 * Release: the socket stays in repair mode; the connection vanishes when it is closed, and the peer hears nothing.
 */
void libsoccr_resume(struct libsoccr_sk *sk);
void libsoccr_release(struct libsoccr_sk *sk);

/*
 * Reads the connection; returns how many bytes of data were filled in, what is behind them is zeroed. Queues and addresses
 * stay with the handle.
 */
int libsoccr_save(struct libsoccr_sk *sk, struct libsoccr_sk_data *data, unsigned data_size);

/* Bytes of a queue (TCP_RECV_QUEUE: inq_len, TCP_SEND_QUEUE: outq_len of them) after save; NULL for an empty one. */
char *libsoccr_get_queue_bytes(struct libsoccr_sk *sk, int queue_id, unsigned flags);

/* Address of the socket itself (self is 1) or of its peer (0) after save. */
union libsoccr_addr *libsoccr_get_addr(struct libsoccr_sk *sk, int self, unsigned flags);

/* What restore will use. Queues of length 0 need not be set. */
int libsoccr_set_queue_bytes(struct libsoccr_sk *sk, int queue_id, char *bytes, unsigned flags);
int libsoccr_set_addr(struct libsoccr_sk *sk, int self, union libsoccr_addr *, unsigned flags);

/*
 * Makes a fresh socket the end of the connection: binds, connects, fills; the peer notices nothing before resume (but in state
 * SYN_SENT, where the SYN is sent again). Afterwards set socket options, then resume. After a failure the socket is good for
 * release and close only.
 */
int libsoccr_restore(struct libsoccr_sk *sk, struct libsoccr_sk_data *data, unsigned data_size);

#ifdef __cplusplus
}
#endif

#endif
