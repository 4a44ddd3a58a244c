// What: a program whose executable was deleted while it runs.
// Ignore: exe
#include "victim.h"
static void victim(void) {
  char path[PATH_MAX + 16], self[PATH_MAX];
  snprintf(path, sizeof path, "%s/copy", victim_folder);
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  CHECK(n > 0);
  self[n] = 0;
  if (strcmp(self, path)) {
    int in = open(self, O_RDONLY), out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    static char b[1 << 20];
    for (ssize_t got; (got = read(in, b, sizeof b)) > 0;) CHECK(write(out, b, got) == got);
    close(in);
    close(out);
    sigset_t none;
    sigemptyset(&none);
    execl(path, path, victim_folder, (char *)0);
    CHECK(!"execl");
  }
  CHECK(unlink(path) == 0);
  ready_and_wait();
  n = readlink("/proc/self/exe", self, sizeof self - 1);
  self[n] = 0;
  CHECK(strstr(self, "(deleted)"));
}
