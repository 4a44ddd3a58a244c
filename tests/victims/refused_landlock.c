// What: what a task confined by Landlock may do is told to nobody: refused.
// Variants: process thread privileged privileged_thread
// Refused: Landlock
// Build: -pthread
#include "victim.h"
#include <linux/landlock.h>
static int may_not_make(void) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/directory", victim_folder);
  return mkdir(path, 0700) == -1 && errno == EACCES;
}
static void confine(void) {
  struct landlock_ruleset_attr attr = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_DIR};
  int fd = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
  if (fd < 0) SKIP("landlock_create_ruleset: %s", strerror(errno));
  // With CAP_SYS_ADMIN one can do without.
  if (strncmp(victim_variant, "privileged", 10)) CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(syscall(SYS_landlock_restrict_self, fd, 0) == 0);
  close(fd);
}
static volatile int is_confined, go_on;
static void *confined(void *arg) {
  confine();
  is_confined = 1;
  while (!go_on) sleep_ms(1);
  CHECK(may_not_make());
  return arg;
}
static void victim(void) {
  pthread_t t;
  int is_process = is("process") || is("privileged");
  if (is_process) confine();
  else {
    CHECK(pthread_create(&t, 0, confined, 0) == 0);
    while (!is_confined) sleep_ms(1);
  }
  ready_and_wait();
  if (is_process) CHECK(may_not_make());
  go_on = 1;
  if (!is_process) CHECK(pthread_join(t, 0) == 0);
}
