// What: unix servers and clients of one tree: listening by path and abstract name, accepted connections with data both ways,
// connections that wait to be accepted, a relative name, a file that was removed; the file's mode and owner.
// Variants: path abstract relative gone seqpacket two_tasks
#include "victim.h"
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif
static struct sockaddr_un name;
static socklen_t name_len;
static void make_name(void) {
  name.sun_family = AF_UNIX;
  if (is("abstract")) snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "victim-%d", getpid());
  else if (is("relative")) {
    CHECK(chdir(victim_folder) == 0);
    strcpy(name.sun_path, "server");
  } else {
    // Short enough for sun_path whatever the folder is.
    snprintf(name.sun_path, sizeof name.sun_path, "/tmp/victim-unix-%d", getpid());
  }
  name_len = sizeof name.sun_family + (is("abstract") ? 1 + strlen(name.sun_path + 1) : strlen(name.sun_path));
}
static int dial(int type) {
  int fd = socket(AF_UNIX, type, 0);
  CHECK(fd >= 0 && connect(fd, (void *)&name, name_len) == 0);
  return fd;
}
static void has_name(int fd, int (*ask)(int, struct sockaddr *, socklen_t *)) {
  struct sockaddr_un got;
  socklen_t len = sizeof got;
  CHECK(ask(fd, (void *)&got, &len) == 0 && len >= name_len && !memcmp(&got, &name, name_len));
}
static void says(int fd, const char *text) {
  char b[64];
  CHECK(read(fd, b, sizeof b) == (ssize_t)strlen(text) && !memcmp(b, text, strlen(text)));
}
static void victim(void) {
  make_name();
  int type = is("seqpacket") ? SOCK_SEQPACKET : SOCK_STREAM, on_disk = !is("abstract") && !is("gone");
  int l = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  CHECK(bind(l, (void *)&name, name_len) == 0 && listen(l, 5) == 0);
  if (!is("abstract")) CHECK(chmod(name.sun_path, 0640) == 0 && chown(name.sun_path, 1234, 2345) == 0);
  pid_t child = 0;
  int client = -1, accepted = -1;
  if (is("two_tasks")) {
    child = fork();
    if (!child) {
      close(l);
      client = dial(type);
      CHECK(write(client, "hello", 5) == 5);
      mark("child");
      wait_go();
      says(client, "welcome");
      CHECK(write(client, "thanks", 6) == 6);
      int again = dial(type);
      CHECK(write(again, "new", 3) == 3);
      _exit(3);
    }
    accepted = accept(l, 0, 0);
    await_mark("child");
    CHECK(write(accepted, "welcome", 7) == 7);
  } else {
    client = dial(type);
    accepted = accept(l, 0, 0);
    CHECK(write(client, "hello", 5) == 5 && write(accepted, "welcome", 7) == 7);
  }
  int first = is("two_tasks") ? -1 : dial(type), second = is("two_tasks") ? -1 : dial(type);
  if (is("gone")) CHECK(unlink(name.sun_path) == 0);
  ready_and_wait();
  has_name(l, getsockname);
  has_name(accepted, getsockname);
  CHECK(fcntl(l, F_GETFD) == FD_CLOEXEC);
  struct stat st;
  if (on_disk) CHECK(stat(name.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0640 && st.st_uid == 1234 && st.st_gid == 2345);
  if (is("gone")) {
    CHECK(access(name.sun_path, F_OK) == -1);
    // Without CAP_NET_ADMIN over the network namespace nobody is led to the file.
    int file = ioctl(l, SIOCUNIXFILE);
    CHECK(file >= 0 || errno == EPERM);
    if (file >= 0) CHECK(fstat(file, &st) == 0 && (st.st_mode & 0777) == 0640 && st.st_uid == 1234 && st.st_gid == 2345 && st.st_nlink == 0 && close(file) == 0);
  }
  says(accepted, "hello");
  if (is("two_tasks")) {
    pass_on(child);
    says(accepted, "thanks");
    int n = accept(l, 0, 0);
    says(n, "new");
    expect_exit(child, 3);
  } else {
    has_name(client, getpeername);
    says(client, "welcome");
    CHECK(write(first, "one", 3) == 3 && write(second, "two", 3) == 3);
    says(accept(l, 0, 0), "one");
    says(accept(l, 0, 0), "two");
    if (!is("gone")) {
      int fresh = dial(type), end = accept(l, 0, 0);
      CHECK(write(fresh, "fresh", 5) == 5);
      says(end, "fresh");
    }
  }
  if (on_disk) unlink(name.sun_path);
}
