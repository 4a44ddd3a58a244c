// io_uring by its system calls.
#pragma once
#include "victim.h"
#include <linux/io_uring.h>
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif
struct ring {
  int fd;
  struct io_uring_params p;
  char *rings, *sqes;
  size_t rings_bytes, sqes_bytes, sqe_bytes, cqe_bytes;
};
static unsigned load(void *p) { return __atomic_load_n((unsigned *)p, __ATOMIC_ACQUIRE); }
static void store(void *p, unsigned v) { __atomic_store_n((unsigned *)p, v, __ATOMIC_RELEASE); }
static unsigned *word(struct ring *r, unsigned offset) { return (unsigned *)(r->rings + offset); }
static int uring_setup(unsigned entries, struct io_uring_params *p) { return syscall(SYS_io_uring_setup, entries, p); }
static int uring_enter(struct ring *r, unsigned submit, unsigned wait) {
  int n;
  do
    n = syscall(SYS_io_uring_enter, r->fd, submit, wait, IORING_ENTER_GETEVENTS, 0, 0);
  while (n < 0 && errno == EINTR);
  return n;
}
static int uring_register(struct ring *r, unsigned op, void *arg, unsigned n) { return syscall(SYS_io_uring_register, r->fd, op, arg, n); }
static void ring_map(struct ring *r) {
  r->sqe_bytes = r->p.flags & IORING_SETUP_SQE128 ? 128 : 64;
  r->cqe_bytes = r->p.flags & IORING_SETUP_CQE32 ? 32 : 16;
  size_t sq = r->p.flags & IORING_SETUP_NO_SQARRAY ? 0 : r->p.sq_off.array + 4 * r->p.sq_entries;
  size_t cq = r->p.cq_off.cqes + r->p.cq_entries * r->cqe_bytes;
  r->rings_bytes = sq > cq ? sq : cq, r->sqes_bytes = r->p.sq_entries * r->sqe_bytes;
  r->rings = mmap(0, r->rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
  r->sqes = mmap(0, r->sqes_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
  CHECK(r->rings != MAP_FAILED && r->sqes != MAP_FAILED);
}
static struct ring ring_of(unsigned entries, unsigned flags, unsigned cq_entries) {
  struct ring r = {.p = {.flags = flags, .cq_entries = cq_entries}};
  CHECK((r.fd = uring_setup(entries, &r.p)) >= 0);
  ring_map(&r);
  return r;
}
static void ring_close(struct ring *r) { CHECK(!munmap(r->rings, r->rings_bytes) && !munmap(r->sqes, r->sqes_bytes) && !close(r->fd)); }
// Puts a request into the queue; the kernel is not told.
static void ring_put(struct ring *r, struct io_uring_sqe sqe) {
  unsigned tail = load(word(r, r->p.sq_off.tail)), at = tail & (r->p.sq_entries - 1);
  CHECK(tail - load(word(r, r->p.sq_off.head)) < r->p.sq_entries);
  memset(r->sqes + at * r->sqe_bytes, 0, r->sqe_bytes);
  memcpy(r->sqes + at * r->sqe_bytes, &sqe, 64);
  if (!(r->p.flags & IORING_SETUP_NO_SQARRAY)) word(r, r->p.sq_off.array)[at] = at;
  store(word(r, r->p.sq_off.tail), tail + 1);
}
static unsigned ring_waiting(struct ring *r) { return load(word(r, r->p.cq_off.tail)) - load(word(r, r->p.cq_off.head)); }
static struct io_uring_cqe ring_take(struct ring *r) {
  CHECK(ring_waiting(r) > 0);
  unsigned head = load(word(r, r->p.cq_off.head));
  struct io_uring_cqe cqe;
  memcpy(&cqe, r->rings + r->p.cq_off.cqes + (head & (r->p.cq_entries - 1)) * r->cqe_bytes, sizeof cqe);
  store(word(r, r->p.cq_off.head), head + 1);
  return cqe;
}
static struct io_uring_sqe ring_nop(uint64_t data) { return (struct io_uring_sqe){.opcode = IORING_OP_NOP, .user_data = data}; }
// One request from its submission to its completion.
static int ring_do(struct ring *r, struct io_uring_sqe sqe) {
  unsigned before = ring_waiting(r);
  ring_put(r, sqe);
  CHECK(uring_enter(r, 1, before + 1) == 1);
  CHECK(ring_waiting(r) == before + 1);
  struct io_uring_cqe cqe = ring_take(r);
  CHECK(cqe.user_data == sqe.user_data);
  return cqe.res;
}
static void ring_nops(struct ring *r, unsigned count) {
  while (count--) CHECK(ring_do(r, ring_nop(count)) == 0);
}
