// What: children that are nearly what their parent is keep what they have of their own and what they share, and their order.
#include "victim.h"
#include <sys/resource.h>
#define KINDS 10
#define MANY 30
#define PAGE 4096
#define N (16 * PAGE)
static char *area, *common;
static int pipes[2];
static void on_usr2(int s) { (void)s; }
static int of(int i, int kind) { return i % KINDS == kind; }
static long pending(int sig) {
  sigset_t set;
  sigpending(&set);
  return sigismember(&set, sig);
}
static int is_mapped(void *at) {
  unsigned char in;
  return mincore(at, PAGE, &in) == 0;
}
static void child(int i) {
  char name[32], *own = 0;
  pid_t parent = getppid();
  sigset_t usr2;
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  struct itimerval in = {{0, 0}, {1000 + i, 0}}, now;
  struct rlimit limit = {100 + i, 200 + i};
  if (of(i, 1)) fill(own = map_anon(N, MAP_PRIVATE), N, i);
  if (of(i, 2)) CHECK(munmap(area, N) == 0);
  if (of(i, 3)) CHECK(madvise(area + PAGE, PAGE, MADV_DONTNEED) == 0);
  if (of(i, 4)) area[2 * PAGE + i] = 'x';
  if (of(i, 5)) CHECK(signal(SIGUSR2, on_usr2) != SIG_ERR && setitimer(ITIMER_REAL, &in, 0) == 0);
  if (of(i, 6)) CHECK(sigprocmask(SIG_BLOCK, &usr2, 0) == 0 && raise(SIGUSR2) == 0);
  if (of(i, 7)) CHECK(munmap(area + 4 * PAGE, 3 * PAGE) == 0);
  if (of(i, 8)) CHECK(prctl(PR_SET_PDEATHSIG, SIGHUP) == 0 && setpriority(PRIO_PROCESS, 0, 3) == 0 && setrlimit(RLIMIT_MSGQUEUE, &limit) == 0);
  if (of(i, 9)) fill(own = sbrk(N), N, i);
  snprintf(name, sizeof name, "twin %d", i);
  CHECK(prctl(PR_SET_NAME, name) == 0);
  if (!of(i, 2)) area[15 * PAGE] = (char)i;
  mark(name);
  wait_go();
  char comm[32];
  CHECK(getppid() == parent && prctl(PR_GET_NAME, comm) == 0 && !strcmp(comm, name));
  if (own) CHECK(filled(own, N, i));
  CHECK(is_mapped(area) == !of(i, 2));
  if (!of(i, 2)) {
    CHECK(area[15 * PAGE] == (char)i && filled(area, PAGE, 5));
    CHECK(area[PAGE] == (of(i, 3) ? 0 : 12));
    for (int p = 0; p < 16; p++) CHECK(is_mapped(area + p * PAGE) == !(of(i, 7) && p >= 4 && p < 7));
    CHECK((area[2 * PAGE + i] == 'x') == of(i, 4));
  }
  CHECK((signal(SIGUSR2, SIG_DFL) == on_usr2) == of(i, 5));
  CHECK(getitimer(ITIMER_REAL, &now) == 0 && (now.it_value.tv_sec > 900) == of(i, 5));
  CHECK(pending(SIGUSR2) == of(i, 6));
  int death = -1;
  CHECK(prctl(PR_GET_PDEATHSIG, &death) == 0 && death == (of(i, 8) ? SIGHUP : 0));
  CHECK((getpriority(PRIO_PROCESS, 0) == 3) == of(i, 8));
  CHECK(getrlimit(RLIMIT_MSGQUEUE, &limit) == 0 && (limit.rlim_max == (rlim_t)(200 + i)) == of(i, 8));
  // One description, one segment for all.
  char byte = (char)i;
  CHECK(common[i] == (char)~i && (common[i] = (char)i, write(pipes[1], &byte, 1) == 1));
  CHECK(open("/dev/null", O_RDONLY) == pipes[1] + 1);
  _exit(i);
}
static void victim(void) {
  common = map_anon(PAGE, MAP_SHARED);
  // With a fence below, so that what is mapped next is no part of it.
  area = (char *)map_anon(PAGE + N, MAP_PRIVATE) + PAGE;
  CHECK(mprotect(area - PAGE, PAGE, PROT_NONE) == 0);
  fill(area, N, 5);
  // No `x` where one is written.
  for (int i = 0; i < MANY; i++) area[2 * PAGE + i] = 'o', common[i] = (char)~i;
  CHECK(pipe(pipes) == 0);
  pid_t all[MANY];
  char name[32], line[1024], *at = line;
  for (int i = 0; i < MANY; i++)
    if (!(all[i] = fork())) child(i);
  for (int i = 0; i < MANY; i++) snprintf(name, sizeof name, "twin %d", i), await_mark(name);
  // The parent goes its own way, too.
  area[3 * PAGE] = 'p';
  char *own = map_anon(N, MAP_PRIVATE);
  fill(own, N, 77);
  ready_and_wait();
  CHECK(area[3 * PAGE] == 'p' && filled(own, N, 77));
  FILE *f = fopen("/proc/thread-self/children", "re");
  CHECK(f && fgets(line, sizeof line, f) && fclose(f) == 0);
  for (int i = 0; i < MANY; i++) CHECK(strtol(at, &at, 10) == all[i]);
  int sum = 0;
  for (int i = 0; i < MANY; i++) pass_on(all[i]);
  for (int i = 0; i < MANY; i++) expect_exit(all[i], i);
  for (int i = 0; i < MANY; i++) {
    char byte;
    CHECK(read(pipes[0], &byte, 1) == 1 && common[i] == (char)i);
    sum += byte;
  }
  CHECK(sum == MANY * (MANY - 1) / 2);
}
