// One connection with both ends in the tree and unread bytes, for each way to lock it.
#pragma once
#include "victim.h"
#include <netinet/in.h>
static void victim(void) {
  struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
  socklen_t n = sizeof a;
  char b[16];
  int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(l, (void *)&a, n) == 0 && listen(l, 1) == 0 && getsockname(l, (void *)&a, &n) == 0 && connect(c, (void *)&a, n) == 0);
  int s = accept(l, 0, 0);
  CHECK(s >= 0 && write(c, "before", 6) == 6);
  ready_and_wait();
  CHECK(read(s, b, 16) == 6 && !memcmp(b, "before", 6) && write(s, "after", 5) == 5 && read(c, b, 16) == 5);
  CHECK(close(c) == 0 && read(s, b, 16) == 0);
}
