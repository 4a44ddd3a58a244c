// Checkpoints itself at intervals, so that after a crash the work goes on from the last one: interval DIR SECONDS STEPS
// `checkpoint restore DIR/last` brings it back. The checkpoint before stays whole until the new one is.
#include <criu-ext.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// 1 in the restored process.
static int save(criu_opts *opts, const char *base, int number) {
  char dir[4096], last[4096], next[4096];
  snprintf(dir, sizeof dir, "%s/%d", base, number % 2);
  snprintf(last, sizeof last, "%s/last", base);
  snprintf(next, sizeof next, "%s/next", base);
  mkdir(dir, 0700);
  int fd = open(dir, O_DIRECTORY | O_CLOEXEC);
  criu_local_set_images_dir_fd(opts, fd);
  int ret = criu_local_dump(opts);
  close(fd);
  if (ret < 0) fprintf(stderr, "checkpoint %d: %s\n", number, criu_local_last_error(opts)->message);
  unlink(next);
  if (ret == 0 && (symlink(strrchr(dir, '/') + 1, next) || rename(next, last))) perror(last);
  return ret;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: interval DIR SECONDS STEPS\n");
    return 2;
  }
  criu_opts *opts = NULL;
  if (criu_local_init_opts(&opts)) return 1;
  criu_local_set_leave_running(opts, true);
  criu_local_set_shell_job(opts, true);
  criu_local_set_log_file(opts, "dump.log");
  mkdir(argv[1], 0700);
  time_t saved = time(NULL);
  for (int step = 1, number = 0; step <= atoi(argv[3]); step++) {
    usleep(50000); // stands for a step of the work
    if (time(NULL) - saved < atoi(argv[2])) continue;
    if (save(opts, argv[1], number++) == 1) printf("goes on at step %d\n", step), fflush(stdout);
    saved = time(NULL);
  }
  printf("done\n");
  return 0;
}
