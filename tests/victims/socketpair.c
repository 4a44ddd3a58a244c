// What: unix socket pairs with data: stream, datagram, seqpacket; half shut down; a closed peer; many; ends in two tasks.
// Variants: stream dgram seqpacket shutdown closed options passcred shared many
#include "victim.h"
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
  ready_and_wait();
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
