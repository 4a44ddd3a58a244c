// What: a file whose name is gone while another hard link is left (link-remap).
// Options: --link-remap
#include "victim.h"
static void victim(void) {
  char path[PATH_MAX + 16], other[PATH_MAX + 16], b[16];
  snprintf(path, sizeof path, "%s/name", victim_folder);
  snprintf(other, sizeof other, "%s/other", victim_folder);
  int f = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(write(f, "linked", 6) == 6 && link(path, other) == 0 && unlink(path) == 0);
  struct stat was, is;
  CHECK(fstat(f, &was) == 0);
  ready_and_wait();
  CHECK(fstat(f, &is) == 0 && is.st_ino == was.st_ino);
  CHECK(pread(f, b, 6, 0) == 6 && !memcmp(b, "linked", 6) && access(path, F_OK) == -1);
}
