// What: a child tells its parent of its end by the signal it was made with, or by none; of that of a zombie, once.
// Variants: living zombie
#include "victim.h"
static pid_t child_with(int signal) {
  pid_t child = syscall(SYS_clone, signal, 0, 0, 0, 0);
  if (child) return child;
  if (is("zombie")) _exit(6);
  wait_go();
  _exit(6);
}
static void victim(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, 0);
  const int signals[] = {SIGUSR2, 0, SIGCHLD};
  struct timespec limit = {10, 0}, none = {0, 0};
  pid_t all[3];
  int st;
  for (int i = 0; i < 3; i++) all[i] = child_with(signals[i]);
  siginfo_t info;
  for (int i = 0; is("zombie") && i < 3; i++) {
    CHECK(waitid(P_PID, all[i], &info, WEXITED | WNOWAIT | __WALL) == 0);
    if (signals[i]) CHECK(sigtimedwait(&set, 0, &limit) == signals[i]);
  }
  ready_and_wait();
  for (int i = 0; i < 3; i++) {
    if (!is("zombie")) pass_on(all[i]);
    if (i < 2) CHECK(waitpid(all[i], &st, WNOHANG) == -1 && errno == ECHILD);
    CHECK(waitpid(all[i], &st, __WALL) == all[i] && WIFEXITED(st) && WEXITSTATUS(st) == 6);
    if (!is("zombie") && signals[i]) CHECK(sigtimedwait(&set, 0, &limit) == signals[i]);
    CHECK(sigtimedwait(&set, 0, &none) == -1 && errno == EAGAIN);
  }
}
