// What: regular files: flags, offset, append, close-on-exec, O_PATH, directories, the gap in descriptor numbers.
// Copy: no
#include "victim.h"
static void victim(void) {
  char path[PATH_MAX + 16], b[64] = {0};
  snprintf(path, sizeof path, "%s/file", victim_folder);
  int a = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0640);
  CHECK(write(a, "0123456789", 10) == 10 && lseek(a, 4, SEEK_SET) == 4);
  int r = open(path, O_RDONLY | O_NOATIME | O_NONBLOCK), p = open(path, O_PATH), d = open(victim_folder, O_DIRECTORY | O_RDONLY);
  int w = open(path, O_WRONLY | O_DSYNC);
  CHECK(lseek(r, 7, SEEK_SET) == 7 && lseek(w, 1000, SEEK_SET) == 1000);
  CHECK(dup2(r, 500) == 500 && fcntl(500, F_SETFD, FD_CLOEXEC) == 0);
  int flags[] = {fcntl(a, F_GETFL), fcntl(r, F_GETFL), fcntl(p, F_GETFL), fcntl(d, F_GETFL), fcntl(w, F_GETFL)};
  int fds[] = {a, r, p, d, w};
  ready_and_wait();
  for (int i = 0; i < 5; i++) CHECK(fcntl(fds[i], F_GETFL) == flags[i]);
  CHECK(fcntl(a, F_GETFD) == FD_CLOEXEC && fcntl(r, F_GETFD) == 0 && fcntl(500, F_GETFD) == FD_CLOEXEC);
  CHECK(lseek(a, 0, SEEK_CUR) == 4 && read(a, b, 3) == 3 && !memcmp(b, "456", 3));
  CHECK(write(a, "end", 3) == 3 && lseek(a, 0, SEEK_CUR) == 13);
  CHECK(read(500, b, 2) == 2 && !memcmp(b, "78", 2) && lseek(r, 0, SEEK_CUR) == 9);
  CHECK(lseek(w, 0, SEEK_CUR) == 1000 && read(p, b, 1) == -1 && errno == EBADF);
  CHECK(faccessat(d, "file", F_OK, 0) == 0 && open("/dev/null", O_RDONLY) == 8);
}
