// What: a tree that never rests: tasks fork, exec, start threads and exit, and their parents check how each of them ended
// Variants: still forks execs threads exits
// Build: -pthread
// Not a victim: no two looks at it are equal. A task named `spare` does nothing, and may be stopped or killed from outside.
#include "../victims/victim.h"
#include <stdatomic.h>
static struct shared {
  atomic_long beats;
  atomic_int stop;
} *shared;
static void spare_task(void) {
  prctl(PR_SET_NAME, "spare");
  for (;;) pause();
}
static void forks(long i) {
  pid_t child[3];
  for (int n = 0; n < 3; n++) {
    child[n] = fork();
    CHECK(child[n] >= 0);
    if (!child[n]) _exit((i + n) % 50);
  }
  for (int n = 0; n < 3; n++) expect_exit(child[n], (i + n) % 50);
}
static void execs(long i) {
  char word[16];
  snprintf(word, sizeof word, "exit%ld", i % 50);
  char *args[] = {"unrest", victim_folder, word, 0};
  pid_t child = i % 2 ? fork() : vfork();
  CHECK(child >= 0);
  if (!child) {
    execv("/proc/self/exe", args);
    _exit(99);
  }
  expect_exit(child, i % 50);
}
static void *thread(void *arg) { return (char *)arg + 1; }
static void threads(long i) {
  pthread_t t[4];
  for (long n = 0; n < 4; n++) CHECK(pthread_create(&t[n], 0, thread, (void *)(i + n)) == 0);
  for (long n = 0; n < 4; n++) {
    void *r;
    CHECK(pthread_join(t[n], &r) == 0 && r == (void *)(i + n + 1));
  }
}
static void *asleep(void *arg) {
  for (;;) pause();
  return arg;
}
// The group's end while it has another thread; the leader's while another goes on; one by a signal.
static void *ends_all(void *arg) {
  _exit((int)(long)arg);
}
static void exits(long i) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (!child) {
    pthread_t t;
    if (i % 3 == 0) pthread_create(&t, 0, asleep, 0);
    if (i % 3 == 1) {
      pthread_create(&t, 0, ends_all, (void *)(i % 50));
      syscall(SYS_exit, 0);
    }
    if (i % 3 == 2) kill(getpid(), SIGKILL);
    _exit(i % 50);
  }
  int status = status_of(child);
  CHECK(i % 3 == 2 ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : WIFEXITED(status) && WEXITSTATUS(status) == i % 50);
}
static void worker(void) {
  prctl(PR_SET_NAME, "worker");
  for (long i = 0; !shared->stop; i++) {
    if (is("forks")) forks(i);
    else if (is("execs")) execs(i);
    else if (is("threads")) threads(i);
    else if (is("exits")) exits(i);
    else sleep_ms(1);
    shared->beats++;
  }
  _exit(3);
}
static void victim(void) {
  if (!strncmp(victim_variant, "exit", 4) && victim_variant[4] && strcmp(victim_variant, "exits")) _exit(atoi(victim_variant + 4));
  shared = map_anon(4096, MAP_SHARED);
  pid_t spare = fork();
  if (!spare) spare_task();
  pid_t child = fork();
  if (!child) worker();
  CHECK(spare > 0 && child > 0);
  ready_and_wait();
  long beats = shared->beats;
  for (int i = 0; shared->beats < beats + 3; i++) {
    CHECK(i < 10000);
    sleep_ms(1);
  }
  shared->stop = 1;
  expect_exit(child, 3);
  CHECK(kill(spare, SIGKILL) == 0);
  int status = status_of(spare);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
