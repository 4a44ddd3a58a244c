// What: Java with a thread pool, timers, a garbage collector at work and compiled code.
// Go: file
// Copy: no
// Needs: java javac
// Seconds: 40
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Pool {
  public static void main(String[] args) throws Exception {
    Path folder = Path.of(args[0]);
    ExecutorService pool = Executors.newFixedThreadPool(8);
    ScheduledExecutorService clock = Executors.newScheduledThreadPool(1);
    AtomicLong ticks = new AtomicLong(), sum = new AtomicLong(), wrong = new AtomicLong();
    ConcurrentHashMap<Integer, String> map = new ConcurrentHashMap<>();
    long[] last = {System.nanoTime()};
    clock.scheduleAtFixedRate(() -> {
      long now = System.nanoTime();
      if (now < last[0]) wrong.incrementAndGet();
      last[0] = now;
      ticks.incrementAndGet();
    }, 1, 3, TimeUnit.MILLISECONDS);
    List<Future<Long>> all = new ArrayList<>();
    int n = 0;
    while (!Files.exists(folder.resolve("go"))) {
      int k = n++;
      all.add(pool.submit(() -> {
        byte[] waste = new byte[10000];
        waste[k % waste.length] = 1;
        map.put(k, "value " + k);
        long s = 0;
        for (int i = 0; i < 1000; i++) s += i ^ k;
        sum.addAndGet(s);
        return s;
      }));
      if (n == 200) Files.createFile(folder.resolve("ready"));
      Thread.sleep(2);
    }
    long again = 0;
    for (Future<Long> f : all) again += f.get();
    pool.shutdown();
    pool.awaitTermination(10, TimeUnit.SECONDS);
    clock.shutdownNow();
    String text = "OK";
    if (again != sum.get() || map.size() != n) text = "sums " + again + " and " + sum + ", " + map.size() + " of " + n;
    for (int i = 0; i < n; i++) if (!("value " + i).equals(map.get(i))) text = "entry " + i + " is " + map.get(i);
    if (wrong.get() != 0 || ticks.get() < 5) text = "the clock: " + wrong + " backwards, " + ticks + " ticks";
    Files.writeString(folder.resolve("part"), text + "\n");
    Files.move(folder.resolve("part"), folder.resolve("result"));
    System.exit(text.equals("OK") ? 0 : 1);
  }
}
