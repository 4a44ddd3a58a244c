// What: images that tell of a watched file by its handle alone, as those of CRIU may.
// Images: watched-by-handle
// Modes: plain twice
// Copy: no
#include "victim.h"
#include <sys/fanotify.h>
#include <sys/inotify.h>
static void victim(void) {
  char b[4096];
  struct fanotify_event_metadata e;
  int fd = open("file", O_RDWR | O_CREAT, 0600), i = inotify_init1(IN_NONBLOCK);
  int fa = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
  if (fa == -1 && (errno == EPERM || errno == ENOSYS)) SKIP("fanotify_init: %s", strerror(errno));
  CHECK(fd >= 0 && mkdir("dir", 0700) == 0 && inotify_add_watch(i, "dir", IN_CREATE) == 1);
  CHECK(inotify_add_watch(i, "file", IN_MODIFY) == 2 && inotify_add_watch(i, "/dev/shm", IN_DELETE_SELF) == 3);
  CHECK(fanotify_mark(fa, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, "file") == 0);
  ready_and_wait();
  CHECK(read(i, b, sizeof b) == -1 && errno == EAGAIN && write(fd, "more", 4) == 4);
  struct inotify_event *of_file = (void *)b;
  CHECK(read(i, b, sizeof b) > 0 && of_file->wd == 2 && (of_file->mask & IN_MODIFY));
  CHECK(read(fa, &e, sizeof e) == sizeof e && (e.mask & FAN_MODIFY));
  CHECK(close(open("dir/new", O_CREAT | O_RDWR, 0600)) == 0);
  CHECK(read(i, b, sizeof b) > 0 && of_file->wd == 1 && (of_file->mask & IN_CREATE));
}
