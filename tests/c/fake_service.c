/* What the library makes of a service's answers: a thread plays the service, with messages written out byte by byte. */
#define _GNU_SOURCE
#include <criu-ext.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"

enum { DUMP = 1, RESTORE = 2, CHECK = 3, NOTIFY = 6 };

/* One step of the service: wait for a request of a type (unless 0), then send bytes (unless none), with a descriptor. */
struct step {
	int wait_for;
	const char *bytes;
	size_t len;
	int fd;
	unsigned pause_ms;
};

struct script {
	int socket;
	const struct step *steps;
	size_t count;
	/* Of the last NOTIFY: 1 it said yes, 0 no. */
	int acknowledged;
	int last_type;
	size_t last_len;
	/* Requests taken so far. */
	atomic_int taken;
};

#define SEND(text) .bytes = text, .len = sizeof(text) - 1, .fd = -1

/* criu_resp {type, success} */
#define RESP(type, success) "\x08" type "\x10" success
#define NOTIFY_RESP(script) RESP("\x06", "\x01") "\x2a" script

static int varint(const unsigned char **p)
{
	int value = 0, shift = 0;

	do
		value |= (**p & 0x7f) << shift, shift += 7;
	while (*(*p)++ & 0x80);
	return value;
}

static void *serve(void *data)
{
	struct script *script = data;
	static _Thread_local unsigned char buffer[1 << 20];
	size_t i;

	for (i = 0; i < script->count; i++) {
		const struct step *step = &script->steps[i];

		if (step->wait_for) {
			const unsigned char *p = buffer + 1;
			ssize_t n = recv(script->socket, buffer, sizeof(buffer), 0);

			EXPECT(n > 1 && buffer[0] == 0x08);
			script->last_type = varint(&p);
			script->last_len = n;
			EXPECT_INT(script->last_type, step->wait_for);
			script->taken++;
			if (script->last_type == NOTIFY) {
				/* notify_success, field 3 */
				EXPECT(p - buffer < n && *p == 0x18);
				script->acknowledged = p[1];
			}
		}
		if (step->pause_ms)
			usleep(step->pause_ms * 1000);
		if (step->len) {
			struct iovec iov = { (void *)step->bytes, step->len };
			union {
				char space[CMSG_SPACE(sizeof(int))];
				struct cmsghdr align;
			} control;
			struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

			if (step->fd >= 0) {
				struct cmsghdr *cmsg;

				msg.msg_control = &control;
				msg.msg_controllen = sizeof(control);
				cmsg = CMSG_FIRSTHDR(&msg);
				cmsg->cmsg_level = SOL_SOCKET;
				cmsg->cmsg_type = SCM_RIGHTS;
				cmsg->cmsg_len = CMSG_LEN(sizeof(int));
				memcpy(CMSG_DATA(cmsg), &step->fd, sizeof(int));
			}
			EXPECT(sendmsg(script->socket, &msg, MSG_NOSIGNAL) == (ssize_t)step->len);
		}
	}
	close(script->socket);
	return NULL;
}

static pthread_t thread;
static struct script script;
static int client_end = -1;

static void start(criu_opts *opts, const struct step *steps, size_t count)
{
	int pair[2];

	EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	script.socket = pair[1], script.steps = steps, script.count = count, script.acknowledged = -1;
	script.taken = 0;
	client_end = pair[0];
	criu_local_set_service_fd(opts, client_end);
	EXPECT(pthread_create(&thread, NULL, serve, &script) == 0);
}

static void stop(void)
{
	pthread_join(thread, NULL);
	/* The descriptor is the caller's: the library has not closed it. */
	EXPECT(close(client_end) == 0);
}

#define SERVED(opts, operation, ...)                                           \
	do {                                                                   \
		static const struct step steps[] = { __VA_ARGS__ };            \
		start(opts, steps, sizeof(steps) / sizeof(*steps));            \
		operation;                                                     \
		stop();                                                        \
	} while (0)

