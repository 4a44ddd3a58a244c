// What: TCP connections with both ends in the tree, with data on every side and in every state, over IPv4, IPv6 and both.
// Variants: v4 v6 mapped unread unsent corked finwait lastack closing reset ended options two many refused
// Options: --tcp-established
// Refused.refused: wait to be accepted
#include "victim.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
enum { BIG = 3 << 20, MANY = 100 };
static int l = -1, c = -1, s = -1;
static struct sockaddr_in6 six = {AF_INET6, 0, 0, IN6ADDR_LOOPBACK_INIT};
static struct sockaddr_in four = {AF_INET, 0, {0}};
static char out[BIG], in[BIG];
static void set(int fd, int level, int name, int v) { CHECK(setsockopt(fd, level, name, &v, sizeof v) == 0); }
static int client(void) {
  int fd = socket(is("v6") ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  CHECK(fd >= 0 && (is("v6") ? connect(fd, (void *)&six, sizeof six) : connect(fd, (void *)&four, sizeof four)) == 0);
  return fd;
}
static void server(void) {
  socklen_t n = sizeof six;
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int wide = is("v6") || is("mapped");
  if (is("mapped")) six.sin6_addr = in6addr_any;
  l = socket(wide ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  // Here the server's end stays in TIME_WAIT, on the listener's port.
  if (is("closing")) set(l, SOL_SOCKET, SO_REUSEADDR, 1);
  CHECK((wide ? bind(l, (void *)&six, sizeof six) : bind(l, (void *)&four, sizeof four)) == 0 && listen(l, 128) == 0);
  CHECK(getsockname(l, wide ? (void *)&six : (void *)&four, &n) == 0);
  if (wide) four.sin_port = six.sin6_port;
}
static void all(int from, int to, size_t n, unsigned seed) {
  // Sent already, or waiting in the socket of `from`.
  (void)from;
  for (size_t got = 0; got < n;) {
    struct pollfd p = {to, POLLIN};
    CHECK(poll(&p, 1, 10000) == 1);
    ssize_t r = read(to, in + got, n - got);
    CHECK(r > 0);
    got += r;
  }
  CHECK(filled(in, n, seed));
}
static size_t stuff(int fd, unsigned seed) {
  // As much as both sockets take.
  fill(out, BIG, seed);
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  size_t sent = 0;
  for (int calm = 0; calm < 20 && sent < BIG;) {
    ssize_t w = write(fd, out + sent, BIG - sent);
    if (w > 0) sent += w, calm = 0;
    else calm++, sleep_ms(2);
  }
  CHECK(fcntl(fd, F_SETFL, 0) == 0 && sent > 0);
  return sent;
}
static void talk(int a, int b) {
  char t[8];
  struct pollfd p = {b, POLLIN};
  CHECK(write(a, "ping", 4) == 4 && poll(&p, 1, 10000) == 1 && read(b, t, 8) == 4);
  p.fd = a;
  CHECK(write(b, "pong!", 5) == 5 && poll(&p, 1, 10000) == 1 && read(a, t, 8) == 5);
}
static int state(int fd) {
  struct tcp_info i;
  socklen_t n = sizeof i;
  CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n) == 0);
  return i.tcpi_state;
}
static void await(int fd, int want) {
  for (int i = 0; state(fd) != want; i++) {
    CHECK(i < 5000);
    sleep_ms(1);
  }
}
// Closed without TIME_WAIT: a copy may want the same addresses.
static void bury(int fd) {
  struct linger now = {1, 0};
  CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
  close(fd);
}
static int option(int fd, int level, int name) {
  int v = -1;
  socklen_t n = sizeof v;
  CHECK(getsockopt(fd, level, name, &v, &n) == 0);
  return v;
}
static void victim(void) {
  char t[64];
  size_t a = 0, b = 0;
  pid_t child = 0;
  int many[MANY][2];
  server();
  if (is("two")) {
    child = fork();
    if (!child) {
      close(l);
      c = client();
      CHECK(write(c, "hello", 5) == 5);
      mark("child");
      wait_go();
      struct pollfd p = {c, POLLIN};
      CHECK(poll(&p, 1, 10000) == 1 && read(c, t, 64) == 5 && write(c, "thanks", 6) == 6);
      // The parent closes first.
      CHECK(poll(&p, 1, 10000) == 1);
      _exit(1);
    }
    s = accept(l, 0, 0);
    await_mark("child");
  } else {
    c = client();
    s = accept(l, 0, 0);
  }
  CHECK(s >= 0);
  if (is("unread")) CHECK(write(c, "to server", 9) == 9 && write(s, "to client", 9) == 9);
  if (is("unsent")) {
    set(c, SOL_SOCKET, SO_SNDBUF, 100000), set(s, SOL_SOCKET, SO_SNDBUF, 50000);
    a = stuff(c, 3), b = stuff(s, 5);
  }
  if (is("corked")) {
    set(c, IPPROTO_TCP, TCP_CORK, 1);
    CHECK(write(c, "held back", 9) == 9);
  }
  if (is("finwait")) {
    CHECK(write(c, "end", 3) == 3 && shutdown(c, SHUT_WR) == 0);
    await(c, TCP_FIN_WAIT2), await(s, TCP_CLOSE_WAIT);
  }
  if (is("lastack") || is("closing")) {
    // Nobody reads: the data in front of the FINs stay where they are.
    a = stuff(c, 3);
    if (is("closing")) b = stuff(s, 5);
    CHECK(shutdown(c, SHUT_WR) == 0);
    await(c, TCP_FIN_WAIT1);
    if (is("closing")) CHECK(shutdown(s, SHUT_WR) == 0);
  }
  if (is("reset")) {
    CHECK(write(s, "last words", 10) == 10);
    struct pollfd p = {c, POLLIN};
    CHECK(poll(&p, 1, 5000) == 1);
    bury(s), s = -1;
    await(c, TCP_CLOSE);
  }
  if (is("ended")) {
    CHECK(write(c, "good bye", 8) == 8 && shutdown(c, SHUT_WR) == 0);
    await(s, TCP_CLOSE_WAIT);
    close(c), c = -1;
    CHECK(shutdown(s, SHUT_WR) == 0);
    await(s, TCP_CLOSE);
  }
  if (is("options")) {
    set(c, SOL_SOCKET, SO_KEEPALIVE, 1), set(c, IPPROTO_TCP, TCP_KEEPIDLE, 77), set(c, IPPROTO_TCP, TCP_NODELAY, 1);
    set(c, IPPROTO_TCP, TCP_USER_TIMEOUT, 7777), set(c, SOL_SOCKET, SO_REUSEADDR, 1), set(c, SOL_SOCKET, SO_RCVBUF, 44444);
    set(s, IPPROTO_IP, IP_TOS, 16), set(s, SOL_SOCKET, SO_MARK, 5);
    CHECK(shutdown(c, SHUT_RD) == 0);
    a = option(c, SOL_SOCKET, SO_RCVBUF);
  }
  if (is("many"))
    for (int i = 0; i < MANY; i++) {
      many[i][0] = client(), many[i][1] = accept(l, 0, 0);
      CHECK(write(many[i][0], &i, sizeof i) == sizeof i);
    }
  if (is("refused")) many[0][0] = client();
  ready_and_wait();
  if (is("two")) {
    pass_on(child);
    struct pollfd p = {s, POLLIN};
    CHECK(read(s, t, 64) == 5 && write(s, "hello", 5) == 5 && poll(&p, 1, 10000) == 1 && read(s, t, 64) == 6);
    bury(s);
    expect_exit(child, 1);
    return;
  }
  if (is("unread")) CHECK(read(s, t, 64) == 9 && !memcmp(t, "to server", 9) && read(c, t, 64) == 9 && !memcmp(t, "to client", 9));
  if (is("unsent")) all(c, s, a, 3), all(s, c, b, 5);
  if (is("corked")) {
    struct pollfd p = {s, POLLIN};
    CHECK(option(c, IPPROTO_TCP, TCP_CORK) == 1);
    set(c, IPPROTO_TCP, TCP_CORK, 0);
    CHECK(poll(&p, 1, 10000) == 1 && read(s, t, 64) == 9 && !memcmp(t, "held back", 9));
  }
  if (is("finwait")) {
    struct pollfd p = {c, POLLIN};
    CHECK(state(c) == TCP_FIN_WAIT2 && state(s) == TCP_CLOSE_WAIT && read(s, t, 64) == 3 && read(s, t, 64) == 0);
    CHECK(write(s, "still", 5) == 5 && poll(&p, 1, 10000) == 1 && read(c, t, 64) == 5 && send(c, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
  }
  if (is("lastack") || is("closing")) {
    all(c, s, a, 3);
    CHECK(read(s, t, 64) == 0);
    if (is("closing")) all(s, c, b, 5);
    else CHECK(write(s, "still", 5) == 5 && shutdown(s, SHUT_WR) == 0 && read(c, t, 64) == 5);
    CHECK(read(c, t, 64) == 0);
  }
  if (is("reset")) {
    struct pollfd p = {c, 0};
    CHECK(state(c) == TCP_CLOSE && poll(&p, 1, 0) == 1 && (p.revents & POLLERR));
    CHECK(option(c, SOL_SOCKET, SO_ERROR) == ECONNRESET && read(c, t, 64) == 10 && read(c, t, 64) == 0);
  }
  if (is("ended")) CHECK(state(s) == TCP_CLOSE && read(s, t, 64) == 8 && !memcmp(t, "good bye", 8) && read(s, t, 64) == 0);
  if (is("options")) {
    CHECK(option(c, SOL_SOCKET, SO_KEEPALIVE) == 1 && option(c, IPPROTO_TCP, TCP_KEEPIDLE) == 77 && option(c, IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option(c, IPPROTO_TCP, TCP_USER_TIMEOUT) == 7777 && option(c, SOL_SOCKET, SO_REUSEADDR) == 1 && option(s, SOL_SOCKET, SO_REUSEADDR) == 0);
    CHECK((size_t)option(c, SOL_SOCKET, SO_RCVBUF) == a && option(s, IPPROTO_IP, IP_TOS) == 16 && option(s, SOL_SOCKET, SO_MARK) == 5);
    CHECK(read(c, t, 64) == 0 && write(c, "out", 3) == 3 && read(s, t, 64) == 3);
  }
  if (is("many"))
    for (int i = 0, v = -1; i < MANY; i++) {
      CHECK(read(many[i][1], &v, sizeof v) == sizeof v && v == i);
      talk(many[i][0], many[i][1]);
      bury(many[i][0]), bury(many[i][1]);
    }
  if (is("v4") || is("v6") || is("mapped") || is("unread") || is("unsent") || is("many") || is("refused")) {
    talk(c, s);
    if (is("refused")) bury(c), c = many[0][0];
    else c = (bury(c), client());
    if (s >= 0) bury(s);
    CHECK((s = accept(l, 0, 0)) >= 0);
    talk(c, s);
  }
  if (c >= 0) bury(c);
  if (s >= 0) bury(s);
}
