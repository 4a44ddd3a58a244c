// What: inotify and fanotify instances watch what has no name any more: a file that a task has open, that only another task has
// open, that is only mapped, on tmpfs; a directory.
// Variants: open child mapped directory marked memory
#include "victim.h"
#include <sys/fanotify.h>
#include <sys/inotify.h>
static char b[4096];
static int queue, wd[3];
// The mask of the next event, which has to be of the watch `of`.
static unsigned event(int of) {
  struct inotify_event *e = (void *)b;
  memset(b, 0, sizeof b);
  CHECK(read(queue, b, sizeof b) > 0 && e->wd == of);
  return e->mask;
}
static void mark_file(void) {
  struct fanotify_event_metadata e;
  int fa = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY), fd = open("file", O_RDWR | O_CREAT, 0600);
  if (fa == -1 && (errno == EPERM || errno == ENOSYS)) SKIP("fanotify_init: %s", strerror(errno));
  CHECK(fanotify_mark(fa, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, "file") == 0 && unlink("file") == 0);
  ready_and_wait();
  CHECK(read(fa, &e, sizeof e) == -1 && errno == EAGAIN && write(fd, "more", 4) == 4);
  CHECK(read(fa, &e, sizeof e) == sizeof e && (e.mask & FAN_MODIFY));
}
static void victim(void) {
  if (is("marked")) return mark_file();
  char name[64] = "file";
  // Other cases run beside this one.
  if (is("memory")) sprintf(name, "/dev/shm/criu-watched-%d", getpid());
  queue = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  CHECK(queue >= 0 && mkdir("dir", 0700) == 0);
  int fd = is("directory") ? -1 : open(name, O_RDWR | O_CREAT, 0600);
  if (fd >= 0) CHECK(write(fd, "text", 4) == 4);
  if (is("directory")) CHECK(mkdir(name, 0700) == 0 && (fd = open(name, O_RDONLY)) >= 0);
  // Named ones around it, with a gap in the numbers.
  CHECK((wd[0] = inotify_add_watch(queue, "dir", IN_CREATE)) == 1);
  CHECK(inotify_add_watch(queue, "/dev", IN_CREATE) == 2 && inotify_rm_watch(queue, 2) == 0);
  CHECK((wd[1] = inotify_add_watch(queue, name, IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE)) == 3);
  CHECK((wd[2] = inotify_add_watch(queue, "/dev/shm", IN_DELETE_SELF)) == 4);
  CHECK((is("directory") ? rmdir(name) : unlink(name)) == 0);
  pid_t child = 0;
  if (is("child") && !(child = fork())) {
    close(queue);
    mark("forked");
    wait_go();
    CHECK(write(fd, "more", 4) == 4);
    _exit(3);
  }
  char *at = is("mapped") ? mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : 0;
  if (is("child")) await_mark("forked");
  if (is("child") || is("mapped")) close(fd);
  while (read(queue, b, sizeof b) > 0);
  ready_and_wait();
  CHECK(read(queue, b, sizeof b) == -1 && errno == EAGAIN);
  if (is("child")) {
    pass_on(child);
    expect_exit(child, 3);
    CHECK(event(wd[1]) & IN_MODIFY);
  } else if (is("directory")) CHECK(fchmod(fd, 0750) == 0 && (event(wd[1]) & IN_ATTRIB));
  else if (is("mapped")) CHECK(memcmp(at, "text", 4) == 0);
  else CHECK(write(fd, "more", 4) == 4 && (event(wd[1]) & IN_MODIFY));
  while (read(queue, b, sizeof b) > 0);
  CHECK(close(open("dir/new", O_CREAT | O_RDWR, 0600)) == 0 && (event(wd[0]) & IN_CREATE) && unlink("dir/new") == 0);
  CHECK(inotify_rm_watch(queue, wd[2]) == 0 && inotify_add_watch(queue, "/dev", IN_CREATE) == 5);
}
