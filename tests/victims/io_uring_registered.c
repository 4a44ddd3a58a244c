// What: what is registered with an io_uring instance: an eventfd, files, buffers, with their places and tags.
// Variants: eventfd eventfd_async files sparse chosen range buffers shared_buffers many_pages unregistered all eventfd_gone file_gone buffer_gone buffer_moved
// Refused.eventfd_gone: fd & io_uring & eventfd without a descriptor
// Refused.file_gone: fd & io_uring & registered file 1 has no descriptor
// Refused.buffer_gone: fd & io_uring & registered buffer 0
// Refused.buffer_moved: fd & io_uring & registered buffer 0
#include "uring.h"
#include <sys/eventfd.h>
#include <sys/uio.h>
enum { PLACES = 8 };
static struct ring r;
static int event = -1, file, other, store_fd;
static struct io_uring_sqe on(int place, int op, void *at, unsigned len) {
  return (struct io_uring_sqe){.opcode = op, .flags = IOSQE_FIXED_FILE, .fd = place, .addr = (uintptr_t)at, .len = len, .off = 0, .user_data = 3};
}
static uint64_t signalled(void) {
  uint64_t n = 0;
  return read(event, &n, sizeof n) == sizeof n ? n : 0;
}
// What the file at a place holds.
static int reads(int place, const char *text) {
  char buffer[64] = {0};
  int n = ring_do(&r, on(place, IORING_OP_READ, buffer, sizeof buffer));
  if (n < 0) return n;
  CHECK(!strcmp(buffer, text));
  return 0;
}
static int open_text(const char *name, const char *text) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/%s", victim_folder, name);
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  return fd;
}
struct tagged {
  uint32_t count, flags;
  uint64_t reserved, all, tags;
};
static void register_files(const int *files, const uint64_t *tags) {
  struct tagged all = {.count = PLACES, .all = (uintptr_t)files, .tags = (uintptr_t)tags};
  CHECK(!uring_register(&r, IORING_REGISTER_FILES2, &all, sizeof all));
}
static void register_buffers(const struct iovec *buffers, int count, const uint64_t *tags) {
  struct tagged all = {.count = count, .all = (uintptr_t)buffers, .tags = (uintptr_t)tags};
  CHECK(!uring_register(&r, IORING_REGISTER_BUFFERS2, &all, sizeof all));
}
static void put_file(int place, int fd) {
  struct io_uring_files_update update = {.offset = place, .fds = (uintptr_t)&fd};
  CHECK(uring_register(&r, IORING_REGISTER_FILES_UPDATE, &update, 1) == 1);
}
// By the kernel's choice.
static int choose(void) {
  int fd = file;
  struct io_uring_sqe sqe = {.opcode = IORING_OP_FILES_UPDATE, .addr = (uintptr_t)&fd, .len = 1, .off = ~0u, .user_data = 8};
  CHECK(ring_do(&r, sqe) == 1);
  return fd;
}
static struct io_uring_sqe fixed(int op, int buffer, void *at, unsigned len) {
  return (struct io_uring_sqe){.opcode = op, .fd = store_fd, .addr = (uintptr_t)at, .len = len, .buf_index = buffer, .user_data = 4};
}
static void *memory(size_t bytes) {
  int fd = is("shared_buffers") ? memfd_create("shared", 0) : -1;
  if (fd < 0) return map_anon(bytes, MAP_PRIVATE);
  CHECK(!ftruncate(fd, bytes));
  void *at = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(at != MAP_FAILED);
  return at;
}
// Completions with tags tell that what had them is not used any more, in any order.
static void tells(unsigned count, uint64_t sum) {
  for (int n = 0; ring_waiting(&r) < count; n++) {
    CHECK(n < 5000);
    uring_enter(&r, 0, 0);
    sleep_ms(1);
  }
  while (count--) sum -= ring_take(&r).user_data;
  CHECK(!sum && !ring_waiting(&r));
}
static void victim(void) {
  int everything = is("all"), events = everything || !strncmp(victim_variant, "eventfd", 7);
  int files = everything || is("files") || is("sparse") || is("chosen") || is("range") || is("file_gone");
  int buffers = everything || !strncmp(victim_variant, "buffer", 6) || is("shared_buffers") || is("many_pages");
  size_t bytes = is("many_pages") ? 3 << 20 : 3 * 4096;
  char *at = memory(bytes + 4096) + 100, *second = memory(4096);
  file = open_text("file", "the file"), other = open_text("other", "the other");
  // Files on disk are as they are for the restored one, too.
  CHECK((store_fd = memfd_create("store", 0)) >= 0);
  r = ring_of(8, everything ? IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN : 0, 0);
  if (events) {
    CHECK((event = eventfd(0, EFD_NONBLOCK)) >= 0);
    CHECK(!uring_register(&r, is("eventfd_async") ? IORING_REGISTER_EVENTFD_ASYNC : IORING_REGISTER_EVENTFD, &event, 1));
  }
  int gone = is("file_gone") ? dup(other) : -1;
  if (is("file_gone")) CHECK(!close(gone) && (gone = open_text("gone", "gone")) >= 0);
  int all[PLACES] = {file, is("file_gone") ? gone : other, file, is("sparse") ? -1 : other, -1, -1, file, -1};
  uint64_t tags[PLACES] = {0, 11, 0, is("sparse") ? 0 : 12};
  if (files) register_files(all, tags);
  if (gone >= 0) CHECK(!close(gone));
  if (is("chosen")) {
    // It looks behind the place that changed last.
    put_file(5, file), put_file(5, -1);
  }
  if (is("range")) {
    struct {
      uint32_t first, count;
      uint64_t reserved;
    } range = {5, 3, 0};
    // IORING_REGISTER_FILE_ALLOC_RANGE
    CHECK(!uring_register(&r, 25, &range, 0));
  }
  struct iovec own[3] = {{at, bytes}, {0, 0}, {second, 4096}};
  uint64_t names[3] = {0, 0, 21};
  if (buffers) {
    fill(at, bytes, 5), fill(second, 4096, 6);
    register_buffers(own, 3, names);
    if (is("buffer_gone")) CHECK(!munmap(at - 100, 4096));
    if (is("buffer_moved")) {
      CHECK(mmap(at - 100, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
      memset(at - 100, 1, 4096);
    }
  }
  if (is("unregistered")) {
    register_files(all, tags);
    CHECK(!uring_register(&r, IORING_UNREGISTER_FILES, 0, 0));
    tells(2, 11 + 12);
    register_buffers(own, 3, names);
    CHECK(!uring_register(&r, IORING_UNREGISTER_BUFFERS, 0, 0));
    tells(1, 21);
  }
  ring_nops(&r, 5);
  if (events) signalled();
  if (is("eventfd_gone")) CHECK(!close(event));
  ready_and_wait();
  if (events && !is("eventfd_gone")) {
    CHECK(!signalled());
    ring_nops(&r, 1);
    // Of what completes at once it does not tell then.
    CHECK((signalled() == 0) == is("eventfd_async"));
    CHECK(!uring_register(&r, IORING_UNREGISTER_EVENTFD, 0, 0));
    ring_nops(&r, 1);
    CHECK(!signalled());
  }
  if (files && !is("file_gone")) {
    CHECK(!reads(0, "the file") && !reads(1, "the other") && !reads(2, "the file") && !reads(6, "the file"));
    CHECK(reads(4, "") == -EBADF && reads(7, "") == -EBADF && reads(8, "") == -EBADF);
    CHECK(is("sparse") ? reads(3, "") == -EBADF : !reads(3, "the other"));
    int chosen = choose(), next = choose();
    if (is("sparse")) CHECK(chosen == 3 && next == 4);
    if (is("chosen")) CHECK(chosen == 5 && next == 7);
    if (is("range")) CHECK(chosen == 5 && next == 7);
    if (is("files")) CHECK(chosen == 4 && next == 5);
    put_file(1, -1), tells(1, 11);
  }
  if (buffers && strncmp(victim_variant, "buffer_", 7)) {
    CHECK(filled(at, bytes, 5) && filled(second, 4096, 6));
    // What is written to it afterwards is what the kernel has, and the other way round.
    at[bytes - 1] = 'z', at[0] = 'a', second[7] = 'q';
    CHECK(ring_do(&r, fixed(IORING_OP_WRITE_FIXED, 0, at, bytes)) == (int)bytes && ring_do(&r, fixed(IORING_OP_WRITE_FIXED, 2, second + 7, 1)) == 1);
    char first, last;
    CHECK(pread(store_fd, &first, 1, 0) == 1 && pread(store_fd, &last, 1, bytes - 1) == 1 && first == 'q' && last == 'z');
    at[0] = 0;
    CHECK(ring_do(&r, fixed(IORING_OP_READ_FIXED, 0, at, 1)) == 1 && at[0] == 'q');
    CHECK(ring_do(&r, fixed(IORING_OP_READ_FIXED, 1, at, 1)) == -EFAULT && ring_do(&r, fixed(IORING_OP_READ_FIXED, 3, at, 1)) == -EFAULT);
    CHECK(!uring_register(&r, IORING_UNREGISTER_BUFFERS, 0, 0));
    tells(1, 21);
  }
  if (is("unregistered")) register_files(all, tags), register_buffers(own, 3, names);
  ring_close(&r);
}
