// What: contexts of native asynchronous I/O (io_setup) keep their address, size, and completions that nobody has taken.
// Variants: empty unread wrapped full own_reader eventfd several protected busy large later
#include "victim.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

struct ring {
  unsigned id, nr, head, tail, magic, compat, incompat, header_length;
  struct io_event events[];
};
static int file;
static char text[8] = "abcdefg", into[128][8];
static uint64_t next_tag = 1;

static struct ring *setup(unsigned n) {
  aio_context_t ctx = 0;
  if (syscall(SYS_io_setup, n, &ctx)) {
    if (errno == ENOSYS) SKIP("this kernel has no asynchronous I/O");
    CHECK(!"io_setup");
  }
  return (struct ring *)ctx;
}
// Reads 1 to 7 bytes of the file, as its number says; the completion has number and result.
static int submit(struct ring *r, int event) {
  struct iocb cb = {0}, *list = &cb;
  cb.aio_data = next_tag;
  cb.aio_lio_opcode = IOCB_CMD_PREAD;
  cb.aio_fildes = file;
  cb.aio_buf = (uintptr_t)into[next_tag % 128];
  cb.aio_nbytes = 1 + next_tag % 7;
  if (event >= 0) cb.aio_flags = IOCB_FLAG_RESFD, cb.aio_resfd = event;
  if (syscall(SYS_io_submit, r, 1, &list) != 1) return 0;
  next_tag++;
  return 1;
}
static void submit_all(struct ring *r, unsigned n) {
  while (n--) CHECK(submit(r, -1));
}
static int right(struct io_event *e, uint64_t tag) {
  return e->data == tag && e->res == (int64_t)(1 + tag % 7) && !memcmp(into[tag % 128], text, e->res);
}
// By the system call, without waiting.
static void take(struct ring *r, uint64_t from, uint64_t to) {
  for (; from < to; from++) {
    struct io_event e;
    struct timespec none = {0, 0};
    CHECK(syscall(SYS_io_getevents, r, 1, 1, &e, &none) == 1 && right(&e, from));
  }
}
// As libaio and others do: without any call.
static void take_here(struct ring *r, uint64_t from, uint64_t to) {
  for (; from < to; from++) {
    unsigned head = r->head;
    CHECK(r->magic == 0xa10a10a1 && !r->incompat && head != __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE));
    CHECK(right(&r->events[head], from));
    __atomic_store_n(&r->head, (head + 1) % r->nr, __ATOMIC_RELEASE);
  }
}
static void nothing_left(struct ring *r) {
  struct io_event e;
  struct timespec none = {0, 0};
  CHECK(r->head == r->tail && syscall(SYS_io_getevents, r, 0, 1, &e, &none) == 0);
}
// Goes round the ring twice.
static void goes_on(struct ring *r) {
  for (unsigned i = 0; i < 2 * r->nr; i++) {
    uint64_t tag = next_tag;
    submit_all(r, 1);
    i % 2 ? take(r, tag, tag + 1) : take_here(r, tag, tag + 1);
  }
  nothing_left(r);
}
static void ends(struct ring *r) {
  CHECK(syscall(SYS_io_destroy, r) == 0);
  CHECK(syscall(SYS_io_destroy, r) == -1 && errno == EINVAL);
}
static struct ring *submitting;
static int pause_ms;
static volatile int stop;
static volatile unsigned long rounds;
static void *reads(void *arg) {
  (void)arg;
  while (!stop) {
    uint64_t tag = next_tag;
    submit_all(submitting, 5);
    if (pause_ms) sleep_ms(pause_ms);
    take(submitting, tag, tag + 5);
    rounds++;
  }
  return 0;
}

