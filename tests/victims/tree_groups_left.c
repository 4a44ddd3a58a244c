// What: process groups whose leaders are in other ones: that of the parent, that of each other, that of nobody who is there any more; and
// leaders that are zombies.
// Variants: parent cycle three zombie lost child
#include "victim.h"
static pid_t p[4];
static int expected[4], n;
static pid_t member(pid_t group) {
  int ends[2];
  char c;
  CHECK(pipe(ends) == 0);
  pid_t pid = fork();
  if (!pid) {
    CHECK(read(ends[0], &c, 1) == 1);
    close(ends[0]);
    close(ends[1]);
    wait_go();
    // The groups are still there, for others that look for them.
    _exit(5);
  }
  CHECK(setpgid(pid, group) == 0 && write(ends[1], "", 1) == 1);
  close(ends[0]);
  close(ends[1]);
  return pid;
}
static void move(pid_t who, pid_t group) { CHECK(setpgid(who, group) == 0); }
static void victim(void) {
  int zombies = 0;
  if (is("parent")) {
    p[n++] = member(0);
    p[n++] = member(p[0]);
    move(p[0], getpgrp());
  } else if (is("cycle") || is("three")) {
    int many = is("three") ? 3 : 2;
    for (; n < many; n++) p[n] = member(0);
    // Somebody holds the first group until the last leader has joined it.
    p[n] = member(p[0]);
    for (int i = 0; i < many; i++) move(p[i], p[(i + 1) % many]);
    CHECK(kill(p[n], SIGKILL) == 0 && status_of(p[n]) == SIGKILL);
  } else if (is("zombie")) {
    p[n++] = member(0);
    p[n++] = member(p[0]);
    move(p[0], getpgrp());
    CHECK(kill(p[0], SIGKILL) == 0);
    siginfo_t si;
    CHECK(waitid(P_PID, p[0], &si, WEXITED | WNOWAIT) == 0);
    zombies = 1;
  } else if (is("lost")) {
    pid_t gone = member(0);
    p[n++] = member(0);
    p[n++] = member(p[0]);
    move(p[0], gone);
    CHECK(kill(gone, SIGKILL) == 0 && status_of(gone) == SIGKILL);
  } else {
    // The leader's own child is in the group that it has left.
    int ends[2];
    pid_t first = getpgrp();
    CHECK(pipe(ends) == 0);
    p[n++] = fork();
    if (!p[0]) {
      CHECK(setpgid(0, 0) == 0);
      pid_t child = fork();
      if (!child) {
        wait_go();
        _exit(5);
      }
      CHECK(setpgid(0, first) == 0 && write(ends[1], &child, sizeof child) == sizeof child);
      close(ends[0]);
      close(ends[1]);
      wait_go();
      CHECK(getpgid(child) == getpid() && getpgrp() == first);
      pass_on(child);
      expect_exit(child, 5);
      _exit(5);
    }
    pid_t child;
    CHECK(read(ends[0], &child, sizeof child) == sizeof child);
    close(ends[0]);
    close(ends[1]);
  }
  for (int i = 0; i < n; i++) expected[i] = getpgid(p[i]);
  ready_and_wait();
  for (int i = 0; i < n; i++) CHECK(getpgid(p[i]) == expected[i]);
  for (int i = 0; i < n; i++) {
    if (i < zombies) {
      CHECK(status_of(p[i]) == SIGKILL);
      continue;
    }
    pass_on(p[i]);
    expect_exit(p[i], 5);
  }
}
