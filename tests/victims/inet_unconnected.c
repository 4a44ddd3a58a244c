// What: TCP and UDP sockets without a connection: listening (IPv4, IPv6, both at once), bound, fresh, connected UDP, options.
// Variants: listen6 mapped reuseport udp options pending
// Refused.pending: wait to be accepted & skip-in-flight
#include "victim.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
static int listener(int family, struct sockaddr_in6 *at, int v6only, int reuseport) {
  int s = socket(family, SOCK_STREAM, 0);
  socklen_t n = sizeof *at;
  CHECK(s >= 0);
  if (family == AF_INET6) CHECK(setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) == 0);
  if (reuseport) CHECK(setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &reuseport, sizeof reuseport) == 0);
  CHECK(bind(s, (void *)at, n) == 0 && listen(s, 7) == 0 && getsockname(s, (void *)at, &n) == 0);
  return s;
}
static int option(int s, int level, int name) {
  int v = -1;
  socklen_t n = sizeof v;
  CHECK(getsockopt(s, level, name, &v, &n) == 0);
  return v;
}
static void set(int s, int level, int name, int v) { CHECK(setsockopt(s, level, name, &v, sizeof v) == 0); }
// A whole conversation with whoever listens at the address.
static void talk(int l, void *to, socklen_t n, int family) {
  char b[8];
  int c = socket(family, SOCK_STREAM, 0);
  CHECK(connect(c, to, n) == 0);
  int s = accept(l, 0, 0);
  CHECK(s >= 0 && write(c, "ask", 3) == 3 && read(s, b, 8) == 3 && write(s, "answer", 6) == 6 && read(c, b, 8) == 6);
  close(c);
  close(s);
}
static void victim(void) {
  struct sockaddr_in6 six = {AF_INET6, 0, 0, IN6ADDR_LOOPBACK_INIT}, any = {AF_INET6, 0};
  struct sockaddr_in four = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
  int l = -1, l2 = -1, u = -1, v = -1;
  char b[16];
  socklen_t n = sizeof four;
  if (is("listen6")) l = listener(AF_INET6, &six, 1, 0), l2 = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  else if (is("mapped")) l = listener(AF_INET6, &any, 0, 0);
  else if (is("reuseport")) l = listener(AF_INET6, &six, 0, 1), l2 = listener(AF_INET6, &six, 0, 1);
  else if (is("pending")) {
    l = listener(AF_INET6, &six, 0, 0);
    u = socket(AF_INET6, SOCK_STREAM, 0);
    CHECK(connect(u, (void *)&six, sizeof six) == 0);
  } else if (is("udp")) {
    u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(u, (void *)&four, sizeof four) == 0 && getsockname(u, (void *)&four, &n) == 0 && connect(v, (void *)&four, n) == 0);
    CHECK(send(v, "first", 5, 0) == 5 && recv(u, b, 16, 0) == 5);
    set(v, SOL_SOCKET, SO_BROADCAST, 1);
  } else {
    u = socket(AF_INET, SOCK_STREAM, 0);
    set(u, SOL_SOCKET, SO_KEEPALIVE, 1), set(u, IPPROTO_TCP, TCP_KEEPIDLE, 77), set(u, IPPROTO_TCP, TCP_NODELAY, 1);
    set(u, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000), set(u, IPPROTO_IP, IP_TOS, 8), set(u, IPPROTO_TCP, TCP_DEFER_ACCEPT, 3);
    set(u, SOL_SOCKET, SO_RCVBUF, 33333);
  }
  int size = u >= 0 ? option(u, SOL_SOCKET, SO_RCVBUF) : 0;
  ready_and_wait();
  if (is("listen6")) {
    talk(l, &six, sizeof six, AF_INET6);
    CHECK(option(l, IPPROTO_IPV6, IPV6_V6ONLY) == 1 && fcntl(l2, F_GETFD) == FD_CLOEXEC && (fcntl(l2, F_GETFL) & O_NONBLOCK));
  } else if (is("mapped")) {
    four.sin_port = any.sin6_port;
    talk(l, &four, sizeof four, AF_INET);
  } else if (is("reuseport")) {
    CHECK(option(l, SOL_SOCKET, SO_REUSEPORT) == 1 && option(l2, SOL_SOCKET, SO_REUSEPORT) == 1 && option(l, SOL_SOCKET, SO_REUSEADDR) == 0);
    struct sockaddr_in6 got;
    n = sizeof got;
    CHECK(getsockname(l2, (void *)&got, &n) == 0 && got.sin6_port == six.sin6_port);
  } else if (is("pending")) {
    CHECK((v = accept(l, 0, 0)) >= 0 && write(u, "x", 1) == 1 && read(v, b, 2) == 1);
  } else if (is("udp")) {
    CHECK(send(v, "second", 6, 0) == 6 && recvfrom(u, b, 16, 0, (void *)&four, &n) == 6);
    CHECK(sendto(u, "back", 4, 0, (void *)&four, n) == 4 && recv(v, b, 16, 0) == 4 && option(v, SOL_SOCKET, SO_BROADCAST) == 1);
  } else {
    CHECK(option(u, SOL_SOCKET, SO_KEEPALIVE) == 1 && option(u, IPPROTO_TCP, TCP_KEEPIDLE) == 77 && option(u, IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option(u, IPPROTO_TCP, TCP_USER_TIMEOUT) == 5000 && option(u, IPPROTO_IP, IP_TOS) == 8 && option(u, SOL_SOCKET, SO_RCVBUF) == size);
    CHECK(option(u, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
  }
}
