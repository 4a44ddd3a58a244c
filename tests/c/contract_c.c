/* The headers in C: names, types, values, layouts of the contract. */
#include "contract.h"

#include <criu-ext.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	criu_opts *opts = NULL;
	(void)cg_mode, (void)comm, (void)info, (void)arg;
	if (criu_local_init_opts(&opts) || !opts || strcmp(criu_lib_version, CRIU_VERSION)) {
		puts("no options, or another version");
		return 1;
	}
	criu_local_set_manage_cgroups_mode(opts, CRIU_CG_MODE_SOFT);
	criu_local_set_lazy_pages(opts, false);
	if (criu_local_last_error(opts) || criu_local_blocker_count(opts) || criu_local_blocker(opts, 0)) {
		puts("an error before any operation");
		return 1;
	}
	if (criu_local_get_version(opts) != 40200 || criu_local_check_version(opts, 31500) != 1) {
		puts("another version");
		return 1;
	}
	criu_local_free_opts(opts);
	return 0;
}
