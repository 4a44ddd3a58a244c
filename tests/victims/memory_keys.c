// What: memory protection keys: which are allocated (with gaps, one given back while an area has it), which area has which, and each thread's rights.
// Variants: rights gaps freed execute_only unused
// Build: -pthread
#include "victim.h"
#include <setjmp.h>
static sigjmp_buf out;
static int code_of_fault, key_of_fault;
static void fault(int s, siginfo_t *i, void *u) {
  (void)s, (void)u;
  code_of_fault = i->si_code;
  key_of_fault = i->si_pkey;
  siglongjmp(out, 1);
}
// A handler starts with the rights that every program starts with.
static unsigned rights(void) {
  unsigned low, high;
  __asm__ volatile("rdpkru" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}
static void set_rights(unsigned to) { __asm__ volatile("wrpkru" : : "a"(to), "c"(0), "d"(0) : "memory"); }
static int __attribute__((noinline)) faults(volatile char *at, int write) {
  volatile unsigned before = rights();
  if (sigsetjmp(out, 1)) {
    set_rights(before);
    return 1;
  }
  if (write) *at = *at;
  else (void)*at;
  return 0;
}
static int refuses(volatile char *at, int write, int key) {
  code_of_fault = 0;
  return faults(at, write) && code_of_fault == SEGV_PKUERR && key_of_fault == key;
}
static int alloc(void) {
  int key = pkey_alloc(0, 0);
  if (key < 0) SKIP("pkey_alloc: %s", strerror(errno));
  return key;
}
static int is_allocated(int key) { return pkey_mprotect(map_anon(4096, MAP_PRIVATE), 4096, PROT_READ, key) == 0; }
static char *p;
static int a, b;
static pthread_barrier_t check;
// Its rights are the other way round.
static void *other(void *arg) {
  CHECK(pkey_set(a, PKEY_DISABLE_WRITE) == 0 && pkey_set(b, 0) == 0);
  pthread_barrier_wait(&check);
  pthread_barrier_wait(&check);
  CHECK(pkey_get(a) == PKEY_DISABLE_WRITE && pkey_get(b) == 0);
  CHECK(refuses(p, 1, a) && !faults(p, 0) && !faults(p + 4096, 1));
  return arg;
}
static void victim(void) {
  struct sigaction sa = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &sa, 0);
  p = map_anon(3 * 4096, MAP_PRIVATE);
  fill(p, 3 * 4096, 5);
  a = alloc();
  b = alloc();
  int c = alloc();
  CHECK(pkey_mprotect(p, 4096, PROT_READ | PROT_WRITE, a) == 0);
  CHECK(pkey_mprotect(p + 4096, 4096, PROT_READ | PROT_WRITE, b) == 0);
  if (is("gaps")) CHECK(pkey_free(a) == 0 && pkey_mprotect(p, 4096, PROT_READ | PROT_WRITE, c) == 0);
  if (is("freed")) CHECK(pkey_free(b) == 0);
  if (is("unused")) CHECK(pkey_mprotect(p, 8192, PROT_READ | PROT_WRITE, 0) == 0);
  unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3}; // mov eax, 42; ret
  char *x = map_anon(4096, MAP_PRIVATE);
  memcpy(x, code, sizeof code);
  if (is("execute_only")) CHECK(mprotect(x, 4096, PROT_EXEC) == 0 && faults(x, 0));
  if (!is("freed")) CHECK(pkey_set(b, PKEY_DISABLE_ACCESS) == 0);
  CHECK(pkey_set(c, PKEY_DISABLE_WRITE) == 0);
  pthread_t t;
  pthread_barrier_init(&check, 0, 2);
  if (is("rights")) {
    CHECK(pthread_create(&t, 0, other, 0) == 0);
    pthread_barrier_wait(&check);
  }
  ready_and_wait();
  CHECK(pkey_get(c) == PKEY_DISABLE_WRITE);
  CHECK(is_allocated(a) == !is("gaps") && is_allocated(b) == !is("freed") && is_allocated(c));
  CHECK(!is_allocated(c + 1) && !is_allocated(c + 2));
  if (is("rights")) {
    CHECK(refuses(p + 4096, 0, b) && !faults(p, 1));
    pthread_barrier_wait(&check);
    pthread_join(t, 0);
    CHECK(pkey_set(b, 0) == 0);
  }
  if (is("gaps")) CHECK(refuses(p, 1, c) && !faults(p, 0) && alloc() == a);
  if (is("execute_only")) CHECK(faults(x, 0) && ((int (*)(void))x)() == 42);
  if (!is("freed")) CHECK(pkey_set(b, 0) == 0);
  CHECK(pkey_set(c, 0) == 0);
  CHECK(filled(p, 3 * 4096, 5));
  if (is("freed")) CHECK(alloc() == b);
}
