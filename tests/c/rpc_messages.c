/* The protobuf-c functions of rpc.proto: messages built in C, and the bytes that another protobuf implementation made
 * (../criu_req.bin), in both directions; then input that is cut off or altered. */
/* Driven by libcriu/capi/tests/c_programs.rs, which writes criu_req.bin. */
#include "expect.h"
#include <criu.h>

static long blocks, left = -1;

static void *counted_alloc(void *data, size_t size)
{
	EXPECT(data == &blocks);
	if (left == 0)
		return NULL;
	left -= left > 0;
	blocks++;
	return malloc(size);
}

static void counted_free(void *data, void *at)
{
	EXPECT(data == &blocks);
	blocks -= at != NULL;
	free(at);
}

static ProtobufCAllocator counted = { counted_alloc, counted_free, &blocks };

struct collected {
	ProtobufCBuffer base;
	size_t len;
	uint8_t bytes[4096];
};

static void collect(ProtobufCBuffer *buffer, size_t len, const uint8_t *data)
{
	struct collected *to = (struct collected *)buffer;

	EXPECT(len <= sizeof(to->bytes) - to->len);
	memcpy(to->bytes + to->len, data, len);
	to->len += len;
}

static size_t read_file(const char *path, uint8_t *to, size_t room)
{
	FILE *f = fopen(path, "rb");
	size_t len;

	EXPECT(f);
	len = fread(to, 1, room, f);
	fclose(f);
	EXPECT(len > 0 && len < room);
	return len;
}

/* The same request as in criu_req.bin. */
static void build(const uint8_t *expected, size_t len)
{
	CriuReq req = CRIU_REQ__INIT;
	CriuOpts opts = CRIU_OPTS__INIT;
	CriuPageServerInfo ps = CRIU_PAGE_SERVER_INFO__INIT;
	CriuVethPair pair = CRIU_VETH_PAIR__INIT, *pairs[] = { &pair };
	UnixSk a = UNIX_SK__INIT, b = UNIX_SK__INIT, *sockets[] = { &a, &b };
	char *external[] = { "mnt[/tmp]:tmp", "", "file[1:2]" };
	struct collected buffer = { { collect }, 0, { 0 } };
	uint8_t packed[4096];

	req.type = CRIU_REQ_TYPE__DUMP;
	req.opts = &opts;
	req.has_notify_success = req.notify_success = 1;
	opts.images_dir_fd = -1;
	opts.has_pid = 1;
	opts.pid = -42;
	opts.has_leave_running = 1;
	opts.has_cpu_cap = 1;
	opts.ps = &ps;
	ps.address = "10.0.0.1";
	ps.has_port = 1;
	ps.port = 65535;
	opts.n_veths = 1;
	opts.veths = pairs;
	pair.if_in = "eth0";
	pair.if_out = "veth1";
	opts.n_unix_sk_ino = 2;
	opts.unix_sk_ino = sockets;
	a.inode = 4294967295u;
	opts.n_external = 3;
	opts.external = external;
	opts.has_manage_cgroups_mode = 1;
	opts.manage_cgroups_mode = CRIU_CG_MODE__STRICT;
	opts.has_deadline_ms = 1;
	opts.deadline_ms = 1ull << 40;
	EXPECT(criu_req__get_packed_size(&req) == len);
	memset(packed, 0xee, sizeof(packed));
	EXPECT(criu_req__pack(&req, packed) == len);
	EXPECT(!memcmp(packed, expected, len) && packed[len] == 0xee);
	EXPECT(criu_req__pack_to_buffer(&req, &buffer.base) == len);
	EXPECT(buffer.len == len && !memcmp(buffer.bytes, expected, len));
	EXPECT(criu_req__get_packed_size(NULL) == 0);
	opts.base.descriptor = NULL;
	EXPECT(criu_req__get_packed_size(&req) == 0 && criu_req__pack(&req, packed) == 0);
}

static void look(const uint8_t *bytes, size_t len, ProtobufCAllocator *allocator)
{
	CriuReq *req = criu_req__unpack(allocator, len, bytes);
	CriuOpts *o;
	uint8_t packed[4096];

	EXPECT(req && req->type == CRIU_REQ_TYPE__DUMP && req->opts && req->features == NULL);
	EXPECT(req->has_notify_success && req->notify_success && !req->has_keep_open);
	o = req->opts;
	EXPECT(o->images_dir_fd == -1 && o->has_pid && o->pid == -42);
	EXPECT(o->has_leave_running && !o->leave_running && !o->has_shell_job);
	EXPECT(o->has_cpu_cap && o->cpu_cap == 4294967295u);
	EXPECT(!o->has_log_level && o->log_level == 2 && !o->has_ghost_limit && o->ghost_limit == 1048576);
	EXPECT(!o->has_network_lock && o->network_lock == CRIU_NETWORK_LOCK_METHOD__IPTABLES);
	EXPECT(!strcmp(o->ps->address, "10.0.0.1") && o->ps->port == 65535 && !o->ps->has_fd);
	EXPECT(o->n_veths == 1 && !strcmp(o->veths[0]->if_in, "eth0") && !strcmp(o->veths[0]->if_out, "veth1"));
	EXPECT(o->n_unix_sk_ino == 2 && o->unix_sk_ino[0]->inode == 4294967295u && o->unix_sk_ino[1]->inode == 0);
	EXPECT(o->n_external == 3 && !*o->external[1] && !strcmp(o->external[2], "file[1:2]"));
	EXPECT(o->manage_cgroups_mode == CRIU_CG_MODE__STRICT && o->deadline_ms == 1ull << 40 && o->log_file == NULL);
	EXPECT(criu_req__pack(req, packed) == len && !memcmp(packed, bytes, len));
	criu_req__free_unpacked(req, allocator);
}

