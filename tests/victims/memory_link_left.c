// What: a shared mapping of a file whose name is gone while another one is left: it is still the same file.
// Options: --link-remap
#include "victim.h"
static void victim(void) {
  char gone[PATH_MAX + 16], left[PATH_MAX + 16];
  snprintf(gone, sizeof gone, "%s/gone", victim_folder);
  snprintf(left, sizeof left, "%s/left", victim_folder);
  int fd = open(gone, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, 8192) == 0 && link(gone, left) == 0);
  char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(p != MAP_FAILED && close(fd) == 0 && unlink(gone) == 0);
  fill(p, 8192, 3);
  ready_and_wait();
  char now[8192];
  fd = open(left, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && pread(fd, now, 8192, 0) == 8192 && !memcmp(p, now, 8192));
  CHECK(pwrite(fd, "changed", 7, 4096) == 7 && !memcmp(p + 4096, "changed", 7));
  CHECK(access(gone, F_OK) == -1 && errno == ENOENT);
}
