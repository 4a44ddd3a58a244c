// What: mapped rings of packet sockets: what waits in them unread, and where kernel and program are in them.
// Variants: v1 v2 v3 v3_full v3_open v3_one tx1 tx2 tx3 datagram both child
#include "victim.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
// A protocol of nobody else's.
#define OURS (0x9000 + getpid() % 0x5000)
enum { BLOCK = 8192, BLOCKS = 4, FRAME = 2048, FRAMES = BLOCK / FRAME * BLOCKS };
static int version, blocks = BLOCKS, at_once = 2, raw = 1, next_rx, next_tx, sent, seen;
static char *rx, *tx;
static struct sockaddr_ll at(void) {
  return (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_protocol = htons(OURS), .sll_ifindex = if_nametoindex("lo"), .sll_halen = 6};
}
// Frames by number, so that none can be lost, come twice or in another order unnoticed.
static void frame(char *text, int n) { memset(text, 0, 60), sprintf(text, "frame %d", n); }
static void say(int count) {
  struct sockaddr_ll to = at();
  char text[60];
  int s = socket(AF_PACKET, SOCK_DGRAM, 0);
  CHECK(s >= 0);
  while (count--) {
    frame(text, sent++);
    CHECK(sendto(s, text, sizeof text, 0, (void *)&to, sizeof to) == sizeof text);
  }
  close(s);
}
static unsigned load(void *p) { return __atomic_load_n((unsigned *)p, __ATOMIC_ACQUIRE); }
static void store(void *p, unsigned v) { __atomic_store_n((unsigned *)p, v, __ATOMIC_RELEASE); }
// The kernel gives a block away when it is full or the time is up.
static void await(void *status, unsigned bit, unsigned value) {
  for (int n = 0; (load(status) & bit) != value; n++) {
    CHECK(n < 10000);
    usleep(1000);
  }
}
static void is_next(const char *data) {
  char text[60];
  frame(text, seen++);
  CHECK(!strcmp(data + (raw ? 14 : 0), text));
}
static void *status_in(char *slot) { return slot + (version == 2 ? 20 : 0); }
// As many frames as have been sent, but `keep`.
static void hear(int keep) {
  while (seen < sent - keep) {
    if (version == 2) {
      struct tpacket_block_desc *b = (void *)(rx + next_rx * BLOCK);
      await(&b->hdr.bh1.block_status, TP_STATUS_USER, TP_STATUS_USER);
      char *p = (char *)b + b->hdr.bh1.offset_to_first_pkt;
      for (unsigned n = 0; n < b->hdr.bh1.num_pkts; n++, p += ((struct tpacket3_hdr *)p)->tp_next_offset)
        is_next(p + ((struct tpacket3_hdr *)p)->tp_mac);
      store(&b->hdr.bh1.block_status, TP_STATUS_KERNEL);
      next_rx = (next_rx + 1) % blocks;
      continue;
    }
    char *slot = rx + next_rx * FRAME;
    await(slot, TP_STATUS_USER, TP_STATUS_USER);
    is_next(slot + (version == 0 ? ((struct tpacket_hdr *)slot)->tp_mac : ((struct tpacket2_hdr *)slot)->tp_mac));
    store(slot, TP_STATUS_KERNEL);
    next_rx = (next_rx + 1) % FRAMES;
  }
}
static void write_frame(char *slot, int n) {
  char *data = slot + (version == 2 ? 48 : 32);
  memset(data, 0, 80);
  if (raw) *(uint16_t *)(data + 12) = htons(OURS);
  frame(data + (raw ? 14 : 0), n);
  if (version == 0) ((struct tpacket_hdr *)slot)->tp_len = 74;
  if (version == 1) ((struct tpacket2_hdr *)slot)->tp_len = 74;
  if (version == 2) ((struct tpacket3_hdr *)slot)->tp_len = 74, ((struct tpacket3_hdr *)slot)->tp_next_offset = 0;
}
static void listen_and_send(int fd, int listener, int count) {
  int first = sent;
  for (int n = 0; n < count; n++) {
    char *slot = tx + (next_tx + n) % FRAMES * FRAME;
    CHECK((load(status_in(slot)) & 3) == 0);
    write_frame(slot, sent++);
    store(status_in(slot), TP_STATUS_SEND_REQUEST);
  }
  CHECK(send(fd, 0, 0, 0) >= 0);
  next_tx = (next_tx + count) % FRAMES;
  for (int n = 0; n < count; n++) {
    char got[128], text[60];
    struct pollfd p = {listener, POLLIN, 0};
    CHECK(poll(&p, 1, 2000) == 1 && recv(listener, got, sizeof got, 0) >= 60);
    frame(text, first + n);
    CHECK(!strcmp(got, text));
  }
}
static void victim(void) {
  int sends = is("tx1") || is("tx2") || is("tx3") || is("both"), hears = !is("tx1") && !is("tx2") && !is("tx3");
  version = is("v1") || is("tx1") ? TPACKET_V1 : is("v3") || is("v3_full") || is("v3_open") || is("v3_one") || is("tx3") ? TPACKET_V3 : TPACKET_V2;
  raw = !is("datagram");
  // What comes when the only block's time is up is dropped: one frame, then it is heard.
  if (is("v3_one")) blocks = at_once = 1;
  int fd = socket(AF_PACKET, raw ? SOCK_RAW : SOCK_DGRAM, 0), listener = -1;
  if (fd < 0) SKIP("socket(AF_PACKET): %s", strerror(errno));
  CHECK(setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) == 0);
  struct tpacket_req3 req = {BLOCK, blocks, FRAME, BLOCK / FRAME * blocks, 0, 0, 0};
  socklen_t len = version == TPACKET_V3 ? sizeof req : sizeof(struct tpacket_req);
  if (sends) CHECK(setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &req, len) == 0);
  req.tp_retire_blk_tov = is("v3_open") ? 1000 : 10;
  if (hears) CHECK(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, len) == 0);
  size_t bytes = BLOCK * blocks;
  char *mapped = mmap(0, bytes * (sends + hears), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(mapped != MAP_FAILED);
  rx = mapped, tx = mapped + (hears ? bytes : 0);
  struct sockaddr_ll name = at(), now;
  if (sends) {
    CHECK((listener = socket(AF_PACKET, SOCK_DGRAM, htons(OURS))) >= 0);
    if (!hears) name.sll_protocol = 0;
  }
  CHECK(bind(fd, (void *)&name, sizeof name) == 0);
  int child_asked[2], child_says[2], child = 0;
  if (is("child")) {
    CHECK(pipe(child_asked) == 0 && pipe(child_says) == 0 && (child = fork()) >= 0);
    if (!child) {
      char c = 0;
      close(child_asked[1]);
      while (read(child_asked[0], &c, 1) == 1) CHECK(write(child_says[1], load(rx) & TP_STATUS_USER ? "y" : "n", 1) == 1);
      _exit(0);
    }
  }
  if (sends) listen_and_send(fd, listener, 5), listen_and_send(fd, listener, FRAMES - 2);
  if (is("v3_full")) {
    // All blocks are the program's; what comes now is dropped. (Of several frames the last would be, too, if a block's time is up between them.)
    for (int n = 0; n < blocks; n++) say(1), await(rx + n * BLOCK + 8, TP_STATUS_USER, TP_STATUS_USER);
  } else if (is("v3_open")) {
    say(5), hear(0), say(3);
  } else if (hears && !sends) {
    for (int n = 0; n < 7; n++) say(at_once), hear(0);
    if (version == TPACKET_V3) say(is("v3_one") ? 1 : 3), await(rx + next_rx * BLOCK + 8, TP_STATUS_USER, TP_STATUS_USER);
    say(is("v3_one") ? 0 : 2);
    if (version != TPACKET_V3) hear(1);
    if (is("child")) hear(0), say(FRAMES), hear(FRAMES - 3);
  }
  if (sends && !hears) write_frame(tx + next_tx * FRAME, sent);
  ready_and_wait();
  socklen_t n = sizeof now;
  CHECK(getsockname(fd, (void *)&now, &n) == 0 && now.sll_ifindex == name.sll_ifindex && now.sll_protocol == name.sll_protocol);
  if (child) {
    char answer;
    // Some slot is unread: it sees what its parent sees.
    CHECK(write(child_asked[1], "?", 1) == 1 && read(child_says[0], &answer, 1) == 1 && answer == (load(rx) & TP_STATUS_USER ? 'y' : 'n'));
  }
  if (sends && !hears) {
    char text[60];
    frame(text, sent);
    CHECK(!strcmp(tx + next_tx * FRAME + (version == 2 ? 48 : 32) + 14, text));
  }
  if (sends) listen_and_send(fd, listener, 3), listen_and_send(fd, listener, FRAMES);
  // What was sent by the ring was heard by it, too; some of it for lack of room not.
  if (sends && hears) {
    int all = 0;
    for (int i = 0; i < FRAMES; i++) all += load(rx + i * FRAME) & TP_STATUS_USER;
    CHECK(all == FRAMES);
  } else if (hears) {
    hear(0);
    struct tpacket_stats_v3 stats;
    socklen_t room = sizeof stats;
    CHECK(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &room) == 0);
    for (int i = 0; i < 9; i++) say(at_once), hear(0);
    CHECK(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &room) == 0 && (int)stats.tp_packets == 9 * at_once && stats.tp_drops == 0);
  }
  if (child) CHECK(close(child_asked[1]) == 0 && waitpid(child, 0, 0) == child);
  CHECK(munmap(mapped, bytes * (sends + hears)) == 0);
  // If anybody else had it mapped, the kernel would not give it up.
  memset(&req, 0, sizeof req);
  CHECK(setsockopt(fd, SOL_PACKET, hears ? PACKET_RX_RING : PACKET_TX_RING, &req, len) == 0);
}
