// What: a TCP socket without SO_REUSEADDR keeps its port although connections that have ended are in TIME_WAIT there, and has the
// port for itself as before.
// Variants: listening bound any6 device reuseport
// Network: own
#include "victim.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
static struct sockaddr_in at = {AF_INET, 0, {0}, {0}};
static int option(int s, int level, int name) {
  int v = -1;
  socklen_t n = sizeof v;
  CHECK(getsockopt(s, level, name, &v, &n) == 0);
  return v;
}
static void set(int s, int name) { CHECK(setsockopt(s, SOL_SOCKET, name, &(int){1}, sizeof(int)) == 0); }
// The server's end is closed first.
static void talk(int l) {
  char b[8];
  int c = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(c, (void *)&at, sizeof at) == 0);
  int s = accept(l, 0, 0);
  CHECK(s >= 0 && option(s, IPPROTO_TCP, TCP_REPAIR) == 0 && option(s, SOL_SOCKET, SO_REUSEADDR) == 0);
  CHECK(write(c, "ask", 3) == 3 && read(s, b, 8) == 3 && write(s, "answer", 6) == 6 && read(c, b, 8) == 6);
  CHECK(close(s) == 0 && read(c, b, 1) == 0 && close(c) == 0);
}
static int lingers(void) {
  char line[512];
  int found = 0;
  const char *files[] = {"/proc/net/tcp", "/proc/net/tcp6"};
  for (int i = 0; i < 2; i++) {
    FILE *f = fopen(files[i], "re");
    while (f && fgets(line, sizeof line, f)) {
      unsigned port, state;
      if (sscanf(line, " %*[^:]: %*[^:]:%x %*[^:]:%*x %x", &port, &state) == 2) found |= port == ntohs(at.sin_port) && state == 6;
    }
    if (f) fclose(f);
  }
  return found;
}
// What another program can have of the port.
static int bound(int name, int address) {
  struct sockaddr_in other = at;
  other.sin_addr.s_addr = htonl(address);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if (name) set(s, name);
  int got = bind(s, (void *)&other, sizeof other) == 0 ? 0 : errno;
  close(s);
  return got;
}
static int before[2][3];
static void ask(int into[2][3]) {
  const int names[3] = {0, SO_REUSEADDR, SO_REUSEPORT}, addresses[2] = {INADDR_LOOPBACK, INADDR_LOOPBACK + 9};
  for (int a = 0; a < 2; a++)
    for (int i = 0; i < 3; i++) into[a][i] = bound(names[i], addresses[a]);
}
static void victim(void) {
  struct sockaddr_in6 any = {AF_INET6, 0};
  int six = is("any6"), listens = !is("bound");
  int l = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t n = six ? sizeof any : sizeof at;
  if (is("device")) CHECK(setsockopt(l, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0);
  CHECK(bind(l, six ? (void *)&any : (void *)&at, n) == 0 && listen(l, 3) == 0);
  CHECK(getsockname(l, six ? (void *)&any : (void *)&at, &n) == 0);
  if (six) at.sin_port = any.sin6_port;
  talk(l);
  if (is("reuseport")) {
    // Those that linger have it not.
    set(l, SO_REUSEPORT);
  }
  if (!listens) {
    close(l);
    set(l = socket(AF_INET, SOCK_STREAM, 0), SO_REUSEADDR);
    // As it could not have been bound without, while they linger: permission is given up afterwards.
    struct sockaddr_in beside = at;
    CHECK(setsockopt(l, IPPROTO_TCP, TCP_REPAIR, &(int){1}, sizeof(int)) == 0 && bind(l, (void *)&beside, sizeof beside) == 0);
    CHECK(setsockopt(l, IPPROTO_TCP, TCP_REPAIR, &(int){-1}, sizeof(int)) == 0);
    CHECK(option(l, SOL_SOCKET, SO_REUSEADDR) == 0);
  }
  CHECK(lingers());
  ask(before);
  ready_and_wait();
  int after[2][3];
  ask(after);
  for (int i = 0; i < 6; i++)
    if (after[i / 3][i % 3] != before[i / 3][i % 3]) finish(1, "question %d: error %d, was %d", i, after[i / 3][i % 3], before[i / 3][i % 3]);
  CHECK(option(l, SOL_SOCKET, SO_REUSEADDR) == 0 && option(l, SOL_SOCKET, SO_REUSEPORT) == is("reuseport"));
  CHECK(option(l, IPPROTO_TCP, TCP_REPAIR) == 0);
  if (listens) talk(l);
  else CHECK(listen(l, 3) == -1 && errno == EADDRINUSE);
}
