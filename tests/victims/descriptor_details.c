// What: what few programs ask of a descriptor: attributes and access list of an unlinked file; a fifo that waits for its
// first writer, and one whose writer is gone; busy polling of an epoll; how the
// process of a pidfd has ended; a lock that nothing but a mapping keeps; whose a pipe is.
// Variants: attributes fifo_waits epoll_busy pidfd_status mapped_lock pipe_owner
// Options: --file-locks
#include "victim.h"
#include <linux/fs.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
static char *in_folder(const char *name) {
  static char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/%s", victim_folder, name);
  return path;
}
static int hung_up(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  CHECK(poll(&p, 1, 0) >= 0);
  return (p.revents & POLLHUP) != 0;
}
static void attributes(void) {
  // Version 2; user, user 1000, group, mask, others: tag, permissions, id.
  const unsigned char list[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
    16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};
  unsigned char got[sizeof list + 1];
  int f = open(in_folder("gone"), O_RDWR | O_CREAT | O_EXCL, 0640), flags = FS_NODUMP_FL, now = 0;
  CHECK(f >= 0 && write(f, "text", 4) == 4);
  if (fsetxattr(f, "user.note", "kept", 4, 0)) SKIP("fsetxattr: %s", strerror(errno));
  int listed = !fsetxattr(f, "system.posix_acl_access", list, sizeof list, 0), trusted = !fsetxattr(f, "trusted.own", "t", 1, 0);
  int flagged = !ioctl(f, FS_IOC_SETFLAGS, &flags);
  CHECK(unlink(in_folder("gone")) == 0);
  ready_and_wait();
  CHECK(fgetxattr(f, "user.note", got, sizeof got) == 4 && !memcmp(got, "kept", 4));
  if (listed) CHECK(fgetxattr(f, "system.posix_acl_access", got, sizeof got) == sizeof list && !memcmp(got, list, sizeof list));
  if (trusted) CHECK(fgetxattr(f, "trusted.own", got, sizeof got) == 1 && got[0] == 't');
  if (flagged) CHECK(ioctl(f, FS_IOC_GETFLAGS, &now) == 0 && (now & FS_NODUMP_FL));
}
static void fifo_waits(void) {
  CHECK(mkfifo(in_folder("waits"), 0600) == 0);
  int reader = open(in_folder("waits"), O_RDONLY | O_NONBLOCK);
  CHECK(mkfifo(in_folder("ended"), 0600) == 0);
  int told = open(in_folder("ended"), O_RDONLY | O_NONBLOCK), w = open(in_folder("ended"), O_WRONLY);
  CHECK(reader >= 0 && told >= 0 && w >= 0 && write(w, "left", 4) == 4);
  close(w);
  int later = open(in_folder("ended"), O_RDONLY | O_NONBLOCK);
  CHECK(!hung_up(reader) && hung_up(told) && !hung_up(later));
  ready_and_wait();
  char b[8];
  CHECK(!hung_up(reader) && hung_up(told) && !hung_up(later));
  CHECK(read(later, b, 8) == 4 && !memcmp(b, "left", 4) && read(told, b, 8) == 0);
  w = open(in_folder("waits"), O_WRONLY | O_NONBLOCK);
  CHECK(w >= 0 && write(w, "first", 5) == 5 && read(reader, b, 8) == 5);
  close(w);
  CHECK(hung_up(reader));
}
static void epoll_busy(void) {
  struct {
    uint32_t busy_poll_usecs;
    uint16_t busy_poll_budget;
    uint8_t prefer_busy_poll, pad;
  } set = {64, 16, 1, 0}, got = {0};
  int ep = epoll_create1(0);
  if (ioctl(ep, _IOC(_IOC_WRITE, 0x8a, 1, 8), &set)) SKIP("EPIOCSPARAMS: %s", strerror(errno));
  ready_and_wait();
  CHECK(ioctl(ep, _IOC(_IOC_READ, 0x8a, 2, 8), &got) == 0 && !memcmp(&got, &set, sizeof set));
}
static int status_told(int pidfd) {
  uint64_t info[8] = {1 << 3};
  if (ioctl(pidfd, _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, sizeof info), info) || !(info[0] & 1 << 3)) return -1;
  return info[7] >> 32;
}
static void pidfd_status(void) {
  int by[2], status[2] = {3 << 8, SIGKILL};
  for (int i = 0; i < 2; i++) {
    pid_t child = fork();
    if (!child) {
      if (i) pause();
      _exit(3);
    }
    by[i] = syscall(SYS_pidfd_open, child, 0);
    CHECK(by[i] >= 0 && (!i || kill(child, SIGKILL) == 0));
    status_of(child);
    if (status_told(by[i]) < 0) SKIP("PIDFD_INFO_EXIT: %s", strerror(errno));
    CHECK(status_told(by[i]) == status[i]);
  }
  ready_and_wait();
  CHECK(status_told(by[0]) == status[0] && status_told(by[1]) == status[1]);
}
static int is_locked(const char *name) {
  int fd = open(in_folder(name), O_RDWR);
  CHECK(fd >= 0);
  int locked = flock(fd, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK;
  close(fd);
  return locked;
}
static void mapped_lock(void) {
  int fd = open(in_folder("locked"), O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0 && ftruncate(fd, 4096) == 0 && flock(fd, LOCK_EX) == 0);
  char *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(m != MAP_FAILED);
  close(fd);
  ready_and_wait();
  CHECK(is_locked("locked"));
  strcpy(m, "mine");
  pid_t other = fork();
  if (!other) {
    CHECK(munmap(m, 4096) == 0 && is_locked("locked"));
    _exit(0);
  }
  expect_exit(other, 0);
  CHECK(is_locked("locked"));
}
static void pipe_owner(void) {
  int ends[2];
  struct stat st;
  CHECK(pipe(ends) == 0 && fchown(ends[1], 12, 34) == 0 && fchmod(ends[0], 0622) == 0 && write(ends[1], "data", 4) == 4);
  ready_and_wait();
  for (int i = 0; i < 2; i++)
    CHECK(fstat(ends[i], &st) == 0 && st.st_uid == 12 && st.st_gid == 34 && (st.st_mode & 07777) == 0622);
}
static void victim(void) {
  if (is("attributes")) attributes();
  if (is("fifo_waits")) fifo_waits();
  if (is("epoll_busy")) epoll_busy();
  if (is("pidfd_status")) pidfd_status();
  if (is("mapped_lock")) mapped_lock();
  if (is("pipe_owner")) pipe_owner();
}
