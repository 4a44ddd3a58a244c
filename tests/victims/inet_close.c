// What: with --tcp-close connections are left out: the restored sockets are at their end, the listening one takes new clients.
// Options: --tcp-close
// Modes: plain twice
#include "victim.h"
#include <netinet/in.h>
static void victim(void) {
  struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
  socklen_t n = sizeof a;
  char t[8];
  int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(l, (void *)&a, n) == 0 && listen(l, 3) == 0 && getsockname(l, (void *)&a, &n) == 0 && connect(c, (void *)&a, n) == 0);
  int s = accept(l, 0, 0), on = 1;
  CHECK(s >= 0 && write(c, "lost", 4) == 4 && setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0);
  ready_and_wait();
  if (recv(s, t, 8, MSG_DONTWAIT) != 4) {
    // Restored.
    struct pollfd p = {s, POLLIN};
    CHECK(read(s, t, 8) == 0 && read(c, t, 8) == 0 && send(s, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) && getsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &on, (socklen_t[]){sizeof on}) == 0 && on == 1);
  }
  close(c);
  c = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(c, (void *)&a, n) == 0 && (s = accept(l, 0, 0)) >= 0 && write(c, "new", 3) == 3 && read(s, t, 8) == 3);
}
