// What: a server whose clients come without a pause, so that some wait to be accepted whenever it is looked at, is dumped all the
// same; the client that was kept away meanwhile is let in.
// Options: --tcp-established
// Modes: plain
#include "victim.h"
#include <netinet/in.h>
static int listener;
static volatile int taken = -1;
static void *come(void *unused) {
  struct sockaddr_in at;
  socklen_t n = sizeof at;
  CHECK(getsockname(listener, (void *)&at, &n) == 0);
  for (int i = 0;; i++) {
    while (i > taken + 8) sleep_ms(1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (void *)&at, sizeof at) == 0 && write(fd, &i, sizeof i) == sizeof i);
    close(fd);
  }
}
// They come faster than they are taken: eight wait.
static void take(int *last) {
  int fd = accept(listener, 0, 0), number;
  CHECK(fd >= 0 && recv(fd, &number, sizeof number, MSG_WAITALL) == sizeof number && number > *last);
  *last = number;
  close(fd);
}
static void *serve(void *unused) {
  for (int last = -1;; sleep_ms(5)) {
    take(&last);
    taken = last;
  }
}
static void victim(void) {
  struct sockaddr_in any = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
  const int on = 1;
  listener = socket(AF_INET, SOCK_STREAM, 0);
  // Whoever closes first leaves the port in TIME_WAIT.
  CHECK(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
  CHECK(bind(listener, (void *)&any, sizeof any) == 0 && listen(listener, 64) == 0);
  pthread_t client, server;
  CHECK(pthread_create(&client, 0, come, 0) == 0 && pthread_create(&server, 0, serve, 0) == 0);
  while (taken < 20) sleep_ms(1);
  ready_and_wait();
  int before = taken;
  for (double end = now_s() + 15; taken < before + 10;) {
    CHECK(now_s() < end);
    sleep_ms(1);
  }
}
