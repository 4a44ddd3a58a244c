// What: TCP connections that are being made: the peer has not answered yet (SYN_SENT), and answers after the restore; asked for
// without waiting, and by a task that waits in connect; with a local address of its own choice.
// Variants: nonblocking blocking bound
// Options: --tcp-established
// Seconds: 30
#include "victim.h"
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
static int state(int fd) {
  struct tcp_info info;
  socklen_t len = sizeof info;
  CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0);
  return info.tcpi_state;
}
static void talk(int c, int s) {
  char b[8];
  CHECK(s >= 0 && write(c, "hello", 5) == 5 && read(s, b, 8) == 5 && !memcmp(b, "hello", 5));
  CHECK(write(s, "back", 4) == 4 && read(c, b, 8) == 4 && !memcmp(b, "back", 4));
}
static const int zero;
static void victim(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, from = a, got;
  socklen_t len = sizeof a;
  int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), error = -1, one = 1;
  // Neither end is left in TIME_WAIT: the copy of one that goes on has the same addresses.
  struct linger reset = {1, 0};
  CHECK(setsockopt(c, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0 && setsockopt(l, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
  CHECK(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
  CHECK(bind(l, (void *)&a, sizeof a) == 0 && listen(l, 5) == 0 && getsockname(l, (void *)&a, &len) == 0);
  // As long as this is there, nothing reaches the one that listens.
  struct sock_filter nothing[] = {{BPF_RET | BPF_K, 0, 0, 0}};
  struct sock_fprog program = {1, nothing};
  CHECK(setsockopt(l, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0);
  pid_t child = 0;
  if (is("blocking")) {
    child = fork();
    if (!child) {
      mark("child");
      CHECK(connect(c, (void *)&a, sizeof a) == 0);
      char b[8];
      CHECK(write(c, "hello", 5) == 5 && read(c, b, 8) == 4);
      _exit(8);
    }
    await_mark("child");
    for (int i = 0; i < 5000 && state(c) != TCP_SYN_SENT; i++) sleep_ms(1);
  } else {
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    if (is("bound")) CHECK(bind(c, (void *)&from, sizeof from) == 0);
    CHECK(fcntl(c, F_SETFL, O_NONBLOCK) == 0);
    CHECK(connect(c, (void *)&a, sizeof a) == -1 && errno == EINPROGRESS && getsockname(c, (void *)&from, &len) == 0);
  }
  CHECK(state(c) == TCP_SYN_SENT);
  ready_and_wait();
  CHECK(state(c) == TCP_SYN_SENT && setsockopt(l, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof zero) == 0);
  struct pollfd p = {c, POLLOUT, 0};
  if (child) {
    int s = accept(l, 0, 0);
    char b[8];
    CHECK(s >= 0 && read(s, b, 8) == 5 && write(s, "back", 4) == 4);
    expect_exit(child, 8);
    return;
  }
  CHECK(connect(c, (void *)&a, sizeof a) == -1 && errno == EALREADY && (fcntl(c, F_GETFL) & O_NONBLOCK));
  CHECK(poll(&p, 1, 20000) == 1 && getsockopt(c, SOL_SOCKET, SO_ERROR, &error, (len = sizeof error, &len)) == 0 && error == 0);
  len = sizeof got;
  CHECK(getsockname(c, (void *)&got, &len) == 0 && got.sin_port == from.sin_port && got.sin_addr.s_addr == from.sin_addr.s_addr);
  CHECK(fcntl(c, F_SETFL, 0) == 0);
  talk(c, accept(l, 0, 0));
}
