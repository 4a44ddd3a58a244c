/* A session whose terminal's master is with somebody outside the tree: it is dumped, and restored with a new master, which comes with
 * the stage orphan-pts-master. Where no such terminal is, the option changes nothing. */
#define _GNU_SOURCE
#include <criu-ext.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "victim.h"

static int taken = -1;

static int takes(char *action, criu_notify_arg_t na)
{
	(void)na;
	if (!strcmp(action, "orphan-pts-master")) {
		EXPECT(taken == -1);
		/* Who has asked for it has to close it. */
		taken = criu_get_orphan_pts_master_fd();
		EXPECT(taken >= 0);
	}
	return 0;
}

/* What is read until `end` has come. */
static const char *read_to(int fd, const char *end)
{
	static char text[4096];
	size_t len = 0;
	ssize_t got;

	memset(text, 0, sizeof(text));
	while (!strstr(text, end)) {
		struct pollfd p = { fd, POLLIN, 0 };

		EXPECT(poll(&p, 1, 10000) == 1 && len < sizeof(text) - 1);
		got = read(fd, text + len, sizeof(text) - 1 - len);
		EXPECT(got > 0);
		len += got;
	}
	return text;
}

/* Answers each line with what it is to itself: a session's leader in the foreground, at a terminal of that size. */
static void session(int slave)
{
	char line[128], answer[256];
	struct winsize size;
	ssize_t got;

	setsid();
	if (ioctl(slave, TIOCSCTTY, 0))
		_exit(2);
	for (int fd = 0; fd < 3; fd++)
		dup2(slave, fd);
	close_range(3, ~0U, 0);
	for (;;) {
		got = read(0, line, sizeof(line) - 1);
		if (got <= 0)
			_exit(3);
		line[got - 1] = 0;
		if (ioctl(0, TIOCGWINSZ, &size) || tcgetsid(0) != getpid() || tcgetpgrp(0) != getpid())
			_exit(4);
		got = snprintf(answer, sizeof(answer), "<%s %s %d>", line, ttyname(0), size.ws_row);
		if (write(1, answer, got) != got)
			_exit(5);
		if (!strcmp(line, "end"))
			_exit(42);
	}
}

/* The kernel takes its time to give up the number of a closed terminal. */
static int restored(criu_opts *opts)
{
	int value = -1, i;

	for (i = 0; i < 500; i++) {
		value = criu_local_restore_child(opts);
		if (value != -EBADE || errno != EEXIST)
			break;
		usleep(10000);
	}
	return value;
}

static void with_a_terminal(void)
{
	int dir = open_dir("terminal"), master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), status, slave;
	struct winsize size = { 33, 77, 0, 0 };
	char name[64], wanted[128];
	criu_opts *opts = NULL;
	pid_t pid;

	EXPECT(master >= 0 && unlockpt(master) == 0 && ptsname_r(master, name, sizeof(name)) == 0);
	EXPECT(ioctl(master, TIOCSWINSZ, &size) == 0 && (slave = open(name, O_RDWR | O_NOCTTY)) >= 0);
	pid = fork();
	if (pid == 0)
		session(slave);
	close(slave);
	EXPECT(write(master, "one\n", 4) == 4);
	snprintf(wanted, sizeof(wanted), "<one %s 33>", name);
	read_to(master, wanted);

	EXPECT_INT(criu_local_init_opts(&opts), 0);
	criu_local_set_images_dir_fd(opts, dir);
	criu_local_set_pid(opts, pid);
	criu_local_set_log_level(opts, CRIU_LOG_DEBUG);
	criu_local_set_log_file(opts, "dump.log");
	EXPECT_INT(criu_local_dump(opts), -EBADE);
	EXPECT(strstr(criu_local_last_error(opts)->message, "--orphan-pts-master"));
	criu_local_set_orphan_pts_master(opts, true);
	/* Half a line waits in it. */
	EXPECT(write(master, "tw", 2) == 2);
	read_to(master, "tw");
	WORKS(opts, criu_local_dump(opts), == 0);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	close(master);

	/* Its number is free again. Nobody is there to take the master. */
	criu_local_set_log_file(opts, "restore.log");
	EXPECT_INT(restored(opts), -EBADE);
	EXPECT(strstr(criu_local_last_error(opts)->message, "nobody takes the master"));
	criu_local_set_notify_cb(opts, takes);
	EXPECT_INT(WORKS(opts, restored(opts), > 0), pid);
	EXPECT(taken >= 0 && ptsname_r(taken, wanted, sizeof(wanted)) == 0 && !strcmp(wanted, name));
	EXPECT(write(taken, "o\n", 2) == 2);
	snprintf(wanted, sizeof(wanted), "<two %s 33>", name);
	read_to(taken, wanted);
	EXPECT(write(taken, "end\n", 4) == 4);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	EXPECT_INT(WEXITSTATUS(status), 42);
	criu_local_free_opts(opts);
	close(taken), close(dir);
	taken = -1;
}

static void without_one(void)
{
	int dir = open_dir("none"), file = open("counter", O_RDWR | O_CREAT | O_TRUNC, 0644), status;
	criu_opts *opts = NULL;
	pid_t pid;

	EXPECT(file >= 0);
	pid = counting_child(file, dir, 0);
	counts_on(file);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	criu_local_set_images_dir_fd(opts, dir);
	criu_local_set_pid(opts, pid);
	criu_local_set_orphan_pts_master(opts, true);
	WORKS(opts, criu_local_dump(opts), == 0);
	EXPECT(waitpid(pid, &status, 0) == pid);
	criu_local_set_notify_cb(opts, takes);
	EXPECT_INT(WORKS(opts, criu_local_restore_child(opts), > 0), pid);
	EXPECT_INT(taken, -1);
	counts_on(file);
	EXPECT(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
	criu_local_free_opts(opts);
	close(file), close(dir);
}

/* Where no other program takes the number while it is free. */
static void own_terminals(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=620")) {
		printf("no devpts of its own: %s\n", strerror(errno));
		exit(77);
	}
}

int main(void)
{
	bounded(90);
	own_terminals();
	with_a_terminal();
	without_one();
	return 0;
}
