/* A child that counts is dumped, killed and restored, with callbacks at the stages; then this process dumps itself. */
#define _GNU_SOURCE
#include <criu-ext.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "victim.h"

static char stages[1024];

static int notify(char *action, criu_notify_arg_t na)
{
	(void)na;
	strcat(strcat(stages, action), " ");
	return 0;
}

static int refuse(char *action, criu_notify_arg_t na)
{
	(void)na;
	return strcmp(action, "post-dump") ? 0 : -1;
}

static void a_child(void)
{
	int dir = open_dir("child"), file = open("counter", O_RDWR | O_CREAT | O_TRUNC, 0644), status, i;
	pid_t pid, restored;
	criu_opts *opts = NULL;
	long last;

	EXPECT(file >= 0);
	pid = counting_child(file, dir, 0);
	counts_on(file);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	criu_local_set_images_dir_fd(opts, dir);
	criu_local_set_pid(opts, pid);
	criu_local_set_log_level(opts, CRIU_LOG_DEBUG);
	criu_local_set_log_file(opts, "dump.log");

	WORKS(opts, criu_local_preflight(opts), == 0);
	counts_on(file);

	/* A callback says no: the child runs on. */
	criu_local_set_notify_cb(opts, refuse);
	EXPECT_INT(criu_local_dump(opts), -EBADE);
	counts_on(file);
	EXPECT(waitpid(pid, NULL, WNOHANG) == 0);

	criu_local_set_notify_cb(opts, notify);
	criu_local_set_leave_running(opts, true);
	WORKS(opts, criu_local_dump(opts), == 0);
	counts_on(file);
	criu_local_set_leave_running(opts, false);
	*stages = 0;
	WORKS(opts, criu_local_dump(opts), == 0);
	EXPECT(strstr(stages, "pre-dump") && strstr(stages, "post-dump"));
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	last = counted(file);

	*stages = 0;
	criu_local_set_log_file(opts, "restore.log");
	restored = WORKS(opts, criu_local_restore_child(opts), > 0);
	EXPECT_INT(restored, pid);
	EXPECT(strstr(stages, "pre-restore") && strstr(stages, "post-restore"));
	EXPECT(counts_on(file) >= last);
	/* The pid is taken now. */
	EXPECT_FAILS(criu_local_restore(opts), -EBADE, EEXIST);
	counts_on(file);
	EXPECT(waitpid(restored, &status, WNOHANG) == 0);
	EXPECT(kill(restored, SIGKILL) == 0 && waitpid(restored, &status, 0) == restored);

	/* Restored as nobody's child. */
	restored = WORKS(opts, criu_local_restore(opts), > 0);
	EXPECT_INT(restored, pid);
	EXPECT(counts_on(file) >= last);
	EXPECT(waitpid(restored, &status, WNOHANG) == -1 && errno == ECHILD);
	EXPECT(kill(restored, SIGKILL) == 0);
	for (i = 0; i < 500 && kill(restored, 0) == 0; i++)
		usleep(10000);
	criu_local_free_opts(opts);
	close(file), close(dir);
}

/* In a child of this program's own: it dumps itself twice, leaving itself running, and is then restored by its parent. */
static int dumps_itself(int dir, int result)
{
	criu_opts *opts = NULL;
	int round, value = -1;
	char mark = '?';

	setsid();
	close(0), close(1), close(2);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	criu_local_set_images_dir_fd(opts, dir);
	criu_local_set_log_level(opts, CRIU_LOG_DEBUG);
	criu_local_set_log_file(opts, "self.log");
	criu_local_set_leave_running(opts, true);
	for (round = 0; round < 2; round++) {
		value = criu_local_dump(opts);
		if (value < 0) {
			const char *text = criu_local_last_error(opts)->message;

			mark = 'E';
			if (pwrite(result, &mark, 1, round) != 1 || pwrite(result, text, strlen(text), round + 1) < 0)
				return 1;
			return 1;
		}
		mark = value ? 'R' : 'D';
		if (pwrite(result, &mark, 1, round + (value ? 1 : 0)) != 1)
			return 1;
		if (value)
			break;
	}
	/* The restored one works on: a new operation by its library. */
	if (value == 1 && criu_local_get_version(opts) != 40200)
		return 1;
	return 42;
}

static void itself(void)
{
	int dir = open_dir("self"), result = open("marks", O_RDWR | O_CREAT | O_TRUNC, 0644), status;
	char marks[512] = "";
	pid_t pid, restored;
	criu_opts *opts = NULL;

	/* A file that has another size at the restore is refused. */
	EXPECT(result >= 0 && ftruncate(result, sizeof(marks)) == 0);
	pid = fork();
	if (pid == 0)
		_exit(dumps_itself(dir, result));
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(pread(result, marks, sizeof(marks) - 1, 0) >= 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 42 || strcmp(marks, "DD")) {
		fprintf(stderr, "the one that dumps itself: status %#x, marks %s\n", status, marks);
		exit(1);
	}
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	criu_local_set_images_dir_fd(opts, dir);
	criu_local_set_log_level(opts, CRIU_LOG_DEBUG);
	criu_local_set_log_file(opts, "restore.log");
	restored = WORKS(opts, criu_local_restore_child(opts), > 0);
	EXPECT_INT(restored, pid);
	EXPECT(waitpid(restored, &status, 0) == restored);
	EXPECT(WIFEXITED(status));
	EXPECT_INT(WEXITSTATUS(status), 42);
	EXPECT(pread(result, marks, sizeof(marks) - 1, 0) >= 0);
	EXPECT(!strcmp(marks, "DDR"));
	criu_local_free_opts(opts);
}

int main(void)
{
	bounded(90);
	/* Restored tasks and their pids are collected here, not by a slow init. */
	a_child();
	itself();
	return 0;
}
