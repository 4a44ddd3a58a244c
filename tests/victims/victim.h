// What every victim shares: `victim()` builds its state, calls `ready_and_wait()`, and checks the state with CHECK.
// Results go to files in the victim's folder, so that no descriptor of the test is part of the state.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char victim_folder[PATH_MAX];
static const char *victim_variant = "";
static volatile sig_atomic_t victim_go;

static void victim(void);

// Writes `text` to the file `name`; the first writer wins, so that a child's complaint is not covered by its parent's.
static inline void victim_write(const char *name, const char *text) {
  char path[PATH_MAX + 64], part[PATH_MAX + 96];
  snprintf(path, sizeof path, "%s/%s", victim_folder, name);
  snprintf(part, sizeof part, "%s.%d", path, (int)syscall(SYS_gettid));
  int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  write(fd, text, strlen(text));
  close(fd);
  link(part, path);
  unlink(part);
}

__attribute__((noreturn, format(printf, 2, 3))) static inline void finish(int code, const char *fmt, ...) {
  char text[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text - 1, fmt, ap);
  va_end(ap);
  strcat(text, "\n");
  victim_write("result", text);
  _exit(code);
}

#define CHECK(x) \
  do { \
    if (!(x)) { \
      int e = errno; \
      finish(1, "pid %d, %s:%d: %s (errno %d: %s)", (int)getpid(), __FILE_NAME__, __LINE__, #x, e, strerror(e)); \
    } \
  } while (0)
#define SKIP(...) finish(77, __VA_ARGS__)

static inline void sleep_ms(int ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  while (nanosleep(&t, &t) == -1 && errno == EINTR);
}

static inline double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

// Tells another process of the tree, by a file, that a step was reached.
static inline void mark(const char *name) { victim_write(name, ""); }
static inline void await_mark(const char *name) {
  char path[PATH_MAX + 64];
  snprintf(path, sizeof path, "%s/%s", victim_folder, name);
  for (int i = 0; access(path, F_OK); i++) {
    if (i > 10000) finish(1, "no step `%s`", name);
    sleep_ms(1);
  }
}

// Sleeps until SIGUSR1, which is blocked everywhere else.
static inline void wait_go(void) {
  sigset_t mask;
  sigprocmask(SIG_BLOCK, 0, &mask);
  sigdelset(&mask, SIGUSR1);
  while (!victim_go) sigsuspend(&mask);
}
static inline void ready_and_wait(void) {
  mark("ready");
  wait_go();
}
// The word, passed on to a child.
static inline void pass_on(pid_t child) { CHECK(kill(child, SIGUSR1) == 0); }
static inline int status_of(pid_t child) {
  int st = -1;
  pid_t got;
  while ((got = waitpid(child, &st, 0)) == -1 && errno == EINTR);
  CHECK(got == child);
  return st;
}
static inline void expect_exit(pid_t child, int code) {
  int st = status_of(child);
  CHECK(WIFEXITED(st) && WEXITSTATUS(st) == code);
}
static inline int is(const char *variant) { return strcmp(victim_variant, variant) == 0; }

// A field of /proc/self/status (or of another file of `key:\tvalue` lines), as text.
static inline char *proc_field(const char *file, const char *key) {
  static __thread char line[4096];
  FILE *f = fopen(file, "re");
  size_t n = strlen(key);
  while (f && fgets(line, sizeof line, f))
    if (!strncmp(line, key, n) && line[n] == ':') {
      fclose(f);
      char *v = line + n + 1 + strspn(line + n + 1, "\t ");
      v[strcspn(v, "\n")] = 0;
      return v;
    }
  if (f) fclose(f);
  return 0;
}

static inline void fill(void *at, size_t n, unsigned seed) {
  unsigned char *p = at;
  for (size_t i = 0; i < n; i++) p[i] = (unsigned char)(i * 31 + (i >> 12) * 7 + seed);
}
static inline int filled(const void *at, size_t n, unsigned seed) {
  const unsigned char *p = at;
  for (size_t i = 0; i < n; i++)
    if (p[i] != (unsigned char)(i * 31 + (i >> 12) * 7 + seed)) return 0;
  return 1;
}
static inline void *map_anon(size_t n, int flags) {
  void *p = mmap(0, n, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED);
  return p;
}

static void victim_on_usr1(int s) { (void)s; victim_go = 1; }

int main(int argc, char **argv) {
  if (argc < 2 || !realpath(argv[1], victim_folder)) return 2;
  if (argc > 2) victim_variant = argv[2];
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigprocmask(SIG_BLOCK, &usr1, 0);
  struct sigaction sa = {.sa_handler = victim_on_usr1};
  sigaction(SIGUSR1, &sa, 0);
  victim();
  finish(0, "OK");
}
