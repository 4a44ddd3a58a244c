// What: of many threads, few of which are alike, each keeps what is its own.
// Build: -pthread
#include "victim.h"
#include "one_call.h"
#include <sys/resource.h>
#define MANY 144
#define KINDS 9
static pthread_barrier_t built, check;
static int is_ordinary(long i, long kind) { return i % KINDS != kind; }
static void *thread(void *arg) {
  long i = (long)arg;
  char name[16], now[16];
  stack_t st = {.ss_sp = malloc(1 << 14), .ss_size = 1 << 14, .ss_flags = i % 2 ? 0 : (int)(1u << 31)}, got;
  sigset_t m, cur;
  struct sched_param zero = {0};
  uid_t r, e, s;
  cpu_set_t one, cpus;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  // What each has.
  snprintf(name, sizeof name, "kind %ld of %ld\n", i % KINDS, i);
  CHECK(prctl(PR_SET_NAME, name) == 0);
  sigemptyset(&m);
  sigaddset(&m, SIGUSR1);
  sigaddset(&m, SIGRTMIN + i % 20);
  pthread_sigmask(SIG_SETMASK, &m, 0);
  CHECK(prctl(PR_SET_TIMERSLACK, 50000 + i) == 0);
  if (i % 3) CHECK(sigaltstack(&st, 0) == 0);
  if (i % 5 == 0) CHECK(pthread_kill(pthread_self(), SIGRTMIN + i % 20) == 0);
  // What few have.
  if (!is_ordinary(i, 1)) CHECK(setpriority(PRIO_PROCESS, syscall(SYS_gettid), 7) == 0);
  if (!is_ordinary(i, 2)) CHECK(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &zero) == 0);
  if (!is_ordinary(i, 3)) CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
  if (!is_ordinary(i, 4)) CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  if (!is_ordinary(i, 5)) CHECK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 5) == 0);
  if (!is_ordinary(i, 6)) CHECK(syscall(SYS_setresuid, 1000, 0, 0) == 0);
  if (!is_ordinary(i, 7)) filter();
  if (!is_ordinary(i, 8)) CHECK(prctl(PR_SET_PDEATHSIG, SIGWINCH) == 0);
  pid_t tid = syscall(SYS_gettid);
  pthread_barrier_wait(&built);
  pthread_barrier_wait(&check);
  CHECK(syscall(SYS_gettid) == tid);
  CHECK(prctl(PR_GET_NAME, now) == 0 && !strncmp(now, name, 15));
  CHECK(pthread_sigmask(SIG_BLOCK, 0, &cur) == 0 && !memcmp(&cur, &m, 8));
  CHECK(prctl(PR_GET_TIMERSLACK) == 50000 + i);
  CHECK(sigaltstack(0, &got) == 0);
  if (i % 3) CHECK(got.ss_sp == st.ss_sp && got.ss_size == st.ss_size && got.ss_flags == st.ss_flags);
  else CHECK(got.ss_flags == SS_DISABLE);
  CHECK(sigpending(&cur) == 0 && sigismember(&cur, SIGRTMIN + i % 20) == (i % 5 == 0));
  CHECK(getpriority(PRIO_PROCESS, syscall(SYS_gettid)) == (is_ordinary(i, 1) ? 0 : 7));
  CHECK(sched_getscheduler(0) == (is_ordinary(i, 2) ? SCHED_OTHER : SCHED_BATCH | SCHED_RESET_ON_FORK));
  CHECK(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
  if (!is_ordinary(i, 3)) CHECK(CPU_EQUAL(&cpus, &one));
  CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == !is_ordinary(i, 4));
  CHECK(syscall(SYS_ioprio_get, 1, 0) >> 13 == (is_ordinary(i, 5) ? 0 : 2));
  CHECK(syscall(SYS_getresuid, &r, &e, &s) == 0 && r == (is_ordinary(i, 6) ? 0 : 1000) && e == 0);
  CHECK(filtered() == !is_ordinary(i, 7));
  int death = 0;
  CHECK(prctl(PR_GET_PDEATHSIG, &death) == 0 && death == (is_ordinary(i, 8) ? 0 : SIGWINCH));
  return (void *)(i + 1);
}
static void victim(void) {
  pthread_t t[MANY];
  pthread_barrier_init(&built, 0, MANY + 1);
  pthread_barrier_init(&check, 0, MANY + 1);
  for (long i = 0; i < MANY; i++) CHECK(pthread_create(&t[i], 0, thread, (void *)i) == 0);
  pthread_barrier_wait(&built);
  ready_and_wait();
  pthread_barrier_wait(&check);
  for (long i = 0; i < MANY; i++) {
    void *r;
    CHECK(pthread_join(t[i], &r) == 0 && r == (void *)(i + 1));
  }
}
