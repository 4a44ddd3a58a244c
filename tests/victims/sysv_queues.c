// What: System V semaphores and message queues that only the tree uses: key, id, owner, values, messages; a sleeping semop.
// Variants: sem msg waiting
#include "victim.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
struct message {
  long type;
  char text[64];
};
static void put(int q, long type, const char *text) {
  struct message m = {type, ""};
  strcpy(m.text, text);
  CHECK(msgsnd(q, &m, strlen(text), 0) == 0);
}
static void take(int q, long want, long type, const char *text) {
  struct message m;
  ssize_t n = msgrcv(q, &m, sizeof m.text, want, IPC_NOWAIT);
  CHECK(n == (ssize_t)strlen(text) && m.type == type && !memcmp(m.text, text, n));
}
static void victim_msg(key_t key) {
  int q = msgget(key, IPC_CREAT | IPC_EXCL | 0620);
  CHECK(q >= 0);
  put(q, 7, "one");
  put(q, 3, "");
  put(q, 7, "the third message");
  ready_and_wait();
  struct msqid_ds d;
  CHECK(msgctl(q, IPC_STAT, &d) == 0 && msgget(key, 0) == q);
  CHECK(d.msg_qnum == 3 && (d.msg_perm.mode & 0777) == 0620 && d.msg_cbytes == 20);
  take(q, 3, 3, "");
  take(q, 0, 7, "one");
  take(q, 0, 7, "the third message");
  CHECK(msgctl(q, IPC_RMID, 0) == 0);
}
static void victim(void) {
  key_t key = 0x43530000 | getpid();
  if (is("msg")) {
    victim_msg(key);
    return;
  }
  int s = semget(key, 3, IPC_CREAT | IPC_EXCL | 0640);
  if (s < 0 && errno == ENOSYS) SKIP("semget: %s", strerror(errno));
  CHECK(s >= 0);
  unsigned short values[3] = {4, 0, 9}, now[3];
  CHECK(semctl(s, 0, SETALL, values) == 0);
  pid_t child = 0;
  if (is("waiting")) {
    child = fork();
    if (!child) {
      struct sembuf down = {1, -1, 0};
      mark("child");
      int r;
      while ((r = semop(s, &down, 1)) == -1 && errno == EINTR);
      CHECK(r == 0);
      _exit(3);
    }
    await_mark("child");
    for (int i = 0; semctl(s, 1, GETNCNT) != 1; i++) {
      CHECK(i < 10000);
      sleep_ms(1);
    }
  }
  ready_and_wait();
  CHECK(semget(key, 0, 0) == s && semctl(s, 0, GETALL, now) == 0 && !memcmp(values, now, sizeof now));
  if (child) {
    struct sembuf up = {1, 1, 0};
    CHECK(semop(s, &up, 1) == 0);
    expect_exit(child, 3);
    CHECK(semctl(s, 1, GETVAL) == 0);
  }
  CHECK(semctl(s, 0, IPC_RMID) == 0);
}
