// What: pidfds of one dead task that several tasks have, by inheritance and opened for themselves: it is one task to all of them.
#include "victim.h"
static int is_dead(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, 0) == 1 && syscall(SYS_pidfd_send_signal, fd, 0, 0, 0) == -1 && errno == ESRCH;
}
static ino_t inode(int fd) {
  struct stat st;
  CHECK(fstat(fd, &st) == 0);
  return st.st_ino;
}
static void victim(void) {
  pid_t dead = fork();
  if (!dead) {
    wait_go();
    _exit(0);
  }
  int first = syscall(SYS_pidfd_open, dead, 0), second = syscall(SYS_pidfd_open, dead, O_NONBLOCK);
  if (first < 0 || second < 0) SKIP("pidfd_open: %s", strerror(errno));
  pid_t child = fork();
  if (!child) {
    int own = syscall(SYS_pidfd_open, dead, 0);
    CHECK(own >= 0);
    mark("child");
    wait_go();
    CHECK(is_dead(first) && is_dead(second) && is_dead(own) && inode(own) == inode(first));
    _exit(7);
  }
  await_mark("child");
  CHECK(kill(dead, SIGKILL) == 0 && status_of(dead) >= 0);
  ready_and_wait();
  CHECK(is_dead(first) && is_dead(second) && inode(first) == inode(second) && (fcntl(second, F_GETFL) & O_NONBLOCK));
  pass_on(child);
  expect_exit(child, 7);
}
