/* A caller that has no library file to execute. It also works when it is linked with the shared library. */
#include <criu-ext.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

int main(void)
{
	int i;

	bounded(90);
	EXPECT(setenv("PATH", "/nonexistent", 1) == 0);
	EXPECT_INT(criu_init_opts(), 0);
	for (i = 0; i < 10; i++)
		EXPECT_INT(criu_get_version(), 40200);
	EXPECT_FAILS(criu_dump(), -EBADE, EBADRQC);
	EXPECT(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
	criu_free_opts();
	return 0;
}
