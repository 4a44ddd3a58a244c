// Checkpoints a process into a directory, or brings one back from it: checkpoint dump PID DIR | checkpoint restore DIR
#include <criu.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  int dump = argc == 4 && !strcmp(argv[1], "dump");
  if (!dump && !(argc == 3 && !strcmp(argv[1], "restore"))) {
    fprintf(stderr, "usage: checkpoint dump PID DIR | checkpoint restore DIR\n");
    return 2;
  }
  criu_opts *opts;
  if (criu_local_init_opts(&opts)) return 1;
  criu_local_set_images_dir_fd(opts, open(argv[argc - 1], O_DIRECTORY | O_CLOEXEC));
  criu_local_set_log_file(opts, dump ? "dump.log" : "restore.log");
  criu_local_set_shell_job(opts, true); // it may belong to a session and terminal of ours
  if (dump) criu_local_set_pid(opts, atoi(argv[2]));
  int ret = dump ? criu_local_dump(opts) : criu_local_restore(opts);
  if (ret < 0) fprintf(stderr, "%s: %s; see the log in %s\n", argv[1], strerror(-ret), argv[argc - 1]);
  else if (!dump) printf("restored, pid %d\n", ret);
  criu_local_free_opts(opts);
  return ret < 0;
}
