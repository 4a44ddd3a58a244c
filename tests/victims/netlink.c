// What: netlink sockets: a port and groups of one's own, options, connected to another socket; it asks the kernel and is
// answered, and hears of events.
// Variants: route connected fresh audit
#include "victim.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
static int made(int protocol, unsigned port, unsigned groups) {
  struct sockaddr_nl a = {AF_NETLINK, 0, port, groups};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  CHECK(fd >= 0);
  if (port) CHECK(bind(fd, (void *)&a, sizeof a) == 0);
  return fd;
}
static void victim(void) {
  unsigned port = 0x50000000u + getpid();
  if (is("audit")) {
    // As programs hold it that only send their records.
    struct sockaddr_nl own;
    socklen_t len = sizeof own;
    int audit = made(NETLINK_AUDIT, port, 0);
    ready_and_wait();
    CHECK(getsockname(audit, (void *)&own, &len) == 0 && own.nl_pid == port);
    // Answered by the kernel: with the records' status, or that this is not allowed here.
    struct nlmsghdr status = {sizeof status, 1000, NLM_F_REQUEST, 1, 0};
    char answer[1024];
    if (send(audit, &status, sizeof status, 0) == -1) CHECK(errno == ECONNREFUSED);
    else CHECK(recv(audit, answer, sizeof answer, 0) >= (ssize_t)sizeof status);
    return;
  }
  struct sockaddr_nl a;
  socklen_t n = sizeof a;
  int fd = made(is("connected") ? NETLINK_USERSOCK : NETLINK_ROUTE, is("fresh") ? 0 : port, is("route") ? RTMGRP_LINK | RTMGRP_NEIGH : 0);
  int client = -1, on = 1, off = 0;
  if (is("connected")) {
    struct sockaddr_nl to = {AF_NETLINK, 0, port, 0};
    client = made(NETLINK_USERSOCK, 0, 0);
    CHECK(connect(client, (void *)&to, sizeof to) == 0);
  } else CHECK(setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on) == 0);
  ready_and_wait();
  CHECK(getsockname(fd, (void *)&a, &n) == 0 && a.nl_pid == (is("fresh") ? 0 : port));
  CHECK(a.nl_groups == (is("route") ? RTMGRP_LINK | RTMGRP_NEIGH : 0) && fcntl(fd, F_GETFD) == FD_CLOEXEC);
  char b[8192];
  if (is("connected")) {
    CHECK(send(client, "hello", 5, 0) == 5 && recv(fd, b, sizeof b, MSG_DONTWAIT) == 5);
    return;
  }
  n = sizeof off;
  CHECK(getsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &off, &n) == 0 && off == 1);
  struct {
    struct nlmsghdr h;
    struct rtgenmsg g;
  } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
  CHECK(send(fd, &ask, sizeof ask, 0) == sizeof ask);
  ssize_t got = recv(fd, b, sizeof b, 0);
  CHECK(got > (ssize_t)sizeof(struct nlmsghdr) && ((struct nlmsghdr *)b)->nlmsg_type == RTM_NEWLINK);
}
