// What: names of any bytes, such as line feeds, escapes and what is no UTF-8: files, directories, fifos, mappings, links, what is unlinked or watched, memfds, places of unix sockets, commands of processes and threads.
// Variants: files gone sockets commands
// Options: --link-remap
#include "victim.h"
#include <sys/inotify.h>
#include <sys/un.h>
#include <sys/xattr.h>
// As a link of /proc has them, a space, an escape of mountinfo and one of maps, a character that is cut, and what looks unlinked.
#define ODD "\xff-\n \\040\\012\t\xe2\x82 (deleted)"
enum { MOST = 12 };
static char links[MOST][PATH_MAX];
static int kept[MOST], count;
static void link_of(int fd, char *to) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(path, to, PATH_MAX - 1);
  CHECK(n > 0);
  to[n] = 0;
}
static int keep(int fd) {
  CHECK(fd >= 0 && count < MOST);
  link_of(fd, links[count]);
  return kept[count++] = fd;
}
static void check_links(void) {
  char now[PATH_MAX];
  for (int i = 0; i < count; i++) {
    link_of(kept[i], now);
    CHECK(!strcmp(now, links[i]));
  }
}
static void check_text(int fd) {
  char text[8];
  CHECK(pread(fd, text, sizeof text, 0) == 4 && !memcmp(text, "text", 4));
}
static int make(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
  CHECK(fd >= 0 && write(fd, "text", 4) == 4);
  return keep(fd);
}
static void *map(int fd) {
  void *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(at != MAP_FAILED);
  return at;
}
static void files(void) {
  char longest[256] = "", now[PATH_MAX], was[PATH_MAX], word[4096];
  memset(longest, 0xfe, 255);
  CHECK(mkdir(ODD, 0755) == 0 && chdir(ODD) == 0 && getcwd(was, sizeof was));
  int file = make(ODD), of_longest = make(longest);
  keep(open(".", O_RDONLY | O_DIRECTORY));
  CHECK(mkfifo(ODD "fifo", 0600) == 0 && symlink(ODD, ODD "link") == 0);
  int fifo = keep(open(ODD "fifo", O_RDWR));
  int symbolic = keep(open(ODD "link", O_PATH | O_NOFOLLOW));
  CHECK(write(fifo, "text", 4) == 4);
  int memfd = keep(memfd_create("\xfe\n\\012 (deleted)", 0));
  CHECK(write(memfd, "text", 4) == 4);
  int watch = inotify_init1(IN_NONBLOCK);
  CHECK(inotify_add_watch(watch, ".", IN_CREATE) == 1 && inotify_add_watch(watch, longest, IN_OPEN) == 2);
  char *mapped = map(file), *mapped_memfd = map(memfd);
  ready_and_wait();
  check_links();
  check_text(file);
  check_text(of_longest);
  check_text(memfd);
  CHECK(getcwd(now, sizeof now) && !strcmp(now, was));
  CHECK(read(fifo, word, sizeof word) == 4 && readlinkat(symbolic, "", word, sizeof word) == sizeof ODD - 1);
  mapped[0] = mapped_memfd[0] = 'T';
  CHECK(pread(file, word, 1, 0) == 1 && word[0] == 'T' && pread(memfd, word, 1, 0) == 1 && word[0] == 'T');
  // As a copy of this that is restored later has to find it.
  mapped[0] = 't';
  CHECK(close(open("new\xff", O_CREAT | O_RDWR, 0644)) == 0 && close(open(longest, O_RDONLY)) == 0);
  struct inotify_event *event = (struct inotify_event *)word;
  CHECK(read(watch, word, sizeof word) > 0 && event->wd == 1 && !strcmp(event->name, "new\xff"));
  CHECK(unlink("new\xff") == 0);
}
static void gone(void) {
  char word[64];
  CHECK(mkdir(ODD, 0755) == 0);
  int file = make(ODD "/" ODD), linked = make(ODD "one"), directory = keep(open(ODD, O_RDONLY | O_DIRECTORY));
  int has_attributes = fsetxattr(file, "user.\xff", "\xfe", 1, 0) == 0;
  CHECK(has_attributes || errno == EOPNOTSUPP);
  CHECK(symlink(ODD, ODD "link") == 0);
  int symbolic = keep(open(ODD "link", O_PATH | O_NOFOLLOW));
  CHECK(link(ODD "one", "other\xff") == 0 && unlink(ODD "one") == 0 && unlink(ODD "link") == 0);
  CHECK(unlink(ODD "/" ODD) == 0 && rmdir(ODD) == 0);
  for (int i = 0; i < count; i++) link_of(kept[i], links[i]);
  char *mapped = map(file);
  ready_and_wait();
  check_links();
  check_text(file);
  check_text(linked);
  struct stat a, b;
  CHECK(fstat(linked, &a) == 0 && stat("other\xff", &b) == 0 && a.st_ino == b.st_ino);
  CHECK(fstat(file, &a) == 0 && a.st_nlink == 0 && fstat(directory, &a) == 0 && a.st_nlink == 0 && access(ODD, F_OK) == -1);
  CHECK(readlinkat(symbolic, "", word, sizeof word) == sizeof ODD - 1 && !memcmp(word, ODD, sizeof ODD - 1));
  CHECK(!has_attributes || (fgetxattr(file, "user.\xff", word, 8) == 1 && word[0] == '\xfe'));
  mapped[0] = 'T';
  CHECK(pread(file, word, 1, 0) == 1 && word[0] == 'T');
}
static int listener(const char *name) {
  struct sockaddr_un a = {AF_UNIX, ""};
  strcpy(a.sun_path, name);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(fd >= 0 && bind(fd, (void *)&a, sizeof a) == 0 && listen(fd, 1) == 0);
  return fd;
}
static void check_listener(int fd, const char *name, const char *place) {
  struct sockaddr_un a = {AF_UNIX, ""}, b;
  socklen_t n = sizeof b;
  memset(&b, 0, sizeof b);
  CHECK(getsockname(fd, (void *)&b, &n) == 0 && !strcmp(b.sun_path, name));
  strcpy(a.sun_path, place);
  int client = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(connect(client, (void *)&a, sizeof a) == 0 && close(client) == 0);
}
static void sockets(void) {
  CHECK(mkdir(ODD, 0755) == 0 && chdir(ODD) == 0);
  int relative = listener(ODD), moved = listener("moved");
  CHECK(rename("moved", "to\xff") == 0);
  ready_and_wait();
  check_listener(relative, ODD, ODD);
  check_listener(moved, "moved", "to\xff");
}
static void *named(void *name) {
  char now[16];
  CHECK(prctl(PR_SET_NAME, name) == 0);
  mark("named");
  await_mark("checked");
  CHECK(prctl(PR_GET_NAME, now) == 0 && !strcmp(now, name));
  return 0;
}
static void commands(void) {
  char now[16];
  pthread_t thread;
  CHECK(prctl(PR_SET_NAME, "\xff) Z 1\nPid:\t1") == 0);
  CHECK(pthread_create(&thread, 0, named, "\n\\n\\\xe2\x82") == 0);
  await_mark("named");
  pid_t child = fork();
  if (!child) {
    CHECK(prctl(PR_SET_NAME, "") == 0);
    mark("nameless");
    wait_go();
    CHECK(prctl(PR_GET_NAME, now) == 0 && !*now);
    _exit(6);
  }
  await_mark("nameless");
  ready_and_wait();
  CHECK(prctl(PR_GET_NAME, now) == 0 && !strcmp(now, "\xff) Z 1\nPid:\t1"));
  mark("checked");
  CHECK(pthread_join(thread, 0) == 0);
  pass_on(child);
  expect_exit(child, 6);
}
static void victim(void) {
  if (is("files")) files();
  if (is("gone")) gone();
  if (is("sockets")) sockets();
  if (is("commands")) commands();
}
