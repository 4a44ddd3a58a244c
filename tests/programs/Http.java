// What: a Java HTTP server with ten keep-alive clients in flight; none of them sees an error.
// Go: file
// Copy: no
// Needs: java javac
// Options: --tcp-established
// Seconds: 40
import com.sun.net.httpserver.HttpServer;
import java.net.*;
import java.net.http.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Http {
  public static void main(String[] args) throws Exception {
    Path folder = Path.of(args[0]);
    ConcurrentHashMap<String, AtomicInteger> counts = new ConcurrentHashMap<>();
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 16);
    server.setExecutor(Executors.newFixedThreadPool(4));
    server.createContext("/", exchange -> {
      String client = exchange.getRequestURI().getPath();
      byte[] body = (client + ":" + counts.computeIfAbsent(client, k -> new AtomicInteger()).incrementAndGet()).getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
    AtomicBoolean going = new AtomicBoolean(true);
    AtomicLong rounds = new AtomicLong();
    AtomicReference<String> wrong = new AtomicReference<>("");
    List<Thread> threads = new ArrayList<>();
    for (int c = 0; c < 10; c++) {
      String name = "/client" + c;
      URI uri = URI.create("http://127.0.0.1:" + server.getAddress().getPort() + name);
      Thread t = new Thread(() -> {
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        try {
          for (int n = 1; going.get(); n++) {
            String got = client.send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString()).body();
            if (!got.equals(name + ":" + n)) wrong.compareAndSet("", name + " got " + got + " instead of " + n);
            rounds.incrementAndGet();
            Thread.sleep(2);
          }
        } catch (Exception e) {
          wrong.compareAndSet("", name + ": " + e);
        }
      });
      threads.add(t);
      t.start();
    }
    long seen = 0;
    boolean ready = false;
    while (going.get()) {
      if (!ready && rounds.get() > 50) {
        Files.createFile(folder.resolve("ready"));
        ready = true;
      }
      if (!Files.exists(folder.resolve("go"))) seen = rounds.get();
      else if (rounds.get() > seen + 50 || !wrong.get().isEmpty()) going.set(false);
      Thread.sleep(5);
    }
    for (Thread t : threads) t.join(10000);
    String text = wrong.get().isEmpty() ? "OK" : wrong.get();
    Files.writeString(folder.resolve("part"), text + "\n");
    Files.move(folder.resolve("part"), folder.resolve("result"), StandardCopyOption.ATOMIC_MOVE);
    System.exit(text.equals("OK") ? 0 : 1);
  }
}
