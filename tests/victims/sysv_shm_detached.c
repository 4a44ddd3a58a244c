// What: System V shared memory that nobody has attached stays where it is, and is found again by its key.
// Modes: plain twice
#include "victim.h"
#include <sys/shm.h>
#define N (3 * 4096)
static void victim(void) {
  key_t key = 0x43530000 | getpid();
  int id = shmget(key, N, IPC_CREAT | IPC_EXCL | 0600);
  if (id < 0 && errno == ENOSYS) SKIP("shmget: %s", strerror(errno));
  CHECK(id >= 0);
  char *p = shmat(id, 0, 0);
  CHECK(p != (void *)-1);
  fill(p, N, 5);
  CHECK(shmdt(p) == 0);
  ready_and_wait();
  CHECK(shmget(key, 0, 0) == id);
  p = shmat(id, 0, 0);
  CHECK(p != (void *)-1 && filled(p, N, 5) && shmdt(p) == 0 && shmctl(id, IPC_RMID, 0) == 0);
}
