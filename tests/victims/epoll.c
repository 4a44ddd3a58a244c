// What: epoll: user data, edge and one-shot flags, nested, descriptors dup'ed since; ready events are reported.
// Variants: plain nested closed
#include "victim.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
static void victim(void) {
  int ep = epoll_create1(EPOLL_CLOEXEC), p[2], ev = eventfd(0, 0), inner = epoll_create1(0);
  CHECK(pipe(p) == 0);
  struct epoll_event e = {EPOLLIN | EPOLLET, {.u64 = 0x1122334455667788}}, o = {EPOLLIN | EPOLLONESHOT, {.u64 = 22}}, out[4];
  CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e) == 0 && epoll_ctl(ep, EPOLL_CTL_ADD, ev, &o) == 0);
  if (is("nested")) {
    struct epoll_event n = {EPOLLIN, {.u64 = 33}};
    CHECK(epoll_ctl(inner, EPOLL_CTL_ADD, p[0], &n) == 0 && epoll_ctl(ep, EPOLL_CTL_ADD, inner, &n) == 0);
  }
  int copy = dup(p[0]);
  if (is("closed")) {
    // Registered under a number that leads nowhere now; the description lives on in `copy`.
    close(p[0]);
  }
  ready_and_wait();
  CHECK(fcntl(ep, F_GETFD) == FD_CLOEXEC && epoll_wait(ep, out, 4, 0) == 0);
  CHECK(write(p[1], "x", 1) == 1);
  int n = epoll_wait(ep, out, 4, 0);
  if (is("nested")) CHECK(n == 2);
  else CHECK(n == 1 && out[0].data.u64 == 0x1122334455667788);
  if (is("plain")) {
    CHECK(epoll_wait(ep, out, 4, 0) == 0); // edge-triggered: once
    uint64_t one = 1;
    CHECK(write(ev, &one, 8) == 8 && epoll_wait(ep, out, 4, 0) == 1 && out[0].data.u64 == 22);
    CHECK(write(ev, &one, 8) == 8 && epoll_wait(ep, out, 4, 0) == 0); // one-shot
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e) == -1 && errno == EEXIST);
    CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], 0) == 0);
  }
  CHECK(fcntl(copy, F_GETFD) >= 0);
}
