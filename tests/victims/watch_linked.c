// What: who watches a file whose name is gone while another link is left hears nothing of the checkpoint's own link.
// Options: --link-remap
// Modes: plain twice
#include "victim.h"
#include <sys/inotify.h>
static void victim(void) {
  char b[4096];
  struct inotify_event *e = (void *)b;
  int fd = open("file", O_RDWR | O_CREAT, 0600), i = inotify_init1(IN_NONBLOCK);
  CHECK(fd >= 0 && inotify_add_watch(i, "file", IN_ALL_EVENTS) == 1 && link("file", "other") == 0 && unlink("file") == 0);
  while (read(i, b, sizeof b) > 0);
  ready_and_wait();
  CHECK(read(i, b, sizeof b) == -1 && errno == EAGAIN);
  CHECK(write(fd, "more", 4) == 4 && read(i, b, sizeof b) > 0 && e->wd == 1 && (e->mask & IN_MODIFY));
  CHECK(chmod("other", 0640) == 0 && read(i, b, sizeof b) > 0 && (e->mask & IN_ATTRIB));
}
