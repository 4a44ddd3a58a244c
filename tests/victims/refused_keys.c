// What: keys that only a process or a thread has cannot be saved: refused.
// Variants: process thread
// Refused.process: keyring & KEY_SPEC_PROCESS_KEYRING
// Refused.thread: thread & KEY_SPEC_THREAD_KEYRING
#include "victim.h"
#include <linux/keyctl.h>
static void victim(void) {
  int keyring = is("process") ? KEY_SPEC_PROCESS_KEYRING : KEY_SPEC_THREAD_KEYRING;
  if (syscall(SYS_add_key, "user", "a key", "secret", 6, keyring) < 0) SKIP("add_key: %s", strerror(errno));
  ready_and_wait();
  CHECK(syscall(SYS_keyctl, KEYCTL_SEARCH, keyring, "user", "a key", 0) > 0);
}