static void answers(criu_opts *opts)
{
	SERVED(opts, EXPECT_INT(criu_local_dump(opts), 0), { DUMP, SEND(RESP("\x01", "\x01")) });
	/* dump.restored */
	SERVED(opts, EXPECT_INT(criu_local_dump(opts), 1), { DUMP, SEND(RESP("\x01", "\x01") "\x1a\x02\x08\x01") });
	SERVED(opts, EXPECT_INT(criu_local_dump(opts), 0), { DUMP, SEND(RESP("\x01", "\x01") "\x1a\x02\x08\x00") });
	/* restore.pid 300 */
	SERVED(opts, EXPECT_INT(criu_local_restore(opts), 300), { RESTORE, SEND(RESP("\x02", "\x01") "\x22\x03\x08\xac\x02") });
	SERVED(opts, EXPECT_INT(criu_local_restore_child(opts), 300),
	       { RESTORE, SEND(RESP("\x02", "\x01") "\x22\x03\x08\xac\x02") });
	SERVED(opts, EXPECT_FAILS(criu_local_restore(opts), -EBADMSG, EBADMSG), { RESTORE, SEND(RESP("\x02", "\x01")) });
	SERVED(opts, EXPECT_INT(criu_local_check(opts), 0), { CHECK, SEND(RESP("\x03", "\x01")) });
	/* No, without a number. */
	SERVED(opts, EXPECT_FAILS(criu_local_dump(opts), -EBADE, 0), { DUMP, SEND(RESP("\x01", "\x00")) });
	/* cr_errno EEXIST, cr_errmsg */
	SERVED(opts, EXPECT_FAILS(criu_local_restore(opts), -EBADE, EEXIST),
	       { RESTORE, SEND(RESP("\x02", "\x00") "\x38\x11\x4a\x05taken") });
	EXPECT(!strcmp(criu_local_last_error(opts)->message, "taken"));
	EXPECT_INT(criu_local_last_error(opts)->code, CRIU_ERR_PID_TAKEN);
	/* EMPTY: the request is not known. Another type: not an answer. Garbage. Nothing. */
	SERVED(opts, EXPECT_FAILS(criu_local_dump(opts), -EINVAL, EINVAL), { DUMP, SEND(RESP("\x00", "\x00")) });
	SERVED(opts, EXPECT_FAILS(criu_local_dump(opts), -EBADMSG, EBADMSG), { DUMP, SEND(RESP("\x02", "\x01")) });
	SERVED(opts, EXPECT_FAILS(criu_local_dump(opts), -EBADMSG, EBADMSG), { DUMP, SEND("\xff\xff\xff") });
	SERVED(opts, EXPECT_FAILS(criu_local_dump(opts), -ECOMM, ECONNRESET), { DUMP, .fd = -1 });
	EXPECT_INT(criu_local_last_error(opts)->code, CRIU_ERR_TRANSPORT);
}

static char seen[256];
static int verdict, notified_pid, terminal;

static int notify(char *action, criu_notify_arg_t na)
{
	strcat(strcat(seen, action), " ");
	EXPECT(!strcmp(na->script, action));
	notified_pid = criu_notify_pid(na);
	if (!strcmp(action, "orphan-pts-master"))
		terminal = criu_get_orphan_pts_master_fd();
	return verdict;
}

static int stage(const char *name, int pid, int fd, void *user)
{
	EXPECT(user == seen);
	EXPECT(pid == 0 || pid == 300);
	EXPECT((fd >= 0) == !strcmp(name, "orphan-pts-master"));
	strcat(strcat(seen, name), "! ");
	return verdict;
}

