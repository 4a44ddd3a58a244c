/* Two dumps into one directory: nothing of the first is in the second. */
#define _GNU_SOURCE
#include <criu-ext.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "victim.h"

/* Ends with the number of bytes that waited in its sockets. */
static pid_t holder(const char *text, int dir)
{
	pid_t pid = fork();
	sigset_t usr1;
	char buf[64];
	int pair[2], signal;
	ssize_t got;

	if (pid)
		return pid;
	close(dir);
	setsid();
	sigemptyset(&usr1), sigaddset(&usr1, SIGUSR1), sigprocmask(SIG_BLOCK, &usr1, NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || write(pair[0], text, strlen(text)) != (ssize_t)strlen(text))
		_exit(100);
	close(0), close(1), close(2);
	kill(getpid(), SIGSTOP);
	sigwait(&usr1, &signal);
	got = recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT);
	_exit(got < 0 ? 0 : got);
}

static void dumps(criu_opts *opts, pid_t pid)
{
	int status;

	/* It has its sockets when it stops. */
	EXPECT(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && kill(pid, SIGCONT) == 0);
	criu_local_set_pid(opts, pid);
	WORKS(opts, criu_local_dump(opts), == 0);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
}

int main(void)
{
	static const char *const others[] = { "notes.img.txt", "cpuinfo.img" };
	int dir = open_dir("same"), status, other, name;
	criu_opts *opts = NULL;
	pid_t pid;

	bounded(60);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	criu_local_set_images_dir_fd(opts, dir);
	dumps(opts, holder("of the first", dir));
	/* What is no image of a dump stays. */
	for (name = 0; name < 2; name++) {
		other = openat(dir, others[name], O_CREAT | O_RDWR, 0600);
		EXPECT(other >= 0 && close(other) == 0);
	}
	pid = holder("", dir);
	dumps(opts, pid);
	EXPECT_INT(WORKS(opts, criu_local_restore_child(opts), > 0), pid);
	EXPECT(kill(pid, SIGUSR1) == 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	EXPECT_INT(WEXITSTATUS(status), 0);
	for (name = 0; name < 2; name++)
		EXPECT(faccessat(dir, others[name], F_OK, 0) == 0);
	criu_local_free_opts(opts);
	close(dir);
	return 0;
}
