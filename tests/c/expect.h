/* Checks of the test programs: a failed one says where and what, and ends the program. */
#ifndef EXPECT_H
#define EXPECT_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The check that was begun last, by whatever thread. */
static const char *volatile expect_what = "nothing yet";
static volatile int expect_line;

#define EXPECT(condition)                                                                 \
	do {                                                                              \
		expect_what = #condition, expect_line = __LINE__;                         \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			exit(1);                                                          \
		}                                                                         \
	} while (0)

/* An integer expression with its value. */
#define EXPECT_INT(expression, wanted)                                                              \
	do {                                                                                        \
		long got_, wanted_;                                                                 \
		expect_what = #expression, expect_line = __LINE__;                                  \
		got_ = (long)(expression), wanted_ = (long)(wanted);                                \
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

static void expect_end(int signal)
{
	char line[256];
	int len = snprintf(line, sizeof(line), "too long: line %d: %s\n", expect_line, expect_what);

	(void)signal;
	len = write(2, line, len < (int)sizeof(line) ? len : (int)sizeof(line) - 1);
	_exit(len < 0 ? 3 : 2);
}

/* Ends the program after so many seconds, saying at which check it stood. A signal of its own leaves SIGALRM to the tests. */
static inline void bounded(int seconds)
{
	struct sigaction action = { .sa_handler = expect_end };
	struct itimerspec when = { .it_value = { .tv_sec = seconds } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGXCPU };
	timer_t timer;

	EXPECT(sigaction(SIGXCPU, &action, NULL) == 0);
	EXPECT(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &when, NULL) == 0);
}

#endif
