// What: a file whose name is gone while another hard link is left is refused, and the hint names the option.
// Refused: link-remap
#include "victim.h"
static void victim(void) {
  char path[PATH_MAX + 16], other[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/name", victim_folder);
  snprintf(other, sizeof other, "%s/other", victim_folder);
  int f = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(link(path, other) == 0 && unlink(path) == 0);
  ready_and_wait();
  CHECK(fcntl(f, F_GETFL) >= 0);
}
