// Checkpoints itself in the middle of its work: self DIR FILE. criu_dump() returns 1 in the restored process.
#include <criu.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  FILE *out = fopen(argv[2], "a");
  if (!out || criu_init_opts()) return 1;
  for (int n = 1; n <= 8; n++) {
    fprintf(out, "pid %d, step %d\n", getpid(), n);
    fflush(out);
    if (n == 4) {
      criu_set_images_dir_fd(open(argv[1], O_DIRECTORY | O_CLOEXEC));
      criu_set_log_file("dump.log");
      int ret = criu_dump();
      fprintf(out, "pid %d, criu_dump() returned %d%s%s\n", getpid(), ret, ret < 0 ? ": " : "", ret < 0 ? strerror(errno) : "");
      if (ret < 0) return 1;
    }
    usleep(100000);
  }
  fprintf(out, "pid %d, done\n", getpid());
  return 0;
}
