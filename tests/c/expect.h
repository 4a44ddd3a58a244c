/* Checks of the test programs: a failed one says where and what, and ends the program. */
#ifndef EXPECT_H
#define EXPECT_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition)                                                                 \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			exit(1);                                                          \
		}                                                                         \
	} while (0)

/* An integer expression with its value. */
#define EXPECT_INT(expression, wanted)                                                              \
	do {                                                                                        \
		long got_ = (long)(expression), wanted_ = (long)(wanted);                           \
		if (got_ != wanted_) {                                                              \
			fprintf(stderr, "%s:%d: %s is %ld, not %ld (errno %d)\n", __FILE__, __LINE__, \
				#expression, got_, wanted_, errno);                                 \
			exit(1);                                                                    \
		}                                                                                   \
	} while (0)

/* An operation that fails with this value and errno. */
#define EXPECT_FAILS(operation, value, number)  \
	do {                                    \
		errno = 0;                      \
		EXPECT_INT(operation, value);   \
		EXPECT_INT(errno, number);      \
	} while (0)

#endif
