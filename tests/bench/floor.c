// What the bare work costs, without an engine: floor KIND COUNT PID DIR prints `dump_us N` and `restore_us N`.
// PID holds the thing (see holder.c). `floor yardstick 20 0 DIR` times the start and end of a dynamically linked program.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long n;
static pid_t pid;
static char path[4096];

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
static void die(const char *what) {
  perror(what);
  exit(1);
}

// ---- memory: two threads copy between memory and one tmpfs file
static char *memory;
static int file;
static int reading;
static void *half(void *arg) {
  long len = (n << 20) / 2, from = (long)arg * len, step = 1 << 20;
  for (long at = from; at < from + len; at += step)
    if ((reading ? pread(file, memory + at, step, at) : pwrite(file, memory + at, step, at)) != step) die("copy");
  return arg;
}
static double copy(void) {
  pthread_t t[2];
  double start = now_us();
  for (long i = 0; i < 2; i++) pthread_create(&t[i], 0, half, (void *)i);
  for (int i = 0; i < 2; i++) pthread_join(t[i], 0);
  return now_us() - start;
}
static char *fresh(void) {
  char *p = mmap(0, n << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) die("mmap");
  return p;
}

// ---- processes and threads: stop, look, let go
static int tasks(pid_t *all, pid_t of) {
  char p[64];
  int k = 0;
  snprintf(p, sizeof p, "/proc/%d/task", of);
  DIR *d = opendir(p);
  for (struct dirent *e; d && (e = readdir(d));)
    if (e->d_name[0] != '.') all[k++] = atoi(e->d_name);
  if (d) closedir(d);
  return k;
}
static int children(pid_t *all, pid_t of) {
  char p[64];
  snprintf(p, sizeof p, "/proc/%d/task/%d/children", of, of);
  FILE *f = fopen(p, "r");
  int k = 0;
  while (f && fscanf(f, "%d", &all[k]) == 1) k++;
  if (f) fclose(f);
  return k;
}
static void stop_and_look(pid_t *all, int k) {
  struct user_regs_struct r;
  int st;
  for (int i = 0; i < k; i++)
    if (ptrace(PTRACE_SEIZE, all[i], 0, 0) || ptrace(PTRACE_INTERRUPT, all[i], 0, 0)) die("seize");
  for (int i = 0; i < k; i++) {
    waitpid(all[i], &st, __WALL);
    ptrace(PTRACE_GETREGS, all[i], 0, &r);
  }
}
static void let_go(pid_t *all, int k) {
  for (int i = 0; i < k; i++) ptrace(PTRACE_DETACH, all[i], 0, 0);
}
static void slurp(pid_t of, const char *name) {
  static char b[1 << 16];
  char p[64];
  snprintf(p, sizeof p, "/proc/%d/%s", of, name);
  int fd = open(p, O_RDONLY);
  while (fd >= 0 && read(fd, b, sizeof b) > 0);
  close(fd);
}
static void write_images(const char *dir, int k) {
  char p[4200];
  for (int i = 0; i < k; i++) {
    snprintf(p, sizeof p, "%s/image-%d", dir, i);
    int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, p, 100) != 100) die(p);
    close(fd);
  }
}
static void *idle(void *a) {
  for (;;) pause();
  return a;
}

// Connected pairs, and what they were accepted from, in this order of descriptors: listener, client, server, client ...
static void connections(long n) {
  struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
  socklen_t len = sizeof a;
  int l = socket(AF_INET, SOCK_STREAM, 0), c;
  if (bind(l, (void *)&a, len) || listen(l, 16) || getsockname(l, (void *)&a, &len)) die("listen");
  for (long i = 0; i < n; i++)
    if ((c = socket(AF_INET, SOCK_STREAM, 0)) < 0 || connect(c, (void *)&a, len) || accept(l, 0, 0) < 0 || write(c, "x", 1) != 1) die("connect");
}

