// What: the report that a process goes on after a stop waits for its parent (WCONTINUED), and comes once; signals about it are those that were.
// Variants: plain threads blocked noticed several nested fetched
// Build: -pthread
#include "victim.h"
static void *idle(void *a) { for (;;) pause(); return a; }
static pid_t stopper(void) {
  pid_t child = fork();
  if (!child) {
    pthread_t t;
    sigset_t cont;
    sigemptyset(&cont);
    sigaddset(&cont, SIGCONT);
    if (is("threads")) for (int i = 0; i < 3; i++) pthread_create(&t, 0, idle, 0);
    if (is("blocked")) CHECK(sigprocmask(SIG_BLOCK, &cont, 0) == 0);
    raise(SIGSTOP);
    if (is("nested")) {
      pid_t below = fork();
      if (!below) {
        raise(SIGSTOP);
        wait_go();
        _exit(4);
      }
      int st;
      CHECK(waitpid(below, &st, WUNTRACED) == below && WIFSTOPPED(st) && kill(below, SIGCONT) == 0);
      siginfo_t info;
      CHECK(waitid(P_PID, below, &info, WCONTINUED | WNOWAIT) == 0);
      mark("below");
      wait_go();
      CHECK(waitpid(below, &st, WCONTINUED | WNOHANG) == below && WIFCONTINUED(st));
      pass_on(below);
      expect_exit(below, 4);
      _exit(8);
    }
    wait_go();
    sigset_t waiting;
    CHECK(sigpending(&waiting) == 0 && sigismember(&waiting, SIGCONT) == is("blocked"));
    if (is("blocked")) {
      const struct timespec now = {0, 0};
      siginfo_t info = {0};
      CHECK(sigtimedwait(&cont, &info, &now) == SIGCONT && info.si_pid == getppid() && info.si_code == SI_USER);
      CHECK(sigtimedwait(&cont, &info, &now) == -1);
    }
    _exit(8);
  }
  int st;
  CHECK(waitpid(child, &st, WUNTRACED) == child && WIFSTOPPED(st));
  return child;
}
// Its parent hears of it, by a signal too.
static void go_on(pid_t child, int options) {
  siginfo_t info = {0};
  sigset_t chld;
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  CHECK(kill(child, SIGCONT) == 0 && waitid(P_PID, child, &info, WCONTINUED | options) == 0);
  if (is("noticed")) {
    do CHECK(sigpending(&chld) == 0);
    while (!sigismember(&chld, SIGCHLD) && (sleep_ms(1), 1));
  } else {
    CHECK(sigwaitinfo(&chld, &info) == SIGCHLD && info.si_code == CLD_CONTINUED);
  }
}
static void victim(void) {
  const struct timespec now = {0, 0};
  sigset_t chld;
  siginfo_t info = {0};
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  CHECK(sigprocmask(SIG_BLOCK, &chld, 0) == 0);
  pid_t child = stopper(), other = is("several") ? stopper() : 0;
  CHECK(sigwaitinfo(&chld, &info) == SIGCHLD && info.si_code == CLD_STOPPED);
  go_on(child, is("fetched") ? 0 : WNOWAIT);
  if (other) go_on(other, 0);
  if (is("nested")) await_mark("below");
  ready_and_wait();
  int st;
  CHECK(waitpid(child, &st, WUNTRACED | WNOHANG) == 0);
  if (is("noticed"))
    CHECK(sigtimedwait(&chld, &info, &now) == SIGCHLD && info.si_code == CLD_CONTINUED && info.si_pid == child);
  sigset_t waiting;
  CHECK(sigpending(&waiting) == 0 && !sigismember(&waiting, SIGCHLD));
  if (!is("fetched")) CHECK(waitpid(child, &st, WCONTINUED | WNOHANG) == child && WIFCONTINUED(st));
  CHECK(waitpid(-1, &st, WUNTRACED | WCONTINUED | WNOHANG) == 0);
  pass_on(child);
  expect_exit(child, 8);
  if (other) {
    pass_on(other);
    expect_exit(other, 8);
  }
}
