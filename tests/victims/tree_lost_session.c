// What: a session whose leader is gone has several members, which have got the same parent: living ones, zombies, in groups of their own, with
// children; members that have got different parents are refused by name.
// Variants: living zombies groups parents
// Refused.parents: session & its leader is gone & another parent
#include "victim.h"
enum { MEMBERS = 3 };
static int shared_pipe[2];
// The child of a member, which is in its session.
static void with_child(void) {
  pid_t child = fork();
  if (!child) {
    wait_go();
    _exit(6);
  }
  wait_go();
  CHECK(getsid(child) == getsid(0) && getpgid(child) == getpgrp());
  pass_on(child);
  expect_exit(child, 6);
}
static void member(int number, pid_t leader) {
  char name[16];
  while (getppid() == leader) sleep_ms(1);
  if (is("groups") && number > 0) CHECK(setpgid(0, 0) == 0);
  snprintf(name, sizeof name, "member%d", number);
  mark(name);
  if (is("zombies") && number != 1) _exit(20 + number);
  CHECK(getsid(0) == leader);
  if (number == 1) with_child();
  else wait_go();
  CHECK(getsid(0) == leader && getpgrp() == (is("groups") && number > 0 ? getpid() : leader));
  _exit(20 + number);
}
// A session's leader that leaves its members to the next subreaper.
static pid_t lead(void) {
  pid_t leader = fork();
  if (!leader) {
    CHECK(setsid() == getpid());
    for (int i = 0; i < MEMBERS; i++) {
      pid_t self = getpid(), pid = fork();
      if (!pid) member(i, self);
      CHECK(write(shared_pipe[1], &pid, sizeof pid) == sizeof pid);
    }
    _exit(0);
  }
  expect_exit(leader, 0);
  return leader;
}
static void wait_and_exit(void) {
  wait_go();
  _exit(7);
}
// One member is left to a process that adopts orphans for a while, another one to the first process.
static void with_parents(void) {
  pid_t middle = fork(), members[2];
  if (!middle) {
    CHECK(setsid() == getpid() && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    pid_t leader = fork();
    if (!leader) {
      CHECK(setsid() == getpid());
      pid_t below = fork();
      if (!below) {
        members[0] = fork();
        if (!members[0]) wait_and_exit();
        CHECK(write(shared_pipe[1], members, sizeof *members) == sizeof *members);
        _exit(0);
      }
      expect_exit(below, 0);
      mark("orphan");
      await_mark("adopts no more");
      members[1] = fork();
      if (!members[1]) wait_and_exit();
      CHECK(write(shared_pipe[1], members + 1, sizeof *members) == sizeof *members);
      _exit(0);
    }
    await_mark("orphan");
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
    mark("adopts no more");
    expect_exit(leader, 0);
    mark("left");
    wait_go();
    int st;
    CHECK(wait(&st) > 0 && WIFEXITED(st) && WEXITSTATUS(st) == 7);
    _exit(8);
  }
  CHECK(read(shared_pipe[0], members, sizeof *members) == sizeof *members);
  CHECK(read(shared_pipe[0], members + 1, sizeof *members) == sizeof *members);
  await_mark("left");
  ready_and_wait();
  CHECK(getsid(members[0]) == getsid(members[1]));
  pass_on(middle);
  pass_on(members[0]);
  pass_on(members[1]);
  expect_exit(middle, 8);
  expect_exit(members[1], 7);
}
static void victim(void) {
  pid_t members[MEMBERS];
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && pipe(shared_pipe) == 0);
  if (is("parents")) return with_parents();
  pid_t leader = lead();
  for (int i = 0; i < MEMBERS; i++) {
    char name[16];
    snprintf(name, sizeof name, "member%d", i);
    CHECK(read(shared_pipe[0], members + i, sizeof *members) == sizeof *members);
    await_mark(name);
    siginfo_t info;
    if (is("zombies") && i != 1) CHECK(waitid(P_PID, members[i], &info, WEXITED | WNOWAIT) == 0);
  }
  ready_and_wait();
  for (int i = 0; i < MEMBERS; i++) {
    CHECK(getsid(members[i]) == leader && getpgid(members[i]) == (is("groups") && i > 0 ? members[i] : leader));
    if (!is("zombies") || i == 1) pass_on(members[i]);
    expect_exit(members[i], 20 + i);
  }
}
