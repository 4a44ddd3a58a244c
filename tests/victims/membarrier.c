// What: registrations for membarrier(2), which its expedited commands need.
#include "victim.h"
#include <linux/membarrier.h>
static long barrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }
static void victim(void) {
  long known = barrier(MEMBARRIER_CMD_QUERY);
  if (known < 0 || !(known & MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE)) SKIP("membarrier: no expedited commands here");
  CHECK(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE) == -1 && errno == EPERM);
  CHECK(barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE) == 0);
  CHECK(barrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0);
  ready_and_wait();
  CHECK(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE) == 0);
  CHECK(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) == -1 && errno == EPERM);
}
