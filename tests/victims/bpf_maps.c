// What: BPF maps: arrays and hash tables with their contents; frozen; open twice, for reading only, in two tasks.
// Variants: array hash frozen shared
#include "victim.h"
#include <linux/bpf.h>
static int bpf(int command, union bpf_attr *at) { return syscall(SYS_bpf, command, at, sizeof *at); }
static int element(int command, int map, unsigned key, void *value) {
  union bpf_attr at = {.map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)value};
  return bpf(command, &at);
}
static struct bpf_map_info about(int map) {
  struct bpf_map_info i = {0};
  union bpf_attr at = {.info = {map, sizeof i, (uintptr_t)&i}};
  CHECK(bpf(BPF_OBJ_GET_INFO_BY_FD, &at) == 0);
  return i;
}
static void victim(void) {
  enum { ENTRIES = 100 };
  union bpf_attr make = {.map_type = is("hash") ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 12, .max_entries = ENTRIES};
  strcpy(make.map_name, "a_victims_map");
  if (is("hash")) make.map_flags = BPF_F_NO_PREALLOC;
  int map = bpf(BPF_MAP_CREATE, &make), reader = -1;
  if (map < 0) SKIP("BPF_MAP_CREATE: %s", strerror(errno));
  unsigned value[3];
  for (unsigned k = 0; k < ENTRIES; k += is("hash") ? 7 : 3) {
    value[0] = k, value[1] = k * k, value[2] = ~k;
    CHECK(element(BPF_MAP_UPDATE_ELEM, map, k, value) == 0);
  }
  pid_t child = 0;
  if (is("frozen")) {
    union bpf_attr at = {.map_fd = map};
    CHECK(bpf(BPF_MAP_FREEZE, &at) == 0);
  } else if (is("shared")) {
    union bpf_attr at = {.map_id = about(map).id, .open_flags = BPF_F_RDONLY};
    CHECK((reader = bpf(BPF_MAP_GET_FD_BY_ID, &at)) >= 0);
    child = fork();
    if (!child) {
      wait_go();
      value[0] = 4711;
      CHECK(element(BPF_MAP_UPDATE_ELEM, map, 1, value) == 0);
      _exit(9);
    }
  }
  struct bpf_map_info before = about(map);
  ready_and_wait();
  struct bpf_map_info now = about(map);
  CHECK(now.type == before.type && now.key_size == 4 && now.value_size == 12 && now.max_entries == ENTRIES);
  CHECK(now.map_flags == before.map_flags && !strcmp(now.name, "a_victims_map"));
  for (unsigned k = 0; k < ENTRIES; k++) {
    int there = k % (is("hash") ? 7 : 3) == 0;
    memset(value, 0, sizeof value);
    int got = element(BPF_MAP_LOOKUP_ELEM, map, k, value);
    CHECK(got == 0 || is("hash"));
    CHECK(!is("hash") || (got == 0) == there);
    CHECK(!there || (value[0] == k && value[1] == k * k && value[2] == ~k));
  }
  int changed = element(BPF_MAP_UPDATE_ELEM, map, 2, value);
  CHECK(is("frozen") ? changed == -1 && errno == EPERM : changed == 0);
  if (is("shared")) {
    CHECK(element(BPF_MAP_UPDATE_ELEM, reader, 2, value) == -1 && errno == EPERM);
    pass_on(child), expect_exit(child, 9);
    CHECK(element(BPF_MAP_LOOKUP_ELEM, reader, 1, value) == 0 && value[0] == 4711);
  }
}
