// What: a named fifo with data, opened for both, for reading and for writing.
// Variants: both ends
#include "victim.h"
static void victim(void) {
  char path[PATH_MAX + 16], b[32];
  snprintf(path, sizeof path, "%s/fifo", victim_folder);
  CHECK(mkfifo(path, 0600) == 0);
  int rw = -1, r, w;
  if (is("both")) rw = r = w = open(path, O_RDWR | O_NONBLOCK);
  else {
    r = open(path, O_RDONLY | O_NONBLOCK);
    w = open(path, O_WRONLY);
  }
  CHECK(r >= 0 && w >= 0 && write(w, "fifo data", 9) == 9);
  ready_and_wait();
  CHECK(read(r, b, 32) == 9 && !memcmp(b, "fifo data", 9));
  CHECK(write(w, "more", 4) == 4 && read(r, b, 32) == 4);
  if (rw < 0) {
    close(w);
    CHECK(read(r, b, 32) == 0);
  }
  struct stat st;
  CHECK(stat(path, &st) == 0 && S_ISFIFO(st.st_mode));
}