static void measure(const char *kind, const char *dir, double *dump, double *restore) {
  static pid_t all[1 << 16];
  int k = 0, s[2];
  double start;
  if (!strcmp(kind, "memory")) {
    snprintf(path, sizeof path, "%s/copy", dir);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    memory = fresh();
    memset(memory, 1, n << 20);
    *dump = copy();
    munmap(memory, n << 20);
    memory = fresh();
    reading = 1;
    *restore = copy();
    return;
  }
  start = now_us();
  if (!strcmp(kind, "threads") || !strcmp(kind, "small")) {
    k = tasks(all, pid);
    stop_and_look(all, k);
    slurp(pid, "smaps");
    write_images(dir, k + 8);
    let_go(all, k);
  } else if (!strcmp(kind, "processes")) {
    all[k++] = pid;
    k += children(all + 1, pid);
    stop_and_look(all, k);
    for (int i = 0; i < k; i++) slurp(all[i], "smaps");
    write_images(dir, 4 * k);
    let_go(all, k);
  } else if (!strcmp(kind, "vmas")) {
    all[k++] = pid;
    stop_and_look(all, k);
    slurp(pid, "smaps");
    let_go(all, k);
  } else {
    char p[64], b[4096];
    int held = syscall(SYS_pidfd_open, pid, 0);
    struct stat st;
    all[k++] = pid;
    stop_and_look(all, k);
    long fds = !strcmp(kind, "pairs") ? 2 * n : !strcmp(kind, "tcp") ? 2 * n + 1 : n;
    for (long i = 0; i < fds; i++) {
      int fd = syscall(SYS_pidfd_getfd, held, 3 + i, 0);
      if (fd < 0) die("pidfd_getfd");
      fstat(fd, &st);
      snprintf(p, sizeof p, "fdinfo/%ld", 3 + i);
      slurp(pid, p);
      if (!strcmp(kind, "pairs") || !strcmp(kind, "tcp")) recv(fd, b, sizeof b, MSG_PEEK | MSG_DONTWAIT);
      else {
        snprintf(p, sizeof p, "/proc/self/fd/%d", fd);
        if (readlink(p, b, sizeof b) < 0) die("readlink");
      }
      close(fd);
    }
    let_go(all, k);
  }
  *dump = now_us() - start;
  start = now_us();
  if (!strcmp(kind, "small")) {
    pid_t c = fork();
    if (!c) idle(0);
    *restore = now_us() - start;
    kill(c, SIGKILL);
    waitpid(c, 0, 0);
  } else if (!strcmp(kind, "threads")) {
    pthread_attr_t a;
    pthread_t t;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 65536);
    for (long i = 0; i < n; i++)
      if (pthread_create(&t, &a, idle, 0)) die("pthread_create");
    *restore = now_us() - start;
  } else if (!strcmp(kind, "processes")) {
    for (long i = 0; i < n; i++) {
      all[i] = fork();
      if (!all[i]) idle(0);
    }
    *restore = now_us() - start;
    for (long i = 0; i < n; i++) kill(all[i], SIGKILL), waitpid(all[i], 0, 0);
  } else if (!strcmp(kind, "vmas")) {
    char *p = mmap(0, n * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 0; i < n; i++) {
      int prot = i % 2 ? PROT_READ | PROT_WRITE : PROT_READ;
      if (mmap(p + i * 4096, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) die("mmap");
    }
    *restore = now_us() - start;
  } else if (!strcmp(kind, "files")) {
    for (long i = 0; i < n; i++) {
      snprintf(path, sizeof path, "%s/file-%ld", dir, i);
      if (open(path, O_RDWR | O_CREAT, 0600) < 0) die(path);
    }
    *restore = now_us() - start;
  } else if (!strcmp(kind, "tcp")) {
    connections(n);
    *restore = now_us() - start;
  } else {
    for (long i = 0; i < n; i++)
      if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) || write(s[0], "x", 1) != 1) die("socketpair");
    *restore = now_us() - start;
  }
}

static int by_value(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }
static double yardstick(void) {
  double all[1000];
  char *args[] = {"true", 0}, *env[] = {0};
  for (long i = 0; i < n; i++) {
    pid_t c;
    double start = now_us();
    if (posix_spawn(&c, "/bin/true", 0, 0, args, env)) die("posix_spawn");
    waitpid(c, 0, 0);
    all[i] = now_us() - start;
  }
  qsort(all, n, sizeof *all, by_value);
  return all[n / 2];
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  n = atol(argv[2]);
  pid = atoi(argv[3]);
  struct rlimit most = {1 << 20, 1 << 20};
  setrlimit(RLIMIT_NOFILE, &most);
  if (!strcmp(argv[1], "yardstick")) {
    printf("yardstick_us %.0f\n", yardstick());
    return 0;
  }
  double dump = 0, restore = 0;
  measure(argv[1], argv[4], &dump, &restore);
  printf("dump_us %.0f\nrestore_us %.0f\n", dump, restore);
  fflush(stdout);
  _exit(0);
}
