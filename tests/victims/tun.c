// What: a TAP device that stays, and several queues of a TUN device; a descriptor behind none. A device that would go is refused, and
// so are packets that wait.
// Variants: tap queues fresh going waiting
// Refused.going: goes with its last descriptor & TUNSETPERSIST
// Refused.waiting: packets wait & have them read
// Network: own
// Copy: no
#include "victim.h"
#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
static unsigned device(int fd, char *name) {
  struct ifreq r = {0};
  CHECK(ioctl(fd, TUNGETIFF, &r) == 0);
  strcpy(name, r.ifr_name);
  // IFF_NO_PI shares its bit with what says that there is no filter.
  return (unsigned short)r.ifr_flags & ~IFF_NO_PI;
}
static int opened(int flags) {
  int fd = open("/dev/net/tun", flags);
  if (fd < 0) SKIP("/dev/net/tun: %s", strerror(errno));
  return fd;
}
static void behind(int fd, const char *name, int flags) {
  struct ifreq r = {.ifr_flags = flags};
  strcpy(r.ifr_name, name);
  CHECK(ioctl(fd, TUNSETIFF, &r) == 0);
}
static void up(const char *name) {
  struct ifreq r = {0};
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  strcpy(r.ifr_name, name);
  CHECK(ioctl(s, SIOCGIFFLAGS, &r) == 0);
  r.ifr_flags |= IFF_UP;
  CHECK(ioctl(s, SIOCSIFFLAGS, &r) == 0);
  close(s);
}
// Has the device send a frame that nobody else would.
static void sends(const char *name, const char *text) {
  struct ifreq r = {0};
  char frame[60] = {0};
  int s = socket(AF_PACKET, SOCK_RAW, 0);
  strcpy(r.ifr_name, name);
  CHECK(s >= 0 && ioctl(s, SIOCGIFINDEX, &r) == 0);
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(0x9123), .sll_ifindex = r.ifr_ifindex, .sll_halen = 6};
  frame[0] = 2, frame[6] = 2, frame[12] = 0x91, frame[13] = 0x23;
  strcpy(frame + 14, text);
  CHECK(sendto(s, frame, sizeof frame, 0, (void *)&to, sizeof to) == sizeof frame);
  close(s);
}
static void victim(void) {
  char name[IFNAMSIZ];
  int fd = opened(O_RDWR | O_NONBLOCK | O_CLOEXEC), second = -1, header = 12;
  if (is("tap") || is("waiting")) {
    behind(fd, "kept", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
    CHECK(ioctl(fd, TUNSETVNETHDRSZ, &header) == 0 && ioctl(fd, TUNSETOWNER, 77) == 0 && ioctl(fd, TUNSETPERSIST, 1) == 0);
  }
  if (is("queues")) {
    behind(fd, "many%d", IFF_TUN | IFF_MULTI_QUEUE);
    device(fd, name);
    second = opened(O_RDWR);
    behind(second, name, IFF_TUN | IFF_MULTI_QUEUE);
    CHECK(ioctl(fd, TUNSETPERSIST, 1) == 0);
  }
  if (is("going")) behind(fd, "goes", IFF_TUN);
  if (is("waiting")) {
    struct pollfd p = {fd, POLLIN, 0};
    up("kept");
    sends("kept", "waits");
    CHECK(poll(&p, 1, 2000) == 1);
  }
  ready_and_wait();
  CHECK((fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == (O_NONBLOCK | O_RDWR) && fcntl(fd, F_GETFD) == FD_CLOEXEC);
  if (is("fresh")) {
    struct ifreq r;
    CHECK(ioctl(fd, TUNGETIFF, &r) == -1 && errno == EBADFD);
    behind(fd, "late", IFF_TUN);
  } else if (is("queues")) {
    char other[IFNAMSIZ];
    CHECK(device(fd, name) == (IFF_TUN | IFF_MULTI_QUEUE | IFF_PERSIST) && device(second, other) == device(fd, name) && !strcmp(name, other));
  } else if (is("going")) CHECK(device(fd, name) == IFF_TUN && !strcmp(name, "goes"));
  else {
    CHECK(device(fd, name) == (IFF_TAP | IFF_VNET_HDR | IFF_PERSIST) && !strcmp(name, "kept"));
    CHECK(ioctl(fd, TUNGETVNETHDRSZ, &header) == 0 && header == 12);
    if (is("tap")) {
      char frame[2048];
      struct pollfd p = {fd, POLLIN, 0};
      ssize_t n = 0;
      up("kept");
      sends("kept", "heard");
      // Of the device's own that come before, none is of this type.
      do CHECK(poll(&p, 1, 2000) == 1 && (n = read(fd, frame, sizeof frame)) > 12);
      while (frame[12 + 12] != (char)0x91);
      CHECK(n == 60 + 12 && !strcmp(frame + 12 + 14, "heard"));
    }
  }
  if (is("queues") || is("tap") || is("waiting")) CHECK(ioctl(fd, TUNSETPERSIST, 0) == 0);
}