static void victim(void) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/read", victim_folder);
  CHECK((file = open(path, O_RDWR | O_CREAT, 0600)) >= 0 && write(file, text, 7) == 7);
  memset(into, 0, sizeof into);
  struct ring *r = setup(is("full") ? 100 : 8), *others[3] = {0};
  int event = -1;
  unsigned before = 0, unread = 0;
  if (is("unread")) unread = 5;
  if (is("wrapped")) before = 2 * r->nr - 3, unread = 9;
  if (is("own_reader")) before = r->nr + 7, unread = 6;
  if (is("eventfd")) CHECK((event = eventfd(0, 0)) >= 0);
  for (unsigned i = 0; i < before; i++) {
    uint64_t tag = next_tag;
    submit_all(r, 1);
    is("own_reader") ? take_here(r, tag, tag + 1) : take(r, tag, tag + 1);
  }
  uint64_t first = next_tag;
  submit_all(r, unread);
  if (is("full"))
    while (submit(r, -1)) unread++;
  if (is("eventfd"))
    for (; unread < 4; unread++) CHECK(submit(r, event));
  if (is("several")) {
    // The first place in the kernel's table becomes free.
    for (int i = 0; i < 3; i++) others[i] = setup(500 * (i + 1));
    ends(r);
    r = others[2];
    first = next_tag;
    submit_all(r, unread = 3);
  }
  pid_t child = 0;
  if (is("protected")) {
    CHECK(mprotect(r, 4096, PROT_READ) == 0 && madvise(r, 4096, MADV_DONTFORK) == 0);
    if (!(child = fork())) {
      wait_go();
      CHECK(msync(r, 4096, MS_ASYNC) == -1 && errno == ENOMEM);
      _exit(3);
    }
  }
  int timer = -1;
  if (is("later")) {
    // In flight when the dump begins, and complete without the task.
    CHECK((event = eventfd(0, 0)) >= 0 && (timer = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
    struct itimerspec soon = {.it_value.tv_nsec = 300000000};
    struct iocb cb = {.aio_data = 77, .aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = timer, .aio_buf = POLLIN}, *list = &cb;
    cb.aio_flags = IOCB_FLAG_RESFD, cb.aio_resfd = event;
    CHECK(timerfd_settime(timer, 0, &soon, 0) == 0 && syscall(SYS_io_submit, r, 1, &list) == 1);
  }
  struct ring was = *r;
  unsigned room[3] = {0};
  for (int i = 0; i < 3 && others[i]; i++) room[i] = others[i]->nr;
  pthread_t t;
  if (is("large")) {
    // A dump lets it go on before its memory is written; the ring of the copy must not go on as well.
    char *much = map_anon(24 << 20, MAP_PRIVATE);
    fill(much, 24 << 20, 1);
    for (int i = 0; i < 2000; i++) CHECK(mprotect(much + 8192 * i, 4096, PROT_READ) == 0);
    pause_ms = 2;
  }
  if (is("busy") || is("large")) {
    submitting = r;
    CHECK(pthread_create(&t, 0, reads, 0) == 0);
    while (rounds < 50) sleep_ms(1);
  }

  ready_and_wait();

  if (is("busy") || is("large")) {
    unsigned long now = rounds;
    for (int i = 0; rounds < now + 50; i++) {
      CHECK(i < 10000);
      sleep_ms(1);
    }
    stop = 1;
    pthread_join(t, 0);
    goes_on(r);
    ends(r);
    return;
  }
  if (is("later")) {
    struct io_event e;
    uint64_t n;
    CHECK(syscall(SYS_io_getevents, r, 1, 1, &e, 0) == 1 && e.data == 77 && e.res == POLLIN);
    CHECK(read(event, &n, 8) == 8 && n == 1 && read(timer, &n, 8) == 8 && n == 1);
    goes_on(r);
    ends(r);
    return;
  }
  CHECK(r->nr == was.nr && r->head == was.head && r->tail == was.tail && r->magic == was.magic);
  if (child) {
    CHECK(mprotect(r, 4096, PROT_READ | PROT_WRITE) == 0);
    pass_on(child);
    expect_exit(child, 3);
  }
  if (is("full")) CHECK(unread > 100 && !submit(r, -1));
  if (is("eventfd")) {
    uint64_t n;
    CHECK(read(event, &n, 8) == 8 && n == 4);
    CHECK(submit(r, event) && read(event, &n, 8) == 8 && n == 1);
    unread++;
  }
  is("own_reader") ? take_here(r, first, first + unread) : take(r, first, first + unread);
  nothing_left(r);
  goes_on(r);
  for (int i = 0; i < 2 && others[i]; i++) {
    CHECK(others[i]->nr == room[i]);
    goes_on(others[i]);
    ends(others[i]);
  }
  ends(r);
}
