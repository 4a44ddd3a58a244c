// What: leases that are being broken, by who waits for their end and by who does not: what they are to become, no second signal.
// Options: --file-locks
// Copy: no
#include "victim.h"
static const char *names[3] = {"to_read", "write_gone", "read_gone"};
static int held[3];
static int opens(const char *name, int flags) {
  int fd = open(name, flags | O_NONBLOCK);
  if (fd >= 0) close(fd);
  else CHECK(errno == EWOULDBLOCK);
  return fd >= 0;
}
static int breaking(int fd, const char *type) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  FILE *f = fopen(path, "re");
  int found = 0;
  while (fgets(line, sizeof line, f)) found |= strstr(line, "LEASE") && strstr(line, "BREAKING") && strstr(line, type);
  fclose(f);
  return found;
}
static void victim(void) {
  sigset_t io, pending;
  siginfo_t info;
  struct timespec second = {1, 0};
  sigemptyset(&io);
  sigaddset(&io, SIGIO);
  sigaddset(&io, SIGRTMIN + 3);
  sigprocmask(SIG_BLOCK, &io, 0);
  for (int i = 0; i < 3; i++) {
    held[i] = open(names[i], (i == 1 ? O_RDWR : O_RDONLY) | O_CREAT, 0600);
    CHECK(held[i] >= 0);
    if (i == 1) CHECK(fcntl(held[i], F_SETSIG, SIGRTMIN + 3) == 0);
    CHECK(fcntl(held[i], F_SETLEASE, i == 2 ? F_RDLCK : F_WRLCK) == 0);
  }
  // One waits in open(2).
  pid_t child = fork();
  if (!child) {
    for (int i = 0; i < 3; i++) close(held[i]);
    int fd = open(names[0], O_RDONLY);
    CHECK(fd >= 0);
    _exit(5);
  }
  CHECK(sigtimedwait(&io, &info, &second) == SIGIO);
  CHECK(!opens(names[1], O_WRONLY) && sigtimedwait(&io, &info, &second) == SIGRTMIN + 3);
  CHECK(!opens(names[2], O_WRONLY) && sigtimedwait(&io, &info, &second) == SIGIO);
  CHECK(breaking(held[0], "READ") && breaking(held[1], "UNLCK") && breaking(held[2], "UNLCK"));
  ready_and_wait();
  CHECK(breaking(held[0], "READ") && breaking(held[1], "UNLCK") && breaking(held[2], "UNLCK"));
  CHECK(fcntl(held[0], F_GETLEASE) == F_RDLCK && fcntl(held[1], F_GETLEASE) == F_UNLCK);
  CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGIO) && !sigismember(&pending, SIGRTMIN + 3));
  for (int i = 0; i < 3; i++) CHECK(fcntl(held[i], F_GETOWN) == getpid() && fcntl(held[i], F_GETSIG) == (i == 1 ? SIGRTMIN + 3 : 0));
  CHECK(!opens(names[0], O_RDONLY) && !opens(names[1], O_RDONLY) && !opens(names[2], O_WRONLY));
  // Who waits gets what it waits for when the lease is given up.
  CHECK(waitpid(child, 0, WNOHANG) == 0);
  CHECK(fcntl(held[0], F_SETLEASE, F_RDLCK) == 0);
  expect_exit(child, 5);
  CHECK(fcntl(held[0], F_GETLEASE) == F_RDLCK && opens(names[0], O_RDONLY));
  CHECK(fcntl(held[1], F_SETLEASE, F_UNLCK) == 0 && opens(names[1], O_WRONLY));
  CHECK(fcntl(held[2], F_SETLEASE, F_UNLCK) == 0 && opens(names[2], O_WRONLY));
}
