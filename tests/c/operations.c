/* Operations of the library's own worker: versions, features, and every way to ask wrongly. */
#include <criu-ext.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

static int open_dir(const char *name)
{
	int fd;
	EXPECT(mkdir(name, 0755) == 0 || errno == EEXIST);
	fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	EXPECT(fd >= 0);
	return fd;
}

static void versions(criu_opts *opts)
{
	EXPECT_INT(criu_local_get_version(opts), 40200);
	EXPECT_INT(criu_local_check_version(opts, 31500), 1);
	EXPECT_INT(criu_local_check_version(opts, 40200), 1);
	EXPECT_INT(criu_local_check_version(opts, 40201), 0);
	EXPECT(criu_local_last_error(opts) == NULL);
}

static void features(criu_opts *opts)
{
	struct criu_feature_check f = { true, true, true };
	struct {
		struct criu_feature_check known;
		bool later[5];
	} longer = { { true, false, true }, { true, true, false, false, true } };
	bool there;
	int i;

	EXPECT_INT(criu_local_feature_check(opts, &f, sizeof(f)), 0);
	there = f.pidfd_store;
	f.mem_track = f.lazy_pages = f.pidfd_store = false;
	EXPECT_INT(criu_local_feature_check(opts, &f, sizeof(f)), 0);
	EXPECT(!f.mem_track && !f.lazy_pages && !f.pidfd_store);
	/* A shorter struct: the rest is not touched. */
	f.pidfd_store = true;
	EXPECT_INT(criu_local_feature_check(opts, &f, 1), 0);
	EXPECT(f.pidfd_store);
	/* A longer one: what the library does not know is not there. */
	EXPECT_INT(criu_local_feature_check(opts, &longer.known, sizeof(longer)), 0);
	EXPECT(longer.known.pidfd_store == there && !longer.known.lazy_pages);
	for (i = 0; i < 5; i++)
		EXPECT(!longer.later[i]);
	EXPECT_FAILS(criu_local_feature_check(opts, &f, 0), -EINVAL, EINVAL);
	EXPECT_FAILS(criu_local_feature_check(opts, NULL, 3), -EINVAL, EINVAL);
}

static void wrong_options(criu_opts *opts, int dir)
{
	const struct criu_error *e;

	/* No images directory. */
	EXPECT_FAILS(criu_local_dump(opts), -EBADE, EBADRQC);
	e = criu_local_last_error(opts);
	EXPECT(e && e->code == CRIU_ERR_OPTIONS && e->error_number == EBADRQC);
	EXPECT(*e->message && *e->cause && *e->object && *e->phase && e->hint);
	EXPECT(criu_last_error() && !strcmp(criu_last_error()->message, e->message));
	EXPECT_FAILS(criu_local_restore(opts), -EBADE, EBADRQC);

	criu_local_set_images_dir_fd(opts, dir);
	EXPECT_INT(criu_local_set_log_file(opts, "a/b"), 0);
	EXPECT_FAILS(criu_local_dump(opts), -EBADE, EBADRQC);
	EXPECT_INT(criu_local_set_log_file(opts, "operations.log"), 0);

	/* A file is no directory; a descriptor that is not open is none either. */
	criu_local_set_images_dir_fd(opts, 9999);
	EXPECT(criu_local_dump(opts) == -EBADE);
	criu_local_set_images_dir_fd(opts, dir);

	criu_local_set_pid(opts, -5);
	EXPECT_FAILS(criu_local_dump(opts), -EBADE, EBADRQC);

	/* Success forgets the error. */
	EXPECT_INT(criu_local_get_version(opts), 40200);
	EXPECT(!criu_local_last_error(opts) && !criu_last_error());
}

static void no_such_process(criu_opts *opts, int dir)
{
	pid_t gone = fork();

	if (gone == 0)
		_exit(0);
	EXPECT(waitpid(gone, NULL, 0) == gone);
	criu_local_set_images_dir_fd(opts, dir);
	criu_local_set_pid(opts, gone);
	EXPECT_FAILS(criu_local_dump(opts), -EBADE, ESRCH);
	EXPECT_INT(criu_local_last_error(opts)->code, CRIU_ERR_NO_PROCESS);
	EXPECT(access("operations/operations.log", F_OK) == 0);
	EXPECT(access("operations/inventory.img", F_OK) != 0);
}

