// What: tasks stopped by SIGSTOP and SIGTSTP stay stopped, and go on at SIGCONT.
// Variants: stop tstp threads
// Build: -pthread
#include "victim.h"
static void *idle(void *a) { for (;;) pause(); return a; }
static void victim(void) {
  pid_t child = fork();
  if (!child) {
    pthread_t t;
    if (is("threads")) for (int i = 0; i < 3; i++) pthread_create(&t, 0, idle, 0);
    // Out of any orphaned process group, where SIGTSTP would be ignored.
    setpgid(0, 0);
    raise(is("tstp") ? SIGTSTP : SIGSTOP);
    mark("continued");
    _exit(8);
  }
  int st, sig = is("tstp") ? SIGTSTP : SIGSTOP;
  CHECK(waitpid(child, &st, WUNTRACED) == child && WIFSTOPPED(st) && WSTOPSIG(st) == sig);
  ready_and_wait();
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/status", child);
  sleep_ms(50);
  CHECK(proc_field(path, "State")[0] == 'T');
  char mark_path[PATH_MAX + 32];
  snprintf(mark_path, sizeof mark_path, "%s/continued", victim_folder);
  CHECK(access(mark_path, F_OK) == -1);
  CHECK(kill(child, SIGCONT) == 0);
  expect_exit(child, 8);
  unlink(mark_path); // for the copy, which comes after
}
