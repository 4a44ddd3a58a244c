// What: a session and a group whose leaders are gone without trace.
// Variants: session group
#include "victim.h"
static void victim(void) {
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  pid_t gone = fork();
  if (!gone) {
    if (is("session")) setsid();
    else setpgid(0, 0);
    if (!fork()) {
      pid_t leader = is("session") ? getsid(0) : getpgrp();
      while (getppid() == leader) sleep_ms(1);
      mark("orphan");
      wait_go();
      CHECK(getpgrp() == leader && (is("group") || getsid(0) == leader));
      _exit(5);
    }
    _exit(0);
  }
  expect_exit(gone, 0);
  await_mark("orphan");
  ready_and_wait();
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", getpid(), getpid());
  FILE *f = fopen(path, "r");
  int orphan = 0;
  CHECK(f && fscanf(f, "%d", &orphan) == 1);
  fclose(f);
  CHECK(getpgid(orphan) == gone && kill(gone, 0) == -1 && errno == ESRCH);
  pass_on(orphan);
  expect_exit(orphan, 5);
}
