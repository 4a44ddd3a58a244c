// What: what was sent on unix connections that nobody has accepted yet: bytes, packets, much at once, credentials, by clients
// that have closed or shut down their end or ended; in the order of the connections.
// Variants: data packets large gone credentials urgent mixed descriptors
// Refused.descriptors: unix & descriptors & accepted
#include "victim.h"
#include <sys/un.h>
static struct sockaddr_un name;
static socklen_t name_len;
static int type = SOCK_STREAM, l;
static int dial(void) {
  int fd = socket(AF_UNIX, type, 0);
  CHECK(fd >= 0 && connect(fd, (void *)&name, name_len) == 0);
  return fd;
}
static void says(int fd, const char *text) {
  char b[64];
  ssize_t n = recv(fd, b, sizeof b, MSG_DONTWAIT), want = strlen(text);
  if (n != want || memcmp(b, text, want)) finish(1, "%zd bytes instead of `%s`", n, text);
}
static struct ucred peer(int fd) {
  struct ucred c;
  socklen_t len = sizeof c;
  CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) == 0);
  return c;
}
static void victim(void) {
  enum { LARGE = 150000 };
  static char large[LARGE], got[LARGE];
  int a = -1, b = -1, one = 1;
  pid_t child = 0;
  if (is("packets")) type = SOCK_SEQPACKET;
  l = socket(AF_UNIX, type, 0);
  name.sun_family = AF_UNIX;
  snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "victim-unaccepted-%d", getpid());
  name_len = sizeof name.sun_family + 1 + strlen(name.sun_path + 1);
  if (is("credentials")) CHECK(setsockopt(l, SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == 0);
  CHECK(bind(l, (void *)&name, name_len) == 0 && listen(l, 8) == 0);
  if (is("data") || is("packets")) {
    a = dial(), b = dial();
    CHECK(write(a, "one", 3) == 3 && write(a, "more", 4) == 4 && write(b, "two", 3) == 3 && shutdown(b, SHUT_WR) == 0);
  } else if (is("large")) {
    fill(large, LARGE, 3);
    a = dial();
    CHECK(write(a, large, LARGE) == LARGE && write(a, "end", 3) == 3);
  } else if (is("gone")) {
    a = dial();
    CHECK(write(a, "bye", 3) == 3 && close(a) == 0);
    a = dial();
    CHECK(write(a, "here", 4) == 4);
    child = fork();
    if (!child) {
      b = dial();
      CHECK(write(b, "ended", 5) == 5);
      _exit(0);
    }
    expect_exit(child, 0);
  } else if (is("credentials")) {
    child = fork();
    if (!child) {
      b = dial();
      CHECK(write(b, "mine", 4) == 4);
      _exit(0);
    }
    expect_exit(child, 0);
  } else if (is("urgent")) {
    a = dial();
    CHECK(write(a, "before", 6) == 6);
    if (send(a, "!", 1, MSG_OOB) != 1) SKIP("this kernel has no out-of-band data on unix sockets");
    CHECK(write(a, "after", 5) == 5);
  } else if (is("mixed")) {
    // A server that has accepted one, and a child that waits with the next.
    a = dial();
    CHECK(write(a, "first", 5) == 5);
    b = accept(l, 0, 0);
    child = fork();
    if (!child) {
      close(a), close(b), close(l);
      a = dial();
      CHECK(write(a, "second", 6) == 6);
      mark("child");
      wait_go();
      char back[8];
      CHECK(read(a, back, 8) == 4 && !memcmp(back, "back", 4));
      _exit(6);
    }
    await_mark("child");
  } else {
    char c[CMSG_SPACE(sizeof(int))] = {0}, x = 'x';
    struct iovec v = {&x, 1};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
    struct cmsghdr *m = CMSG_FIRSTHDR(&h);
    m->cmsg_level = SOL_SOCKET, m->cmsg_type = SCM_RIGHTS, m->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(m), &one, sizeof(int));
    a = dial();
    CHECK(sendmsg(a, &h, 0) == 1);
  }
  ready_and_wait();
  int s = is("mixed") ? b : accept(l, 0, 0);
  if (is("data")) {
    says(s, "onemore");
    CHECK(write(s, "x", 1) == 1 && write(a, "yet", 3) == 3);
    says(a, "x"), says(s, "yet");
    s = accept(l, 0, 0);
    says(s, "two"), says(s, "");
    CHECK(write(s, "y", 1) == 1);
    says(b, "y");
  } else if (is("packets")) {
    says(s, "one"), says(s, "more");
    s = accept(l, 0, 0);
    says(s, "two"), says(s, "");
  } else if (is("large")) {
    for (int n = 0; n < LARGE;) {
      int r = recv(s, got + n, LARGE - n, MSG_DONTWAIT);
      CHECK(r > 0);
      n += r;
    }
    CHECK(!memcmp(large, got, LARGE));
    says(s, "end");
  } else if (is("gone")) {
    CHECK(peer(s).pid == getpid());
    says(s, "bye"), says(s, "");
    s = accept(l, 0, 0);
    says(s, "here");
    CHECK(write(s, "back", 4) == 4);
    says(a, "back");
    s = accept(l, 0, 0);
    CHECK(peer(s).pid == child && peer(s).uid == geteuid());
    says(s, "ended"), says(s, "");
  } else if (is("credentials")) {
    char control[CMSG_SPACE(sizeof(struct ucred))], text[16];
    struct iovec v = {text, sizeof text};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK(recvmsg(s, &h, MSG_DONTWAIT) == 4);
    struct cmsghdr *m = CMSG_FIRSTHDR(&h);
    CHECK(m && m->cmsg_type == SCM_CREDENTIALS && ((struct ucred *)CMSG_DATA(m))->pid == child);
  } else if (is("urgent")) {
    char byte;
    says(s, "before");
    CHECK(recv(s, &byte, 1, MSG_OOB) == 1 && byte == '!');
    says(s, "after");
  } else if (is("mixed")) {
    says(s, "first");
    s = accept(l, 0, 0);
    says(s, "second");
    CHECK(peer(s).pid == child && write(s, "back", 4) == 4);
    pass_on(child), expect_exit(child, 6);
  }
}
