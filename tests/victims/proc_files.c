// What: open files of /proc and /sys, of the process itself and of the system; a descriptor of a namespace is refused.
// Variants: own system sys namespace
// Refused.namespace: descriptor of a namespace
#include "victim.h"
static void victim(void) {
  const char *path = is("own") ? "/proc/self/status" : is("system") ? "/proc/meminfo" : is("sys") ? "/sys/kernel/mm/transparent_hugepage/enabled" : "/proc/self/ns/uts";
  char before[4096] = {0}, now[4096] = {0}, link[64] = {0}, link_now[64] = {0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  char own[32];
  snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
  CHECK(readlink(own, link, sizeof link - 1) > 0);
  if (!is("namespace")) CHECK(read(fd, before, 5) == 5);
  ready_and_wait();
  CHECK(readlink(own, link_now, sizeof link_now - 1) > 0 && !strcmp(link, link_now) && fcntl(fd, F_GETFD) == FD_CLOEXEC);
  if (is("namespace")) {
    struct stat a, b;
    CHECK(fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && setns(fd, CLONE_NEWUTS) == 0);
    return;
  }
  CHECK(lseek(fd, 0, SEEK_CUR) == 5 && pread(fd, now, sizeof now - 1, 0) > 5 && !memcmp(before, now, 5));
  if (is("own")) {
    char pid[32];
    snprintf(pid, sizeof pid, "\nPid:\t%d\n", getpid());
    CHECK(strstr(now, pid));
  }
}
