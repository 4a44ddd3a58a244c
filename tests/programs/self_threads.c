// What: a C program of many threads that checkpoints itself; its other threads notice nothing.
// Build: criu -pthread
// Self: yes
// Modes: plain leave
#define _GNU_SOURCE
#include <criu.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define THREADS 32
static volatile int stop;
static unsigned long counts[THREADS];
static __thread int mine;
static void *count(void *arg) {
  long i = (long)arg;
  mine = i;
  while (!stop) {
    counts[i]++;
    usleep(1000);
    if (mine != i) abort();
  }
  return arg;
}
static const char *folder;
static char *at(const char *name) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}
static int say(const char *text) {
  char to[4096];
  int fd = open(at("part"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  dprintf(fd, "%s\n", text);
  close(fd);
  strcpy(to, at("result"));
  rename(at("part"), to);
  return strcmp(text, "OK") != 0;
}
int main(int argc, char **argv) {
  pthread_t t[THREADS];
  folder = argc > 1 ? argv[1] : ".";
  for (long i = 0; i < THREADS; i++) pthread_create(&t[i], 0, count, (void *)i);
  while (access(at("go"), F_OK)) usleep(1000);
  int leave = access(at("leave"), F_OK) == 0;
  mkdir(at("images-1"), 0755);
  int dir = open(at("images-1"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (criu_init_opts()) return say("criu_init_opts");
  criu_set_images_dir_fd(dir);
  criu_set_log_file("dump.log");
  criu_set_log_level(4);
  criu_set_leave_running(leave);
  pid_t me = getpid();
  int ret = criu_dump();
  char text[256];
  snprintf(text, sizeof text, "criu_dump returned %d (errno %d: %s)", ret, errno, strerror(errno));
  if (ret < 0 || (ret == 0 && !leave)) return say(text);
  close(dir);
  unsigned long before[THREADS];
  memcpy(before, counts, sizeof before);
  usleep(100000);
  for (int i = 0; i < THREADS; i++)
    if (counts[i] <= before[i]) return say("a thread stands still");
  stop = 1;
  for (int i = 0; i < THREADS; i++) pthread_join(t[i], 0);
  return say(getpid() == me ? "OK" : "another pid");
}
