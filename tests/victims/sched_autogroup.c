// What: the nice value of a session's autogroup is kept, in the session of the root and in one below it.
#include "victim.h"
static int nice_of_group(void) {
  char line[128] = "";
  int fd = open("/proc/self/autogroup", O_RDONLY | O_CLOEXEC), value = -100;
  if (fd < 0 || read(fd, line, sizeof line - 1) <= 0) return -100;
  close(fd);
  char *at = strstr(line, " nice ");
  if (at) sscanf(at, " nice %d", &value);
  return value;
}
static void set(const char *nice) {
  int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || nice_of_group() == -100) SKIP("no autogroups");
  CHECK(write(fd, nice, strlen(nice)) > 0 && close(fd) == 0);
}
static void victim(void) {
  setsid();
  set("5");
  pid_t child = fork();
  if (!child) {
    CHECK(nice_of_group() == 5 && setsid() == getpid() && nice_of_group() == 0);
    set("-3");
    pid_t below = fork();
    if (below) mark("child");
    wait_go();
    CHECK(nice_of_group() == -3);
    if (below) pass_on(below), expect_exit(below, 4);
    _exit(4);
  }
  await_mark("child");
  ready_and_wait();
  CHECK(nice_of_group() == 5);
  pass_on(child), expect_exit(child, 4);
}
