// The C API behind the arguments of the `criu` command, so that one test can go either way.
//   crtool dump|restore|pre-dump|check -t PID -D DIR -o LOG [-v4] [-d] [options...]
// `--deadline-ms N` sets a deadline, `--cancel-us N` cancels the call so long after its start.
// `--time` prints how long the call itself took, `time_us N`. The exit status is 0 when the call succeeded.
#define _GNU_SOURCE
#include <criu.h>
#include <criu-ext.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void set_switch(criu_opts *o, const char *name) {
  if (!strcmp(name, "--leave-running")) criu_local_set_leave_running(o, true);
  else if (!strcmp(name, "--shell-job")) criu_local_set_shell_job(o, true);
  else if (!strcmp(name, "--ext-unix-sk")) criu_local_set_ext_unix_sk(o, true);
  else if (!strcmp(name, "--file-locks")) criu_local_set_file_locks(o, true);
  else if (!strcmp(name, "--evasive-devices")) criu_local_set_evasive_devices(o, true);
  else if (!strcmp(name, "--force-irmap")) criu_local_set_force_irmap(o, true);
  else if (!strcmp(name, "--ghost-fiemap")) criu_local_set_ghost_fiemap(o, true);
  else if (!strcmp(name, "--link-remap")) criu_local_set_link_remap(o, true);
  else if (!strcmp(name, "--tcp-close")) criu_local_set_tcp_close(o, true);
  else if (!strcmp(name, "--tcp-established")) criu_local_set_tcp_established(o, true);
  else {
    fprintf(stderr, "crtool: unknown option %s\n", name);
    exit(2);
  }
}

static long cancel_us = -1;
static void *canceller(void *opts) {
  struct timespec t = {cancel_us / 1000000, cancel_us % 1000000 * 1000};
  nanosleep(&t, NULL);
  criu_local_cancel(opts);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  criu_opts *o;
  int timed = 0, dir = -1;
  if (criu_local_init_opts(&o)) {
    perror("criu_local_init_opts");
    return 1;
  }
  for (int i = 2; i < argc; i++) {
    const char *a = argv[i];
    if (!strcmp(a, "-t")) criu_local_set_pid(o, atoi(argv[++i]));
    else if (!strcmp(a, "--network-lock")) {
      const char *method = argv[++i];
      criu_local_set_network_lock(o, !strcmp(method, "skip") ? CRIU_NETWORK_LOCK_SKIP : !strcmp(method, "nftables") ? CRIU_NETWORK_LOCK_NFTABLES : CRIU_NETWORK_LOCK_IPTABLES);
    } else if (!strcmp(a, "-D")) {
      dir = open(argv[++i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (dir < 0) {
        perror(argv[i]);
        return 1;
      }
      criu_local_set_images_dir_fd(o, dir);
    } else if (!strcmp(a, "-o")) criu_local_set_log_file(o, argv[++i]);
    else if (!strncmp(a, "-v", 2)) criu_local_set_log_level(o, atoi(a + 2));
    else if (!strcmp(a, "-d")) continue;
    else if (!strcmp(a, "--time")) timed = 1;
    else if (!strcmp(a, "--deadline-ms")) criu_local_set_deadline(o, atol(argv[++i]));
    else if (!strcmp(a, "--cancel-us")) cancel_us = atol(argv[++i]);
    else if (!strcmp(a, "--ghost-limit")) criu_local_set_ghost_limit(o, atol(argv[++i]));
    else if (!strcmp(a, "--irmap-scan-path")) criu_local_add_irmap_path(o, argv[++i]);
    else if (!strcmp(a, "--external")) criu_local_add_external(o, argv[++i]);
    else set_switch(o, a);
  }
  pthread_t thread;
  if (cancel_us >= 0 && pthread_create(&thread, NULL, canceller, o)) return 2;
  long long start = now_us();
  int ret;
  if (!strcmp(argv[1], "dump")) ret = criu_local_dump(o);
  else if (!strcmp(argv[1], "restore")) ret = criu_local_restore(o);
  else if (!strcmp(argv[1], "pre-dump")) ret = criu_local_pre_dump(o);
  else if (!strcmp(argv[1], "check")) ret = criu_local_check(o);
  else return 2;
  int code = errno;
  long long took = now_us() - start;
  if (ret < 0) {
    const struct criu_error *e = criu_local_last_error(o);
    fprintf(stderr, "%s: returned %d, errno %d (%s): Error: %s\n", argv[1], ret, code, strerror(code), e ? e->message : "none");
    for (size_t i = 0; i < criu_local_blocker_count(o); i++) fprintf(stderr, "Error: %s\n", criu_local_blocker(o, i)->message);
    return 1;
  }
  if (!strcmp(argv[1], "restore")) printf("pid %d\n", ret);
  if (timed) printf("time_us %lld\n", took);
  criu_local_free_opts(o);
  return 0;
}
