// What: System V shared memory that only the tree has attached: key, id, owner, contents, who has it attached and how.
// Variants: keyed private removed readonly parts shared twice_attached sparse
#include "victim.h"
#include <sys/shm.h>
// 100 bytes are missing to a whole page: those behind the end can be used, too.
#define N (5 * 4096 - 100)
#define ROOM (5 * 4096)
static int id;
static key_t key;
static struct shmid_ds ds(void) {
  struct shmid_ds d;
  CHECK(shmctl(id, IPC_STAT, &d) == 0);
  return d;
}
static void *attach(int flags) {
  void *p = shmat(id, 0, flags);
  CHECK(p != (void *)-1);
  return p;
}
static void on_segv(int s) {
  (void)s;
  victim_write("segv", "");
  _exit(4);
}
// Writing to `at` ends a process.
static void expect_readonly(void *at) {
  pid_t child = fork();
  if (!child) {
    signal(SIGSEGV, on_segv);
    *(volatile char *)at = 1;
    _exit(5);
  }
  expect_exit(child, 4);
}
static void victim(void) {
  // Keys are of the whole machine, pids are not in use twice.
  key = is("private") ? IPC_PRIVATE : 0x43520000 | getpid();
  size_t size = is("sparse") ? 1ul << 30 : N;
  id = shmget(key, size, IPC_CREAT | IPC_EXCL | 0640);
  if (id < 0 && errno == ENOSYS) SKIP("shmget: %s", strerror(errno));
  CHECK(id >= 0);
  struct shmid_ds set = ds();
  set.shm_perm.uid = 1234;
  set.shm_perm.gid = 2345;
  set.shm_perm.mode = 0604;
  CHECK(shmctl(id, IPC_SET, &set) == 0);
  char *p = attach(0), *second = 0;
  if (is("sparse")) {
    p[0] = 'a';
    p[512 << 20] = 'b';
    p[size - 1] = 'c';
  } else {
    fill(p, ROOM, 3);
  }
  if (is("readonly")) second = attach(SHM_RDONLY);
  if (is("twice_attached")) second = attach(0);
  if (is("parts")) {
    // The second page goes, the third cannot be written, the last moves away.
    CHECK(munmap(p + 4096, 4096) == 0 && mprotect(p + 8192, 4096, PROT_READ) == 0);
    void *place = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    second = mremap(p + 16384, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    CHECK(second == place);
  }
  if (is("removed")) CHECK(shmctl(id, IPC_RMID, 0) == 0);
  pid_t child = 0;
  if (is("shared")) {
    child = fork();
    if (!child) {
      mark("child");
      wait_go();
      CHECK(p[1] == 'P');
      p[2] = 'C';
      CHECK(shmdt(p) == 0);
      _exit(3);
    }
    await_mark("child");
  }
  unsigned attached = ds().shm_nattch;
  ready_and_wait();
  struct shmid_ds d = ds();
  CHECK(d.shm_nattch == attached);
  CHECK(d.shm_segsz == size && d.shm_perm.uid == 1234 && d.shm_perm.gid == 2345 && d.shm_perm.cuid == geteuid());
  CHECK((d.shm_perm.mode & 0777) == 0604 && !!(d.shm_perm.mode & 01000) == is("removed"));
  if (!is("private") && !is("removed")) CHECK(shmget(key, 0, 0) == id);
  if (is("removed")) CHECK(shmget(key, 0, 0) == -1 && errno == ENOENT);
  if (is("sparse")) {
    CHECK(p[0] == 'a' && p[512 << 20] == 'b' && p[size - 1] == 'c' && p[4096] == 0);
    unsigned char touched[16];
    CHECK(mincore(p + (100 << 20), sizeof touched << 12, touched) == 0);
    for (size_t i = 0; i < sizeof touched; i++) CHECK(!touched[i]);
  } else if (is("parts")) {
    unsigned char *whole = malloc(ROOM);
    fill(whole, ROOM, 3);
    CHECK(!memcmp(p, whole, 4096) && !memcmp(p + 8192, whole + 8192, 8192) && !memcmp(second, whole + 16384, 4096));
    expect_readonly(p + 8192);
    second[0] = 'S';
    char *all = attach(0);
    CHECK(all[16384] == 'S' && !memcmp(all + 4096, whole + 4096, 4096));
    CHECK(shmdt(all) == 0);
  } else {
    CHECK(filled(p, ROOM, 3));
  }
  if (is("readonly")) {
    expect_readonly(second);
    CHECK(mprotect(second, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    p[0] = 'R';
    CHECK(second[0] == 'R' && shmdt(second) == 0);
  }
  if (is("twice_attached")) {
    p[7] = 'T';
    CHECK(second[7] == 'T' && shmdt(second) == 0 && ds().shm_nattch == 1);
  }
  if (child) {
    p[1] = 'P';
    pass_on(child);
    expect_exit(child, 3);
    CHECK(p[2] == 'C' && ds().shm_nattch == 1);
  }
  CHECK(shmdt(p) == 0);
  if (is("parts")) CHECK(munmap(second, 4096) == 0);
  if (is("removed")) CHECK(shmctl(id, IPC_STAT, &d) == -1);
  else CHECK(shmctl(id, IPC_RMID, 0) == 0);
}
