// What: zombies keep their exit status, or the signal that ended them; one is a session leader, one's group leader.
#include "victim.h"
static void victim(void) {
  pid_t exited = fork();
  if (!exited) _exit(7);
  pid_t killed = fork();
  if (!killed) {
    for (;;) pause();
  }
  kill(killed, SIGTERM);
  pid_t leader = fork();
  if (!leader) {
    setsid();
    _exit(9);
  }
  siginfo_t si;
  pid_t all[] = {exited, killed, leader};
  for (int i = 0; i < 3; i++) CHECK(waitid(P_PID, all[i], &si, WEXITED | WNOWAIT) == 0);
  ready_and_wait();
  expect_exit(exited, 7);
  int st = status_of(killed);
  CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
  expect_exit(leader, 9);
  CHECK(wait(0) == -1 && errno == ECHILD);
}
