// What: a file of pressure stall information wakes its reader for what it was asked to, and only the descriptor that has asked.
// Variants: some full shared
#include "victim.h"
// Asked twice the kernel says EBUSY.
static int asks(int fd, const char *what) { return write(fd, what, strlen(what) + 1) > 0 ? 0 : errno; }
static void victim(void) {
  int fd = open("/proc/pressure/memory", O_RDWR | O_NONBLOCK), other = open("/proc/pressure/memory", O_RDWR | O_CLOEXEC), error;
  if (fd < 0) SKIP("/proc/pressure: %s", strerror(errno));
  // Windows of other lengths are for the privileged.
  if ((error = asks(fd, is("full") ? "full 150000 4000000" : "some 100000 2000000"))) SKIP("a trigger: %s", strerror(error));
  pid_t child = is("shared") ? fork() : -1;
  if (!child) {
    mark("child");
    wait_go();
    _exit(asks(fd, "some 100000 2000000"));
  }
  if (child > 0) await_mark("child");
  ready_and_wait();
  struct pollfd p = {fd, POLLPRI, 0};
  CHECK(poll(&p, 1, 0) >= 0 && !(p.revents & POLLERR));
  CHECK(asks(fd, "some 100000 2000000") == EBUSY && asks(other, "some 100000 2000000") == 0);
  if (child < 0) return;
  pass_on(child);
  expect_exit(child, EBUSY);
}
