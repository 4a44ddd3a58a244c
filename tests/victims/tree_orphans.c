// What: orphans of a session's member, whom its leader's parent has taken in: the leader lives on, or is a zombie.
// Variants: living zombie zombies
#include "victim.h"
static pid_t orphan_in(pid_t session) {
  char path[64];
  int pid, found = 0;
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", getpid(), getpid());
  FILE *f = fopen(path, "re");
  while (f && fscanf(f, "%d", &pid) == 1)
    if (pid != session && getsid(pid) == session) found = pid;
  if (f) fclose(f);
  return found;
}
static void orphan(pid_t leader, pid_t reaper) {
  while (getppid() != reaper) sleep_ms(1);
  mark("orphan");
  if (is("zombies")) _exit(5);
  wait_go();
  CHECK(getsid(0) == leader && getpgrp() == leader && getppid() == reaper);
  _exit(5);
}
static void leader(pid_t reaper) {
  CHECK(setsid() > 0);
  pid_t me = getpid(), member = fork();
  if (!member) {
    if (!fork()) orphan(me, reaper);
    _exit(0);
  }
  expect_exit(member, 0);
  if (is("living")) wait_go();
  _exit(4);
}
static void victim(void) {
  pid_t me = getpid();
  siginfo_t si;
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  pid_t session = fork();
  if (!session) leader(me);
  await_mark("orphan");
  pid_t child = orphan_in(session);
  CHECK(child > 0);
  if (!is("living")) CHECK(waitid(P_PID, session, &si, WEXITED | WNOWAIT) == 0);
  if (is("zombies")) CHECK(waitid(P_PID, child, &si, WEXITED | WNOWAIT) == 0);
  ready_and_wait();
  CHECK(orphan_in(session) == child && getpgid(child) == session && getsid(session) == session);
  if (!is("zombies")) pass_on(child);
  expect_exit(child, 5);
  if (is("living")) pass_on(session);
  expect_exit(session, 4);
}
