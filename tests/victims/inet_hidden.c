// What: what getsockopt does not tell of internet sockets: the device given to IP_MULTICAST_IF; the classic program and the order
// of a group of SO_REUSEPORT.
// Variants: multicast address reuseport reuseport_tcp
#include "victim.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
static struct sockaddr_in local(int port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}
static int port_of(int fd) {
  struct sockaddr_in a;
  socklen_t len = sizeof a;
  CHECK(getsockname(fd, (void *)&a, &len) == 0);
  return ntohs(a.sin_port);
}
static int member(int type, int port) {
  struct sockaddr_in a = local(port);
  int one = 1, fd = socket(AF_INET, type, 0);
  CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0 && bind(fd, (void *)&a, sizeof a) == 0);
  if (type == SOCK_STREAM) CHECK(listen(fd, 5) == 0);
  return fd;
}
static int readable(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, 2000) == 1;
}
// Who has joined a group at lo alone hears what is sent there alone.
static void sends_over_loopback(int fd) {
  struct sockaddr_in group = {.sin_family = AF_INET, .sin_addr = {inet_addr("239.1.2.3")}};
  struct ip_mreqn m = {group.sin_addr, {0}, if_nametoindex("lo")};
  int r = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
  CHECK(setsockopt(r, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 && bind(r, (void *)&group, sizeof group) == 0);
  CHECK(setsockopt(r, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m) == 0);
  group.sin_port = htons(port_of(r));
  if (sendto(fd, "x", 1, 0, (void *)&group, sizeof group) != 1) finish(1, "sendto: %s", strerror(errno));
  char b;
  CHECK(readable(r) && recv(r, &b, 1, MSG_DONTWAIT) == 1);
  close(r);
}
static void victim(void) {
  int a = -1, fds[3], port = 0;
  if (is("multicast") || is("address")) {
    struct ip_mreqn m = {{0}, {is("address") ? htonl(INADDR_LOOPBACK) : 0}, if_nametoindex("lo")};
    a = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(setsockopt(a, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m) == 0);
    sends_over_loopback(a);
  } else {
    int type = is("reuseport") ? SOCK_DGRAM : SOCK_STREAM;
    for (int i = 0; i < 3; i++) port = port_of(fds[i] = member(type, port));
    // All goes to the second of those that are there.
    struct sock_filter one[] = {{BPF_RET | BPF_K, 0, 0, 1}};
    struct sock_fprog program = {1, one};
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) == 0);
    // The numbers of the descriptors are in another order.
    CHECK((fds[2] = dup2(fds[2], 100)) == 100 && (fds[0] = dup2(fds[0], 101)) == 101);
    close(3), close(5);
  }
  ready_and_wait();
  if (a >= 0) {
    struct in_addr at;
    socklen_t len = sizeof at;
    sends_over_loopback(a);
    CHECK(getsockopt(a, IPPROTO_IP, IP_MULTICAST_IF, &at, &len) == 0 && ntohl(at.s_addr) == (is("address") ? INADDR_LOOPBACK : 0));
    return;
  }
  for (int i = 0; i < 20; i++) {
    struct sockaddr_in to = local(port);
    int c = socket(AF_INET, is("reuseport") ? SOCK_DGRAM : SOCK_STREAM, 0);
    CHECK(connect(c, (void *)&to, sizeof to) == 0);
    if (is("reuseport")) CHECK(write(c, "x", 1) == 1);
    CHECK(readable(fds[1]));
    char b;
    if (is("reuseport")) CHECK(recv(fds[1], &b, 1, MSG_DONTWAIT) == 1);
    else CHECK(close(accept(fds[1], 0, 0)) == 0);
    close(c);
  }
}
