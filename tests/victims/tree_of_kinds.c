// What: of many processes, few of which are alike, each keeps what is its own.
#include "victim.h"
#include "one_call.h"
#include <linux/membarrier.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <grp.h>
#define MANY 66
#define KINDS 22
static int built(int i, int kind) { return i % KINDS == kind; }
static void put(const char *file, const char *text) {
  int fd = open(file, O_WRONLY | O_CLOEXEC);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) > 0 && close(fd) == 0);
}
static int has(const char *file, const char *text) {
  char now[64] = "";
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && read(fd, now, sizeof now - 1) > 0 && close(fd) == 0);
  return !strncmp(now, text, strlen(text));
}
static void on_winch(int s) { (void)s; }
static void child(int i) {
  char name[16], now[16];
  stack_t st = {.ss_sp = malloc(1 << 14), .ss_size = 1 << 14, .ss_flags = i % 2 ? 0 : (int)(1u << 31)}, got;
  sigset_t m, cur;
  struct rlimit files = {50, 60}, limit;
  struct sigaction action = {.sa_handler = on_winch, .sa_flags = SA_RESTART | SA_NODEFER};
  struct itimerval left, hour = {{0, 0}, {3600, 0}};
  struct itimerspec spec, day = {{7, 0}, {86400, 0}};
  struct sigevent by = {.sigev_notify = SIGEV_NONE};
  timer_t timer = 0;
  cpu_set_t one, cpus;
  gid_t groups[3] = {7, 8}, other = 9;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  // What each has.
  snprintf(name, sizeof name, "kin %d of %d\n", i % KINDS, i);
  CHECK(prctl(PR_SET_NAME, name) == 0);
  char *heap = sbrk(0);
  CHECK(sbrk(4096 * (i + 1)) == heap);
  memset(heap, i, 4096 * (i + 1));
  sigemptyset(&m);
  sigaddset(&m, SIGUSR1);
  sigaddset(&m, SIGRTMIN + i % 20);
  sigprocmask(SIG_SETMASK, &m, 0);
  CHECK(prctl(PR_SET_TIMERSLACK, 50000 + i) == 0);
  if (i % 3) CHECK(sigaltstack(&st, 0) == 0);
  if (i % 5 == 0) CHECK(kill(getpid(), SIGRTMIN + i % 20) == 0);
  if (i % 7 == 0) CHECK(raise(SIGRTMIN + i % 20) == 0);
  // What few have.
  if (built(i, 1)) CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0);
  if (built(i, 2)) umask(017);
  if (built(i, 3)) CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
  if (built(i, 4)) put("/proc/self/oom_score_adj", "123");
  if (built(i, 5)) CHECK(personality(ADDR_NO_RANDOMIZE) == 0);
  if (built(i, 6)) CHECK(sigaction(SIGWINCH, &action, 0) == 0 && signal(SIGHUP, SIG_IGN) != SIG_ERR);
  if (built(i, 7)) CHECK(setitimer(i % 2 ? ITIMER_REAL : ITIMER_VIRTUAL, &hour, 0) == 0);
  if (built(i, 8)) CHECK(timer_create(CLOCK_MONOTONIC, &by, &timer) == 0 && timer_settime(timer, 0, &day, 0) == 0);
  if (built(i, 9)) CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
  if (built(i, 10)) CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  if (built(i, 11)) CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
  if (built(i, 12)) CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  if (built(i, 13)) filter();
  if (built(i, 14)) CHECK(prctl(PR_SET_PDEATHSIG, SIGWINCH) == 0);
  if (built(i, 15)) CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
  if (built(i, 16)) CHECK(setgroups(2, groups) == 0);
  if (built(i, 17)) CHECK(setgroups(1, &other) == 0 && setresgid(5, 0, 7) == 0 && setresuid(1000, 0, 1001) == 0);
  if (built(i, 18)) CHECK(prctl(PR_SET_SECUREBITS, 1 << 4) == 0);
  if (built(i, 19)) put("/proc/self/coredump_filter", "0x7");
  if (built(i, 20)) CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
  if (built(i, 21)) CHECK(mlockall(MCL_FUTURE | MCL_ONFAULT) == 0 || errno == EPERM || errno == ENOMEM);
  snprintf(now, sizeof now, "built %d", i);
  mark(now);
  wait_go();
  CHECK(prctl(PR_GET_NAME, now) == 0 && !strncmp(now, name, 15));
  CHECK(sbrk(0) == heap + 4096 * (i + 1));
  for (int n = 0; n < 4096 * (i + 1); n++) CHECK(heap[n] == (char)i);
  CHECK(sigprocmask(SIG_BLOCK, 0, &cur) == 0 && !memcmp(&cur, &m, 8));
  CHECK(prctl(PR_GET_TIMERSLACK) == 50000 + i);
  CHECK(sigaltstack(0, &got) == 0);
  if (i % 3) CHECK(got.ss_sp == st.ss_sp && got.ss_size == st.ss_size && got.ss_flags == st.ss_flags);
  else CHECK(got.ss_flags == SS_DISABLE);
  CHECK(sigpending(&cur) == 0 && sigismember(&cur, SIGRTMIN + i % 20) == (i % 5 == 0 || i % 7 == 0));
  CHECK(getpriority(PRIO_PROCESS, 0) == (built(i, 1) ? 7 : 0));
  mode_t mask = umask(0);
  CHECK((mask == 017) == built(i, 2));
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && (limit.rlim_cur == 50 && limit.rlim_max == 60) == built(i, 3));
  CHECK(has("/proc/self/oom_score_adj", "123\n") == built(i, 4));
  CHECK((personality(0xffffffff) == ADDR_NO_RANDOMIZE) == built(i, 5));
  CHECK(sigaction(SIGWINCH, 0, &action) == 0 && (action.sa_handler == on_winch) == built(i, 6));
  if (built(i, 6)) CHECK((action.sa_flags & ~0x04000000) == (SA_RESTART | SA_NODEFER));
  CHECK(sigaction(SIGHUP, 0, &action) == 0 && (action.sa_handler == SIG_IGN) == built(i, 6));
  for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
    CHECK(getitimer(which, &left) == 0);
    CHECK((left.it_value.tv_sec > 3000) == (built(i, 7) && which == (i % 2 ? ITIMER_REAL : ITIMER_VIRTUAL)));
  }
  CHECK((timer_gettime(timer, &spec) == 0 && spec.it_value.tv_sec > 80000 && spec.it_interval.tv_sec == 7) == built(i, 8));
  CHECK((prctl(PR_GET_DUMPABLE) == 0) == built(i, 9));
  int reaps = 0, death = 0;
  CHECK(prctl(PR_GET_CHILD_SUBREAPER, &reaps) == 0 && reaps == built(i, 10));
  CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == built(i, 11));
  CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == built(i, 12));
  CHECK(filtered() == built(i, 13));
  CHECK(prctl(PR_GET_PDEATHSIG, &death) == 0 && death == (built(i, 14) ? SIGWINCH : 0));
  CHECK(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
  if (built(i, 15)) CHECK(CPU_EQUAL(&cpus, &one));
  int count = getgroups(3, groups);
  CHECK((count == 2 && groups[0] == 7 && groups[1] == 8) == built(i, 16));
  uid_t r, e, s;
  CHECK(getresuid(&r, &e, &s) == 0 && (r == 1000 && e == 0 && s == 1001) == built(i, 17));
  CHECK(getresgid(&r, &e, &s) == 0 && (r == 5 && e == 0 && s == 7) == built(i, 17));
  CHECK((prctl(PR_GET_SECUREBITS) == 1 << 4) == built(i, 18));
  CHECK(built(i, 9) || has("/proc/self/coredump_filter", "00000007") == built(i, 19));
  CHECK((syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0) == built(i, 20));
}
static void victim(void) {
  pid_t all[MANY];
  for (int i = 0; i < MANY; i++) {
    all[i] = fork();
    if (!all[i]) {
      child(i);
      _exit(i);
    }
  }
  for (int i = 0; i < MANY; i++) {
    char name[16];
    snprintf(name, sizeof name, "built %d", i);
    await_mark(name);
  }
  ready_and_wait();
  for (int i = 0; i < MANY; i++) pass_on(all[i]);
  for (int i = 0; i < MANY; i++) expect_exit(all[i], i);
}
