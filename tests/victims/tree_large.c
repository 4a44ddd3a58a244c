// What: a chain of 20 processes, and 100 children of one.
// Variants: deep wide
#include "victim.h"
static void deep(int level) {
  pid_t child = 0;
  if (level < 20) {
    child = fork();
    if (!child) {
      deep(level + 1);
      _exit(level + 1);
    }
  } else {
    mark("bottom");
  }
  pid_t parent = getppid();
  if (level) wait_go();
  else {
    await_mark("bottom");
    ready_and_wait();
  }
  if (level) CHECK(getppid() == parent);
  if (child) {
    pass_on(child);
    expect_exit(child, level + 1);
  }
}
static void victim(void) {
  if (is("deep")) {
    deep(0);
    return;
  }
  pid_t all[100];
  for (int i = 0; i < 100; i++) {
    all[i] = fork();
    if (!all[i]) {
      wait_go();
      _exit(i);
    }
  }
  ready_and_wait();
  for (int i = 0; i < 100; i++) pass_on(all[i]);
  for (int i = 0; i < 100; i++) expect_exit(all[i], i);
}
