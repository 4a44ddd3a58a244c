// What: what of io_uring cannot be kept is refused by name.
// Variants: poll timeout asleep linked drain multishot defer_pending overflow sqpoll iopoll no_mmap provided personality restricted region other_issuer shared outside outside_mapped closed part registered_closed registered_elsewhere workers_bound
// Refused.poll: fd & io_uring & 1 requests in flight
// Refused.timeout: fd & io_uring & 1 requests in flight
// Refused.asleep: fd & io_uring & 1 requests in flight
// Refused.linked: fd & io_uring & 2 requests in flight
// Refused.drain: fd & io_uring & 2 requests in flight
// Refused.multishot: fd & io_uring & 1 requests in flight
// Refused.defer_pending: fd & io_uring & 1 requests in flight
// Refused.overflow: fd & io_uring & completions have overflown
// Refused.sqpoll: fd & io_uring & IORING_SETUP_SQPOLL
// Refused.iopoll: fd & io_uring & IORING_SETUP_IOPOLL
// Refused.no_mmap: fd & io_uring & IORING_SETUP_NO_MMAP
// Refused.provided: fd & io_uring & provided buffers
// Refused.personality: fd & io_uring & personalities
// Refused.restricted: fd & io_uring & restricted
// Refused.region: fd & io_uring & region of memory
// Refused.other_issuer: fd & io_uring & alone may use
// Refused.shared: fd & io_uring & several processes
// Refused.outside: fd & io_uring & thread & another process has used
// Refused.outside_mapped: fd & io_uring & another process has
// Refused.closed: mapping & no descriptor
// Refused.part: mapping & a part of an io_uring instance
// Refused.registered_closed: thread & without a descriptor
// Refused.registered_elsewhere: thread & not the main thread
// Refused.workers_bound: thread & bound to CPUs
#include "uring.h"
#include "outsider.h"
static struct ring r;
static int ends[2];
static void put(struct io_uring_sqe sqe) { ring_put(&r, sqe); }
static void give(int n) { CHECK(uring_enter(&r, n, 0) == n); }
static struct io_uring_sqe reading(void) {
  static char byte;
  return (struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = ends[0], .addr = (uintptr_t)&byte, .len = 1, .user_data = 9};
}
static struct io_uring_sqe polling(void) { return (struct io_uring_sqe){.opcode = IORING_OP_POLL_ADD, .fd = ends[0], .poll32_events = POLLIN, .user_data = 9}; }
static void setup(unsigned flags) { r = ring_of(8, flags, 0); }
static void *issue(void *none) {
  setup(IORING_SETUP_SINGLE_ISSUER);
  mark("issued");
  wait_go();
  return none;
}
static void *register_it(void *none) {
  struct io_uring_rsrc_update update = {.offset = -1U, .data = r.fd};
  CHECK(uring_register(&r, IORING_REGISTER_RING_FDS, &update, 1) == 1);
  mark("registered");
  wait_go();
  return none;
}
static int use_it(void) { return ring_nops(&r, 1), 0; }
static int close_it(void) { return close(r.fd); }
static void victim(void) {
  struct __kernel_timespec ts = {1000, 0};
  pthread_t thread;
  pid_t child = 0;
  CHECK(!pipe(ends));
  if (is("other_issuer")) {
    CHECK(!pthread_create(&thread, 0, issue, 0));
    await_mark("issued");
    ready_and_wait();
    return;
  }
  if (is("no_mmap")) {
    uint64_t rings = (uintptr_t)map_anon(4096, MAP_SHARED), sqes = (uintptr_t)map_anon(4096, MAP_SHARED);
    // IORING_SETUP_NO_MMAP; the addresses are the last words of the offsets.
    r.p.flags = 1u << 14;
    memcpy((char *)(&r.p.sq_off + 1) - 8, &sqes, 8), memcpy((char *)(&r.p.cq_off + 1) - 8, &rings, 8);
    need((r.fd = uring_setup(8, &r.p)) >= 0, "IORING_SETUP_NO_MMAP");
    ready_and_wait();
    return;
  }
  setup(is("defer_pending") ? IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
        : is("sqpoll")      ? IORING_SETUP_SQPOLL
        : is("iopoll")      ? IORING_SETUP_IOPOLL
        : is("restricted") || is("region") ? IORING_SETUP_R_DISABLED
                            : 0);
  if (is("poll") || is("defer_pending")) {
    put(polling()), give(1);
    if (is("defer_pending")) CHECK(write(ends[1], "x", 1) == 1 && !ring_waiting(&r));
  } else if (is("timeout")) {
    put((struct io_uring_sqe){.opcode = IORING_OP_TIMEOUT, .addr = (uintptr_t)&ts, .len = 1}), give(1);
  } else if (is("asleep")) {
    struct io_uring_sqe sqe = reading();
    sqe.flags = IOSQE_ASYNC;
    put(sqe), give(1);
  } else if (is("linked") || is("drain")) {
    struct io_uring_sqe first = polling(), second = ring_nop(1);
    if (is("linked")) first.flags = IOSQE_IO_LINK;
    if (is("drain")) second.flags = IOSQE_IO_DRAIN;
    put(first), put(second), give(2);
  } else if (is("multishot")) {
    struct io_uring_sqe sqe = polling();
    sqe.len = IORING_POLL_ADD_MULTI;
    put(sqe), give(1);
    CHECK(write(ends[1], "x", 1) == 1);
    CHECK(!uring_enter(&r, 0, 1) && (ring_take(&r).flags & IORING_CQE_F_MORE));
  } else if (is("overflow")) {
    for (unsigned n = 0; n < r.p.cq_entries + 1; n++) {
      put(ring_nop(n));
      CHECK(syscall(SYS_io_uring_enter, r.fd, 1, 0, 0, 0, 0) == 1);
    }
  } else if (is("provided")) {
    struct io_uring_sqe sqe = {.opcode = IORING_OP_PROVIDE_BUFFERS, .fd = 4, .addr = (uintptr_t)map_anon(4096, MAP_PRIVATE), .len = 1024, .buf_group = 3};
    CHECK(ring_do(&r, sqe) == 0);
  } else if (is("personality")) {
    CHECK(uring_register(&r, IORING_REGISTER_PERSONALITY, 0, 0) > 0);
  } else if (is("restricted")) {
    struct io_uring_restriction only = {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP};
    CHECK(!uring_register(&r, IORING_REGISTER_RESTRICTIONS, &only, 1) && !uring_register(&r, IORING_REGISTER_ENABLE_RINGS, 0, 0));
  } else if (is("region")) {
    struct {
      uint64_t user_addr, size;
      uint32_t flags, id;
      uint64_t mmap_offset, pad[4];
    } region = {.user_addr = (uintptr_t)map_anon(4096, MAP_PRIVATE), .size = 4096, .flags = 1};
    struct {
      uint64_t region, flags, pad[2];
    } arg = {(uintptr_t)&region, 1, {0}};
    // IORING_REGISTER_MEM_REGION
    need(!uring_register(&r, 34, &arg, 1), "IORING_REGISTER_MEM_REGION");
  } else if (is("shared")) {
    if (!(child = fork())) wait_go(), _exit(0);
  } else if (is("outside")) {
    outsider(use_it);
  } else if (is("outside_mapped")) {
    outsider(close_it);
  } else if (is("closed")) {
    close(r.fd);
  } else if (is("part")) {
    CHECK(!munmap(r.rings, r.rings_bytes) && !munmap(r.sqes, r.sqes_bytes));
    char *all = mmap(0, 8192, PROT_READ, MAP_SHARED, r.fd, IORING_OFF_SQES);
    CHECK(all != MAP_FAILED && !munmap(all, 4096));
  } else if (is("registered_closed")) {
    struct io_uring_rsrc_update update = {.offset = -1U, .data = r.fd};
    CHECK(uring_register(&r, IORING_REGISTER_RING_FDS, &update, 1) == 1);
    // What shows that there is anything to look for: a worker of the kernel's.
    CHECK(write(ends[1], "x", 1) == 1);
    struct io_uring_sqe sqe = reading();
    sqe.flags = IOSQE_ASYNC;
    CHECK(ring_do(&r, sqe) == 1);
    ring_close(&r);
  } else if (is("registered_elsewhere")) {
    CHECK(!pthread_create(&thread, 0, register_it, 0));
    await_mark("registered");
  } else if (is("workers_bound")) {
    uint64_t first = 1;
    CHECK(!uring_register(&r, IORING_REGISTER_IOWQ_AFF, &first, sizeof first));
  }
  ready_and_wait();
  if (child) pass_on(child), expect_exit(child, 0);
  if (is("outside") || is("outside_mapped")) end_outsider();
  if (is("poll") || is("multishot")) {
    CHECK(write(ends[1], "x", 1) == 1 && !uring_enter(&r, 0, 1) && ring_take(&r).user_data == 9);
  }
}
