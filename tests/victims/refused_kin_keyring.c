// What: of many processes that are alike, one that has a keyring of its own is refused.
// Refused: KEY_SPEC_PROCESS_KEYRING
#include "victim.h"
#define MANY 12
static long keyring(int create) { return syscall(SYS_keyctl, 0, -2, create); }
static void victim(void) {
  pid_t all[MANY];
  char name[16];
  for (int i = 0; i < MANY; i++)
    if (!(all[i] = fork())) {
      if (i == 9 && keyring(1) < 0) SKIP("keyctl: %s", strerror(errno));
      snprintf(name, sizeof name, "child %d", i);
      mark(name);
      wait_go();
      CHECK((keyring(0) > 0) == (i == 9));
      _exit(i);
    }
  for (int i = 0; i < MANY; i++) snprintf(name, sizeof name, "child %d", i), await_mark(name);
  ready_and_wait();
  for (int i = 0; i < MANY; i++) pass_on(all[i]);
  for (int i = 0; i < MANY; i++) expect_exit(all[i], i);
}
