/* Operations stopped in their midst, by another thread or by the deadline, with the library's own engine and a victim of
 * some size: the victim is as before, nothing is left, and the next try succeeds. */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <sys/prctl.h>

#include "victim.h"

enum { MIB = 256, TRIES = 8 };

static criu_opts *opts;
static int counter, images;
static pid_t victim;

/* Where the next operation is cancelled: at the first report of a phase, or at a stage. */
static const char *phase, *stage;
static unsigned sleep_ms;
static sem_t asked, done;

static void *canceller(void *data)
{
	for (;;) {
		while (sem_wait(&asked) != 0)
			;
		EXPECT_INT(criu_local_cancel(opts), 0);
		sem_post(&done);
	}
	return data;
}

static void cancel_elsewhere(void)
{
	sem_post(&asked);
	while (sem_wait(&done) != 0)
		;
}

static void on_progress(const char *now, uint64_t so_far, uint64_t total, void *user)
{
	(void)so_far, (void)total, (void)user;
	if (phase && !strcmp(now, phase)) {
		phase = NULL;
		cancel_elsewhere();
	}
}

static int on_stage(const char *now, int pid, int fd, void *user)
{
	(void)pid, (void)fd, (void)user;
	if (stage && !strcmp(now, stage)) {
		stage = NULL;
		if (sleep_ms)
			usleep(sleep_ms * 1000);
		else
			cancel_elsewhere();
	}
	return 0;
}

/* Orphans become our children: a worker that lives on, or a task that was left, shows. */
static void nothing_left(int living)
{
	pid_t pid = waitpid(-1, NULL, WNOHANG | __WALL);

	if (living)
		EXPECT_INT(pid, 0);
	else
		EXPECT(pid == -1 && errno == ECHILD);
}

/* One of the children, whichever; 0 without any. */
static int children(void)
{
	char path[64];
	FILE *list;
	int pid, count = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	list = fopen(path, "r");
	EXPECT(list);
	while (fscanf(list, "%d", &pid) == 1)
		count++;
	fclose(list);
	return count;
}

static void unharmed(void)
{
	char path[64], line[256];
	int tracer = -1;
	FILE *status;

	nothing_left(1);
	EXPECT_INT(children(), 1);
	snprintf(path, sizeof(path), "/proc/%d/status", victim);
	status = fopen(path, "r");
	EXPECT(status);
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	fclose(status);
	EXPECT_INT(tracer, 0);
	counts_on(counter);
	EXPECT(access("cancelled/inventory.img", F_OK) != 0);
}

static void stopped_with(int number, int code)
{
	const struct criu_error *e = criu_local_last_error(opts);

	EXPECT_INT(e->error_number, number);
	EXPECT_INT(e->code, code);
	EXPECT(*e->object && *e->cause && *e->hint && *e->phase);
}

/* A dump that is over before it can be stopped leaves the victim running, and is tried again. */
static void dumps(const char *at_phase, const char *at_stage)
{
	int i, value;

	for (i = 0; i < TRIES; i++) {
		phase = at_phase, stage = at_stage;
		value = criu_local_dump(opts);
		EXPECT(!phase && !stage);
		if (value != 0)
			break;
		unlink("cancelled/inventory.img");
	}
	EXPECT_INT(value, -EBADE);
	EXPECT_INT(errno, ECANCELED);
	stopped_with(ECANCELED, CRIU_ERR_CANCELLED);
	unharmed();
}

static void gone(void)
{
	EXPECT(kill(victim, 0) == -1 && errno == ESRCH);
	nothing_left(0);
}

static void end_restored(void)
{
	EXPECT(kill(victim, SIGKILL) == 0 && waitpid(victim, NULL, 0) == victim);
}

static int restores_once(int child)
{
	int value = child ? criu_local_restore_child(opts) : criu_local_restore(opts), number = errno;

	if (value > 0) {
		EXPECT_INT(value, victim);
		end_restored();
		return 0;
	}
	EXPECT_INT(value, -EBADE);
	return number;
}

static void restores(const char *at_phase, const char *at_stage, int child)
{
	int i, number = 0;

	for (i = 0; i < TRIES && number == 0; i++) {
		phase = at_phase, stage = at_stage;
		number = restores_once(child);
	}
	EXPECT_INT(number, ECANCELED);
	stopped_with(ECANCELED, CRIU_ERR_CANCELLED);
	gone();
	phase = stage = NULL;
}

/* Shorter and shorter, until the deadline passes before the end. */
static void deadlines(int restore)
{
	int milliseconds, number = 0;

	for (milliseconds = 32; milliseconds && number == 0; milliseconds /= 2) {
		EXPECT_INT(criu_local_set_deadline(opts, milliseconds), 0);
		if (restore) {
			number = restores_once(0);
		} else {
			number = criu_local_dump(opts) ? errno : 0;
			if (number == 0)
				unlink("cancelled/inventory.img");
		}
	}
	EXPECT_INT(number, ETIMEDOUT);
	stopped_with(ETIMEDOUT, CRIU_ERR_DEADLINE);
	EXPECT_INT(criu_local_set_deadline(opts, 0), 0);
}

/* The deadline passes while all is saved, or all is there, and the engine waits for the callback. */
static void late_callback(const char *at_stage, int restore)
{
	stage = at_stage, sleep_ms = 1500;
	EXPECT_INT(criu_local_set_deadline(opts, 1000), 0);
	if (restore)
		EXPECT_INT(restores_once(1), ETIMEDOUT);
	else
		EXPECT_FAILS(criu_local_dump(opts), -EBADE, ETIMEDOUT);
	stopped_with(ETIMEDOUT, CRIU_ERR_DEADLINE);
	EXPECT_INT(criu_local_set_deadline(opts, 0), 0);
	stage = NULL, sleep_ms = 0;
}

int main(void)
{
	pthread_t thread;
	int status;

	bounded(110);
	EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	images = open_dir("cancelled");
	unlink("cancelled/inventory.img");
	counter = open("cancelled-counter", O_RDWR | O_CREAT | O_TRUNC, 0644);
	EXPECT(counter >= 0);
	victim = counting_child(counter, images, MIB);
	counts_on(counter);
	EXPECT(sem_init(&asked, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
	EXPECT(pthread_create(&thread, NULL, canceller, NULL) == 0);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	criu_local_set_images_dir_fd(opts, images);
	criu_local_set_pid(opts, victim);
	criu_local_set_progress_cb(opts, on_progress, NULL);
	criu_local_set_stage_cb(opts, on_stage, NULL);

	criu_local_set_leave_running(opts, true);
	dumps(NULL, "pre-dump");
	dumps("collect", NULL);
	dumps("infect", NULL);
	dumps("save", NULL);
	dumps(NULL, "post-dump");
	deadlines(0);
	unharmed();
	late_callback("post-dump", 0);
	unharmed();
	criu_local_set_leave_running(opts, false);
	WORKS(opts, criu_local_dump(opts), == 0);
	EXPECT(waitpid(victim, &status, 0) == victim && WIFSIGNALED(status));
	gone();

	restores(NULL, "pre-restore", 0);
	restores("load", NULL, 0);
	restores("fork", NULL, 1);
	restores("memory", NULL, 0);
	restores(NULL, "post-restore", 0);
	restores(NULL, "pre-resume", 1);
	deadlines(1);
	gone();
	late_callback("post-restore", 1);
	gone();
	EXPECT_INT(WORKS(opts, criu_local_restore_child(opts), > 0), victim);
	counts_on(counter);
	nothing_left(1);
	end_restored();
	criu_local_free_opts(opts);
	return 0;
}
