// What: datagrams that wait at a UDP socket which would not get them now: it is connected to somebody else since, filters, has
// given up reading, shares its port, is bound to a group, to all or to a device, has a small buffer; with what is told along.
// Variants: connected filtered deaf shared group broadcast device small hops looked times
// Refused.looked: empty datagram & have them read
// Refused.times: SO_TIMESTAMP & have them read
// Network: own
#include "victim.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
static struct sockaddr_in own(int fd) {
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  CHECK(getsockname(fd, (void *)&a, &n) == 0);
  return a;
}
static struct sockaddr_in at(const char *ip, int port) { return (struct sockaddr_in){AF_INET, htons(port), {inet_addr(ip)}, {0}}; }
static int bound(struct sockaddr_in a, int option) {
  const int one = 1;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (option) CHECK(setsockopt(fd, SOL_SOCKET, option, &one, sizeof one) == 0);
  CHECK(bind(fd, (void *)&a, sizeof a) == 0);
  return fd;
}
static int local(void) { return bound(at("127.0.0.1", 0), 0); }
static void on(int fd, int level, int name, int value) { CHECK(setsockopt(fd, level, name, &value, sizeof value) == 0); }
static void to(int from, struct sockaddr_in a, const char *text) {
  CHECK(sendto(from, text, strlen(text), 0, (void *)&a, sizeof a) == (ssize_t)strlen(text));
}
static void arrived(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  CHECK(poll(&p, 1, 5000) == 1);
}
static void got(int fd, const char *text, int from) {
  char b[64];
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  ssize_t len = recvfrom(fd, b, sizeof b, MSG_DONTWAIT, (void *)&a, &n);
  CHECK(len == (ssize_t)strlen(text) && !memcmp(b, text, len) && a.sin_port == own(from).sin_port);
}
static int is_empty(int fd) {
  char b;
  return recv(fd, &b, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN;
}
static int told(struct msghdr *h, int type) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
    if (c->cmsg_level == SOL_IP && c->cmsg_type == type)
      return c->cmsg_len == CMSG_LEN(1) ? *(unsigned char *)CMSG_DATA(c) : *(int *)CMSG_DATA(c);
  return -1;
}
static void hops(void) {
  int fd = local(), from = local();
  on(fd, SOL_IP, IP_RECVTTL, 1);
  on(fd, SOL_IP, IP_RECVTOS, 1);
  on(fd, SOL_IP, IP_PKTINFO, 1);
  on(from, SOL_IP, IP_TTL, 33);
  on(from, SOL_IP, IP_TOS, 0x10);
  to(from, own(fd), "told");
  arrived(fd);
  ready_and_wait();
  char b[16], room[256] __attribute__((aligned(8)));
  struct iovec iov = {b, sizeof b};
  struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  CHECK(recvmsg(fd, &h, MSG_DONTWAIT) == 4);
  CHECK(told(&h, IP_TTL) == 33 && told(&h, IP_TOS) == 0x10 && told(&h, IP_PKTINFO) == 1 /* the loopback device */);
}
static void shared(void) {
  int fds[4], from[16], waiting[4], all = 0, now;
  fds[0] = bound(at("127.0.0.1", 0), SO_REUSEPORT);
  for (int i = 1; i < 4; i++) fds[i] = bound(own(fds[0]), SO_REUSEPORT);
  for (int i = 0; i < 16; i++) to(from[i] = local(), own(fds[0]), "one");
  for (int i = 0; all < 16; i++) {
    CHECK(i < 5000);
    all = 0;
    for (int j = 0; j < 4; j++) {
      char b[8];
      int peek = 0;
      waiting[j] = 0;
      on(fds[j], SOL_SOCKET, SO_PEEK_OFF, peek);
      while (recv(fds[j], b, 8, MSG_PEEK | MSG_DONTWAIT) == 3) waiting[j]++;
      on(fds[j], SOL_SOCKET, SO_PEEK_OFF, -1);
      all += waiting[j];
    }
    sleep_ms(1);
  }
  ready_and_wait();
  for (int j = 0; j < 4; j++) {
    char b[8];
    for (now = 0; recv(fds[j], b, 8, MSG_DONTWAIT) == 3; now++);
    CHECK(now == waiting[j]);
  }
}
static void victim(void) {
  if (is("hops")) return hops();
  if (is("shared")) return shared();
  int fd = is("group")       ? bound(at("239.1.2.3", 4501), SO_REUSEADDR)
           : is("broadcast") ? bound(at("127.255.255.255", 4502), 0)
                             : local();
  int from = local(), other = local();
  if (is("group")) {
    struct ip_mreq group = {own(fd).sin_addr, {htonl(INADDR_LOOPBACK)}};
    CHECK(setsockopt(fd, SOL_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) == 0);
    CHECK(setsockopt(from, SOL_IP, IP_MULTICAST_IF, &group.imr_interface, sizeof group.imr_interface) == 0);
  }
  if (is("times")) on(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
  on(from, SOL_SOCKET, SO_BROADCAST, 1);
  if (is("looked")) to(from, own(fd), "");
  to(from, own(fd), "first");
  to(from, own(fd), "second");
  arrived(fd);
  struct sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
  struct sock_fprog filter = {1, &nothing};
  struct sockaddr_in peer = own(is("deaf") ? from : other);
  char b;
  if (is("looked")) CHECK(recv(fd, &b, 1, MSG_PEEK) == 0);
  if (is("filtered")) CHECK(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0);
  if (is("device")) CHECK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0);
  if (is("small")) on(fd, SOL_SOCKET, SO_RCVBUF, 1);
  if (is("connected") || is("deaf")) CHECK(connect(fd, (void *)&peer, sizeof peer) == 0);
  if (is("deaf")) CHECK(shutdown(fd, SHUT_RD) == 0);
  ready_and_wait();
  if (is("looked")) got(fd, "", from);
  got(fd, "first", from);
  got(fd, "second", from);
  if (is("deaf")) return;
  CHECK(is_empty(fd));
  if (is("connected")) {
    to(other, own(fd), "peer");
    arrived(fd);
    got(fd, "peer", other);
  }
  if (is("group")) {
    to(from, own(fd), "more");
    arrived(fd);
    got(fd, "more", from);
  }
}
