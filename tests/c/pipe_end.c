/* Two tasks of a restored tree share a pipe. When the one that writes dies, the other reads the end of it, even while the
 * engine still waits for the last callback: the engine keeps nothing of what it made for them. */
#define _GNU_SOURCE
#include <sys/prctl.h>

#include "victim.h"

static int marks;
static pid_t writer;

static char mark(void)
{
	char byte = 0;

	EXPECT(pread(marks, &byte, 1, 0) >= 0);
	return byte;
}

static void await_mark(char wanted)
{
	int i;

	for (i = 0; i < 3000 && mark() != wanted; i++)
		usleep(10000);
	EXPECT_INT(mark(), wanted);
}

static void reader(int images)
{
	int way[2];
	char byte;
	ssize_t n;

	close(images);
	setsid();
	close(0), close(1), close(2);
	if (pipe(way))
		_exit(1);
	writer = fork();
	if (writer == 0) {
		close(way[0]);
		for (;;)
			pause();
	}
	close(way[1]);
	if (pwrite(marks, &writer, sizeof(writer), 16) != sizeof(writer) || pwrite(marks, "r", 1, 0) != 1)
		_exit(1);
	n = read(way[0], &byte, 1);
	if (pwrite(marks, n == 0 ? "E" : "?", 1, 0) != 1)
		_exit(1);
	for (;;)
		pause();
}

static int on_stage(const char *stage, int pid, int fd, void *user)
{
	(void)pid, (void)fd;
	if (!strcmp(stage, "post-resume")) {
		EXPECT_INT(mark(), 'r');
		EXPECT(kill(writer, SIGKILL) == 0);
		await_mark('E');
		*(int *)user = 1;
	}
	return 0;
}

int main(void)
{
	int images = open_dir("pipe-end"), seen = 0;
	criu_opts *opts = NULL;
	pid_t pid;

	bounded(90);
	/* The other task of the tree is to be gone, not a zombie of somebody else's, when its pid is taken again. */
	EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	marks = open("pipe-end-marks", O_RDWR | O_CREAT | O_TRUNC, 0644);
	/* A file that has another size at the restore is refused. */
	EXPECT(marks >= 0 && ftruncate(marks, 64) == 0);
	pid = fork();
	if (pid == 0)
		reader(images);
	await_mark('r');
	EXPECT(pread(marks, &writer, sizeof(writer), 16) == sizeof(writer));
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	criu_local_set_images_dir_fd(opts, images);
	criu_local_set_pid(opts, pid);
	WORKS(opts, criu_local_dump(opts), == 0);
	EXPECT(waitpid(pid, NULL, 0) == pid);
	EXPECT(waitpid(writer, NULL, 0) == writer);
	criu_local_set_stage_cb(opts, on_stage, &seen);
	EXPECT_INT(WORKS(opts, criu_local_restore_child(opts), > 0), pid);
	EXPECT(seen);
	EXPECT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	kill(writer, SIGKILL);
	EXPECT(waitpid(writer, NULL, 0) == writer);
	criu_local_free_opts(opts);
	return 0;
}
