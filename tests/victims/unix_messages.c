// What: what goes along with unix messages: descriptors (of files, pipes, sockets, and in circles), credentials, names of
// senders, an out-of-band byte, an offset to peek at; a datagram socket that is connected one way.
// Variants: descriptors circle credentials unasked packets_unasked senders urgent peek_offset one_way
#include "victim.h"
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <sys/un.h>
static int give(int s, const char *text, const int *fds, int n) {
  char c[CMSG_SPACE(8 * sizeof(int))] = {0};
  struct iovec v = {(void *)text, strlen(text)};
  struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = CMSG_SPACE(n * sizeof(int))};
  struct cmsghdr *m = CMSG_FIRSTHDR(&h);
  m->cmsg_level = SOL_SOCKET, m->cmsg_type = SCM_RIGHTS, m->cmsg_len = CMSG_LEN(n * sizeof(int));
  memcpy(CMSG_DATA(m), fds, n * sizeof(int));
  return sendmsg(s, &h, 0);
}
static int take(int s, char *text, size_t room, int *fds, int n) {
  char c[CMSG_SPACE(8 * sizeof(int))] = {0};
  struct iovec v = {text, room};
  struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
  int r = recvmsg(s, &h, MSG_DONTWAIT);
  struct cmsghdr *m = CMSG_FIRSTHDR(&h);
  if (n == 0) return m ? -2 : r;
  if (!m || m->cmsg_type != SCM_RIGHTS || m->cmsg_len != CMSG_LEN(n * sizeof(int))) return -1;
  memcpy(fds, CMSG_DATA(m), n * sizeof(int));
  return r;
}
static struct sockaddr_un at(const char *what) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  snprintf(a.sun_path, sizeof a.sun_path, "/tmp/victim-unix-%d-%s", getpid(), what);
  return a;
}
static int bound(struct sockaddr_un *a) {
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK(bind(fd, (void *)a, sizeof *a) == 0);
  return fd;
}
static void victim(void) {
  int s[2], t[2], p[2], got[4], one = 1, off = 3;
  char b[64];
  uint64_t e;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, t) == 0);
  struct sockaddr_un server = at("server"), client = at("client"), gone = at("gone"), who;
  socklen_t len = sizeof who;
  int d = -1, c = -1, pid = getpid();
  if (is("descriptors")) {
    CHECK(pipe(p) == 0 && write(p[1], "piped", 5) == 5);
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/file", victim_folder);
    int ev = eventfd(3, 0), file = open(path, O_RDWR | O_CREAT, 0600);
    CHECK(write(file, "0123456789", 10) == 10 && lseek(file, 4, SEEK_SET) == 4);
    CHECK(write(s[0], "plain", 5) == 5 && give(s[0], "carries", (int[]){p[0], ev}, 2) == 7 && write(s[0], "end", 3) == 3);
    CHECK(give(t[0], "packet", (int[]){file, p[0], s[1]}, 3) == 6);
    close(p[0]), close(ev), close(file);
  } else if (is("circle")) {
    CHECK(give(t[0], "self", (int[]){t[1], s[0]}, 2) == 4 && give(s[1], "other", (int[]){t[1], t[0]}, 2) == 5);
    close(s[0]);
  } else if (is("unasked") || is("packets_unasked")) {
    // The receiver has asked for credentials when they were sent, and asks for them again when it reads.
    int *q = is("unasked") ? s : t;
    CHECK(setsockopt(q[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == 0 && write(q[0], "parent", 6) == 6);
    pid_t child = fork();
    if (!child) {
      write(q[0], "child", 5);
      _exit(0);
    }
    expect_exit(child, 0);
    pid = child, one = 0;
    CHECK(setsockopt(q[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == 0);
  } else if (is("credentials")) {
    CHECK(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == 0);
    pid_t child = fork();
    if (!child) {
      write(s[0], "child", 5);
      _exit(0);
    }
    expect_exit(child, 0);
    pid = child;
  } else if (is("senders") || is("one_way")) {
    d = bound(&server), c = is("senders") ? bound(&client) : socket(AF_UNIX, SOCK_DGRAM, 0);
    if (is("senders")) {
      int g = bound(&gone);
      CHECK(sendto(c, "alive", 5, 0, (void *)&server, sizeof server) == 5);
      CHECK(sendto(g, "gone", 4, 0, (void *)&server, sizeof server) == 4);
      close(g), unlink(gone.sun_path);
    } else CHECK(connect(c, (void *)&server, sizeof server) == 0 && write(c, "way", 3) == 3);
  } else if (is("urgent")) {
    CHECK(write(s[0], "before", 6) == 6);
    if (send(s[0], "!", 1, MSG_OOB) != 1) SKIP("this kernel has no out-of-band data on unix sockets");
    CHECK(write(s[0], "after", 5) == 5);
  } else if (is("peek_offset"))
    CHECK(write(s[0], "abcdef", 6) == 6 && setsockopt(s[1], SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off) == 0);
  ready_and_wait();
  if (is("descriptors")) {
    CHECK(take(s[1], b, 5, got, 0) == 5 && take(s[1], b, 64, got, 2) == 7 && take(s[1], b, 64, got + 2, 0) == 3);
    CHECK(read(got[0], b, 64) == 5 && !memcmp(b, "piped", 5) && read(got[1], &e, 8) == 8 && e == 3);
    CHECK(take(t[1], b, 64, got, 3) == 6 && lseek(got[0], 0, SEEK_CUR) == 4 && read(got[0], b, 64) == 6 && *b == '4');
    CHECK(write(s[0], "same", 4) == 4 && read(got[2], b, 64) == 4);
    CHECK(close(p[1]) == 0 && read(got[1], b, 64) == 0);
  } else if (is("circle")) {
    CHECK(take(t[1], b, 64, got, 2) == 4 && take(got[1], b, 64, got + 2, 2) == 5);
    CHECK(write(got[3], "round", 5) == 5 && read(got[0], b, 64) == 5 && write(s[1], "x", 1) == 1 && read(got[1], b, 1) == 1);
  } else if (is("unasked") || is("packets_unasked")) {
    int *q = is("unasked") ? s : t;
    socklen_t size = sizeof one;
    CHECK(getsockopt(q[1], SOL_SOCKET, SO_PASSCRED, &one, &size) == 0 && one == 0);
    one = 1;
    CHECK(setsockopt(q[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == 0);
    for (int i = 0; i < 2; i++) {
      char control[CMSG_SPACE(sizeof(struct ucred))];
      struct iovec v = {b, sizeof b};
      struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
      CHECK(recvmsg(q[1], &h, MSG_DONTWAIT) == (i ? 5 : 6));
      struct cmsghdr *m = CMSG_FIRSTHDR(&h);
      CHECK(m && m->cmsg_type == SCM_CREDENTIALS && ((struct ucred *)CMSG_DATA(m))->pid == (i ? pid : getpid()));
    }
  } else if (is("credentials")) {
    char control[CMSG_SPACE(sizeof(struct ucred))];
    struct iovec v = {b, sizeof b};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK(recvmsg(s[1], &h, MSG_DONTWAIT) == 5);
    struct cmsghdr *m = CMSG_FIRSTHDR(&h);
    CHECK(m && m->cmsg_type == SCM_CREDENTIALS && ((struct ucred *)CMSG_DATA(m))->pid == pid);
  } else if (is("senders")) {
    CHECK(recvfrom(d, b, 64, MSG_DONTWAIT, (void *)&who, &len) == 5 && !strcmp(who.sun_path, client.sun_path));
    len = sizeof who;
    CHECK(recvfrom(d, b, 64, MSG_DONTWAIT, (void *)&who, &len) == 4 && !strcmp(who.sun_path, gone.sun_path));
    CHECK(sendto(d, "back", 4, 0, (void *)&client, sizeof client) == 4 && recv(c, b, 64, MSG_DONTWAIT) == 4);
    unlink(client.sun_path);
  } else if (is("one_way")) {
    CHECK(recv(d, b, 64, MSG_DONTWAIT) == 3 && write(c, "again", 5) == 5 && recv(d, b, 64, MSG_DONTWAIT) == 5);
  } else if (is("urgent")) {
    CHECK(read(s[1], b, 64) == 6 && recv(s[1], b, 1, MSG_OOB) == 1 && *b == '!' && read(s[1], b, 64) == 5);
  } else if (is("peek_offset")) {
    CHECK(recv(s[1], b, 64, MSG_PEEK) == 3 && !memcmp(b, "def", 3) && read(s[1], b, 64) == 6);
  }
  unlink(server.sun_path);
}