static void empty_images(criu_opts *opts, int dir)
{
	criu_local_set_images_dir_fd(opts, dir);
	EXPECT_INT(criu_local_restore(opts), -EBADE);
	EXPECT(*criu_local_last_error(opts)->message);
	EXPECT_INT(criu_local_restore_child(opts), -EBADE);
	EXPECT(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
}

static void transports(criu_opts *opts)
{
	const struct criu_error *e;

	EXPECT_INT(criu_local_set_service_binary(opts, "/nonexistent/criu"), 0);
	EXPECT_FAILS(criu_local_get_version(opts), -ECONNREFUSED, ENOENT);
	e = criu_local_last_error(opts);
	EXPECT(e->code == CRIU_ERR_CONNECT && strstr(e->message, "/nonexistent/criu"));
	EXPECT_INT(criu_local_set_service_binary(opts, "no-such-program-anywhere"), 0);
	EXPECT_FAILS(criu_local_get_version(opts), -ECONNREFUSED, ENOENT);
	/* It ends without an answer. */
	EXPECT_INT(criu_local_set_service_binary(opts, "true"), 0);
	EXPECT_INT(criu_local_get_version(opts), -ECOMM);
	EXPECT_INT(criu_local_set_service_address(opts, "/nonexistent/socket"), 0);
	EXPECT_FAILS(criu_local_get_version(opts), -ECONNREFUSED, ENOENT);
	criu_local_set_service_fd(opts, 9999);
	EXPECT_FAILS(criu_local_get_version(opts), -ECOMM, EBADF);
	criu_local_set_service_fd(opts, -1);
	EXPECT_FAILS(criu_local_get_version(opts), -ECOMM, EBADF);
	EXPECT(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
}

static void handles(void)
{
	criu_opts *opts = NULL, *stale;

	EXPECT_FAILS(criu_get_version(), -EINVAL, EINVAL);
	EXPECT_INT(criu_set_log_file("x"), -EINVAL);
	criu_set_pid(1);
	EXPECT_INT(criu_local_init_opts(NULL), -EINVAL);
	EXPECT_FAILS(criu_local_dump(NULL), -EINVAL, EINVAL);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	EXPECT_INT(criu_local_set_root(opts, NULL), -EINVAL);
	EXPECT_INT(criu_local_set_root(opts, "\xff\xfe"), -EILSEQ);
	EXPECT_INT(criu_local_set_exec_cmd(opts, 1, NULL), -EINVAL);
	EXPECT_INT(criu_local_set_exec_cmd(opts, -1, NULL), -EINVAL);
	stale = opts;
	criu_local_free_opts(opts);
	criu_local_free_opts(stale);
	EXPECT_INT(criu_local_set_root(stale, "/"), -EINVAL);
	EXPECT_FAILS(criu_local_get_version(stale), -EINVAL, EINVAL);
	criu_local_set_pid(NULL, 1);
	EXPECT_INT(criu_notify_pid(NULL), 0);
	EXPECT_INT(criu_get_orphan_pts_master_fd(), -1);
	EXPECT_INT(criu_init_opts(), 0);
	EXPECT_INT(criu_init_opts(), 0);
	EXPECT_INT(criu_set_page_server_address_port("localhost", 1), 0);
	EXPECT_INT(criu_cancel(), -ESRCH);
	criu_free_opts();
	criu_free_opts();
}

static void named_options(criu_opts *opts)
{
	EXPECT_INT(criu_local_set_option(opts, "ghost-limit", "2M"), 0);
	EXPECT_INT(criu_local_set_option(opts, "tcp-close", NULL), 0);
	EXPECT_INT(criu_local_set_option(opts, "no-tcp-close", NULL), 0);
	EXPECT_INT(criu_local_set_option(opts, "no-such-option", NULL), -ENOENT);
	EXPECT(strstr(criu_last_error()->message, "no-such-option"));
	EXPECT_INT(criu_local_set_option(opts, "ghost-limit", "many"), -EINVAL);
	EXPECT_INT(criu_local_set_option(opts, "ghost-limit", NULL), -EINVAL);
	EXPECT_INT(criu_local_set_option(opts, "pidfile", "/tmp/x"), -EINVAL);
	EXPECT_INT(criu_local_set_option(opts, NULL, NULL), -EINVAL);
}

int main(void)
{
	int dir = open_dir("operations"), empty = open_dir("operations/empty");
	criu_opts *opts = NULL;

	bounded(90);
	handles();
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	versions(opts);
	features(opts);
	wrong_options(opts, dir);
	no_such_process(opts, dir);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	empty_images(opts, empty);
	transports(opts);
	criu_free_service(opts);
	versions(opts);
	named_options(opts);
	criu_local_free_opts(opts);
	return 0;
}
