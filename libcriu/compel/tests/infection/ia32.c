// A 32-bit program without any library, so that only a compiler is needed: `ia32 registers` spins with a pattern in every general
// register until somebody changes the word whose address it has told, `ia32 sleep` sleeps in the ways in which such programs make
// system calls. Says `ready`, and in the end `ok` or what was wrong.
typedef unsigned int u32;
typedef struct { int s, ns; } time32;

static int call(int nr, int a, int b, int c) {
  int ret;
  asm volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
  return ret;
}
u32 vsyscall;
static int fast_call(int nr, int a, int b, int c) {
  int ret;
  asm volatile("call *vsyscall" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
  return ret;
}
enum { EXIT = 1, WRITE = 4, NANOSLEEP = 162, CLOCK_GETTIME = 265 };

static void say(const char *text) {
  int n = 0;
  while (text[n]) n++;
  call(WRITE, 1, (int)text, n);
}
static void end(const char *why) {
  say(why);
  call(EXIT, why[0] != 'o', 0, 0);
}

volatile u32 flag;
u32 seen[8];

static void spin(void) {
  char line[] = "00000000\n";
  for (int i = 0; i < 8; i++) line[i] = "0123456789abcdef"[(u32)&flag >> (28 - 4 * i) & 15];
  say(line);
  say("ready\n");
  asm volatile("push %%ebp\n mov %%esp, seen+28\n"
               "mov $0xa1a1a1a1, %%eax\n mov $0xb2b2b2b2, %%ebx\n mov $0xc3c3c3c3, %%ecx\n mov $0xd4d4d4d4, %%edx\n"
               "mov $0xe5e5e5e5, %%esi\n mov $0xf6f6f6f6, %%edi\n mov $0x97979797, %%ebp\n std\n"
               "1: cmpl $0, flag\n je 1b\n"
               "mov %%eax, seen\n mov %%ebx, seen+4\n mov %%ecx, seen+8\n mov %%edx, seen+12\n mov %%esi, seen+16\n mov %%edi, seen+20\n"
               "mov %%ebp, seen+24\n sub %%esp, seen+28\n pushf\n pop %%eax\n cld\n and $0x400, %%eax\n xor $0x400, %%eax\n"
               "or %%eax, seen+28\n pop %%ebp\n" ::: "eax", "ebx", "ecx", "edx", "esi", "edi", "memory", "cc");
  static const u32 wanted[8] = {0xa1a1a1a1, 0xb2b2b2b2, 0xc3c3c3c3, 0xd4d4d4d4, 0xe5e5e5e5, 0xf6f6f6f6, 0x97979797, 0};
  for (int i = 0; i < 8; i++)
    if (seen[i] != wanted[i]) end("a register has changed\n");
}

static void sleep(void) {
  say("ready\n");
  for (int round = 0; round < 2; round++) {
    time32 nap = {0, 800000000}, begin, now;
    call(CLOCK_GETTIME, 1, (int)&begin, 0);
    if ((round ? fast_call : call)(NANOSLEEP, (int)&nap, 0, 0)) end("a sleep was interrupted\n");
    call(CLOCK_GETTIME, 1, (int)&now, 0);
    int ms = (now.s - begin.s) * 1000 + (now.ns - begin.ns) / 1000000;
    if (ms < 740 || ms > 1200) end("a sleep was too short or too long\n");
  }
}

__attribute__((used)) static void run(u32 *stack) {
  char **argv = (char **)(stack + 1);
  u32 *auxv = stack + 1 + stack[0] + 1;
  while (*auxv++) {}
  for (; auxv[0]; auxv += 2)
    if (auxv[0] == 32) vsyscall = auxv[1]; // AT_SYSINFO
  if (argv[1][0] == 'r') spin();
  else sleep();
  end("ok\n");
}
asm(".globl _start\n_start: mov %esp, %eax\n and $-16, %esp\n sub $12, %esp\n push %eax\n call run\n");
