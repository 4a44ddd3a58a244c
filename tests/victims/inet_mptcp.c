// What: listeners of MPTCP (those of Go are) keep address, backlog and options; peers with MPTCP and without connect afterwards, what was accepted of one without goes on.
// Variants: ipv4 ipv6 fresh accepted
// Options: --tcp-established
// Network: own
#include "victim.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43
#endif
static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t n = sizeof value;
  CHECK(getsockopt(fd, level, name, &value, &n) == 0);
  return value;
}
static void set(int fd, int level, int name, int value) { CHECK(setsockopt(fd, level, name, &value, sizeof value) == 0); }
static struct sockaddr_in6 address;
static socklen_t length = sizeof address;
// A client of this protocol is accepted, and both talk.
static void visit(int listener, int protocol, int *client, int *accepted) {
  char text[6] = {0};
  CHECK((*client = socket(address.sin6_family, SOCK_STREAM, protocol)) >= 0);
  CHECK(connect(*client, (void *)&address, length) == 0);
  CHECK((*accepted = accept(listener, 0, 0)) >= 0);
  CHECK(write(*client, "hello", 5) == 5 && read(*accepted, text, 5) == 5 && !strcmp(text, "hello"));
  CHECK(option(*accepted, SOL_SOCKET, SO_PROTOCOL) == protocol);
}
static void victim(void) {
  int six = is("ipv6"), client, accepted, fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_MPTCP);
  if (fd < 0) SKIP("the kernel has no MPTCP");
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(fd, SOL_SOCKET, SO_RCVBUF, 50000);
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 77);
  set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0);
  if (six) set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  else set(fd, IPPROTO_IP, IP_TOS, 0x10);
  if (!is("fresh")) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 wide = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    CHECK((six ? bind(fd, (void *)&wide, sizeof wide) : bind(fd, (void *)&four, sizeof four)) == 0);
    CHECK(listen(fd, 7) == 0 && getsockname(fd, (void *)&address, &length) == 0);
  }
  int was_accepted = is("accepted"), flags = fcntl(fd, F_GETFL);
  if (was_accepted) {
    fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    visit(fd, IPPROTO_TCP, &client, &accepted);
    fcntl(fd, F_SETFL, flags);
  }
  int buffer = option(fd, SOL_SOCKET, SO_RCVBUF);
  ready_and_wait();
  CHECK(fcntl(fd, F_GETFL) == flags && option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP);
  CHECK(option(fd, SOL_SOCKET, SO_REUSEADDR) == 1 && option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(fd, SOL_SOCKET, SO_RCVBUF) == buffer);
  CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY) == 1 && option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 77);
  CHECK(six ? option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1 : option(fd, IPPROTO_IP, IP_TOS) == 0x10);
  if (was_accepted) {
    char text[6] = {0};
    CHECK(write(accepted, "again", 5) == 5 && read(client, text, 5) == 5 && !strcmp(text, "again"));
  }
  if (is("fresh")) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(bind(fd, (void *)&four, sizeof four) == 0 && listen(fd, 7) == 0 && getsockname(fd, (void *)&address, &length) == 0);
  }
  struct sockaddr_in6 now;
  struct tcp_info info;
  socklen_t n = sizeof now, m = sizeof info;
  CHECK(getsockname(fd, (void *)&now, &n) == 0 && n == length && !memcmp(&now, &address, n));
  CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &m) == 0 && info.tcpi_state == TCP_LISTEN && info.tcpi_sacked == 7);
  fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  visit(fd, IPPROTO_TCP, &client, &accepted);
  visit(fd, IPPROTO_MPTCP, &client, &accepted);
  CHECK(option(accepted, IPPROTO_TCP, TCP_IS_MPTCP) == 1);
}
