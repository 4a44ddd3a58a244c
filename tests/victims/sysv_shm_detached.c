// What: System V shared memory that a task has made and nobody has attached: key, id, owner, contents, on this machine and on one that has it not.
// Variants: alone child locked many
#include "victim.h"
#include <sys/shm.h>
// 50 bytes are missing to a whole page: those behind the end can be used, too.
#define N (3 * 4096 - 50)
#define ROOM (3 * 4096)
#define MOST 5
static int count = 1, ids[MOST];
static key_t keys[MOST];
static struct shmid_ds ds(int id) {
  struct shmid_ds d;
  CHECK(shmctl(id, IPC_STAT, &d) == 0);
  return d;
}
static void make(int n) {
  // Keys are of the whole machine, pids are not in use twice. The last of many has none.
  keys[n] = is("many") && n == count - 1 ? IPC_PRIVATE : (0x43530000 + (n << 24)) | getpid();
  int id = ids[n] = shmget(keys[n], N + n * 8192, IPC_CREAT | IPC_EXCL | 0600);
  if (id < 0 && errno == ENOSYS) SKIP("shmget: %s", strerror(errno));
  CHECK(id >= 0);
  struct shmid_ds set = ds(id);
  set.shm_perm.uid = 1234, set.shm_perm.gid = 2345 + n, set.shm_perm.mode = 0604;
  CHECK(shmctl(id, IPC_SET, &set) == 0);
  // The second was never attached.
  if (n == 1) return;
  char *p = shmat(id, 0, 0);
  CHECK(p != (void *)-1);
  fill(p, ROOM, 5 + n);
  CHECK(shmdt(p) == 0);
  if (is("locked")) CHECK(shmctl(id, SHM_LOCK, 0) == 0);
}
static void check(int n) {
  if (keys[n]) CHECK(shmget(keys[n], 0, 0) == ids[n]);
  struct shmid_ds d = ds(ids[n]);
  CHECK(d.shm_nattch == 0 && d.shm_segsz == (size_t)N + n * 8192);
  CHECK(d.shm_perm.uid == 1234 && d.shm_perm.gid == 2345u + n && d.shm_perm.cuid == geteuid());
  CHECK((d.shm_perm.mode & 07777) == (is("locked") ? 02604 : 0604));
  char *p = shmat(ids[n], 0, 0), *zeros = calloc(1, ROOM);
  CHECK(p != (void *)-1 && (n == 1 ? !memcmp(p, zeros, ROOM) : filled(p, ROOM, 5 + n)));
  CHECK(shmdt(p) == 0 && shmctl(ids[n], IPC_RMID, 0) == 0);
}
static void victim(void) {
  if (is("many")) count = MOST;
  pid_t child = 0;
  int told[2];
  if (is("child")) {
    CHECK(pipe(told) == 0);
    child = fork();
    if (!child) {
      make(0);
      CHECK(write(told[1], &keys[0], sizeof keys[0]) == sizeof keys[0] && write(told[1], ids, sizeof *ids) == sizeof *ids);
      wait_go();
      _exit(3);
    }
    CHECK(read(told[0], &keys[0], sizeof keys[0]) == sizeof keys[0] && read(told[0], ids, sizeof *ids) == sizeof *ids);
  } else {
    for (int n = 0; n < count; n++) make(n);
  }
  ready_and_wait();
  for (int n = 0; n < count; n++) check(n);
  if (child) {
    pass_on(child);
    expect_exit(child, 3);
  }
}
