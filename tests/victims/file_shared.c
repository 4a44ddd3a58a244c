// What: one open file description shared by dup and fork: the offset moves for all.
#include "victim.h"
static void victim(void) {
  char path[PATH_MAX + 16], b[8];
  snprintf(path, sizeof path, "%s/file", victim_folder);
  int f = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), own = open(path, O_RDONLY);
  CHECK(write(f, "abcdefgh", 8) == 8 && lseek(f, 0, SEEK_SET) == 0);
  int d = dup(f);
  pid_t child = fork();
  if (!child) {
    dup2(f, 77);
    close(f);
    mark("child");
    wait_go();
    CHECK(read(77, b, 2) == 2 && !memcmp(b, "bc", 2));
    CHECK(read(own, b, 1) == 1 && b[0] == 'a');
    _exit(1);
  }
  await_mark("child");
  ready_and_wait();
  CHECK(read(d, b, 1) == 1 && b[0] == 'a');
  pass_on(child);
  expect_exit(child, 1);
  CHECK(read(f, b, 1) == 1 && b[0] == 'd' && lseek(d, 0, SEEK_CUR) == 4);
  CHECK(read(own, b, 1) == 1 && b[0] == 'b');
}
