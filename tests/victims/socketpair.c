// What: unix socket pairs with data: stream, datagram, seqpacket; half shut down; a closed peer; many, with all kinds of queues;
// ends in two tasks.
// Variants: stream dgram seqpacket shutdown closed options passcred shared many queues
#include "victim.h"
#define LARGE 100000
static char large[LARGE];
// One of many streams gets something to read, of one of ten kinds.
static void queue(int *q, int i) {
  char c[CMSG_SPACE(sizeof(int))] = {0}, b[8];
  struct iovec v = {"carries", 7};
  struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
  struct cmsghdr *m = CMSG_FIRSTHDR(&h);
  int zero = 0, two = 2, on = 1, kind = i % 10;
  snprintf(large, sizeof large, "number %06d", i);
  m->cmsg_level = SOL_SOCKET, m->cmsg_type = SCM_RIGHTS, m->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(m), &zero, sizeof zero);
  if (kind == 1) CHECK(write(q[0], &i, sizeof i) == sizeof i);
  if (kind == 2) CHECK(write(q[0], large, 32 + i) == 32 + i && read(q[1], b, 7) == 7);
  if (kind == 3) CHECK(write(q[0], large, 600 + i) == 600 + i);
  if (kind == 4) CHECK(write(q[0], large, LARGE) == LARGE);
  if (kind == 5) CHECK(write(q[0], "one", 3) == 3 && write(q[0], &i, sizeof i) == sizeof i);
  if (kind == 6) CHECK(write(q[0], "ab", 2) == 2 && send(q[0], "c", 1, MSG_OOB) == 1);
  if (kind == 7) CHECK(sendmsg(q[0], &h, 0) == 7);
  if (kind == 8) CHECK(setsockopt(q[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 && write(q[0], "known", 5) == 5);
  if (kind == 9) CHECK(setsockopt(q[1], SOL_SOCKET, SO_PEEK_OFF, &two, sizeof two) == 0 && write(q[0], "peeked", 6) == 6);
}
static void empty(int *q, int i) {
  static char b[LARGE + 1];
  char c[CMSG_SPACE(sizeof(struct ucred))];
  struct iovec v = {b, sizeof b};
  struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
  struct cmsghdr *m;
  int kind = i % 10, fd;
  if (kind == 6) {
    CHECK(recv(q[1], b, 8, MSG_OOB | MSG_DONTWAIT) == 1 && b[0] == 'c' && recv(q[1], b, 8, MSG_DONTWAIT) == 2 && !memcmp(b, "ab", 2));
    return;
  }
  if (kind == 9) CHECK(recv(q[1], b, 8, MSG_PEEK | MSG_DONTWAIT) == 4 && !memcmp(b, "eked", 4));
  int n = recvmsg(q[1], &h, MSG_DONTWAIT);
  m = CMSG_FIRSTHDR(&h);
  snprintf(large, sizeof large, "number %06d", i);
  if (kind == 0) CHECK(n == -1 && errno == EAGAIN);
  if (kind == 1) CHECK(n == sizeof i && !memcmp(b, &i, sizeof i));
  if (kind == 2) CHECK(n == 32 + i - 7 && !memcmp(b, large + 7, n));
  if (kind == 3) CHECK(n == 600 + i && !memcmp(b, large, n));
  if (kind == 4) CHECK(n == LARGE && !memcmp(b, large, n));
  if (kind == 5) CHECK(n == 3 + sizeof i && !memcmp(b, "one", 3) && !memcmp(b + 3, &i, sizeof i));
  if (kind == 7) CHECK(n == 7 && m && m->cmsg_type == SCM_RIGHTS && (memcpy(&fd, CMSG_DATA(m), sizeof fd), close(fd) == 0));
  if (kind == 8) CHECK(n == 5 && m && m->cmsg_type == SCM_CREDENTIALS);
  if (kind == 9) CHECK(n == 6 && !memcmp(b, "peeked", 6));
  if (kind && kind != 7 && kind != 8) CHECK(!m);
  CHECK(recv(q[1], b, 8, MSG_DONTWAIT) == -1 && errno == EAGAIN);
  CHECK(write(q[0], "after", 5) == 5 && recv(q[1], b, 8, MSG_DONTWAIT) == 5);
}
static void victim(void) {
  int s[2], type = is("dgram") ? SOCK_DGRAM : is("seqpacket") ? SOCK_SEQPACKET : SOCK_STREAM, v = 0;
  socklen_t n = sizeof v;
  char b[64];
  CHECK(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, s) == 0);
  CHECK(write(s[0], "first", 5) == 5 && write(s[0], "second", 6) == 6 && write(s[1], "back", 4) == 4);
  if (is("shutdown")) CHECK(shutdown(s[0], SHUT_WR) == 0);
  if (is("closed")) {
    CHECK(read(s[0], b, 64) == 4);
    close(s[0]);
  }
  int size = 77777, on = 1, was = 0;
  struct timeval tv = {3, 500000}, got;
  if (is("options")) {
    CHECK(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    CHECK(setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0);
    CHECK(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &was, &n) == 0);
  }
  if (is("passcred")) {
    CHECK(read(s[0], b, 64) == 4 && read(s[1], b, 64) == 11);
    CHECK(setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    ready_and_wait();
    CHECK(getsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &v, &n) == 0 && v == 1);
    CHECK(write(s[1], "x", 1) == 1 && read(s[0], b, 64) == 1);
    return;
  }
  pid_t child = 0;
  if (is("shared")) {
    child = fork();
    if (!child) {
      close(s[0]);
      mark("child");
      wait_go();
      CHECK(read(s[1], b, 64) == 11 && write(s[1], "child", 5) == 5);
      _exit(1);
    }
    close(s[1]);
    await_mark("child");
  }
  int many[300][2];
  if (is("many"))
    for (int i = 0; i < 300; i++)
      CHECK(socketpair(AF_UNIX, i % 2 ? SOCK_STREAM : SOCK_DGRAM, 0, many[i]) == 0 && write(many[i][0], &i, sizeof i) == sizeof i);
  if (is("queues"))
    for (int i = 0; i < 120; i++) CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, many[i]) == 0 && (queue(many[i], i), 1));
  ready_and_wait();
  if (is("queues"))
    for (int i = 0; i < 120; i++) empty(many[i], i);
  if (is("shared")) {
    pass_on(child);
    expect_exit(child, 1);
    CHECK(read(s[0], b, 4) == 4 && !memcmp(b, "back", 4) && read(s[0], b, 64) == 5 && read(s[0], b, 64) == 0);
    return;
  }
  if (type == SOCK_STREAM) CHECK(read(s[1], b, 64) == 11 && !memcmp(b, "firstsecond", 11));
  else CHECK(read(s[1], b, 64) == 5 && read(s[1], b, 64) == 6 && !memcmp(b, "second", 6));
  if (is("shutdown")) CHECK(read(s[1], b, 64) == 0 && send(s[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
  if (is("closed")) {
    CHECK(read(s[1], b, 64) == 0 && send(s[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    return;
  }
  CHECK(read(s[0], b, 64) == 4 && !memcmp(b, "back", 4) && fcntl(s[0], F_GETFD) == FD_CLOEXEC);
  if (!is("shutdown")) CHECK(write(s[0], "on", 2) == 2 && read(s[1], b, 64) == 2);
  if (is("options")) {
    CHECK(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, &n) == 0 && v == was);
    n = sizeof got;
    CHECK(getsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &got, &n) == 0 && got.tv_sec == 3 && got.tv_usec / 10000 == 50);
  }
  if (is("many"))
    for (int i = 0; i < 300; i++) CHECK(read(many[i][1], &v, sizeof v) == sizeof v && v == i);
}