static void notifications(criu_opts *opts)
{
	static struct step with_fd[3];
	int fds[2];
	char byte;

	criu_local_set_notify_cb(opts, notify);
	verdict = 0, *seen = 0;
	SERVED(opts, EXPECT_INT(criu_local_restore(opts), 300), { RESTORE, SEND(NOTIFY_RESP("\x0d\x0a\x0bpre-restore")) },
	       { NOTIFY, SEND(NOTIFY_RESP("\x11\x0a\x0cpost-restore\x10\xac\x02")) },
	       { NOTIFY, SEND(RESP("\x02", "\x01") "\x22\x03\x08\xac\x02") });
	EXPECT(!strcmp(seen, "pre-restore post-restore "));
	EXPECT_INT(notified_pid, 300);
	EXPECT_INT(script.acknowledged, 1);

	verdict = -1, *seen = 0;
	SERVED(opts, EXPECT_INT(criu_local_dump(opts), -EBADE), { DUMP, SEND(NOTIFY_RESP("\x0a\x0a\x08pre-dump")) },
	       { NOTIFY, SEND(RESP("\x01", "\x00")) });
	EXPECT_INT(script.acknowledged, 0);

	/* A terminal comes along; it is ours to close. */
	verdict = 0, *seen = 0;
	EXPECT(pipe(fds) == 0);
	with_fd[0] = (struct step){ RESTORE, SEND(NOTIFY_RESP("\x13\x0a\x11orphan-pts-master")) };
	with_fd[0].fd = fds[1];
	with_fd[1] = (struct step){ NOTIFY, SEND(RESP("\x02", "\x01") "\x22\x03\x08\xac\x02") };
	start(opts, with_fd, 2);
	EXPECT_INT(criu_local_restore(opts), 300);
	stop();
	close(fds[1]);
	EXPECT(terminal >= 0 && write(terminal, "t", 1) == 1 && read(fds[0], &byte, 1) == 1 && byte == 't');
	EXPECT(fcntl(terminal, F_GETFD) == FD_CLOEXEC);
	EXPECT(close(terminal) == 0);
	EXPECT(read(fds[0], &byte, 1) == 0);
	close(fds[0]);

	/* Nobody asked for it: closed by the next operation at the latest. */
	EXPECT(pipe(fds) == 0);
	criu_local_set_notify_cb(opts, NULL);
	criu_local_set_stage_cb(opts, stage, seen);
	with_fd[0].fd = fds[1];
	start(opts, with_fd, 2);
	*seen = 0;
	EXPECT_INT(criu_local_restore(opts), 300);
	EXPECT(!strcmp(seen, "orphan-pts-master! "));
	stop();
	close(fds[1]);
	SERVED(opts, EXPECT_INT(criu_local_check(opts), 0), { CHECK, SEND(RESP("\x03", "\x01")) });
	EXPECT(read(fds[0], &byte, 1) == 0);
	close(fds[0]);
	criu_local_set_stage_cb(opts, NULL, NULL);
}

static unsigned long long progressed;

static void progress(const char *phase, uint64_t done, uint64_t total, void *user)
{
	EXPECT(user == &progressed && !strcmp(phase, "save"));
	progressed = done * 1000 + total;
}

static void log_line(int level, const char *line, void *user)
{
	EXPECT(level <= CRIU_LOG_WARN);
	strcat((char *)user, line);
}

