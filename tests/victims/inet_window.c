// What: what two ends of a TCP connection have agreed on and how far their clocks are: window scales, segment sizes, timestamps; a window that is full on both sides; times of arrival that the program asks for.
// Variants: agreed full times
// Options: --tcp-established
#include "victim.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
static int end[2];
static void connect_ends(void) {
  struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
  socklen_t n = sizeof a;
  int l = socket(AF_INET, SOCK_STREAM, 0), room = 64 << 10, mss = 1000;
  end[0] = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(setsockopt(l, SOL_SOCKET, SO_RCVBUF, &room, sizeof room) == 0 && bind(l, (void *)&a, n) == 0 && listen(l, 1) == 0);
  CHECK(getsockname(l, (void *)&a, &n) == 0);
  if (is("agreed")) CHECK(setsockopt(end[0], SOL_TCP, TCP_MAXSEG, &mss, sizeof mss) == 0);
  CHECK(connect(end[0], (void *)&a, n) == 0);
  end[1] = accept(l, 0, 0);
  CHECK(end[1] >= 0);
  close(l);
}
static struct tcp_info info(int fd) {
  struct tcp_info i;
  socklen_t n = sizeof i;
  CHECK(getsockopt(fd, SOL_TCP, TCP_INFO, &i, &n) == 0);
  return i;
}
static unsigned clock_of(int fd) {
  unsigned now;
  socklen_t n = sizeof now;
  CHECK(getsockopt(fd, SOL_TCP, TCP_TIMESTAMP, &now, &n) == 0);
  return now;
}
static size_t filled_up(int fd) {
  static char page[4096];
  size_t sent = 0;
  for (int quiet = 0; quiet < 50;) {
    for (size_t i = 0; i < sizeof page; i++) page[i] = (sent + i) % 251;
    ssize_t n = send(fd, page, sizeof page, MSG_DONTWAIT);
    if (n > 0) sent += n, quiet = 0;
    else sleep_ms(2), quiet++;
  }
  return sent;
}
static void drain(int fd, size_t all) {
  char page[4096];
  for (size_t got = 0; got < all;) {
    ssize_t n = recv(fd, page, sizeof page, 0);
    CHECK(n > 0);
    for (ssize_t i = 0; i < n; i++) CHECK((unsigned char)page[i] == (got + i) % 251);
    got += n;
  }
}
static int is_timed(int fd) {
  char b[8], control[256];
  struct iovec v = {b, sizeof b};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  CHECK(recvmsg(fd, &m, 0) > 0);
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING) return 1;
  return 0;
}
// The kernel begins to look at the clock a little after it is told to.
static int comes_timed(void) {
  for (int i = 0; i < 500; i++) {
    CHECK(write(end[0], "t", 1) == 1);
    if (is_timed(end[1])) return 1;
    sleep_ms(10);
  }
  return 0;
}
static void victim(void) {
  struct tcp_info before[2];
  unsigned clocks[2], times = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
  size_t sent[2] = {0, 0};
  connect_ends();
  CHECK(write(end[0], "ab", 2) == 2 && write(end[1], "cd", 2) == 2);
  char b[8];
  CHECK(read(end[1], b, 2) == 2 && read(end[0], b, 2) == 2);
  if (is("full"))
    for (int i = 0; i < 2; i++) sent[i] = filled_up(end[i]);
  if (is("times")) {
    CHECK(setsockopt(end[1], SOL_SOCKET, SO_TIMESTAMPING, &times, sizeof times) == 0);
    CHECK(comes_timed());
  }
  for (int i = 0; i < 2; i++) before[i] = info(end[i]), clocks[i] = clock_of(end[i]);
  double then = now_s();
  ready_and_wait();
  unsigned passed_ms = (now_s() - then) * 1000 + 2000;
  for (int i = 0; i < 2; i++) {
    struct tcp_info now = info(end[i]);
    CHECK(now.tcpi_state == TCP_ESTABLISHED && now.tcpi_options == before[i].tcpi_options);
    CHECK(now.tcpi_snd_wscale == before[i].tcpi_snd_wscale && now.tcpi_rcv_wscale == before[i].tcpi_rcv_wscale);
    CHECK(now.tcpi_options & TCPI_OPT_TIMESTAMPS && now.tcpi_options & TCPI_OPT_WSCALE && now.tcpi_options & TCPI_OPT_SACK);
    if (is("agreed")) CHECK(now.tcpi_snd_mss == before[i].tcpi_snd_mss);
    // The connection's own clock goes on: it is not seen going back by the other end.
    CHECK(clock_of(end[i]) - clocks[i] <= passed_ms);
  }
  for (int i = 0; i < 2; i++) drain(end[1 - i], sent[i]);
  if (is("times")) CHECK(comes_timed());
  for (int i = 0; i < 2; i++) CHECK(write(end[i], "more", 4) == 4 && read(end[1 - i], b, 8) == 4 && !memcmp(b, "more", 4));
}
