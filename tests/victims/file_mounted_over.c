// What: a file whose path leads to another now, or to nothing, for something was mounted over it.
// Variants: other nothing
// Terminals: own
// Refused.other: another file is at & mounted over
// Refused.nothing: nothing is at & mounted over
#include "victim.h"
#include <sys/mount.h>
static void victim(void) {
  char below[PATH_MAX + 16], path[PATH_MAX + 32], text[8] = {0};
  snprintf(below, sizeof below, "%s/below", victim_folder);
  snprintf(path, sizeof path, "%s/held", below);
  CHECK(mkdir(below, 0700) == 0);
  int fd = open(path, O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0 && write(fd, "held", 4) == 4);
  CHECK(mount("none", below, "tmpfs", 0, 0) == 0);
  if (is("other")) close(open(path, O_RDWR | O_CREAT, 0600));
  ready_and_wait();
  CHECK(pread(fd, text, 4, 0) == 4 && strcmp(text, "held") == 0);
  CHECK(umount(below) == 0);
}
