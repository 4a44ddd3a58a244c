// What: user and group ids of all kinds, supplementary groups, capabilities, securebits, no_new_privs.
// Variants: ids groups caps ambient securebits nnp keepcaps
#include "victim.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
static void caps(struct __user_cap_data_struct *d) {
  struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
  CHECK(syscall(SYS_capget, &h, d) == 0);
}
static void set_caps(struct __user_cap_data_struct *d) {
  struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
  CHECK(syscall(SYS_capset, &h, d) == 0);
}
static void victim(void) {
  CHECK(chmod(victim_folder, 0777) == 0);
  struct __user_cap_data_struct d[2], now[2];
  uid_t r, e, s;
  if (is("ids")) {
    CHECK(setresgid(1001, 1002, 1003) == 0);
    prctl(PR_SET_KEEPCAPS, 0);
    CHECK(setresuid(2001, 0, 2003) == 0);
    setfsuid(2001);
    setfsgid(1001);
    setfsuid(0);
  } else if (is("groups")) {
    gid_t list[] = {5, 70, 1234567};
    CHECK(setgroups(3, list) == 0);
  } else if (is("caps")) {
    caps(d);
    d[0].effective &= ~(1u << CAP_NET_RAW);
    d[0].permitted &= ~(1u << CAP_NET_ADMIN);
    d[0].effective &= d[0].permitted;
    d[0].inheritable |= 1u << CAP_CHOWN;
    set_caps(d);
    CHECK(prctl(PR_CAPBSET_DROP, CAP_MKNOD) == 0);
  } else if (is("ambient")) {
    caps(d);
    d[0].inheritable |= 1u << CAP_KILL;
    set_caps(d);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0);
  } else if (is("securebits")) {
    CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED) == 0);
  } else if (is("nnp")) {
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  } else {
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
  }
  caps(d);
  ready_and_wait();
  caps(now);
  CHECK(!memcmp(d, now, sizeof d));
  if (is("ids")) {
    CHECK(getresuid(&r, &e, &s) == 0 && r == 2001 && e == 0 && s == 2003);
    CHECK(getresgid(&r, &e, &s) == 0 && r == 1001 && e == 1002 && s == 1003);
    CHECK(setfsgid(-1) == 1001);
  } else if (is("groups")) {
    gid_t list[8];
    CHECK(getgroups(8, list) == 3 && list[0] == 5 && list[1] == 70 && list[2] == 1234567);
  } else if (is("caps")) {
    CHECK(prctl(PR_CAPBSET_READ, CAP_MKNOD) == 0 && prctl(PR_CAPBSET_READ, CAP_CHOWN) == 1);
  } else if (is("ambient")) {
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0) == 1);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0) == 0);
  } else if (is("securebits")) {
    CHECK(prctl(PR_GET_SECUREBITS) == (SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED));
  } else if (is("nnp")) {
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
  } else {
    CHECK(prctl(PR_GET_KEEPCAPS) == 1);
  }
}
