// What: a reader of the kernel's messages goes on where it was.
#include "victim.h"
static char tag[64];
// The next of this victim's own messages; 0 at the end.
static int next(int fd) {
  char record[8192];
  for (;;) {
    ssize_t n = read(fd, record, sizeof record - 1);
    if (n < 0 && errno == EPIPE) continue;
    if (n < 0) return errno == EAGAIN ? 0 : -1;
    record[n] = 0;
    char *own = strstr(record, tag);
    if (own) return atoi(own + strlen(tag));
  }
}
static void victim(void) {
  int out = open("/dev/kmsg", O_WRONLY), in = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), fresh = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  if (out < 0 || in < 0) SKIP("/dev/kmsg: %s", strerror(errno));
  snprintf(tag, sizeof tag, "libcriu test %d of %lld number ", getpid(), (long long)time(0));
  CHECK(lseek(in, 0, SEEK_END) == 0 && lseek(fresh, 0, SEEK_END) == 0);
  for (int i = 1; i <= 3; i++) {
    char text[128];
    int n = snprintf(text, sizeof text, "<7>%s%d\n", tag, i);
    if (write(out, text, n) != n) SKIP("writing to /dev/kmsg: %s", strerror(errno));
  }
  CHECK(next(in) == 1);
  ready_and_wait();
  CHECK(next(in) == 2 && next(in) == 3 && next(in) == 0 && fcntl(in, F_GETFD) == FD_CLOEXEC && (fcntl(in, F_GETFL) & O_NONBLOCK));
  CHECK(next(fresh) == 1 && next(fresh) == 2 && next(fresh) == 3 && write(out, "<7>", 3) == 3);
}
