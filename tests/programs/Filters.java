// What: Java with 200 threads, each with its own chain of seccomp filters, which a native library installs.
// Go: file
// Copy: no
// Needs: java javac gcc
// Seconds: 60
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Filters {
  static final int THREADS = 200;

  /** What a library of a sandbox does: getpriority(7, WHICH) fails with an errno of the thread's own, everything else is allowed. */
  static final String LIBRARY = """
      #include <errno.h>
      #include <linux/filter.h>
      #include <linux/seccomp.h>
      #include <stddef.h>
      #include <sys/prctl.h>
      #include <sys/syscall.h>
      #include <unistd.h>
      int Java_Filters_install(void *env, void *of, int which, int error) {
        struct sock_filter f[] = {
          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 0, 5),
          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 7, 0, 3),
          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, which, 0, 1),
          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog p = {sizeof f / sizeof *f, f};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return errno;
        return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) ? errno : 0;
      }
      int Java_Filters_ask(void *env, void *of, int which) {
        return syscall(SYS_getpriority, 7, which) == -1 ? errno : 0;
      }
      """;

  static native int install(int which, int error);

  static native int ask(int which);

  /** Filters of thread `i`: none for every seventh, else one to five. */
  static int chain(int i) {
    return i % 7 == 0 ? 0 : 1 + i % 5;
  }

  static String check(int i) {
    for (int k = 0; k < 6; k++) {
      // What no filter answers, the kernel does: EINVAL.
      int wanted = k < chain(i) ? 40 + (i + k) % 90 : 22, got = ask(k);
      if (got != wanted) return "thread " + i + ", filter " + k + ": errno " + got + " instead of " + wanted;
    }
    return null;
  }

  public static void main(String[] args) throws Exception {
    Path folder = Path.of(args[0]);
    Path source = Files.writeString(folder.resolve("filters.c"), LIBRARY), library = folder.resolve("libfilters.so");
    int status = new ProcessBuilder("gcc", "-shared", "-fPIC", "-o", library.toString(), source.toString()).inheritIO().start().waitFor();
    if (status != 0) throw new IllegalStateException("gcc: " + status);
    System.load(library.toString());
    AtomicReference<String> wrong = new AtomicReference<>();
    CountDownLatch ready = new CountDownLatch(THREADS), go = new CountDownLatch(1);
    AtomicLong[] rounds = new AtomicLong[THREADS];
    AtomicBoolean ends = new AtomicBoolean();
    List<Thread> threads = new ArrayList<>();
    for (int n = 0; n < THREADS; n++) {
      int i = n;
      rounds[i] = new AtomicLong();
      threads.add(new Thread(() -> {
        for (int k = 0; k < chain(i); k++) {
          int error = install(k, 40 + (i + k) % 90);
          if (error != 0) wrong.compareAndSet(null, "thread " + i + " cannot install a filter: errno " + error);
        }
        ready.countDown();
        byte[][] kept = new byte[8][];
        while (!ends.get() && wrong.get() == null) {
          String found = check(i);
          if (found != null) wrong.compareAndSet(null, found);
          kept[(int) (rounds[i].incrementAndGet() % kept.length)] = new byte[2000];
          try {
            Thread.sleep(20 + i % 10);
          } catch (InterruptedException e) {
            wrong.compareAndSet(null, "interrupted");
          }
        }
      }, "filtered-" + i));
    }
    for (Thread t : threads) t.start();
    ready.await();
    while (wrong.get() == null && Arrays.stream(rounds).anyMatch(r -> r.get() < 3)) Thread.sleep(5);
    if (wrong.get() == null) Files.createFile(folder.resolve("ready"));
    while (wrong.get() == null && !Files.exists(folder.resolve("go"))) Thread.sleep(5);
    long[] before = Arrays.stream(rounds).mapToLong(AtomicLong::get).toArray();
    long end = System.nanoTime() + 30_000_000_000L;
    for (int i = 0; i < THREADS; i++) {
      while (wrong.get() == null && rounds[i].get() < before[i] + 3) {
        if (System.nanoTime() > end) wrong.compareAndSet(null, "thread " + i + " stands still");
        Thread.sleep(5);
      }
    }
    // A new thread has the filters of the one that makes it: of main, none.
    Thread late = new Thread(() -> {
      if (ask(0) != 22) wrong.compareAndSet(null, "main has a filter");
    });
    late.start();
    late.join();
    System.gc();
    ends.set(true);
    for (Thread t : threads) t.join();
    Files.writeString(folder.resolve("part"), (wrong.get() == null ? "OK" : wrong.get()) + "\n");
    Files.move(folder.resolve("part"), folder.resolve("result"));
    System.exit(wrong.get() == null ? 0 : 1);
  }
}
