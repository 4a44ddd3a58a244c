// What: a process group whose leader is a zombie, and a child that lives in that group.
#include "victim.h"
static void victim(void) {
  pid_t leader = fork();
  if (!leader) {
    setpgid(0, 0);
    await_mark("joined");
    _exit(3);
  }
  pid_t member = fork();
  if (!member) {
    while (setpgid(0, leader)) sleep_ms(1);
    mark("joined");
    wait_go();
    CHECK(getpgrp() == leader);
    _exit(4);
  }
  siginfo_t si;
  CHECK(waitid(P_PID, leader, &si, WEXITED | WNOWAIT) == 0);
  ready_and_wait();
  CHECK(getpgid(member) == leader);
  pass_on(member);
  expect_exit(member, 4);
  expect_exit(leader, 3);
}
