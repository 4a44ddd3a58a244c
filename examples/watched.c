// Checkpoints a process and tells how it goes: watched PID DIR. First asks what would stand in the way; then shows stages and
// progress; Ctrl-C cancels, and the process runs on as before.
#include <criu-ext.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static int on_stage(const char *stage, int pid, int fd, void *user) {
  (void)fd, (void)user;
  printf("stage %s, pid %d\n", stage, pid);
  return 0; // anything else fails the operation
}

static void on_progress(const char *phase, uint64_t done, uint64_t total, void *user) {
  (void)user;
  printf("%s: %llu of %llu\n", phase, (unsigned long long)done, (unsigned long long)total);
}

// Cancelling is not for signal handlers: a thread waits for the signal.
static void *cancel_at_interrupt(void *opts) {
  sigset_t interrupt;
  int signal;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  while (sigwait(&interrupt, &signal) == 0) criu_local_cancel(opts);
  return NULL;
}

static int explain(const char *what, const struct criu_error *e) {
  fprintf(stderr, "%s: %s\n  object: %s\n  cause:  %s\n  hint:   %s\n", what, e->phase, e->object, e->cause, e->hint);
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: watched PID DIR\n");
    return 2;
  }
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, NULL);

  criu_opts *opts = NULL;
  pthread_t thread;
  if (criu_local_init_opts(&opts) || pthread_create(&thread, NULL, cancel_at_interrupt, opts)) return 1;
  mkdir(argv[2], 0700);
  criu_local_set_pid(opts, atoi(argv[1]));
  criu_local_set_images_dir_fd(opts, open(argv[2], O_DIRECTORY | O_CLOEXEC));
  criu_local_set_shell_job(opts, true);
  criu_local_set_leave_running(opts, true);
  criu_local_set_deadline(opts, 60000);

  int obstacles = criu_local_preflight(opts);
  if (obstacles < 0) return explain("preflight", criu_local_last_error(opts));
  for (int i = 0; i < obstacles; i++) explain("in the way", criu_local_blocker(opts, i));
  if (obstacles) return 1;

  criu_local_set_stage_cb(opts, on_stage, NULL);
  criu_local_set_progress_cb(opts, on_progress, NULL);
  if (criu_local_dump(opts) < 0) return explain("dump", criu_local_last_error(opts));
  printf("saved in %s\n", argv[2]);
  return 0;
}
