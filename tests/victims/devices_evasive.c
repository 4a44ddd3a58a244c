// What: a device whose node something was mounted over is opened by another path, when that is asked for.
// Variants: other nothing
// Terminals: own
// Options: --evasive-devices
// Modes: plain twice
// Ignore: fd
#include "victim.h"
#include <sys/mount.h>
#include <sys/sysmacros.h>
static void victim(void) {
  char below[PATH_MAX + 16], path[PATH_MAX + 32], byte = 1;
  struct stat st;
  snprintf(below, sizeof below, "%s/below", victim_folder);
  snprintf(path, sizeof path, "%s/node", below);
  CHECK(mkdir(below, 0700) == 0);
  if (mknod(path, S_IFCHR | 0666, makedev(1, 5))) SKIP("mknod: %s", strerror(errno));
  int fd = open(path, O_RDWR | O_APPEND);
  CHECK(fd >= 0 && mount("none", below, "tmpfs", 0, 0) == 0);
  if (is("other")) close(open(path, O_RDWR | O_CREAT, 0600));
  ready_and_wait();
  CHECK(read(fd, &byte, 1) == 1 && byte == 0 && fstat(fd, &st) == 0 && st.st_rdev == makedev(1, 5));
  CHECK(fcntl(fd, F_GETFL) & O_APPEND);
  CHECK(umount(below) == 0);
}
