// What: locks: POSIX ranges, shared and exclusive, of parent and child on one file; flock, inherited too; of descriptions; leases.
// Options: --file-locks
// Copy: no
#include "victim.h"
#include <sys/file.h>
static int lock(int fd, int command, int type, off_t start, off_t len) {
  struct flock l = {type, SEEK_SET, start, len, 0};
  return fcntl(fd, command, &l);
}
// What stands in the way of a write lock of this range, as another description sees it.
static struct flock in_the_way(int fd, off_t start, off_t len) {
  struct flock l = {F_WRLCK, SEEK_SET, start, len, 0};
  CHECK(fcntl(fd, F_OFD_GETLK, &l) == 0);
  return l;
}
static int at(const char *name, int flags) {
  int fd = open(name, flags | O_CREAT, 0600);
  CHECK(fd >= 0);
  return fd;
}
static void victim(void) {
  int a = at("ranges", O_RDWR), b = at("ranges", O_RDWR), whole = at("whole", O_RDWR), shared = at("shared", O_RDWR);
  int read_lease = at("read_lease", O_RDONLY), write_lease = at("write_lease", O_RDWR);
  CHECK(ftruncate(a, 1000) == 0 && dup2(a, 50) == 50);
  CHECK(lock(a, F_SETLK, F_WRLCK, 10, 20) == 0 && lock(a, F_SETLK, F_RDLCK, 100, 50) == 0 && lock(a, F_SETLK, F_WRLCK, 120, 10) == 0);
  CHECK(lock(b, F_OFD_SETLK, F_RDLCK, 500, 0) == 0 && flock(whole, LOCK_EX) == 0 && flock(shared, LOCK_SH) == 0);
  CHECK(fcntl(read_lease, F_SETLEASE, F_RDLCK) == 0 && fcntl(write_lease, F_SETLEASE, F_WRLCK) == 0);
  pid_t child = fork();
  if (!child) {
    // Through the very description the parent has locks with.
    CHECK(lock(a, F_SETLK, F_WRLCK, 40, 5) == 0 && flock(at("whole", O_RDWR), LOCK_SH | LOCK_NB) == -1);
    mark("child");
    wait_go();
    CHECK(lock(a, F_SETLK, F_WRLCK, 10, 1) == -1 && lock(a, F_SETLK, F_WRLCK, 41, 1) == 0);
    // The inherited one is the parent's, too: given up for both.
    CHECK(flock(whole, LOCK_UN) == 0);
    _exit(4);
  }
  await_mark("child");
  ready_and_wait();
  int other = open("ranges", O_RDWR), other_whole = open("whole", O_RDWR), other_shared = open("shared", O_RDWR);
  CHECK(other >= 0 && other_whole >= 0 && other_shared >= 0);
  struct flock l = in_the_way(other, 0, 35);
  CHECK(l.l_type == F_WRLCK && l.l_start == 10 && l.l_len == 20 && l.l_pid == getpid());
  l = in_the_way(other, 100, 15);
  CHECK(l.l_type == F_RDLCK && l.l_start == 100 && l.l_len == 20);
  l = in_the_way(other, 120, 5);
  CHECK(l.l_type == F_WRLCK && l.l_len == 10);
  l = in_the_way(other, 130, 300);
  CHECK(l.l_type == F_RDLCK && l.l_start == 130 && l.l_len == 20);
  l = in_the_way(other, 30, 60);
  CHECK(l.l_type == F_WRLCK && l.l_start == 40 && l.l_len == 5 && l.l_pid == child);
  l = in_the_way(other, 200, 0);
  CHECK(l.l_type == F_RDLCK && l.l_start == 500 && l.l_len == 0 && l.l_pid == -1);
  CHECK(flock(other_whole, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
  CHECK(flock(other_shared, LOCK_SH | LOCK_NB) == 0 && flock(other_shared, LOCK_EX | LOCK_NB) == -1);
  CHECK(fcntl(read_lease, F_GETLEASE) == F_RDLCK && fcntl(write_lease, F_GETLEASE) == F_WRLCK);
  pass_on(child);
  expect_exit(child, 4);
  CHECK(flock(other_whole, LOCK_EX | LOCK_NB) == 0);
  // Closing a duplicate releases the POSIX locks of the file, and no other.
  close(50);
  l = in_the_way(other, 0, 300);
  CHECK(l.l_type == F_UNLCK && in_the_way(other, 0, 0).l_start == 500);
}
