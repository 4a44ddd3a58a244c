// Counts, ten times a second, into the file it is given.
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
  FILE *out = fopen(argc > 1 ? argv[1] : "/dev/stdout", "a");
  if (!out) return 1;
  for (int n = 1;; n++) {
    fprintf(out, "pid %d counts %d\n", getpid(), n);
    fflush(out);
    usleep(100000);
  }
}
