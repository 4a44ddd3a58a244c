// What: a process whose first thread has exited while others go on: descriptors, memory, signals, timers and threads are there, the first thread stays dead.
// Variants: two many child filters
// Build: -pthread
#include "victim.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
static int fds[2], value;
static char *memory;
static volatile sig_atomic_t alarms;
static pthread_barrier_t check;
static void on_alarm(int s) { (void)s; alarms++; }
static char leader_state(void) {
  char path[64], line[512];
  snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)getpid(), (int)getpid());
  FILE *f = fopen(path, "re");
  CHECK(f && fgets(line, sizeof line, f));
  fclose(f);
  return strrchr(line, ')')[2];
}
static void install(void) {
  struct sock_filter f[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog p = {4, f};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) == 0);
}
static void *other(void *a) {
  pthread_setname_np(pthread_self(), "other");
  if (is("filters") && a == (void *)1) install();
  pthread_barrier_wait(&check);
  pthread_barrier_wait(&check);
  char name[16];
  CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0 && !strcmp(name, "other"));
  if (is("filters")) CHECK(syscall(SYS_getppid) == (a == (void *)1 ? -1 : getppid()));
  return a;
}
static void *rest(void *arg) {
  (void)arg;
  while (leader_state() != 'Z') sleep_ms(1);
  pthread_t t[3];
  int others = is("many") || is("filters") ? 3 : 0;
  pthread_barrier_init(&check, 0, others + 1);
  for (long i = 0; i < others; i++) CHECK(pthread_create(&t[i], 0, other, (void *)i) == 0);
  pid_t child = 0;
  if (is("child")) {
    child = fork();
    if (!child) {
      mark("child");
      wait_go();
      CHECK(write(fds[1], "c", 1) == 1);
      _exit(3);
    }
    await_mark("child");
  }
  struct itimerval in_a_minute = {{0, 0}, {60, 0}};
  CHECK(setitimer(ITIMER_REAL, &in_a_minute, 0) == 0);
  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  if (is("many") || is("filters")) pthread_barrier_wait(&check);
  ready_and_wait();
  CHECK(leader_state() == 'Z' && getpid() != (int)syscall(SYS_gettid));
  CHECK(value == 42 && filled(memory, 1 << 20, 9));
  struct itimerval left, soon = {{0, 0}, {0, 1000}};
  CHECK(getitimer(ITIMER_REAL, &left) == 0 && left.it_value.tv_sec > 10);
  CHECK(timer_delete(timer) == 0 && setitimer(ITIMER_REAL, &soon, 0) == 0);
  while (!alarms) sleep_ms(1);
  char c = 0;
  if (child) {
    pass_on(child);
    expect_exit(child, 3);
    CHECK(read(fds[0], &c, 1) == 1 && c == 'c');
  }
  CHECK(write(fds[1], "x", 1) == 1 && read(fds[0], &c, 1) == 1 && c == 'x');
  if (others) pthread_barrier_wait(&check);
  for (int i = 0; i < others; i++) pthread_join(t[i], 0);
  // A new thread and a new child still work.
  pthread_t last;
  pthread_barrier_init(&check, 0, 1);
  CHECK(pthread_create(&last, 0, other, 0) == 0 && pthread_join(last, 0) == 0);
  finish(0, "OK");
  return 0;
}
static void victim(void) {
  CHECK(pipe(fds) == 0);
  memory = map_anon(1 << 20, MAP_PRIVATE);
  fill(memory, 1 << 20, 9);
  signal(SIGALRM, on_alarm);
  value = 42;
  pthread_t t;
  CHECK(pthread_create(&t, 0, rest, 0) == 0);
  pthread_exit(0);
}
