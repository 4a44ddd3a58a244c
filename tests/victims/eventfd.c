// What: eventfds: value, flags, semaphore mode, one shared by two tasks.
#include "victim.h"
#include <sys/eventfd.h>
static void victim(void) {
  int a = eventfd(7, EFD_CLOEXEC), s = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK), z = eventfd(0, EFD_NONBLOCK);
  uint64_t n, big = 0xfffffffffffffffeull;
  int full = eventfd(0, EFD_NONBLOCK);
  CHECK(write(full, &big, 8) == 8);
  pid_t child = fork();
  if (!child) {
    wait_go();
    n = 5;
    CHECK(write(z, &n, 8) == 8);
    _exit(0);
  }
  ready_and_wait();
  CHECK(read(a, &n, 8) == 8 && n == 7 && fcntl(a, F_GETFD) == FD_CLOEXEC);
  for (int i = 0; i < 3; i++) CHECK(read(s, &n, 8) == 8 && n == 1);
  CHECK(read(s, &n, 8) == -1 && errno == EAGAIN && read(z, &n, 8) == -1 && errno == EAGAIN);
  CHECK(read(full, &n, 8) == 8 && n == big);
  pass_on(child);
  expect_exit(child, 0);
  CHECK(read(z, &n, 8) == 8 && n == 5);
}
