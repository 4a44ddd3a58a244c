// What: of many processes with the same descriptors, directories and mappings, each keeps those that differ.
// Options: --file-locks
// Copy: no
#include "victim.h"
#include <sys/file.h>
#define MANY 48
#define KINDS 12
#define PAGE 4096
static char *map;
static int shared, other;
static int built(int i, int kind) { return i % KINDS == kind; }
static int open_at(const char *name, int flags) {
  char path[PATH_MAX + 64];
  snprintf(path, sizeof path, "%s/%s", victim_folder, name);
  int fd = open(path, flags | O_CREAT, 0600);
  CHECK(fd >= 0 && ((flags & O_ACCMODE) == O_RDONLY || ftruncate(fd, 4 * PAGE) == 0));
  return fd;
}
static long offset_of(int fd) { return lseek(fd, 0, SEEK_CUR); }
// Does somebody else have a lock of the byte `at`?
static int is_locked(int fd, long at) {
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
  CHECK(fcntl(fd, F_OFD_GETLK, &l) == 0);
  return l.l_type != F_UNLCK;
}
static void child(int i) {
  char home[PATH_MAX];
  int is_home = getcwd(home, sizeof home) && !strcmp(home, victim_folder);
  char name[32], now[PATH_MAX], *p = 0;
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100 + i, .l_len = 1};
  int own = -1, flags = MAP_PRIVATE | MAP_FIXED;
  if (built(i, 1)) CHECK(close(other) == 0);
  if (built(i, 2)) CHECK((own = open_at("shared", O_RDWR)) >= 0 && dup2(own, other) == other && close(own) == 0 && lseek(other, i, SEEK_SET) == i);
  if (built(i, 3)) CHECK(fcntl(shared, F_SETFD, FD_CLOEXEC) == 0);
  if (built(i, 4)) CHECK(fcntl(shared, F_SETLK, &lock) == 0);
  if (built(i, 5)) CHECK(chdir("/proc") == 0);
  if (built(i, 6)) CHECK((own = open_at("third", O_RDWR)) >= 0 && lseek(own, i, SEEK_SET) == i);
  if (built(i, 7)) CHECK((p = mmap(map, PAGE, PROT_READ, flags, own = open_at("shared", O_RDONLY), 0)) == map && close(own) == 0);
  if (built(i, 8)) CHECK((p = mmap(map, PAGE, PROT_READ, flags, own = open_at("third", O_RDWR), PAGE)) == map && close(own) == 0);
  if (built(i, 9)) CHECK(mprotect(map, PAGE, PROT_READ | PROT_WRITE) == 0 && (map[5] = (char)i, 1));
  if (built(i, 10)) CHECK(dup2(shared, other) == other);
  if (built(i, 11)) CHECK(fchdir(own = open(victim_folder, O_RDONLY | O_DIRECTORY)) == 0 && close(own) == 0);
  snprintf(name, sizeof name, "built %d", i);
  mark(name);
  wait_go();
  CHECK((fcntl(other, F_GETFD) == -1) == built(i, 1));
  CHECK(offset_of(shared) == 7);
  if (!built(i, 1)) CHECK(offset_of(other) == (built(i, 2) ? i : built(i, 10) ? 7 : 9));
  CHECK(fcntl(shared, F_GETFD) == (built(i, 3) ? FD_CLOEXEC : 0));
  int fresh = open("/dev/null", O_RDONLY);
  CHECK(fresh == (built(i, 6) ? own + 1 : built(i, 1) ? other : other + 1));
  if (built(i, 6)) CHECK(offset_of(own) == i);
  CHECK(getcwd(now, sizeof now) && (strcmp(now, "/proc") == 0) == built(i, 5) && (strcmp(now, victim_folder) == 0) == (!built(i, 5) && (built(i, 11) || is_home)));
  CHECK(map[0] == (built(i, 8) ? 't' : 's') && (!built(i, 9) || map[5] == (char)i));
  int looks = open_at("shared", O_RDWR);
  for (int n = 0; n < MANY; n++) CHECK(is_locked(looks, 100 + n) == built(n, 4));
  snprintf(name, sizeof name, "seen %d", i);
  mark(name);
  for (;;) pause();
}
static void victim(void) {
  shared = open_at("shared", O_RDWR);
  other = open_at("other", O_RDWR);
  int third = open_at("third", O_RDWR);
  CHECK(write(shared, "shared!", 7) == 7 && write(other, "the other", 9) == 9 && pwrite(third, "third", 5, PAGE) == 5 && close(third) == 0);
  CHECK((map = mmap(0, PAGE, PROT_READ, MAP_PRIVATE, shared, 0)) != MAP_FAILED);
  pid_t all[MANY];
  char name[32];
  for (int i = 0; i < MANY; i++)
    if (!(all[i] = fork())) {
      child(i);
      _exit(i);
    }
  for (int i = 0; i < MANY; i++) snprintf(name, sizeof name, "built %d", i), await_mark(name);
  ready_and_wait();
  for (int i = 0; i < MANY; i++) pass_on(all[i]);
  // Locks end with whoever has them.
  for (int i = 0; i < MANY; i++) snprintf(name, sizeof name, "seen %d", i), await_mark(name);
  for (int i = 0; i < MANY; i++) CHECK(kill(all[i], SIGTERM) == 0);
  for (int i = 0; i < MANY; i++) CHECK(WIFSIGNALED(status_of(all[i])));
}
