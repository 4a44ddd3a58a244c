// What: a program executed from a memfd, nobody holding a descriptor of it.
#include "victim.h"
#include <sys/sendfile.h>
static void victim(void) {
  char self[PATH_MAX], text[PATH_MAX + 16];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  CHECK(n > 0);
  self[n] = 0;
  if (strncmp(self, "/memfd:", 7)) {
    int from = open(self, O_RDONLY | O_CLOEXEC), to = memfd_create("program", MFD_CLOEXEC);
    struct stat st;
    CHECK(from >= 0 && to >= 0 && fstat(from, &st) == 0);
    for (off_t done = 0; done < st.st_size;) CHECK(sendfile(to, from, &done, st.st_size - done) > 0);
    snprintf(text, sizeof text, "%s", victim_folder);
    char *args[] = {"victim", text, (char *)victim_variant, 0};
    fexecve(to, args, environ);
    CHECK(!"fexecve");
  }
  ready_and_wait();
  n = readlink("/proc/self/exe", text, sizeof text - 1);
  CHECK(n > 0);
  text[n] = 0;
  CHECK(!strcmp(self, text));
  int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  char magic[4];
  CHECK(exe >= 0 && read(exe, magic, 4) == 4 && !memcmp(magic, "\177ELF", 4));
  close(exe);
}
