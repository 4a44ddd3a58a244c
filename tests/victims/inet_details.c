// What: a UDP-Lite pair with checksum coverage; a connection that both sides have shut down, in TIME_WAIT;
// urgent data that nobody has read; a connection that was taken back (AF_UNSPEC); keys of MD5 at a socket that does not listen yet.
// Variants: udplite timewait urgent taken_back signed
// Refused.signed: MD5 & close it
// Refused.urgent: urgent data
// Options: --tcp-established
#include "victim.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#ifndef UDPLITE_SEND_CSCOV
#define UDPLITE_SEND_CSCOV 10
#endif
#ifndef SOL_UDPLITE
#define SOL_UDPLITE 136
#endif
static struct sockaddr_in own(int fd) {
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  CHECK(getsockname(fd, (void *)&a, &n) == 0);
  return a;
}
static int bound(int type, int protocol) {
  struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, protocol);
  if (fd < 0) SKIP("socket: %s", strerror(errno));
  CHECK(bind(fd, (void *)&a, sizeof a) == 0);
  return fd;
}
static void udplite(void) {
  int to = bound(SOCK_DGRAM, IPPROTO_UDPLITE), from = bound(SOCK_DGRAM, IPPROTO_UDPLITE), coverage = 20;
  struct sockaddr_in at = own(to);
  CHECK(connect(from, (void *)&at, sizeof at) == 0);
  CHECK(setsockopt(from, SOL_UDPLITE, UDPLITE_SEND_CSCOV, &coverage, sizeof coverage) == 0);
  ready_and_wait();
  int protocol, now = 0;
  socklen_t n = sizeof protocol;
  CHECK(getsockopt(from, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) == 0 && protocol == IPPROTO_UDPLITE);
  CHECK(getsockopt(from, SOL_UDPLITE, UDPLITE_SEND_CSCOV, &now, &n) == 0 && now == 20);
  char b[16];
  CHECK(send(from, "more", 4, 0) == 4 && recv(to, b, sizeof b, 0) == 4);
}
static void timewait(void) {
  int l = bound(SOCK_STREAM, 0);
  struct sockaddr_in at = own(l);
  CHECK(listen(l, 1) == 0);
  int client = bound(SOCK_STREAM, 0);
  CHECK(connect(client, (void *)&at, sizeof at) == 0);
  int server = accept(l, 0, 0);
  CHECK(write(server, "last", 4) == 4);
  // The client ends first, and is the one that waits.
  CHECK(shutdown(client, SHUT_WR) == 0 && shutdown(server, SHUT_WR) == 0);
  char b[8];
  struct tcp_info info;
  socklen_t n = sizeof info;
  CHECK(read(client, b, 8) == 4 && read(client, b, 8) == 0 && read(server, b, 8) == 0);
  for (int i = 0;; i++) {
    CHECK(i < 1000 && getsockopt(client, SOL_TCP, TCP_INFO, &info, &n) == 0);
    if (info.tcpi_state == TCP_CLOSE) break;
    sleep_ms(1);
  }
  ready_and_wait();
  CHECK(getsockopt(client, SOL_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == TCP_CLOSE);
  CHECK(read(client, b, 8) == 0 && send(client, b, 1, MSG_NOSIGNAL) == -1);
  CHECK(getsockopt(server, SOL_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == TCP_CLOSE);
  CHECK(read(server, b, 8) == 0);
}
static void urgent(void) {
  int l = bound(SOCK_STREAM, 0), client = bound(SOCK_STREAM, 0);
  struct sockaddr_in at = own(l);
  CHECK(listen(l, 1) == 0 && connect(client, (void *)&at, sizeof at) == 0);
  int server = accept(l, 0, 0);
  CHECK(write(server, "ab", 2) == 2 && send(server, "!", 1, MSG_OOB) == 1);
  char b[8];
  struct pollfd p = {client, POLLPRI, 0};
  CHECK(poll(&p, 1, 5000) == 1);
  ready_and_wait();
  CHECK(recv(client, b, 1, MSG_OOB) == 1 && b[0] == '!' && read(client, b, 8) == 2 && !memcmp(b, "ab", 2));
}
static void taken_back(void) {
  int l = bound(SOCK_STREAM, 0), client = bound(SOCK_STREAM, 0);
  struct sockaddr_in at = own(l), own_at = own(client);
  struct sockaddr nobody = {AF_UNSPEC, {0}};
  CHECK(listen(l, 1) == 0 && connect(client, (void *)&at, sizeof at) == 0);
  close(accept(l, 0, 0));
  CHECK(connect(client, &nobody, sizeof nobody) == 0);
  // To take a connection back is an error that waits to be told.
  int error;
  socklen_t n = sizeof error;
  CHECK(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &n) == 0);
  ready_and_wait();
  CHECK(own(client).sin_port == own_at.sin_port && connect(client, (void *)&at, sizeof at) == 0);
  int server = accept(l, 0, 0);
  char b[8];
  CHECK(write(server, "again", 5) == 5 && read(client, b, 8) == 5);
  // Nothing that would keep the port is to be left of it.
  struct linger reset = {1, 0};
  CHECK(setsockopt(server, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0 && close(server) == 0);
}
static void signed_(void) {
  struct tcp_md5sig key = {.tcpm_keylen = 3, .tcpm_key = "key"};
  struct sockaddr_in *peer = (void *)&key.tcpm_addr;
  int fd = bound(SOCK_STREAM, 0);
  *peer = (struct sockaddr_in){AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
  if (setsockopt(fd, SOL_TCP, TCP_MD5SIG, &key, sizeof key)) SKIP("TCP_MD5SIG: %s", strerror(errno));
  ready_and_wait();
}
static void victim(void) {
  if (is("udplite")) udplite();
  else if (is("urgent")) urgent();
  else if (is("taken_back")) taken_back();
  else if (is("signed")) signed_();
  else timewait();
}
