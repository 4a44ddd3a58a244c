// What: a child subreaper goes on adopting orphans; the ones it had adopted are its children.
#include "victim.h"
static void orphan_after(pid_t parent, int code, const char *name) {
  while (getppid() == parent) sleep_ms(1);
  mark(name);
  wait_go();
  _exit(code);
}
static void victim(void) {
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  int before, after;
  pid_t first = fork();
  if (!first) {
    pid_t me = getpid();
    if (!fork()) orphan_after(me, 21, "first");
    _exit(0);
  }
  expect_exit(first, 0);
  await_mark("first");
  pid_t second = fork();
  if (!second) {
    pid_t me = getpid();
    if (!fork()) orphan_after(me, 22, "second");
    wait_go();
    _exit(0);
  }
  ready_and_wait();
  int on = 0;
  CHECK(prctl(PR_GET_CHILD_SUBREAPER, &on) == 0 && on == 1);
  kill(second, SIGUSR1);
  expect_exit(second, 0);
  await_mark("second");
  // Two adopted children are left.
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", getpid(), getpid());
  FILE *f = fopen(path, "r");
  int a = 0, b = 0;
  CHECK(f && fscanf(f, "%d %d", &a, &b) == 2);
  fclose(f);
  pass_on(a);
  pass_on(b);
  CHECK(wait(&before) > 0 && wait(&after) > 0);
  CHECK(WEXITSTATUS(before) + WEXITSTATUS(after) == 43);
}
