// What: state that cannot be saved is refused by name, pid and hint, and the task goes on unharmed.
// Variants: pidfd mptcp traced userfaultfd perf netns mntns utsns ipcns pidns userns bpf bpf_outside shm lock external_socket aio_in_flight aio_view aio_part secretmem netlink packet_ring_part packet_waiting console siblings timens inotify_events reuseport_ebpf mqueue mqueue_unlinked sem_undo thread_pidfd foreign_file foreign_socket
// Refused.mptcp: connection of MPTCP
// Refused.pidfd: pidfd & outside
// Refused.thread_pidfd: pidfd & of thread
// Refused.traced: traced | ptrace
// Refused.userfaultfd: userfaultfd
// Refused.perf: perf
// Refused.netns: network namespace | net namespace
// Refused.mntns: mount namespace | mnt namespace
// Refused.utsns: uts namespace
// Refused.ipcns: ipc namespace
// Refused.pidns: pid namespace
// Refused.userns: user namespace
// Refused.timens: time namespace
// Refused.bpf: bpf
// Refused.bpf_outside: BPF map & outside the tree
// Refused.shm: system v shared memory & outside of the tree
// Refused.lock: lock & file-locks
// Refused.external_socket: unix & peer
// Refused.aio_in_flight: 1 aio requests are in flight & dump again
// Refused.aio_view: aio ring & inherited by fork
// Refused.aio_part: aio & cut to pieces
// Refused.secretmem: secret
// Refused.netlink: netlink
// Refused.mqueue: message queue & close it
// Refused.mqueue_unlinked: message queue & close it
// Refused.sem_undo: semaphore & SEM_UNDO
// Refused.packet_ring_part: a part of the rings & unmap it
// Refused.packet_waiting: packets wait & read them
// Refused.console: console | character device
// Refused.siblings: table of descriptors & not with its parent
// Refused.inotify_events: events & read them
// Refused.reuseport_ebpf: SO_ATTACH_REUSEPORT_EBPF
// Refused.foreign_file: dump inside its mount namespace | make its path lead to it again
// Refused.foreign_socket: not reachable as & mount namespace
#include "outsider.h"
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/un.h>
static int fd = -1, set = -1;
// Opens, or binds, in a mount namespace of its own below a mount that is seen there alone, and hands it over.
static int foreign(int ends[2]) {
  pid_t child = fork();
  if (!child) {
    struct sockaddr_un a = {AF_UNIX, "there/socket"};
    need(unshare(CLONE_NEWNS) == 0 && mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) == 0, "unshare");
    need(mount("none", "there", "tmpfs", 0, 0) == 0, "mount");
    int got = is("foreign_file") ? open("there/file", O_RDWR | O_CREAT, 0600) : socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(got >= 0 && (is("foreign_file") || bind(got, (void *)&a, sizeof a) == 0));
    char byte = 0, room[CMSG_SPACE(sizeof got)] = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof got);
    memcpy(CMSG_DATA(c), &got, sizeof got);
    CHECK(sendmsg(ends[1], &m, 0) == 1);
    _exit(0);
  }
  char byte, room[CMSG_SPACE(sizeof(int))];
  struct iovec iov = {&byte, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  int got = -1;
  close(ends[1]);
  if (recvmsg(ends[0], &m, 0) == 1 && CMSG_FIRSTHDR(&m)) memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
  CHECK(status_of(child) >= 0);
  close(ends[0]);
  return got;
}
static volatile pid_t thread_id;
static void *thread(void *arg) {
  thread_id = syscall(SYS_gettid);
  for (;;) pause();
  return arg;
}
static int nothing(void) { return 0; }
static unsigned map_id;
static int hold_map(void) {
  union bpf_attr at = {.map_id = map_id};
  return syscall(SYS_bpf, BPF_MAP_GET_FD_BY_ID, &at, sizeof at);
}
static void victim(void) {
  struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
  pid_t child = 0, siblings[2] = {0, 0};
  int ns = is("netns") ? CLONE_NEWNET : is("mntns") ? CLONE_NEWNS : is("utsns") ? CLONE_NEWUTS : is("ipcns") ? CLONE_NEWIPC : is("pidns") ? CLONE_NEWPID : is("userns") ? CLONE_NEWUSER : is("timens") ? 0x80 : 0;
  if (is("mptcp")) {
    socklen_t n = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM, 262);
    need(listener >= 0 && bind(listener, (void *)&a, n) == 0 && listen(listener, 1) == 0 && getsockname(listener, (void *)&a, &n) == 0, "MPTCP");
    need((fd = socket(AF_INET, SOCK_STREAM, 262)) >= 0 && connect(fd, (void *)&a, n) == 0 && accept(listener, 0, 0) >= 0, "a connection of MPTCP");
  } else if (is("pidfd")) need((fd = syscall(SYS_pidfd_open, 1, 0)) >= 0, "pidfd_open");
  else if (is("thread_pidfd")) {
    pthread_t t;
    CHECK(pthread_create(&t, 0, thread, 0) == 0);
    while (!thread_id) sleep_ms(1);
    need((fd = syscall(SYS_pidfd_open, thread_id, O_EXCL)) >= 0, "pidfd_open(PIDFD_THREAD)");
  } else if (is("traced")) {
    child = fork();
    if (!child) {
      ptrace(PTRACE_TRACEME, 0, 0, 0);
      wait_go();
      _exit(1);
    }
  } else if (is("userfaultfd")) {
    need((fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)) >= 0, "userfaultfd");
    struct uffdio_api api = {UFFD_API, 0, 0};
    need(ioctl(fd, UFFDIO_API, &api) == 0, "UFFDIO_API");
  } else if (is("perf")) {
    struct perf_event_attr p = {.type = PERF_TYPE_SOFTWARE, .size = sizeof p, .config = PERF_COUNT_SW_TASK_CLOCK};
    need((fd = syscall(SYS_perf_event_open, &p, 0, -1, -1, 0)) >= 0, "perf_event_open");
  } else if (ns) {
    // In a child, so that the tree is in two namespaces.
    child = fork();
    if (!child) {
      if (ns == CLONE_NEWPID || ns == 0x80) {
        need(unshare(ns) == 0, "unshare");
        pid_t inner = fork();
        if (!inner) {
          mark("unshared");
          wait_go();
          _exit(0);
        }
        wait_go();
        kill(inner, SIGUSR1);
        status_of(inner);
        _exit(1);
      }
      need(unshare(ns) == 0, "unshare");
      mark("unshared");
      wait_go();
      _exit(1);
    }
    await_mark("unshared");
  } else if (is("bpf")) {
    union bpf_attr at = {.map_type = BPF_MAP_TYPE_QUEUE, .value_size = 4, .max_entries = 4};
    need((fd = syscall(SYS_bpf, BPF_MAP_CREATE, &at, sizeof at)) >= 0, "bpf");
  } else if (is("bpf_outside")) {
    // Another description of it is held outside.
    union bpf_attr at = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 4};
    need((fd = syscall(SYS_bpf, BPF_MAP_CREATE, &at, sizeof at)) >= 0, "bpf");
    struct bpf_map_info i = {0};
    union bpf_attr ask = {.info = {fd, sizeof i, (uintptr_t)&i}};
    CHECK(syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &ask, sizeof ask) == 0);
    map_id = i.id;
    outsider(hold_map);
  } else if (is("shm")) {
    // Somebody outside of the tree has it attached, too.
    int segment = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
    need(segment >= 0, "shmget");
    CHECK(shmat(segment, 0, 0) != (void *)-1);
    outsider(nothing);
    CHECK(shmctl(segment, IPC_RMID, 0) == 0);
  } else if (is("lock")) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/lock", victim_folder);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    CHECK(flock(fd, LOCK_EX) == 0);
  } else if (is("external_socket")) {
    int p[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0);
    outsider(nothing);
    close(p[0]);
    fd = p[1];
  } else if (!strncmp(victim_variant, "aio_", 4)) {
    unsigned long ring = 0;
    need(syscall(SYS_io_setup, is("aio_part") ? 200 : 8, &ring) == 0, "io_setup");
    if (is("aio_part")) CHECK(munmap((void *)(ring + 4096), 4096) == 0);
    if (is("aio_in_flight")) {
      int p[2];
      CHECK(pipe(p) == 0);
      fd = p[0];
      struct iocb cb = {.aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = fd, .aio_buf = POLLIN}, *list = &cb;
      CHECK(syscall(SYS_io_submit, ring, 1, &list) == 1);
    }
    if (is("aio_view") && !(child = fork())) {
      wait_go();
      _exit(1);
    }
  } else if (is("secretmem")) {
    need((fd = syscall(SYS_memfd_secret, 0)) >= 0, "memfd_secret");
  } else if (is("netlink")) fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
  else if (is("mqueue") || is("mqueue_unlinked")) {
    char name[64];
    snprintf(name, sizeof name, "/refused-%d", (int)getpid());
    need((fd = mq_open(name, O_RDWR | O_CREAT, 0600, 0)) >= 0, "mq_open");
    CHECK(mq_send(fd, "message", 7, 1) == 0);
    if (is("mqueue_unlinked")) CHECK(mq_unlink(name) == 0);
  } else if (is("sem_undo")) {
    need((set = semget(IPC_PRIVATE, 1, 0600)) >= 0, "semget");
    struct sembuf up = {0, 1, SEM_UNDO};
    CHECK(semop(set, &up, 1) == 0);
  }
  else if (is("packet_ring_part")) {
    struct tpacket_req ring = {4096, 4, 2048, 8};
    need((fd = socket(AF_PACKET, SOCK_RAW, 0)) >= 0, "socket(AF_PACKET)");
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) == 0);
    char *all = mmap(0, 4 * 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(all != MAP_FAILED && munmap(all + 4096, 4096) == 0);
  } else if (is("packet_waiting")) {
    // A protocol of nobody else's, sent to itself.
    int ours = htons(0x9000 + getpid() % 0x5000);
    need((fd = socket(AF_PACKET, SOCK_DGRAM, ours)) >= 0, "socket(AF_PACKET)");
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = ours, .sll_ifindex = if_nametoindex("lo"), .sll_halen = 6};
    CHECK(sendto(fd, &to, sizeof to, 0, (void *)&to, sizeof to) == sizeof to);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 2000) == 1);
  }
  else if (is("inotify_events")) {
    need((fd = inotify_init1(IN_NONBLOCK)) >= 0 && inotify_add_watch(fd, victim_folder, IN_CREATE) > 0, "inotify");
    mark("event");
  } else if (is("reuseport_ebpf")) {
    // r0 = 0; exit
    uint64_t program[] = {0xb7, 0x95};
    union bpf_attr at = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 2};
    at.insns = (uintptr_t)program, at.license = (uintptr_t)"GPL";
    int one = 1, loaded = syscall(SYS_bpf, BPF_PROG_LOAD, &at, sizeof at);
    need(loaded >= 0, "bpf");
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0 && bind(fd, (void *)&a, sizeof a) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &loaded, sizeof loaded) == 0);
    close(loaded);
  }
  else if (is("foreign_file") || is("foreign_socket")) {
    int ends[2];
    CHECK(mkdir("there", 0755) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK((fd = foreign(ends)) >= 0);
  }
  else if (is("console")) need((fd = open("/dev/console", O_RDWR | O_NOCTTY)) >= 0 && isatty(fd), "/dev/console");
  else if (is("siblings")) {
    // Two children have one table, and their parent has another.
    for (int i = 0; i < 2; i++) {
      pid_t p = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
      if (!p) {
        if (i) mark("second");
        wait_go();
        _exit(0);
      }
      siblings[i] = p;
    }
    await_mark("second");
    CHECK(unshare(CLONE_FILES) == 0);
  }
  ready_and_wait();
  for (int i = 0; i < 2 && siblings[i]; i++) {
    pass_on(siblings[i]);
    expect_exit(siblings[i], 0);
  }
  if (is("inotify_events")) {
    char events[512];
    CHECK(read(fd, events, sizeof events) > 0);
  }
  if (fd >= 0) CHECK(fcntl(fd, F_GETFL) >= 0);
  if (child) {
    if (is("traced")) kill(child, SIGKILL);
    else pass_on(child);
    status_of(child);
  }
  if (is("external_socket") || is("shm") || is("bpf_outside")) {
    if (is("external_socket")) CHECK(write(fd, "x", 1) == 1);
    end_outsider();
  }
  char name[64];
  snprintf(name, sizeof name, "/refused-%d", (int)getpid());
  if (is("mqueue")) CHECK(mq_unlink(name) == 0);
  if (is("sem_undo")) CHECK(semctl(set, 0, GETVAL) == 1 && semctl(set, 0, IPC_RMID) == 0);
}
