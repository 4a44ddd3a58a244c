// What: files of /proc of living tasks, and a pidfd, that several tasks have inherited: each stays one description, with its offset and
// flags. One that waits in a message is refused.
// Variants: own child folder pidfd message
// Refused.message: a /proc file of a task & message
#include "victim.h"
static int shared[2];
// Each child changes what belongs to a description; its parent has to see it.
static void child(int number) {
  char b[8], name[32];
  snprintf(name, sizeof name, "child%d", number);
  mark(name);
  wait_go();
  if (is("pidfd")) CHECK(fcntl(shared[number], F_SETFL, O_NONBLOCK) == 0);
  else if (is("folder")) CHECK(faccessat(shared[number], "stat", R_OK, 0) == 0);
  else if (!is("message")) CHECK(lseek(shared[number], 0, SEEK_CUR) == 3 && read(shared[number], b, 4) == 4);
  _exit(7);
}
static int pid_in(int fd) {
  char b[4096] = {0}, *at;
  CHECK(pread(fd, b, sizeof b - 1, 0) > 0 && (at = strstr(b, "\nPid:\t")));
  return atoi(at + 6);
}
static int in_message(int fd) {
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  struct {
    struct cmsghdr h;
    int fd;
  } room = {{CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS}, fd};
  struct iovec iov = {"m", 1};
  struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = CMSG_LEN(4)};
  CHECK(sendmsg(pair[0], &h, 0) == 1 && close(fd) == 0);
  return pair[1];
}
static void victim(void) {
  char path[64], b[8];
  pid_t whose[2] = {getpid(), is("own") ? getpid() : fork()}, kids[2];
  if (!whose[1]) {
    wait_go();
    _exit(3);
  }
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "/proc/%d/%s", whose[i], is("folder") ? "" : "status");
    shared[i] = is("pidfd") ? (int)syscall(SYS_pidfd_open, whose[i], 0) : open(path, O_RDONLY);
    CHECK(shared[i] >= 0);
    if (!is("pidfd") && !is("folder")) CHECK(read(shared[i], b, 3) == 3);
    if (is("message")) shared[i] = in_message(shared[i]);
  }
  for (int i = 0; i < 2; i++)
    if (!(kids[i] = fork())) child(i);
  await_mark("child0");
  await_mark("child1");
  ready_and_wait();
  for (int i = 0; i < 2; i++) {
    pass_on(kids[i]);
    expect_exit(kids[i], 7);
    if (is("pidfd")) CHECK(fcntl(shared[i], F_GETFL) & O_NONBLOCK && syscall(SYS_pidfd_send_signal, shared[i], 0, 0, 0) == 0);
    else if (is("folder")) CHECK(fchdir(shared[i]) == 0 && pid_in(open("status", O_RDONLY)) == whose[i]);
    else if (is("message")) CHECK(read(shared[i], b, 8) == 1);
    else CHECK(lseek(shared[i], 0, SEEK_CUR) == 7 && pid_in(shared[i]) == whose[i]);
  }
  if (is("own")) return;
  pass_on(whose[1]);
  expect_exit(whose[1], 3);
}
