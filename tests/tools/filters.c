// Prints the seccomp filters of every thread of a process: filters PID
//   TID mode M filter I flags F N instructions HASH
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif
#ifndef PTRACE_SECCOMP_GET_METADATA
#define PTRACE_SECCOMP_GET_METADATA 0x420d
#endif

static void show(pid_t tid) {
  int st;
  if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) || waitpid(tid, &st, __WALL) != tid) {
    printf("%d cannot be seized: %s\n", tid, strerror(errno));
    return;
  }
  for (unsigned long i = 0;; i++) {
    static struct sock_filter code[4096];
    long n = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, i, code);
    if (n < 0) {
      printf("%d %lu filters%s\n", tid, i, errno == ENOENT || errno == EINVAL ? "" : strerror(errno));
      break;
    }
    struct { uint64_t index, flags; } meta = {i, 0};
    ptrace(PTRACE_SECCOMP_GET_METADATA, tid, sizeof meta, &meta);
    uint64_t hash = 1469598103934665603u;
    for (size_t b = 0; b < n * sizeof *code; b++) hash = (hash ^ ((unsigned char *)code)[b]) * 1099511628211u;
    printf("%d filter %lu flags %llu, %ld instructions %016llx\n", tid, i, (unsigned long long)meta.flags, n, (unsigned long long)hash);
  }
  ptrace(PTRACE_DETACH, tid, 0, 0);
}

int main(int argc, char **argv) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/task", argc > 1 ? argv[1] : "self");
  struct dirent **names;
  int n = scandir(path, &names, 0, alphasort);
  for (int i = 0; i < n; i++)
    if (names[i]->d_name[0] != '.') show(atoi(names[i]->d_name));
  return n < 0;
}
