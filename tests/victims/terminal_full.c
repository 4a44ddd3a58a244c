// What: a pseudo terminal that takes no more, for nobody reads: all of it is there afterwards.
// Variants: typed pieces output both
// Terminals: own
#include "victim.h"
#include <termios.h>
static unsigned char byte(long at, unsigned seed) { return at * 7 + (at >> 8) + seed; }
// Writes so many bytes a time until nothing goes in any more; how much went.
static long stuff(int fd, int step, unsigned seed) {
  unsigned char b[4096];
  long n = 0;
  for (int waits = 0; waits < 20;) {
    for (int i = 0; i < step; i++) b[i] = byte(n + i, seed);
    ssize_t wrote = write(fd, b, step);
    CHECK(wrote > 0 || errno == EAGAIN);
    if (wrote > 0) n += wrote, waits = 0;
    else sleep_ms(5), waits++;
  }
  return n;
}
static void empty(int fd, long n, unsigned seed) {
  unsigned char b[4096];
  ssize_t got;
  for (long at = 0; at < n;) {
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 5000) == 1 && (got = read(fd, b, sizeof b)) > 0);
    for (ssize_t i = 0; i < got; i++) CHECK(b[i] == byte(at + i, seed));
    at += got;
  }
  CHECK(read(fd, b, 1) == -1 && errno == EAGAIN);
}
static void victim(void) {
  struct termios t;
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
  CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
  int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK);
  CHECK(tcgetattr(slave, &t) == 0);
  cfmakeraw(&t);
  CHECK(tcsetattr(slave, TCSANOW, &t) == 0);
  long typed = is("typed") ? stuff(master, 1, 1) : is("pieces") ? stuff(master, 1000, 1) : is("both") ? stuff(master, 1792, 1) : 0;
  long output = is("output") ? stuff(slave, 2048, 2) : is("both") ? stuff(slave, 1000, 2) : 0;
  ready_and_wait();
  CHECK((fcntl(master, F_GETFL) & O_NONBLOCK) && (fcntl(slave, F_GETFL) & O_NONBLOCK));
  empty(slave, typed, 1);
  empty(master, output, 2);
}
