// What: pids, parents, process groups and sessions over several branches of a tree, a background group among them.
#include "victim.h"
struct who { pid_t pid, ppid, pgid, sid; };
static struct who me(void) { return (struct who){getpid(), getppid(), getpgrp(), getsid(0)}; }
static void hold(const char *name) {
  struct who was = me();
  mark(name);
  wait_go();
  struct who is = me();
  CHECK(!memcmp(&was, &is, sizeof was));
}
static void victim(void) {
  pid_t group = fork(); // a background group
  if (!group) {
    setpgid(0, 0);
    pid_t member = fork();
    if (!member) {
      hold("member");
      _exit(1);
    }
    hold("group");
    pass_on(member);
    expect_exit(member, 1);
    _exit(2);
  }
  pid_t session = fork();
  if (!session) {
    setsid();
    pid_t deep = fork();
    if (!deep) {
      setpgid(0, 0);
      pid_t deeper = fork();
      if (!deeper) {
        setsid();
        hold("deeper");
        _exit(3);
      }
      hold("deep");
      pass_on(deeper);
      expect_exit(deeper, 3);
      _exit(4);
    }
    hold("session");
    pass_on(deep);
    expect_exit(deep, 4);
    _exit(5);
  }
  pid_t joined = fork(); // a branch of its own in the first child's group
  if (!joined) {
    await_mark("group");
    CHECK(setpgid(0, group) == 0);
    hold("joined");
    _exit(6);
  }
  const char *names[] = {"member", "group", "session", "deep", "deeper", "joined"};
  for (int i = 0; i < 6; i++) await_mark(names[i]);
  struct who was = me();
  ready_and_wait();
  struct who is = me();
  // The parent of the whole tree is whoever restored it.
  CHECK(was.pid == is.pid && was.pgid == is.pgid && was.sid == is.sid);
  CHECK(getpgid(joined) == group && getsid(session) == session);
  pass_on(group);
  pass_on(session);
  pass_on(joined);
  expect_exit(group, 2);
  expect_exit(session, 5);
  expect_exit(joined, 6);
}
