// What: an io_uring instance in which nothing is in flight: where kernel and program are in it, requests that were not given to the kernel, completions that were not taken.
// Variants: new used wrapped cqsize clamp coop single_issuer defer submit_all no_sqarray wide disabled skipped undrained dropped sent sent_skipped unmapped apart dup nonblock protected dontfork other_thread child two high worker worker_left registered registered_at waiting watched
#include "uring.h"
#include <sys/epoll.h>
static struct ring r;
static char *rings, *sqes;
static int file;
static const char text[] = "what is in the file";

// The kernel's own counts, from fdinfo.
static unsigned told(const char *key) {
  char path[64];
  sprintf(path, "/proc/self/fdinfo/%d", r.fd);
  char *value = proc_field(path, key);
  CHECK(value);
  return strtoul(value, 0, 0);
}
static void send_to(struct ring *to, unsigned count) {
  struct ring from = ring_of(8, 0, 0);
  while (count--) {
    struct io_uring_sqe sqe = {.opcode = IORING_OP_MSG_RING, .fd = to->fd, .off = 1000 + count, .len = 7};
    CHECK(ring_do(&from, sqe) == 0);
    if (to->p.flags & IORING_SETUP_DEFER_TASKRUN) CHECK(uring_enter(to, 0, 1) == 0);
    struct io_uring_cqe cqe = ring_take(to);
    CHECK(cqe.user_data == 1000 + count && cqe.res == 7);
  }
  ring_close(&from);
}
static void skip(unsigned count) {
  for (unsigned n = 0; n < count; n++) {
    struct io_uring_sqe sqe = ring_nop(n);
    sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
    ring_put(&r, sqe);
    CHECK(uring_enter(&r, 1, 0) == 1 && !ring_waiting(&r));
  }
}
static void drop(unsigned count) {
  while (count--) {
    unsigned tail = load(word(&r, r.p.sq_off.tail));
    word(&r, r.p.sq_off.array)[tail & (r.p.sq_entries - 1)] = 1u << 30;
    store(word(&r, r.p.sq_off.tail), tail + 1);
    uring_enter(&r, 1, 0);
    CHECK(load(word(&r, r.p.sq_off.head)) == tail + 1);
  }
}
// Some requests that the kernel was not told of, some completions that were not taken.
static void leave_some(void) {
  for (int n = 0; n < 3; n++) ring_put(&r, ring_nop(100 + n));
  CHECK(uring_enter(&r, 3, 3) == 3 && ring_waiting(&r) == 3);
  CHECK(ring_take(&r).user_data == 100);
  for (int n = 0; n < 2; n++) ring_put(&r, ring_nop(200 + n));
}
static void remember(void) {
  rings = map_anon(r.rings_bytes, MAP_PRIVATE), sqes = map_anon(r.sqes_bytes, MAP_PRIVATE);
  memcpy(rings, r.rings, r.rings_bytes), memcpy(sqes, r.sqes, r.sqes_bytes);
}
// By a worker of the kernel's, which is a thread of this process from then on.
static void use_a_worker(void) {
  char buffer[64] = {0};
  struct io_uring_sqe sqe = {.opcode = IORING_OP_READ, .flags = IOSQE_ASYNC, .fd = file, .addr = (uintptr_t)buffer, .len = sizeof text};
  CHECK(ring_do(&r, sqe) == sizeof text && !strcmp(buffer, text));
}
static void use(void) {
  char buffer[64] = {0};
  struct io_uring_sqe sqe = {.opcode = IORING_OP_READ, .fd = file, .addr = (uintptr_t)buffer, .len = sizeof text, .user_data = 77};
  CHECK(ring_do(&r, sqe) == sizeof text && !strcmp(buffer, text));
  ring_nops(&r, 3 * r.p.sq_entries);
}
static void look(unsigned counts[4]) {
  CHECK(!memcmp(rings, r.rings, r.rings_bytes) && !memcmp(sqes, r.sqes, r.sqes_bytes));
  CHECK(told("CachedSqHead") == counts[0] && told("CachedCqTail") == counts[1]);
  CHECK(told("SqTail") == counts[2] && told("CqHead") == counts[3]);
}
static void take_what_was_left(void) {
  CHECK(ring_waiting(&r) == 2 && ring_take(&r).user_data == 101 && ring_take(&r).user_data == 102);
  CHECK(uring_enter(&r, 2, 2) == 2);
  CHECK(ring_waiting(&r) == 2 && ring_take(&r).user_data == 200 && ring_take(&r).user_data == 201);
}
static void *use_elsewhere(void *none) {
  use();
  return none;
}
static volatile int waiter;
static void *wait_for_one(void *none) {
  waiter = syscall(SYS_gettid);
  CHECK(syscall(SYS_io_uring_enter, r.fd, 0, 1, IORING_ENTER_GETEVENTS, 0, 0) == 0);
  CHECK(ring_take(&r).user_data == 55);
  return none;
}
// Until the other thread is in its call.
static void await_waiter(void) {
  char path[64], line[64];
  do {
    sleep_ms(1);
    sprintf(path, "/proc/self/task/%d/syscall", waiter);
    FILE *f = waiter ? fopen(path, "re") : 0;
    if (!f || !fgets(line, sizeof line, f)) line[0] = 0;
    if (f) fclose(f);
  } while (strncmp(line, "426 ", 4));
}
static void hold(void) {
  int is_disabled = is("disabled"), wants = !is_disabled && !is("new") && !is("waiting");
  unsigned flags = is("cqsize")          ? IORING_SETUP_CQSIZE
                   : is("clamp")         ? IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE
                   : is("coop")          ? IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG
                   : is("single_issuer") ? IORING_SETUP_SINGLE_ISSUER
                   : is("defer") || is("sent") ? IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
                   : is("submit_all")    ? IORING_SETUP_SUBMIT_ALL
                   : is("no_sqarray")    ? IORING_SETUP_NO_SQARRAY
                   : is("wide")          ? IORING_SETUP_SQE128 | IORING_SETUP_CQE32
                   : is("disabled")      ? IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER
                                         : 0;
  char *low = is("high") ? map_anon(64 << 20, MAP_PRIVATE) : 0;
  r = ring_of(is("clamp") ? 1 << 20 : 8, flags, is("cqsize") ? 128 : is("clamp") ? 1 << 20 : 0);
  if (low) CHECK(!munmap(low, 64 << 20));
  if (is("used") || is("single_issuer") || is("defer") || is("coop")) use();
  if (is("worker")) use_a_worker();
  if (is("wrapped")) ring_nops(&r, 10007);
  if (is("skipped")) ring_nops(&r, 20), skip(70);
  if (is("undrained")) skip(1), ring_nops(&r, 20), send_to(&r, 1);
  if (is("dropped")) ring_nops(&r, 20), drop(33);
  if (is("sent")) ring_nops(&r, 20), send_to(&r, 100);
  if (is("sent_skipped")) skip(3), send_to(&r, 30), ring_nops(&r, 2);
  if (is("nonblock")) CHECK(!fcntl(r.fd, F_SETFL, O_NONBLOCK));
  if (wants) leave_some();
  remember();
  unsigned counts[4] = {told("CachedSqHead"), told("CachedCqTail"), told("SqTail"), told("CqHead")};
  struct ring second = {0};
  if (is("two")) second = ring_of(64, 0, 0), ring_nops(&second, 5);
  int place = -1;
  if (is("registered") || is("registered_at")) {
    struct io_uring_rsrc_update update = {.offset = is("registered") ? -1U : 7, .data = r.fd};
    CHECK(uring_register(&r, IORING_REGISTER_RING_FDS, &update, 1) == 1);
    place = update.offset;
    CHECK(is("registered") || place == 7);
  }
  if (is("worker_left")) {
    // The worker stays while the instance is closed.
    struct ring other = r;
    r = second = ring_of(8, 0, 0);
    use_a_worker();
    r = other;
    ring_close(&second);
  }
  pthread_t other;
  if (is("waiting")) {
    CHECK(!pthread_create(&other, 0, wait_for_one, 0));
    await_waiter();
  }
  int poller = -1;
  if (is("watched")) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 5};
    CHECK((poller = epoll_create1(0)) >= 0 && !epoll_ctl(poller, EPOLL_CTL_ADD, r.fd, &event));
    CHECK(epoll_wait(poller, &event, 1, 0) == 1);
  }
  int same = is("dup") ? dup(r.fd) : -1;
  if (is("unmapped")) CHECK(!munmap(r.rings, r.rings_bytes) && !munmap(r.sqes, r.sqes_bytes));
  if (is("apart")) {
    // The completions by a mapping of their own.
    CHECK(!munmap(r.rings, r.rings_bytes));
    r.rings = mmap(0, r.rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, IORING_OFF_CQ_RING);
    CHECK(r.rings != MAP_FAILED);
  }
  if (is("protected")) CHECK(!mprotect(r.sqes, r.sqes_bytes, PROT_READ));
  if (is("dontfork")) CHECK(!madvise(r.rings, r.rings_bytes, MADV_DONTFORK) && !madvise(r.sqes, r.sqes_bytes, MADV_DONTDUMP));
  if (is("child"))
    mark("held"), wait_go();
  else
    ready_and_wait();
  if (is("unmapped")) ring_map(&r);
  if (is("protected")) CHECK(!mprotect(r.sqes, r.sqes_bytes, PROT_READ | PROT_WRITE));
  look(counts);
  if (is("disabled")) {
    CHECK(uring_enter(&r, 0, 0) == -1 && errno == EBADFD);
    CHECK(!uring_register(&r, IORING_REGISTER_ENABLE_RINGS, 0, 0));
  }
  if (wants) take_what_was_left();
  if (is("nonblock")) CHECK(fcntl(r.fd, F_GETFL) == (O_RDWR | O_NONBLOCK));
  if (is("waiting")) {
    ring_put(&r, ring_nop(55));
    CHECK(syscall(SYS_io_uring_enter, r.fd, 1, 0, 0, 0, 0) == 1 && !pthread_join(other, 0));
  }
  if (is("other_thread")) CHECK(!pthread_create(&other, 0, use_elsewhere, 0) && !pthread_join(other, 0));
  use(), use_a_worker();
  if (is("watched")) {
    struct epoll_event event;
    while (epoll_wait(poller, &event, 1, 0) > 0);
    ring_put(&r, ring_nop(1));
    CHECK(uring_enter(&r, 1, 1) == 1 && epoll_wait(poller, &event, 1, 0) == 1 && event.data.u64 == 5);
    CHECK(ring_take(&r).user_data == 1);
  }
  // None waits for others once a request has skipped its completion.
  struct io_uring_sqe drain = ring_nop(5);
  drain.flags = IOSQE_IO_DRAIN;
  CHECK(ring_do(&r, drain) == (is("skipped") || is("undrained") || is("sent_skipped") ? -EOPNOTSUPP : 0));
  if (is("two")) ring_nops(&second, 70);
  if (place >= 0) {
    ring_put(&r, ring_nop(9));
    CHECK(syscall(SYS_io_uring_enter, place, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, 0, 0) == 1);
    CHECK(ring_take(&r).user_data == 9);
    struct io_uring_rsrc_update update = {.offset = place};
    CHECK(uring_register(&r, IORING_UNREGISTER_RING_FDS, &update, 1) == 1);
  }
  if (is("dup")) {
    struct ring again = r;
    again.fd = same;
    ring_nops(&again, 3);
  }
}
static void victim(void) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/file", victim_folder);
  CHECK((file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0 && write(file, text, sizeof text) == sizeof text);
  if (!is("child")) return hold();
  pid_t child = fork();
  if (!child) {
    hold();
    exit(0);
  }
  await_mark("held");
  ready_and_wait();
  pass_on(child);
  expect_exit(child, 0);
}
