// What: a session and a group whose leaders are gone without trace, with a living member or a zombie.
// Variants: session group zombie_session zombie_group
#include "victim.h"
static int in_session, is_zombie;
static int orphan_of(void) {
  char path[64];
  int orphan = 0;
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", getpid(), getpid());
  FILE *f = fopen(path, "r");
  CHECK(f && fscanf(f, "%d", &orphan) == 1);
  fclose(f);
  return orphan;
}
static void victim(void) {
  in_session = is("session") || is("zombie_session");
  is_zombie = !strncmp(victim_variant, "zombie", 6);
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  pid_t gone = fork();
  if (!gone) {
    if (in_session) setsid();
    else setpgid(0, 0);
    if (!fork()) {
      pid_t leader = in_session ? getsid(0) : getpgrp();
      while (getppid() == leader) sleep_ms(1);
      mark("orphan");
      if (is_zombie) _exit(5);
      wait_go();
      CHECK(getpgrp() == leader && (is("group") || getsid(0) == leader));
      _exit(5);
    }
    _exit(0);
  }
  expect_exit(gone, 0);
  await_mark("orphan");
  int orphan = orphan_of();
  siginfo_t si;
  if (is_zombie) CHECK(waitid(P_PID, orphan, &si, WEXITED | WNOWAIT) == 0);
  ready_and_wait();
  CHECK(orphan_of() == orphan && getpgid(orphan) == gone && kill(gone, 0) == -1 && errno == ESRCH);
  if (in_session) CHECK(getsid(orphan) == gone);
  if (!is_zombie) pass_on(orphan);
  expect_exit(orphan, 5);
}
