// What: epoll instances that watch what was closed since, and that nobody but another task has open: its events come under the number
// that it had, also when that number is of something else now.
// Variants: pipe socket timer parent signal
// Refused.signal: epoll & nobody but another task has open now
#include "victim.h"
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
static int ep, watched[2];
static void make(void) {
  sigset_t usr2;
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  if (is("socket")) CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, watched) == 0);
  else CHECK(pipe(watched) == 0);
  if (is("timer") || is("signal")) {
    close(watched[0]);
    watched[0] = is("timer") ? timerfd_create(CLOCK_MONOTONIC, 0) : signalfd(-1, &usr2, 0);
  }
}
static int events(int wait_ms) {
  struct epoll_event out[4];
  int n = epoll_wait(ep, out, 4, wait_ms);
  CHECK(n <= 0 || (n == 1 && out[0].data.u64 == 0xfeedbeef12345678 && out[0].events == EPOLLIN));
  return n;
}
static void cause(void) {
  struct itimerspec soon = {.it_value = {0, 1000000}};
  if (is("timer")) CHECK(timerfd_settime(watched[0], 0, &soon, 0) == 0);
  else CHECK(write(watched[1], "x", 1) == 1);
}
static void victim(void) {
  // The instance has one low number, and what it watches another that is used again.
  CHECK((ep = epoll_create1(0)) >= 0);
  make();
  struct epoll_event e = {EPOLLIN | EPOLLET, {.u64 = 0xfeedbeef12345678}};
  CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, watched[0], &e) == 0);
  pid_t child = fork();
  int waits = !child == !!is("parent");
  if (!child) {
    // One has the instance, the other what it watches.
    if (waits) close(watched[0]);
    else close(ep);
    mark("child");
    wait_go();
    victim_go = 0;
    if (is("signal")) _exit(9);
    if (waits) CHECK(events(5000) == 1);
    else cause();
    mark("caused");
    if (!waits) wait_go();
    _exit(9);
  }
  if (waits) {
    CHECK(close(watched[0]) == 0);
    // Somebody else's number now.
    CHECK(dup2(open("/dev/null", O_RDONLY), watched[0]) == watched[0]);
  } else close(ep);
  await_mark("child");
  ready_and_wait();
  if (waits) {
    CHECK(events(0) == 0);
    pass_on(child);
    if (!is("signal")) {
      await_mark("caused");
      CHECK(events(5000) == 1 && epoll_ctl(ep, EPOLL_CTL_ADD, watched[0], &e) == -1 && errno == EPERM);
      pass_on(child);
    }
  } else {
    pass_on(child);
    cause();
  }
  expect_exit(child, 9);
}
