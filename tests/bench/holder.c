// Holds one large thing for the benchmark: holder KIND COUNT DIR. Says `ready`, then sleeps. After SIGUSR1 it watches the
// clock every few microseconds until the file `stop` is there, and writes the longest gap it saw, in microseconds, to `gap`.
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *dir;
static volatile sig_atomic_t go;
static void on_usr1(int s) { (void)s; go = 1; }

static char *at(const char *name) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return path;
}
static void say(const char *name, long long value) {
  FILE *f = fopen(at(name), "w");
  fprintf(f, "%lld\n", value);
  fclose(f);
}
static void *idle(void *a) {
  for (;;) pause();
  return a;
}
static void die(const char *what) {
  perror(what);
  exit(1);
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

static void build(const char *kind, long n) {
  struct rlimit most = {1 << 20, 1 << 20};
  setrlimit(RLIMIT_NOFILE, &most);
  if (!strcmp(kind, "memory")) { // MiB, every page written
    char *p = mmap(0, n << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    for (long i = 0; i < n << 20; i += 64) *(long *)(p + i) = i;
  } else if (!strcmp(kind, "threads")) {
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 65536);
    pthread_t t;
    for (long i = 0; i < n; i++)
      if (pthread_create(&t, &a, idle, 0)) die("pthread_create");
  } else if (!strcmp(kind, "files")) {
    char name[32];
    for (long i = 0; i < n; i++) {
      snprintf(name, sizeof name, "file-%ld", i);
      if (open(at(name), O_RDWR | O_CREAT, 0600) < 0) die("open");
    }
  } else if (!strcmp(kind, "processes")) {
    for (long i = 1; i < n; i++)
      if (!fork()) idle(0);
  } else if (!strcmp(kind, "vmas")) {
    char *p = mmap(0, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    for (long i = 0; i < n; i += 2) {
      p[i * 4096] = 1;
      if (mprotect(p + i * 4096, 4096, PROT_READ)) die("mprotect");
    }
  } else if (!strcmp(kind, "fifos")) { // each with a byte in it
    char name[32];
    for (long i = 0; i < n; i++) {
      snprintf(name, sizeof name, "fifo-%ld", i);
      int fd = mkfifo(at(name), 0600) ? -1 : open(at(name), O_RDWR);
      if (fd < 0 || write(fd, "x", 1) != 1) die("fifo");
    }
  } else if (!strcmp(kind, "epoll")) { // registrations of so many pipes' ends with one description
    struct epoll_event e = {.events = EPOLLIN};
    int s[2], set = epoll_create1(0);
    for (long i = 0; i < n; i++)
      if (pipe(s) || epoll_ctl(set, EPOLL_CTL_ADD, s[0], (e.data.u64 = i, &e))) die("epoll");
  } else if (!strcmp(kind, "tcp")) {
    connections(n);
  } else if (!strcmp(kind, "pairs")) {
    int s[2];
    for (long i = 0; i < n; i++)
      if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) || write(s[0], "x", 1) != 1) die("socketpair");
  }
}

static void watch(void) {
  struct timespec pause = {0, 5000}, a, b;
  long long longest = 0;
  prctl(PR_SET_TIMERSLACK, 1);
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (long i = 0;; i++) {
    nanosleep(&pause, 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    long long gap = (b.tv_sec - a.tv_sec) * 1000000LL + (b.tv_nsec - a.tv_nsec) / 1000;
    if (gap > longest) longest = gap;
    a = b;
    if (i % 64 == 0 && access(at("stop"), F_OK) == 0) break;
  }
  say("gap", longest);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  dir = argv[3];
  build(argv[1], atol(argv[2]));
  signal(SIGUSR1, on_usr1);
  say("ready", 0);
  while (!go) pause();
  watch();
  kill(0, SIGKILL); // its children with it
}
