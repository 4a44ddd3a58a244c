// What: whom the kernel names as the peer of a unix socket (SO_PEERCRED, SO_PEERGROUPS): of pairs, clients, accepted ones,
// listeners; made by itself, by a parent, by one that has ended, with other rights than those of now, not accepted yet.
// Variants: own parent dead rights server waiting dead_server datagram
#include "victim.h"
#include <grp.h>
#include <sys/un.h>
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
static struct sockaddr_un name;
static socklen_t name_len;
struct peer { struct ucred cred; gid_t groups[64]; int n; };
static struct peer peer(int fd) {
  struct peer p = {0};
  socklen_t len = sizeof p.cred;
  CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &p.cred, &len) == 0);
  len = sizeof p.groups;
  CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, p.groups, &len) == 0);
  p.n = len / sizeof(gid_t);
  return p;
}
static void same(struct peer a, struct peer b) {
  if (a.cred.pid != b.cred.pid || a.cred.uid != b.cred.uid || a.cred.gid != b.cred.gid)
    finish(1, "the peer was %d/%d/%d, is %d/%d/%d", a.cred.pid, a.cred.uid, a.cred.gid, b.cred.pid, b.cred.uid, b.cred.gid);
  CHECK(a.n == b.n && !memcmp(a.groups, b.groups, a.n * sizeof(gid_t)));
}
static void become(uid_t uid) {
  gid_t groups[] = {77, 1234};
  chmod(victim_folder, 0777);
  if (setgroups(2, groups) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) SKIP("no right to change ids: %s", strerror(errno));
}
static int listener(int type) {
  int l = socket(AF_UNIX, type, 0);
  name.sun_family = AF_UNIX;
  snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "victim-peers-%d", getpid());
  name_len = sizeof name.sun_family + 1 + strlen(name.sun_path + 1);
  CHECK(l >= 0 && bind(l, (void *)&name, name_len) == 0 && listen(l, 5) == 0);
  return l;
}
static int dial(int type) {
  int fd = socket(AF_UNIX, type, 0);
  CHECK(fd >= 0 && connect(fd, (void *)&name, name_len) == 0);
  return fd;
}
static void give(int via, int fd) {
  char c[CMSG_SPACE(sizeof(int))] = {0}, b = 'x';
  struct iovec v = {&b, 1};
  struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
  struct cmsghdr *m = CMSG_FIRSTHDR(&h);
  m->cmsg_level = SOL_SOCKET, m->cmsg_type = SCM_RIGHTS, m->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(m), &fd, sizeof(int));
  CHECK(sendmsg(via, &h, 0) == 1);
}
static int take(int via) {
  char c[CMSG_SPACE(sizeof(int))] = {0}, b;
  int fd = -1;
  struct iovec v = {&b, 1};
  struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
  CHECK(recvmsg(via, &h, 0) == 1 && CMSG_FIRSTHDR(&h));
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&h)), sizeof(int));
  return fd;
}
// A child's part: says what it sees, before and after.
static void watch(int *fds, int n, const char *step) {
  struct peer before[4];
  for (int i = 0; i < n; i++) before[i] = peer(fds[i]);
  mark(step);
  wait_go();
  for (int i = 0; i < n; i++) same(before[i], peer(fds[i]));
  _exit(5);
}
static void victim(void) {
  int fds[4], n = 0, s[2], via[2];
  struct peer before[4];
  pid_t child = 0;
  if (is("own") || is("datagram")) {
    CHECK(socketpair(AF_UNIX, is("own") ? SOCK_STREAM : SOCK_DGRAM, 0, s) == 0);
    fds[n++] = s[0], fds[n++] = s[1];
    if (is("datagram")) {
      CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) == 0 && write(s[0], "last", 4) == 4);
      close(s[0]);
      fds[n++] = s[1];
    }
  } else if (is("parent")) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    child = fork();
    if (!child) {
      close(s[0]);
      watch(s + 1, 1, "child");
    }
    close(s[1]);
    fds[n++] = s[0];
    await_mark("child");
  } else if (is("dead") || is("rights")) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, via) == 0);
    child = fork();
    if (!child) {
      if (is("rights")) become(4321);
      CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) == 0);
      give(via[1], s[0]), give(via[1], s[1]);
      _exit(0);
    }
    fds[n++] = take(via[0]), fds[n++] = take(via[0]);
    expect_exit(child, 0);
    CHECK(peer(fds[0]).cred.pid == child && peer(fds[0]).cred.uid == (is("rights") ? 4321 : getuid()));
    child = 0;
    if (is("rights")) {
      // Its own pid, and rights that it has given up.
      CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
      fds[n++] = s[0];
      become(1234);
    }
  } else if (is("server") || is("waiting")) {
    int l = listener(SOCK_STREAM);
    child = fork();
    if (!child) {
      close(l);
      become(4321);
      int c[2] = {dial(SOCK_STREAM), dial(SOCK_STREAM)};
      watch(c, 2, "child");
    }
    await_mark("child");
    fds[n++] = l, fds[n++] = accept(l, 0, 0);
    if (is("server")) fds[n++] = accept(l, 0, 0);
    CHECK(peer(l).cred.pid == getpid() && peer(fds[1]).cred.pid == child && peer(fds[1]).cred.uid == 4321);
  } else {
    // The one that has listened has passed it on and ended; its socket is closed here.
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, via) == 0);
    child = fork();
    if (!child) {
      int l = listener(SOCK_STREAM), c = dial(SOCK_STREAM);
      give(via[1], accept(l, 0, 0)), give(via[1], c), give(via[1], l);
      _exit(0);
    }
    for (int i = 0; i < 3; i++) fds[n++] = take(via[0]);
    expect_exit(child, 0);
    child = 0;
    CHECK(close(fds[--n]) == 0);
  }
  for (int i = 0; i < n; i++) before[i] = peer(fds[i]);
  ready_and_wait();
  for (int i = 0; i < n; i++) same(before[i], peer(fds[i]));
  if (is("waiting")) same(before[1], peer(accept(fds[0], 0, 0)));
  if (child) pass_on(child), expect_exit(child, 5);
}