/* Twice the same field: numbers and strings are replaced, messages merged, lists joined; unknown fields come back. */
static void merged(void)
{
	static const uint8_t twice[] = {
		0x08, 0x01, 0x08, 0x02,                                     /* type 1, then 2 */
		0x12, 0x07, 0x08, 0x05, 0xb2, 0x01, 0x02, 'a', 'b',         /* opts: images_dir_fd 5, exec_cmd "ab" */
		0xf8, 0x06, 0x96, 0x01,                                     /* 111: 150 */
		0x12, 0x09, 0x52, 0x01, 'x', 0x52, 0x00, 0xb2, 0x01, 0x01, 'c', /* opts: log_file "x", then "", exec_cmd "c" */
		0xfa, 0x06, 0x02, 'h', 'i', 0xfd, 0x06, 1, 2, 3, 4,         /* 111: "hi", and four bytes */
	};
	static const uint8_t without_type[] = { 0x18, 0x01 };
	static const uint8_t wrong_type[] = { 0x0a, 0x01, 0x01 };
	static const uint8_t group[] = { 0x08, 0x01, 0xfb, 0x06 };
	static const uint8_t zero[] = { 0x08, 0x01, 0x00, 0x01 };
	uint8_t packed[64];
	CriuReq *req = criu_req__unpack(NULL, sizeof(twice), twice);
	size_t len;

	EXPECT(req && req->type == CRIU_REQ_TYPE__RESTORE && req->opts->images_dir_fd == 5);
	EXPECT(req->opts->log_file && !*req->opts->log_file && req->opts->n_exec_cmd == 2);
	EXPECT(!strcmp(req->opts->exec_cmd[0], "ab") && !strcmp(req->opts->exec_cmd[1], "c"));
	EXPECT(req->base.n_unknown_fields == 3 && req->base.unknown_fields[0].tag == 111);
	len = criu_req__get_packed_size(req);
	EXPECT(len <= sizeof(packed) && criu_req__pack(req, packed) == len);
	EXPECT(!memcmp(packed + len - 11, twice + sizeof(twice) - 11, 11));
	criu_req__free_unpacked(req, NULL);
	EXPECT(!criu_req__unpack(NULL, sizeof(without_type), without_type));
	EXPECT(!criu_req__unpack(NULL, sizeof(wrong_type), wrong_type));
	EXPECT(!criu_req__unpack(NULL, sizeof(group), group));
	EXPECT(!criu_req__unpack(NULL, sizeof(zero), zero));
	EXPECT(!criu_req__unpack(NULL, 5, NULL) && !criu_req__unpack(NULL, SIZE_MAX, twice));
	criu_req__free_unpacked(NULL, NULL);
}

/* Gives the bytes in a block of just their size, so that a tool sees a step beyond. */
static void try(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1), *out;
	CriuReq *req;
	size_t size;

	memcpy(exact, bytes, len);
	req = criu_req__unpack(&counted, len, exact);
	free(exact);
	if (req) {
		size = criu_req__get_packed_size(req);
		out = malloc(size);
		EXPECT(criu_req__pack(req, out) == size);
		free(out);
		criu_req__free_unpacked(req, &counted);
	}
	EXPECT(blocks == 0);
}

static void malformed(const uint8_t *bytes, size_t len)
{
	uint8_t altered[4096];
	size_t i;
	int bit;
	long n;

	for (i = 0; i < len; i++) {
		try(bytes, i);
		for (bit = 0; bit < 9; bit++) {
			memcpy(altered, bytes, len);
			altered[i] = bit < 8 ? bytes[i] ^ 1 << bit : 0xff;
			try(altered, len);
		}
		memcpy(altered, bytes, i);
		memcpy(altered + i, bytes + i + 1, len - i - 1);
		try(altered, len - 1);
	}
	srand(1);
	for (n = 0; n < 2000; n++) {
		memcpy(altered, bytes, len);
		for (bit = 0; bit < 4; bit++)
			altered[rand() % len] = rand();
		try(altered, len);
	}
}

/* With memory for one block less each time. */
static void short_of_memory(const uint8_t *bytes, size_t len)
{
	CriuReq *req = criu_req__unpack(&counted, len, bytes);
	long n, all = blocks;

	criu_req__free_unpacked(req, &counted);
	EXPECT(req && all > 10);
	for (n = 0; n < all; n++) {
		left = n;
		EXPECT(!criu_req__unpack(&counted, len, bytes) && blocks == 0 && left == 0);
	}
	left = -1;
}

int main(void)
{
	uint8_t bytes[4096];
	size_t len = read_file("../criu_req.bin", bytes, sizeof(bytes));

	build(bytes, len);
	look(bytes, len, NULL);
	look(bytes, len, &counted);
	EXPECT(blocks == 0);
	merged();
	malformed(bytes, len);
	short_of_memory(bytes, len);
	return 0;
}
