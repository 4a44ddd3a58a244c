// What: raw sockets and those of ICMP echo requests: bound, connected, with their filters and headers of their own.
// Variants: icmp connected header own_protocol icmp6 ping silent deaf
#include "victim.h"
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
// An address of nobody else's: raw sockets hear all that is sent to theirs.
static struct sockaddr_in at(int last) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK + (getpid() & 0xffff) * 256 + last)}};
}
static unsigned short sum(const void *data, int n) {
  const unsigned short *w = data;
  unsigned s = 0;
  for (int i = 0; i < n / 2; i++) s += w[i];
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return ~s;
}
// Lets the group of root make datagram sockets of ICMP, where nobody may. It stays: other cases of this test need it, too.
static void allow_ping(void) {
  const char *now = "1\t0", *then = "0\t0";
  char b[64] = "";
  int fd = open("/proc/sys/net/ipv4/ping_group_range", O_RDWR);
  if (fd >= 0 && read(fd, b, sizeof b - 1) > 0 && !strncmp(b, now, strlen(now))) pwrite(fd, then, strlen(then), 0);
  close(fd);
}
static int hears(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, 2000) == 1;
}
static void victim(void) {
  struct sockaddr_in here = at(1), there = at(2), got;
  int on = 1, fd = -1, other = -1;
  socklen_t len = sizeof got;
  char b[256];
  if (is("icmp6")) {
    fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    struct icmp6_filter f;
    ICMP6_FILTER_SETBLOCKALL(&f);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f);
    CHECK(fd >= 0 && setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f, sizeof f) == 0);
  } else if (is("ping")) {
    allow_ping();
    fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    if (fd < 0) SKIP("no datagram sockets of ICMP (net.ipv4.ping_group_range): %s", strerror(errno));
    here.sin_port = htons(getpid());
    CHECK(bind(fd, (void *)&here, sizeof here) == 0);
  } else {
    int protocol = is("header") ? IPPROTO_RAW : is("icmp") ? IPPROTO_ICMP : 253;
    fd = socket(AF_INET, SOCK_RAW, protocol);
    if (fd < 0) SKIP("raw sockets: %s", strerror(errno));
  }
  if (is("icmp")) {
    // Echo replies only.
    struct icmp_filter f = {~(1u << ICMP_ECHOREPLY)};
    CHECK(setsockopt(fd, SOL_RAW, ICMP_FILTER, &f, sizeof f) == 0 && bind(fd, (void *)&here, sizeof here) == 0);
  } else if (is("connected")) CHECK(connect(fd, (void *)&there, sizeof there) == 0);
  else if (is("own_protocol")) CHECK(bind(fd, (void *)&there, sizeof there) == 0 && setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &on, sizeof on) == 0);
  if (is("silent") || is("deaf")) CHECK(connect(fd, (void *)&there, sizeof there) == 0);
  // What came from others before it was bound.
  while (recv(fd, b, sizeof b, MSG_DONTWAIT) >= 0) {}
  if (is("silent") || is("deaf")) CHECK(shutdown(fd, is("silent") ? SHUT_WR : SHUT_RD) == 0);
  ready_and_wait();
  if (is("silent") || is("deaf")) {
    // Only the end of both directions shows.
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(getpeername(fd, (void *)&got, &len) == -1 && poll(&p, 1, 0) == is("deaf") && !(p.revents & POLLHUP));
    CHECK(shutdown(fd, is("silent") ? SHUT_RD : SHUT_WR) == 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
    return;
  }
  if (is("icmp") || is("ping")) {
    struct icmp_filter f;
    struct icmphdr echo = {.type = ICMP_ECHO, .un.echo = {htons(getpid()), htons(1)}};
    echo.checksum = sum(&echo, sizeof echo);
    if (is("icmp")) CHECK(getsockopt(fd, SOL_RAW, ICMP_FILTER, &f, (len = sizeof f, &len)) == 0 && f.data == ~(1u << ICMP_ECHOREPLY));
    len = sizeof got;
    if (is("ping")) CHECK(getsockname(fd, (void *)&got, &len) == 0 && got.sin_port == htons(getpid()) && got.sin_addr.s_addr == here.sin_addr.s_addr);
    here.sin_port = 0;
    CHECK(sendto(fd, &echo, sizeof echo, 0, (void *)&here, sizeof here) == sizeof echo && hears(fd));
    ssize_t n = recv(fd, b, sizeof b, 0), head = is("icmp") ? 20 : 0;
    CHECK(n >= head + 8 && b[head] == ICMP_ECHOREPLY);
  } else if (is("icmp6")) {
    struct icmp6_filter f;
    CHECK(getsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f, (len = sizeof f, &len)) == 0);
    CHECK(ICMP6_FILTER_WILLPASS(ICMP6_ECHO_REPLY, &f) && ICMP6_FILTER_WILLBLOCK(ICMP6_ECHO_REQUEST, &f));
  } else {
    other = socket(AF_INET, SOCK_RAW, 253);
    CHECK(bind(other, (void *)&there, sizeof there) == 0);
    if (is("connected")) {
      CHECK(write(fd, "payload", 7) == 7 && hears(other) && recv(other, b, sizeof b, 0) == 27 && !memcmp(b + 20, "payload", 7));
    } else {
      // With a header of its own.
      struct { struct iphdr ip; char text[8]; } packet = {{.version = 4, .ihl = 5, .ttl = 9, .protocol = 253, .tot_len = htons(28)}, "payload"};
      packet.ip.saddr = here.sin_addr.s_addr, packet.ip.daddr = there.sin_addr.s_addr;
      CHECK(sendto(fd, &packet, 28, 0, (void *)&there, sizeof there) == 28 && hears(other));
      CHECK(recv(other, b, sizeof b, 0) == 28 && ((struct iphdr *)b)->ttl == 9);
      if (is("own_protocol")) CHECK(getsockname(fd, (void *)&got, &len) == 0 && got.sin_addr.s_addr == there.sin_addr.s_addr && hears(fd));
    }
  }
}
