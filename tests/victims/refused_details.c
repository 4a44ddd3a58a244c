// What: what a program waits to be told, and only once, is refused by name where it cannot be kept, and stays for it to read.
// Variants: notify secret datagram_error packet_error sent_copies sent_times error_queue connect_error pidfd_waiting message_pidfd message_watch lock_written lock_read mapped_tcp detached detached_root router_alert multicast_router
// Options: --tcp-established --link-remap
// Refused.notify: fd & F_NOTIFY & inotify
// Refused.secret: memfd_secret
// Refused.datagram_error: unix socket & ECONNRESET & have it read
// Refused.packet_error: unix socket & ECONNRESET & have it read
// Refused.sent_copies: MSG_ZEROCOPY & begin anew
// Refused.sent_times: SOF_TIMESTAMPING_OPT_ID & begin anew
// Refused.error_queue: MSG_ERRQUEUE & have it read
// Refused.connect_error: refused & SO_ERROR
// Refused.pidfd_waiting: SO_PASSPIDFD & read
// Refused.message_pidfd: pidfd of a living task & message
// Refused.message_watch: watches files & message
// Refused.lock_written: mapping of & FLOCK & --file-locks
// Refused.lock_read: mapping of & FLOCK & --file-locks
// Refused.mapped_tcp: mapping & a TCP socket is mapped & TCP_ZEROCOPY_RECEIVE
// Refused.detached: fd & mount & attached nowhere
// Refused.detached_root: fd & mount & attached nowhere
// Refused.router_alert: fd & IP_ROUTER_ALERT
// Refused.multicast_router: fd & MRT_INIT | fd & IP_ROUTER_ALERT
#include "victim.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/inotify.h>
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
static const int one = 1;
static volatile int told;
static void tells(int signal) { told = signal; }
static int pair[2];
static void unix_pair(int kind, int *fds) { CHECK(socketpair(AF_UNIX, kind, 0, fds) == 0); }
static void local_connection(void) {
  struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
  socklen_t len = sizeof a;
  int l = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(l, (void *)&a, sizeof a) == 0 && listen(l, 1) == 0 && getsockname(l, (void *)&a, &len) == 0);
  pair[0] = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(pair[0], (void *)&a, sizeof a) == 0 && (pair[1] = accept(l, 0, 0)) >= 0);
  close(l);
}
static int notified(int wait_ms) {
  struct pollfd p = {pair[0], 0, 0};
  char text[64], room[512];
  struct iovec iov = {text, sizeof text};
  struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  return poll(&p, 1, wait_ms) == 1 && recvmsg(pair[0], &h, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0;
}
static void victim(void) {
  char b[16];
  if (is("notify")) {
    CHECK(mkdir("watched", 0755) == 0 && (pair[0] = open("watched", O_RDONLY | O_DIRECTORY)) >= 0 && signal(SIGIO, tells) != SIG_ERR);
    if (fcntl(pair[0], F_NOTIFY, DN_CREATE | DN_MULTISHOT)) SKIP("F_NOTIFY: %s", strerror(errno));
  } else if (is("secret")) {
    if ((pair[0] = syscall(SYS_memfd_secret, 0)) < 0) SKIP("memfd_secret: %s", strerror(errno));
  } else if (is("datagram_error")) {
    // Whose end is told to the one that is connected to it, when there is something that it has not read.
    unix_pair(SOCK_DGRAM, pair);
    struct sockaddr none = {AF_UNSPEC, ""};
    CHECK(write(pair[0], "unread", 6) == 6 && connect(pair[1], &none, sizeof none.sa_family) == 0);
  } else if (is("packet_error")) {
    unix_pair(SOCK_SEQPACKET, pair);
    CHECK(write(pair[1], "left", 4) == 4 && write(pair[0], "unread", 6) == 6);
    close(pair[1]);
  } else if (is("sent_copies") || is("error_queue")) {
    local_connection();
    if (setsockopt(pair[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one)) SKIP("SO_ZEROCOPY: %s", strerror(errno));
    CHECK(send(pair[0], "copied", 6, MSG_ZEROCOPY) == 6 && read(pair[1], b, 16) == 6);
    struct pollfd p = {pair[0], 0, 0};
    CHECK(poll(&p, 1, 2000) == 1 && (is("error_queue") || notified(2000)));
  } else if (is("sent_times")) {
    const int numbered[2] = {1 << 1 | 1 << 4 | 1 << 7, 0};
    pair[0] = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = {AF_INET, htons(9), {htonl(INADDR_LOOPBACK)}};
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_TIMESTAMPING, numbered, sizeof numbered) == 0);
    CHECK(sendto(pair[0], "timed", 5, 0, (void *)&a, sizeof a) == 5 && notified(2000));
  } else if (is("connect_error")) {
    // A port that is bound, and at which nobody listens.
    struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(pair[1], (void *)&a, sizeof a) == 0 && getsockname(pair[1], (void *)&a, &len) == 0);
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(connect(pair[0], (void *)&a, sizeof a) == -1 && errno == EINPROGRESS);
    struct pollfd p = {pair[0], POLLOUT, 0};
    CHECK(poll(&p, 1, 2000) == 1 && (p.revents & POLLERR));
  } else if (is("pidfd_waiting")) {
    unix_pair(SOCK_DGRAM, pair);
    if (setsockopt(pair[0], SOL_SOCKET, SO_PASSPIDFD, &one, sizeof one)) SKIP("SO_PASSPIDFD: %s", strerror(errno));
    CHECK(write(pair[1], "whose", 5) == 5);
  }
  void *mapped = 0;
  if (is("mapped_tcp")) {
    local_connection();
    mapped = mmap(0, 8192, PROT_READ, MAP_SHARED, pair[0], 0);
    if (mapped == MAP_FAILED) SKIP("mmap of a TCP socket: %s", strerror(errno));
  } else if (!strncmp(victim_variant, "detached", 8)) {
    // OPEN_TREE_CLONE
    pair[0] = syscall(428, AT_FDCWD, is("detached") ? "." : "/", 1 | O_CLOEXEC);
    if (pair[0] < 0) SKIP("open_tree: %s", strerror(errno));
  }
  // MRT_INIT
  int routing = is("router_alert") ? IP_ROUTER_ALERT : is("multicast_router") ? 200 : 0;
  if (routing) {
    pair[0] = socket(AF_INET, SOCK_RAW, IPPROTO_IGMP);
    if (setsockopt(pair[0], IPPROTO_IP, routing, &one, sizeof one)) SKIP("%s: %s", victim_variant, strerror(errno));
  }
  if (!strncmp(victim_variant, "lock_", 5)) {
    // Nothing but the mapping holds the lock then.
    CHECK(close(open("locked", O_RDWR | O_CREAT, 0600)) == 0 && truncate("locked", 4096) == 0);
    int fd = open("locked", is("lock_read") ? O_RDONLY : O_RDWR);
    CHECK(flock(fd, LOCK_EX) == 0 && mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED && close(fd) == 0);
  }
  int sent = is("message_pidfd") ? (int)syscall(SYS_pidfd_open, getpid(), 0) : is("message_watch") ? inotify_init1(IN_NONBLOCK) : -1;
  if (!strncmp(victim_variant, "message_", 8)) {
    CHECK(sent >= 0 && (!is("message_watch") || inotify_add_watch(sent, victim_folder, IN_DELETE_SELF) > 0));
    unix_pair(SOCK_DGRAM, pair);
    struct {
      struct cmsghdr h;
      int fd;
    } room = {{CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS}, sent};
    struct iovec iov = {"sent", 4};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = CMSG_LEN(4)};
    CHECK(sendmsg(pair[1], &h, 0) == 4);
    close(sent);
  }
  ready_and_wait();
  if (!strncmp(victim_variant, "message_", 8)) CHECK(read(pair[0], b, 16) == 4);
  if (is("notify")) {
    CHECK(mkdir("watched/new", 0755) == 0);
    for (int i = 0; i < 2000 && !told; i++) sleep_ms(1);
    CHECK(told == SIGIO);
  }
  if (!strncmp(victim_variant, "lock_", 5)) CHECK(flock(open("locked", O_RDONLY), LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
  if (is("secret")) CHECK(ftruncate(pair[0], 4096) == 0);
  if (is("datagram_error") || is("packet_error")) CHECK(read(pair[0], b, 16) == -1 && errno == ECONNRESET);
  if (is("packet_error")) CHECK(read(pair[0], b, 16) == 4);
  if (is("sent_copies")) CHECK(send(pair[0], "copied", 6, MSG_ZEROCOPY) == 6 && read(pair[1], b, 16) == 6 && notified(2000));
  if (is("error_queue")) CHECK(notified(0));
  if (is("sent_times")) CHECK(!notified(0));
  if (is("connect_error")) {
    int error = 0;
    socklen_t len = sizeof error;
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == ECONNREFUSED);
  }
  if (is("mapped_tcp")) CHECK(write(pair[1], "goes on", 7) == 7 && read(pair[0], b, 16) == 7 && munmap(mapped, 8192) == 0);
  if (!strncmp(victim_variant, "detached", 8)) CHECK(faccessat(pair[0], is("detached") ? "ready" : "proc", F_OK, 0) == 0);
  if (routing) CHECK(setsockopt(pair[0], IPPROTO_IP, routing, &one, sizeof one) == -1 && errno == EADDRINUSE);
  if (is("pidfd_waiting")) CHECK(read(pair[0], b, 16) == 5);
}