/* Fields 10000 and up have tags of three bytes. */
static void extensions(criu_opts *opts)
{
	const struct criu_error *e;

	criu_local_set_progress_cb(opts, progress, &progressed);
	criu_local_set_log_cb(opts, log_line, seen, CRIU_LOG_WARN);
	*seen = 0;
	SERVED(opts, EXPECT_INT(criu_local_dump(opts), -EBADE),
	       /* PROGRESS {phase save, done 7, total 9}; LOG {level 2, "warn"}; LOG {level 4, "debug"} */
	       { DUMP, SEND("\x08\x91\x4e\x10\x01\x92\xf1\x04\x0a\x0a\x04save\x10\x07\x18\x09") },
	       { 0, SEND("\x08\x92\x4e\x10\x01\x9a\xf1\x04\x08\x08\x02\x12\x04warn") },
	       { 0, SEND("\x08\x92\x4e\x10\x01\x9a\xf1\x04\x09\x08\x04\x12\x05" "debug") },
	       /* error {pid 5, phase collect, object fd 3, cause gone, hint wait}, two blockers */
	       { 0, SEND(RESP("\x01", "\x00") "\x4a\x04" "text"
			 "\x82\xf1\x04\x1d\x10\x05\x1a\x07" "collect\x22\x04" "fd 3\x2a\x04gone\x32\x04wait"
			 "\x8a\xf1\x04\x0d\x10\x05\x22\x04" "fd 3\x2a\x03" "one"
			 "\x8a\xf1\x04\x0d\x10\x06\x22\x04" "fd 4\x2a\x03" "two") });
	EXPECT_INT(progressed, 7009);
	EXPECT(!strcmp(seen, "warn"));
	e = criu_local_last_error(opts);
	EXPECT(e->code == CRIU_ERR_BLOCKED && e->pid == 5 && !strcmp(e->object, "fd 3") && !strcmp(e->cause, "gone"));
	EXPECT(!strcmp(e->hint, "wait") && !strcmp(e->phase, "collect") && !strcmp(e->message, "text"));
	EXPECT_INT(criu_local_blocker_count(opts), 2);
	EXPECT(criu_local_blocker(opts, 1)->pid == 6 && !strcmp(criu_local_blocker(opts, 1)->cause, "two"));
	EXPECT(criu_local_blocker(opts, 2) == NULL && criu_blocker_count() == 2 && criu_blocker(0)->pid == 5);

	/* Preflight (type 10000): obstacles are the answer, not a failure. */
	SERVED(opts, EXPECT_INT(criu_local_preflight(opts), 1),
	       { 10000, SEND("\x08\x90\x4e\x10\x00" "\x8a\xf1\x04\x0d\x10\x05\x22\x04" "fd 3\x2a\x03" "one") });
	EXPECT(criu_local_blocker_count(opts) == 1 && !strcmp(criu_local_blocker(opts, 0)->message, "pid 5 fd 3: one"));
	SERVED(opts, EXPECT_INT(criu_local_preflight(opts), 0), { 10000, SEND("\x08\x90\x4e\x10\x01") });
	EXPECT(criu_local_blocker_count(opts) == 0 && !criu_local_last_error(opts));
	criu_local_set_progress_cb(opts, NULL, NULL);
	criu_local_set_log_cb(opts, NULL, NULL, 0);
}

/* Once the service has the request. One that is cancelled before it was sent is never sent, and the service would wait. */
static void *cancel(void *opts)
{
	while (script.taken == 0)
		usleep(1000);
	EXPECT_INT(criu_local_cancel(opts), 0);
	return NULL;
}

/* Cancelled as soon as it exists, perhaps before its request was sent. */
static void *cancel_at_once(void *opts)
{
	while (criu_local_cancel(opts) == -ESRCH)
		sched_yield();
	return NULL;
}

/* Reads on until CANCEL, or until the other end is shut down. */
static void *hang_up(void *data)
{
	unsigned char buffer[4096];
	int *fd = data;

	for (;;) {
		const unsigned char *p = buffer + 1;
		ssize_t n = recv(*fd, buffer, sizeof(buffer), 0);

		if (n <= 0 || varint(&p) == 10003)
			break;
	}
	close(*fd);
	return NULL;
}

/* Whichever comes first, request or CANCEL: the operation ends. */
static void cancelled_early(criu_opts *opts)
{
	int i, pair[2];

	for (i = 0; i < 20; i++) {
		pthread_t other;

		EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
		criu_local_set_service_fd(opts, pair[0]);
		EXPECT(pthread_create(&other, NULL, cancel_at_once, opts) == 0);
		EXPECT(pthread_create(&thread, NULL, hang_up, &pair[1]) == 0);
		EXPECT_FAILS(criu_local_dump(opts), -EBADE, ECANCELED);
		EXPECT_INT(criu_local_last_error(opts)->code, CRIU_ERR_CANCELLED);
		pthread_join(other, NULL);
		shutdown(pair[0], SHUT_RDWR);
		pthread_join(thread, NULL);
		EXPECT(close(pair[0]) == 0);
	}
}

