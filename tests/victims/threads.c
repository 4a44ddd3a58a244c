// What: threads keep their TLS, names, signal masks, scheduling, alternate stacks, and can be joined.
// Variants: tls names masks sched nice altstack join many cond
// Build: -pthread
#include "victim.h"
#include <sys/resource.h>
#define MANY 200
static pthread_barrier_t built, check;
static __thread long mine;
static void *thread(void *arg) {
  long i = (long)arg;
  sigset_t m, cur;
  char name[16], now[16];
  stack_t st = {.ss_sp = malloc(SIGSTKSZ), .ss_size = SIGSTKSZ}, got;
  mine = 100 + i;
  snprintf(name, sizeof name, "worker-%ld", i);
  sigemptyset(&m);
  sigaddset(&m, SIGUSR1);
  sigaddset(&m, SIGRTMIN + i % 20);
  if (is("names")) prctl(PR_SET_NAME, name);
  if (is("masks")) pthread_sigmask(SIG_SETMASK, &m, 0);
  if (is("altstack")) CHECK(sigaltstack(&st, 0) == 0);
  if (is("nice")) CHECK(setpriority(PRIO_PROCESS, syscall(SYS_gettid), i % 10) == 0);
  struct sched_param zero = {0};
  if (is("sched")) CHECK(sched_setscheduler(0, i % 2 ? SCHED_BATCH : SCHED_IDLE, &zero) == 0);
  pid_t tid = syscall(SYS_gettid);
  pthread_barrier_wait(&built);
  pthread_barrier_wait(&check);
  CHECK(syscall(SYS_gettid) == tid && mine == 100 + i);
  if (is("names")) CHECK(prctl(PR_GET_NAME, now) == 0 && !strcmp(now, name));
  if (is("masks")) CHECK(pthread_sigmask(SIG_BLOCK, 0, &cur) == 0 && !memcmp(&cur, &m, 8));
  if (is("altstack")) CHECK(sigaltstack(0, &got) == 0 && got.ss_sp == st.ss_sp && got.ss_size == st.ss_size && got.ss_flags == 0);
  if (is("nice")) CHECK(getpriority(PRIO_PROCESS, 0) == i % 10);
  if (is("sched")) CHECK(sched_getscheduler(0) == (i % 2 ? SCHED_BATCH : SCHED_IDLE));
  return (void *)(i + 1);
}
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;
static void *waiter(void *arg) {
  pthread_mutex_lock(&lock);
  while (turn != (int)(long)arg) pthread_cond_wait(&cond, &lock);
  turn++;
  pthread_cond_broadcast(&cond);
  pthread_mutex_unlock(&lock);
  return arg;
}
static void victim(void) {
  int n = is("many") ? MANY : 5;
  pthread_t t[MANY];
  if (is("cond")) {
    for (long i = 0; i < n; i++) CHECK(pthread_create(&t[i], 0, waiter, (void *)(i + 1)) == 0);
    ready_and_wait();
    pthread_mutex_lock(&lock);
    turn = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < n; i++) pthread_join(t[i], 0);
    CHECK(turn == n + 1);
    return;
  }
  pthread_barrier_init(&built, 0, n + 1);
  pthread_barrier_init(&check, 0, n + 1);
  for (long i = 0; i < n; i++) CHECK(pthread_create(&t[i], 0, thread, (void *)i) == 0);
  pthread_barrier_wait(&built);
  ready_and_wait();
  pthread_barrier_wait(&check);
  for (long i = 0; i < n; i++) {
    void *r;
    CHECK(pthread_join(t[i], &r) == 0 && r == (void *)(i + 1));
  }
}
