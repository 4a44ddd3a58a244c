// What: packet sockets: bound to a device and a protocol, with memberships, options and a filter; in a fanout group; not
// bound; of the old type, bound to a device by its name, or not bound.
// Variants: raw datagram fresh fanout old old_any
#include "victim.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
static int option(int fd, int name) {
  int v = -1;
  socklen_t len = sizeof v;
  CHECK(getsockopt(fd, SOL_PACKET, name, &v, &len) == 0);
  return v;
}
static void set(int fd, int name, int v) { CHECK(setsockopt(fd, SOL_PACKET, name, &v, sizeof v) == 0); }
static struct sockaddr_ll at(int protocol) {
  return (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = if_nametoindex("lo")};
}
// A protocol of nobody else's: what is sent is seen by those who ask for it.
#define OURS (0x9000 + getpid() % 0x5000)
static void hears(int fd, const char *text) {
  struct sockaddr_ll to = at(OURS);
  char frame[60] = {0}, got[128];
  to.sll_halen = 6;
  strcpy(frame, text);
  int s = socket(AF_PACKET, SOCK_DGRAM, 0);
  CHECK(s >= 0 && sendto(s, frame, sizeof frame, 0, (void *)&to, sizeof to) == sizeof frame);
  close(s);
  struct pollfd p = {fd, POLLIN, 0};
  CHECK(poll(&p, 1, 2000) == 1);
  int n = recv(fd, got, sizeof got, MSG_DONTWAIT), head = is("raw") || is("old") || is("old_any") ? 14 : 0;
  CHECK(n >= 60 && !strcmp(got + head, text));
}
static const int zero;
static void victim(void) {
  int type = is("raw") ? SOCK_RAW : is("old") || is("old_any") ? SOCK_PACKET : SOCK_DGRAM, fds[2] = {-1, -1};
  int fd = socket(AF_PACKET, type, type == SOCK_PACKET ? htons(OURS) : 0);
  if (fd < 0) SKIP("socket(AF_PACKET): %s", strerror(errno));
  struct sockaddr_ll to = at(OURS), name;
  socklen_t len = sizeof name;
  // Which lets all of it through.
  struct sock_filter all[] = {{BPF_RET | BPF_K, 0, 0, 0xffff}};
  struct sock_fprog program = {1, all};
  if (is("raw") || is("datagram")) {
    CHECK(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0);
    set(fd, PACKET_AUXDATA, 1), set(fd, PACKET_ORIGDEV, 1), set(fd, PACKET_VERSION, TPACKET_V2), set(fd, PACKET_RESERVE, 16);
    set(fd, PACKET_LOSS, 1), set(fd, PACKET_TIMESTAMP, 1 << 4), set(fd, PACKET_IGNORE_OUTGOING, 0);
    // Nothing that the device itself changes by, and tells others of.
    struct packet_mreq m = {.mr_ifindex = to.sll_ifindex, .mr_type = PACKET_MR_UNICAST, .mr_alen = 6, .mr_address = {2, 0, 0, 1, 2, 3}};
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof m) == 0);
    struct packet_mreq g = {.mr_ifindex = to.sll_ifindex, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6, .mr_address = {1, 0, 94, 1, 2, 3}};
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &g, sizeof g) == 0);
    CHECK(bind(fd, (void *)&to, sizeof to) == 0);
  } else if (is("fanout")) {
    fds[0] = fd, fds[1] = socket(AF_PACKET, type, 0);
    for (int i = 0; i < 2; i++) {
      CHECK(bind(fds[i], (void *)&to, sizeof to) == 0);
      set(fds[i], PACKET_FANOUT, (getpid() & 0xffff) | PACKET_FANOUT_LB << 16);
    }
  }
  struct sockaddr by_name = {AF_PACKET, "lo"};
  if (is("old")) CHECK(bind(fd, &by_name, sizeof by_name) == 0);
  ready_and_wait();
  if (is("old")) {
    socklen_t n = sizeof by_name;
    CHECK(getsockname(fd, &by_name, &n) == 0 && !strcmp(by_name.sa_data, "lo"));
    hears(fd, "old");
    return;
  }
  if (is("old_any")) {
    hears(fd, "any");
    return;
  }
  CHECK(getsockname(fd, (void *)&name, &len) == 0);
  if (is("fresh")) {
    CHECK(name.sll_ifindex == 0 && name.sll_protocol == 0 && bind(fd, (void *)&to, sizeof to) == 0);
    hears(fd, "fresh");
    return;
  }
  CHECK(name.sll_ifindex == to.sll_ifindex && name.sll_protocol == to.sll_protocol);
  if (is("fanout")) {
    CHECK(option(fds[0], PACKET_FANOUT) == option(fds[1], PACKET_FANOUT) && (option(fds[0], PACKET_FANOUT) & 0xffff) == (getpid() & 0xffff));
    // Each gets its turn.
    for (int i = 0; i < 2; i++) {
      struct sockaddr_ll out = to;
      char frame[60] = "turn";
      out.sll_halen = 6;
      CHECK(sendto(fd, frame, sizeof frame, 0, (void *)&out, sizeof out) == sizeof frame);
    }
    for (int i = 0; i < 2; i++) {
      struct pollfd p = {fds[i], POLLIN, 0};
      CHECK(poll(&p, 1, 2000) == 1);
    }
    return;
  }
  CHECK(option(fd, PACKET_AUXDATA) == 1 && option(fd, PACKET_ORIGDEV) == 1 && option(fd, PACKET_VERSION) == TPACKET_V2);
  CHECK(option(fd, PACKET_RESERVE) == 16 && option(fd, PACKET_LOSS) == 1 && option(fd, PACKET_TIMESTAMP) == 1 << 4);
  hears(fd, "there");
  CHECK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof zero) == 0);
  // Memberships can be given up only by those who have them.
  struct packet_mreq m = {.mr_ifindex = to.sll_ifindex, .mr_type = PACKET_MR_UNICAST, .mr_alen = 6, .mr_address = {2, 0, 0, 1, 2, 3}};
  CHECK(setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &m, sizeof m) == 0);
}
