// What: tasks stopped by job control stay stopped, and go on at SIGCONT; their parents are not told again what they know, and are
// told by which signal where they do not know it.
// Variants: stop tstp threads unreported nested
// Build: -pthread
#include "victim.h"
static void *idle(void *a) { for (;;) pause(); return a; }
static void stop(void) {
  pthread_t t;
  if (is("threads")) for (int i = 0; i < 3; i++) pthread_create(&t, 0, idle, 0);
  // Out of any orphaned process group, where SIGTSTP would be ignored.
  setpgid(0, 0);
  raise(is("tstp") ? SIGTSTP : is("unreported") ? SIGTTOU : SIGSTOP);
}
// In a user namespace the kernel's memory cannot be read, and nothing else tells whether a parent knows it.
static int may_be_told_again(void) {
  unsigned inside, outside, count = 0;
  FILE *f = fopen("/proc/self/uid_map", "r");
  CHECK(f && fscanf(f, "%u %u %u", &inside, &outside, &count) == 3 && fclose(f) == 0);
  return count != 4294967295u;
}
// No report, and no signal about one.
static void knows_all(pid_t child) {
  int st;
  sigset_t waiting;
  if (may_be_told_again()) {
    const struct timespec now = {0, 0};
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    if (waitpid(child, &st, WUNTRACED | WNOHANG) == child) CHECK(WIFSTOPPED(st) && WSTOPSIG(st) == SIGSTOP);
    sigtimedwait(&chld, 0, &now);
  }
  CHECK(waitpid(child, &st, WUNTRACED | WCONTINUED | WNOHANG) == 0);
  CHECK(sigpending(&waiting) == 0 && !sigismember(&waiting, SIGCHLD));
}
static void is_stopped(pid_t child) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/status", child);
  sleep_ms(50);
  CHECK(proc_field(path, "State")[0] == 'T');
}
static void victim(void) {
  const struct timespec now = {0, 0};
  sigset_t chld;
  siginfo_t info = {0};
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  CHECK(sigprocmask(SIG_BLOCK, &chld, 0) == 0);
  pid_t child = fork();
  if (!child && is("nested")) {
    pid_t below = fork();
    if (!below) {
      stop();
      _exit(9);
    }
    int st;
    CHECK(waitpid(below, &st, WUNTRACED) == below && WIFSTOPPED(st) && sigtimedwait(&chld, &info, &now) == SIGCHLD);
    stop();
    mark("continued");
    is_stopped(below);
    knows_all(below);
    CHECK(kill(below, SIGCONT) == 0);
    expect_exit(below, 9);
    _exit(8);
  }
  if (!child) {
    stop();
    mark("continued");
    _exit(8);
  }
  int st, sig = is("tstp") ? SIGTSTP : SIGSTOP;
  if (is("unreported")) {
    CHECK(waitid(P_PID, child, &info, WSTOPPED | WNOWAIT) == 0 && info.si_status == SIGTTOU);
  } else {
    CHECK(waitpid(child, &st, WUNTRACED) == child && WIFSTOPPED(st) && WSTOPSIG(st) == sig);
    CHECK(sigtimedwait(&chld, &info, &now) == SIGCHLD);
  }
  ready_and_wait();
  is_stopped(child);
  if (is("unreported")) {
    CHECK(sigtimedwait(&chld, &info, &now) == SIGCHLD && info.si_code == CLD_STOPPED && info.si_pid == child && info.si_status == SIGTTOU);
    CHECK(waitpid(child, &st, WUNTRACED | WNOHANG) == child && WIFSTOPPED(st) && WSTOPSIG(st) == SIGTTOU);
  }
  knows_all(child);
  char mark_path[PATH_MAX + 32];
  snprintf(mark_path, sizeof mark_path, "%s/continued", victim_folder);
  CHECK(access(mark_path, F_OK) == -1);
  CHECK(kill(child, SIGCONT) == 0);
  expect_exit(child, 8);
  unlink(mark_path); // for the copy, which comes after
}
