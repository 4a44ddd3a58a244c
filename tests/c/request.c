/* Whole requests of the protocol (criu_local_request): answers, and what is wrong with a request. */
#include <criu-ext.h>
#include <stdlib.h>

#include "expect.h"

static criu_opts *opts;

/* The outcome of a request; an answer is compared with what it has to begin with. */
static int ask(const void *request, size_t size, const void *begins, size_t length)
{
	uint8_t *answer = (uint8_t *)1;
	size_t got = 77;
	int ret = criu_local_request(opts, request, size, &answer, &got);

	if (ret == 0) {
		EXPECT(answer && got >= length && !memcmp(answer, begins, length));
		EXPECT(!criu_local_last_error(opts));
	} else {
		EXPECT(!answer && !got);
		EXPECT(criu_local_last_error(opts) && *criu_local_last_error(opts)->message);
	}
	free(answer);
	return ret;
}

int main(void)
{
	/* criu_req { type = VERSION }, and criu_resp { type = VERSION, success = true, version { 4, 2 } } in part. */
	static const uint8_t version[] = {0x08, 0x0a}, answer[] = {0x08, 0x0a, 0x10, 0x01, 0x52};
	static const uint8_t no_type[] = {0x18, 0x01}, cut[] = {0x08, 0x0a, 0x12, 0x7f}, unknown[] = {0x08, 0x63};
	uint8_t *out;
	size_t size;

	EXPECT_INT(criu_local_init_opts(&opts), 0);
	EXPECT_INT(ask(version, sizeof(version), answer, sizeof(answer)), 0);
	EXPECT_INT(ask(NULL, 2, NULL, 0), -EINVAL);
	EXPECT_INT(ask(version, (size_t)-1, NULL, 0), -EINVAL);
	EXPECT_INT(ask(cut, sizeof(cut), NULL, 0), -EINVAL);
	EXPECT(ask(unknown, sizeof(unknown), NULL, 0) < 0);
	EXPECT(ask(no_type, sizeof(no_type), NULL, 0) < 0);
	EXPECT_INT(criu_local_request(opts, version, sizeof(version), NULL, &size), -EINVAL);
	EXPECT_INT(criu_local_request(opts, version, sizeof(version), &out, NULL), -EINVAL);
	EXPECT_INT(criu_local_request(NULL, version, sizeof(version), &out, &size), -EINVAL);
	/* It is as good as before. */
	EXPECT_INT(ask(version, sizeof(version), answer, sizeof(answer)), 0);
	criu_local_free_opts(opts);
	return 0;
}
