// What: register state held in a loop that never leaves user space: general, flags, x87, MMX, SSE, AVX, AVX-512, MXCSR, PKRU.
// Variants: general x87 mmx sse mxcsr avx avx512 pkru
#include "victim.h"
#include <immintrin.h>
static volatile int stop;
static void on_go(int s) { (void)s; stop = 1; }
// Spins without touching what is under test, until the word comes.
#define SPIN "1: pause\n cmpl $0, %[stop]\n je 1b\n"
static void general(void) {
  uint64_t out[6];
  asm volatile("mov $0x1111111111111111, %%r8\n mov $0x2222222222222222, %%r9\n mov $0x3333333333333333, %%r10\n"
               "mov $0x4444444444444444, %%r11\n mov $0x5555555555555555, %%r12\n mov $0x6666666666666666, %%r13\n" SPIN
               "mov %%r8, (%[out])\n mov %%r9, 8(%[out])\n mov %%r10, 16(%[out])\n mov %%r11, 24(%[out])\n mov %%r12, 32(%[out])\n mov %%r13, 40(%[out])\n"
               : : [out] "r"(out), [stop] "m"(stop) : "r8", "r9", "r10", "r11", "r12", "r13", "memory", "cc");
  for (int i = 0; i < 6; i++) CHECK(out[i] == 0x1111111111111111ull * (i + 1));
}
static void x87(void) {
  long double a = 3.14159265358979323846L, b = 2.71828182845904523536L, x, y;
  unsigned short cw = 0x0f7f, now;
  asm volatile("fninit\n fldcw %[cw]\n fldt %[a]\n fldt %[b]\n" SPIN "fstpt %[y]\n fstpt %[x]\n fnstcw %[now]\n fninit\n"
               : [x] "=m"(x), [y] "=m"(y), [now] "=m"(now) : [a] "m"(a), [b] "m"(b), [cw] "m"(cw), [stop] "m"(stop) : "memory", "cc", "st", "st(1)");
  CHECK(x == a && y == b && now == cw);
}
static void mmx(void) {
  uint64_t in[2] = {0x0123456789abcdef, 0xfedcba9876543210}, out[2];
  asm volatile("movq (%[in]), %%mm0\n movq 8(%[in]), %%mm7\n" SPIN "movq %%mm0, (%[out])\n movq %%mm7, 8(%[out])\n emms\n"
               : : [out] "r"(out), [in] "r"(in), [stop] "m"(stop) : "mm0", "mm7", "memory", "cc");
  CHECK(!memcmp(in, out, sizeof in));
}
static void sse(void) {
  uint64_t in[4] = {0x0123456789abcdef, 0xfedcba9876543210, 0x1122334455667788, 0x99aabbccddeeff00}, out[4];
  asm volatile("movdqu (%[in]), %%xmm0\n movdqu 16(%[in]), %%xmm15\n" SPIN "movdqu %%xmm0, (%[out])\n movdqu %%xmm15, 16(%[out])\n"
               : : [out] "r"(out), [in] "r"(in), [stop] "m"(stop) : "xmm0", "xmm15", "memory", "cc");
  CHECK(!memcmp(in, out, sizeof in));
}
static void mxcsr(void) {
  unsigned set = 0x9fc0, now; // flush to zero, denormals are zero
  asm volatile("ldmxcsr %[set]\n" SPIN "stmxcsr %[now]\n" : [now] "=m"(now) : [set] "m"(set), [stop] "m"(stop) : "memory", "cc");
  CHECK(now == set);
}
__attribute__((target("avx"))) static void avx(void) {
  unsigned char in[64], out[64];
  fill(in, 64, 3);
  asm volatile("vmovdqu (%[in]), %%ymm1\n vmovdqu 32(%[in]), %%ymm14\n" SPIN "vmovdqu %%ymm1, (%[out])\n vmovdqu %%ymm14, 32(%[out])\n vzeroupper\n"
               : : [out] "r"(out), [in] "r"(in), [stop] "m"(stop) : "xmm1", "xmm14", "memory", "cc");
  CHECK(!memcmp(in, out, 64));
}
__attribute__((target("avx512f"))) static void avx512(void) {
  unsigned char in[192], out[192];
  unsigned short mask = 0;
  fill(in, 192, 5);
  asm volatile("vmovdqu64 (%[in]), %%zmm1\n vmovdqu64 64(%[in]), %%zmm17\n vmovdqu64 128(%[in]), %%zmm31\n mov $0x5aa5, %%eax\n kmovw %%eax, %%k3\n" SPIN
               "vmovdqu64 %%zmm1, (%[out])\n vmovdqu64 %%zmm17, 64(%[out])\n vmovdqu64 %%zmm31, 128(%[out])\n kmovw %%k3, %%eax\n mov %%ax, %[mask]\n vzeroupper\n"
               : [mask] "=m"(mask) : [out] "r"(out), [in] "r"(in), [stop] "m"(stop) : "xmm1", "rax", "memory", "cc");
  CHECK(!memcmp(in, out, 192) && mask == 0x5aa5);
}
static void pkru(void) {
  int key = pkey_alloc(0, PKEY_DISABLE_WRITE);
  CHECK(key >= 0);
  char *p = map_anon(4096, MAP_PRIVATE);
  CHECK(pkey_mprotect(p, 4096, PROT_READ | PROT_WRITE, key) == 0);
  while (!stop) sleep_ms(1);
  CHECK(pkey_get(key) == PKEY_DISABLE_WRITE);
  int fds[2];
  CHECK(pipe(fds) == 0 && write(fds[1], "x", 1) == 1 && read(fds[0], p, 1) == -1 && errno == EFAULT);
  CHECK(pkey_set(key, 0) == 0);
  p[0] = 1;
}
static void victim(void) {
  if (is("avx") && !__builtin_cpu_supports("avx")) SKIP("the CPU has no AVX");
  if (is("avx512") && !__builtin_cpu_supports("avx512f")) SKIP("the CPU has no AVX-512");
  if (is("pkru")) {
    int key = pkey_alloc(0, 0);
    if (key < 0) SKIP("the CPU or the kernel has no protection keys");
    pkey_free(key);
  }
  signal(SIGUSR1, on_go);
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigprocmask(SIG_UNBLOCK, &usr1, 0);
  mark("ready");
  if (is("general")) general();
  if (is("x87")) x87();
  if (is("mmx")) mmx();
  if (is("sse")) sse();
  if (is("mxcsr")) mxcsr();
  if (is("avx")) avx();
  if (is("avx512")) avx512();
  if (is("pkru")) pkru();
}