static void stopping(criu_opts *opts)
{
	pthread_t other;

	/* CANCEL (10003) arrives; the service says that it has stopped. */
	script.taken = 0;
	EXPECT(pthread_create(&other, NULL, cancel, opts) == 0);
	SERVED(opts, EXPECT_FAILS(criu_local_dump(opts), -EBADE, ECANCELED), { DUMP, .fd = -1 },
	       { 10003, SEND(RESP("\x01", "\x00") "\x38\x7d") });
	pthread_join(other, NULL);
	EXPECT_INT(criu_local_last_error(opts)->code, CRIU_ERR_CANCELLED);
	/* A service that does not know CANCEL fails in its own way. */
	script.taken = 0;
	EXPECT(pthread_create(&other, NULL, cancel, opts) == 0);
	SERVED(opts, EXPECT_FAILS(criu_local_dump(opts), -EBADE, ECANCELED), { DUMP, .fd = -1 },
	       { 10003, SEND(RESP("\x01", "\x00")) });
	pthread_join(other, NULL);
	cancelled_early(opts);
	/* The deadline passes: the client stops it when the service does not. */
	EXPECT_INT(criu_local_set_deadline(opts, 50), 0);
	SERVED(opts, EXPECT_FAILS(criu_local_dump(opts), -EBADE, ETIMEDOUT), { DUMP, .fd = -1 },
	       { 10003, SEND(RESP("\x01", "\x00")) });
	EXPECT_INT(criu_local_last_error(opts)->code, CRIU_ERR_DEADLINE);
	EXPECT_INT(criu_local_set_deadline(opts, 0), 0);
	EXPECT_INT(criu_local_cancel(opts), -ESRCH);
}

static int rounds;

static int more(criu_predump_info info)
{
	EXPECT(info == NULL);
	return --rounds;
}

static void iterations(criu_opts *opts)
{
	EXPECT_FAILS(criu_local_dump_iters(opts, more), -EINVAL, EINVAL);
	criu_local_set_pid(opts, 1);
	EXPECT_FAILS(criu_local_dump_iters(opts, NULL), -EINVAL, EINVAL);
	rounds = 2;
	SERVED(opts, EXPECT_INT(criu_local_dump_iters(opts, more), 0), { 4, SEND(RESP("\x04", "\x01")) },
	       { 4, SEND(RESP("\x04", "\x01")) }, { DUMP, SEND(RESP("\x01", "\x01")) });
	rounds = 0;
	SERVED(opts, EXPECT_INT(criu_local_dump_iters(opts, more), -1), { 4, SEND(RESP("\x04", "\x01")) });
	SERVED(opts, EXPECT_INT(criu_local_dump_iters(opts, more), -EBADE), { 4, SEND(RESP("\x04", "\x00")) });
}

/* 300000 bytes of options are more than a socket takes by default. */
static void large(criu_opts *opts)
{
	static char path[3000];
	int i;

	memset(path, 'p', sizeof(path) - 1);
	for (i = 0; i < 100; i++)
		EXPECT_INT(criu_local_add_irmap_path(opts, path), 0);
	SERVED(opts, EXPECT_INT(criu_local_check(opts), 0), { CHECK, SEND(RESP("\x03", "\x01")) });
	EXPECT(script.last_len > 300000);
}

static atomic_int ticks;

static void on_alarm(int signal)
{
	(void)signal;
	ticks++;
}

/* Signals without SA_RESTART all the while. */
static void storm(criu_opts *opts)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval every = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	sigset_t alarm_only;
	pthread_t helper;
	int i;

	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < 20; i++) {
		static const struct step steps[] = { { DUMP, SEND(RESP("\x01", "\x01")), .pause_ms = 20 } };
		/* The service's thread does not take the signals. */
		pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
		start(opts, steps, 1);
		helper = thread;
		pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
		setitimer(ITIMER_REAL, &every, NULL);
		EXPECT_INT(criu_local_dump(opts), 0);
		setitimer(ITIMER_REAL, &never, NULL);
		thread = helper;
		stop();
	}
	criu_free_service(opts);
	setitimer(ITIMER_REAL, &every, NULL);
	for (i = 0; i < 20; i++)
		EXPECT_INT(criu_local_get_version(opts), 40200);
	setitimer(ITIMER_REAL, &never, NULL);
	EXPECT(ticks > 50);
}

int main(void)
{
	criu_opts *opts = NULL;

	bounded(90);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	answers(opts);
	notifications(opts);
	extensions(opts);
	stopping(opts);
	iterations(opts);
	large(opts);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	storm(opts);
	criu_local_free_opts(opts);
	return 0;
}
