// What: unix sockets that tell when a message came, that tell its sender by a pidfd, that take no descriptors, whose peer was
// closed before it had read all, that are connected to themselves, or in a message to themselves; an empty message that was
// looked at; empty packets whose sender sends no more, or is gone.
// Variants: times times_waiting pidfd no_descriptors reset_stream reset_packets to_itself in_itself looked empty empty_closed
// Refused.times_waiting: SO_TIMESTAMP & have its messages read
// Refused.looked: empty message & have its messages read
#include "victim.h"
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
static int on(int fd, int name, int len) {
  int v[2] = {0};
  socklen_t room = len;
  CHECK(getsockopt(fd, SOL_SOCKET, name, v, &room) == 0);
  return v[0];
}
// The type of the control message that comes along with the next message.
static int along(int fd) {
  char text[16], room[128] __attribute__((aligned(8)));
  struct iovec iov = {text, sizeof text};
  struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  CHECK(recvmsg(fd, &h, MSG_DONTWAIT) == 2);
  struct cmsghdr *c = CMSG_FIRSTHDR(&h);
  return c ? c->cmsg_type : 0;
}
// The kernel collects one that only a message to itself holds some time after its process has ended.
static void itself(int in_message) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  socklen_t n = offsetof(struct sockaddr_un, sun_path) + 1 + sprintf(a.sun_path + 1, "criu-itself-%d", getpid());
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK(bind(fd, (void *)&a, n) == 0);
  if (!in_message) CHECK(connect(fd, (void *)&a, n) == 0);
  char b[8], room[CMSG_SPACE(sizeof fd)] __attribute__((aligned(8)));
  struct iovec iov = {"text", 4};
  struct msghdr h = {.msg_name = &a, .msg_namelen = n, .msg_iov = &iov, .msg_iovlen = 1};
  if (in_message) h.msg_control = room, h.msg_controllen = sizeof room;
  struct cmsghdr *c = CMSG_FIRSTHDR(&h);
  if (c) {
    *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  CHECK(sendmsg(fd, &h, 0) == 4);
  ready_and_wait();
  struct sockaddr_un from;
  socklen_t m = sizeof from;
  CHECK(recvfrom(fd, b, 8, MSG_DONTWAIT, (void *)&from, &m) == 4 && m == n && !memcmp(&from, &a, n));
  CHECK(sendto(fd, "more", 4, 0, (void *)&a, n) == 4 && read(fd, b, 8) == 4);
  if (!in_message) CHECK(send(fd, "more", 4, 0) == 4 && read(fd, b, 8) == 4);
}
static void victim(void) {
  const int one = 1, rx[2] = {1 << 3 | 1 << 4, 0};
  int fds[2], more[2], kind = is("reset_stream") ? SOCK_STREAM : is("reset_packets") || is("empty") || is("empty_closed") ? SOCK_SEQPACKET : SOCK_DGRAM;
  CHECK(socketpair(AF_UNIX, kind, 0, fds) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, more) == 0);
  if (is("times")) {
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_TIMESTAMP, &one, sizeof one) == 0);
    CHECK(setsockopt(fds[1], SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) == 0);
    CHECK(setsockopt(more[0], SOL_SOCKET, SO_TIMESTAMPING, rx, sizeof rx) == 0);
    ready_and_wait();
    CHECK(on(fds[0], SO_TIMESTAMP, 4) == 1 && on(fds[1], SO_TIMESTAMPNS, 4) == 1 && on(more[0], SO_TIMESTAMPING, 8) == rx[0]);
    CHECK(!on(more[1], SO_TIMESTAMPING, 8) && write(fds[1], "hi", 2) == 2 && along(fds[0]) == SO_TIMESTAMP);
    CHECK(write(fds[0], "hi", 2) == 2 && along(fds[1]) == SO_TIMESTAMPNS);
    return;
  }
  if (is("times_waiting")) {
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_TIMESTAMP, &one, sizeof one) == 0 && write(fds[1], "at", 2) == 2);
    ready_and_wait();
    CHECK(along(fds[0]) == SO_TIMESTAMP);
    return;
  }
  if (is("pidfd")) {
    if (setsockopt(fds[0], SOL_SOCKET, SO_PASSPIDFD, &one, sizeof one)) SKIP("SO_PASSPIDFD: %s", strerror(errno));
    CHECK(write(fds[0], "to", 2) == 2);
    ready_and_wait();
    CHECK(on(fds[0], SO_PASSPIDFD, 4) == 1 && on(fds[1], SO_PASSPIDFD, 4) == 0);
    CHECK(along(fds[1]) == 0 && write(fds[1], "hi", 2) == 2 && along(fds[0]) == 4 /* SCM_PIDFD */);
    CHECK(write(fds[0], "to", 2) == 2);
    return;
  }
  char b[8];
  if (is("looked")) {
    CHECK(send(fds[0], "", 0, 0) == 0 && send(fds[0], "text", 4, 0) == 4 && recv(fds[1], b, 8, MSG_PEEK) == 0);
    ready_and_wait();
    CHECK(recv(fds[1], b, 8, 0) == 0 && recv(fds[1], b, 8, 0) == 4);
    return;
  }
  if (is("empty") || is("empty_closed")) {
    CHECK(send(fds[0], "", 0, 0) == 0 && send(fds[0], "text", 4, 0) == 4 && send(fds[0], "", 0, 0) == 0);
    CHECK(is("empty") ? shutdown(fds[0], SHUT_WR) == 0 : close(fds[0]) == 0);
    ready_and_wait();
    CHECK(read(fds[1], b, 8) == 0 && read(fds[1], b, 8) == 4 && !memcmp(b, "text", 4));
    int waiting = poll(&(struct pollfd){fds[1], POLLIN, 0}, 1, 0);
    CHECK(waiting == 1 && read(fds[1], b, 8) == 0 && read(fds[1], b, 8) == 0);
    if (is("empty")) CHECK(write(fds[1], "back", 4) == 4 && read(fds[0], b, 8) == 4);
    return;
  }
  if (is("to_itself") || is("in_itself")) return itself(is("in_itself"));
  if (is("no_descriptors")) {
    const int off = 0;
    if (setsockopt(fds[0], SOL_SOCKET, 83 /* SO_PASSRIGHTS */, &off, sizeof off)) SKIP("SO_PASSRIGHTS: %s", strerror(errno));
    CHECK(write(fds[1], "plain", 5) == 5);
    ready_and_wait();
    CHECK(on(fds[0], 83, 4) == 0 && on(fds[1], 83, 4) == 1 && read(fds[0], b, 8) == 5 && write(fds[1], "plain", 5) == 5);
    return;
  }
  CHECK(write(fds[0], "unread", 6) == 6);
  if (is("reset_stream")) CHECK(write(fds[1], "left", 4) == 4);
  close(fds[1]);
  ready_and_wait();
  // Who reads it takes it.
  if (is("reset_stream")) CHECK(read(fds[0], b, 8) == 4 && !memcmp(b, "left", 4));
  CHECK(read(fds[0], b, 8) == -1 && errno == ECONNRESET);
  CHECK(read(fds[0], b, 8) == 0 && send(fds[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
}
