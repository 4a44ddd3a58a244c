// What: a process whose limits are reached, or below what it has already, is dumped and restored all the same, and its limits hold afterwards.
// Variants: nofile as data stack memlock nproc fsize sigpending cpu msgqueue
// Build: -pthread
#include "victim.h"
#include <linux/capability.h>
#include <sys/resource.h>
static struct rlimit had, set;
static void *idle(void *a) {
  for (;;) pause();
  return a;
}
static void limit(int resource, rlim_t soft, int is_hard) {
  CHECK(getrlimit(resource, &had) == 0);
  set = (struct rlimit){soft, is_hard ? soft : had.rlim_max};
  CHECK(setrlimit(resource, &set) == 0);
}
static void victim(void) {
  int n = 0;
  pthread_t t;
  int resource = is("nofile") ? RLIMIT_NOFILE : is("as") ? RLIMIT_AS : is("data") ? RLIMIT_DATA : is("stack") ? RLIMIT_STACK : is("memlock") ? RLIMIT_MEMLOCK : is("nproc") ? RLIMIT_NPROC : is("fsize") ? RLIMIT_FSIZE : is("sigpending") ? RLIMIT_SIGPENDING : is("cpu") ? RLIMIT_CPU : RLIMIT_MSGQUEUE;
  char *memory = map_anon(1 << 20, MAP_PRIVATE);
  fill(memory, 1 << 20, 3);
  // In every thread.
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &s, 0);
  CHECK(pthread_create(&t, 0, idle, 0) == 0);
  if (resource == RLIMIT_NOFILE) {
    limit(resource, 64, 0);
    while (dup(n % 2 ? 0 : 1) >= 0) n++;
    CHECK(errno == EMFILE);
  } else if (is("memlock")) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE)) SKIP("mlockall: %s", strerror(errno));
    limit(resource, 4096, 1);
  } else if (is("nproc")) {
    limit(resource, 1, 1);
    // Of the superuser it is not looked at; files are written as before.
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{1 << CAP_DAC_OVERRIDE, 1 << CAP_DAC_OVERRIDE, 0}, {0}};
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && setresuid(4321, 4321, 4321) == 0 && syscall(SYS_capset, &h, d) == 0);
  } else if (is("sigpending")) {
    // Those of all processes of the user count: there are more than it may have.
    for (; n < 4; n++) {
      union sigval v = {.sival_int = n};
      CHECK(sigqueue(getpid(), SIGRTMIN + 1, v) == 0);
    }
    limit(resource, 3, 1);
  } else if (is("cpu")) {
    signal(SIGXCPU, SIG_IGN);
    limit(resource, 1, 0);
    // Each second that it uses above its limit the kernel raises it by one: right afterwards there is time to the next.
    do CHECK(getrlimit(resource, &set) == 0);
    while (set.rlim_cur == 1);
  } else limit(resource, is("fsize") ? 3 : is("stack") ? 8192 : 4096, 0);
  if (resource == RLIMIT_NOFILE) {
    // It cannot write that itself.
    pid_t child = fork();
    if (!child) {
      close(63);
      mark("ready");
      _exit(0);
    }
    expect_exit(child, 0);
    wait_go();
  } else ready_and_wait();
  struct rlimit now;
  CHECK(getrlimit(resource, &now) == 0 && now.rlim_cur == set.rlim_cur && now.rlim_max == set.rlim_max);
  CHECK(filled(memory, 1 << 20, 3));
  if (resource == RLIMIT_NOFILE) {
    CHECK(dup(0) == -1 && errno == EMFILE);
    for (int fd = 0; fd < 64; fd++) CHECK(fcntl(fd, F_GETFD) >= 0);
    close(63);
  }
  if (resource == RLIMIT_AS) CHECK(mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
  if (resource == RLIMIT_DATA) CHECK(mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
  if (is("sigpending")) {
    for (int i = 0; i < n; i++) {
      siginfo_t info;
      CHECK(sigwaitinfo(&s, &info) == SIGRTMIN + 1 && info.si_value.sival_int == i);
    }
  }
  struct rlimit all = {set.rlim_max, set.rlim_max};
  CHECK(setrlimit(resource, &all) == 0);
}
