/* The last error of this thread.  A function that can fail ends in `return fail(STATUS, "what, expected, found")`;
 * its callers pass the status on and add nothing, so the text is written where the facts are. */
#ifndef RWKVK_BASE_ERROR_H
#define RWKVK_BASE_ERROR_H

#include <assert.h>

#include "rwkvk_tools.h"

#if defined(__MINGW32__) && !defined(__clang__) /* where `printf` would mean Microsoft's */
#define PRINTF_LIKE(text, first) __attribute__((format(gnu_printf, text, first)))
#elif defined(__GNUC__)
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define PRINTF_LIKE(text, first)
#endif

/* Sets the thread's error text and returns `status`. */
rwkvk_status fail(rwkvk_status status, const char *format, ...) PRINTF_LIKE(2, 3);

/* Between these two calls, failures of this thread leave the error text alone: cleanup after a failure may itself fail, and an
 * optional attempt may fail without the caller's notice.  Calls nest. */
void error_hold(void);
void error_release(void);

/* Passes a failure on. */
#define TRY(call)                                                                                                              \
	do {                                                                                                                       \
		rwkvk_status try_status = (call);                                                                                      \
		if (try_status != RWKVK_OK)                                                                                            \
			return try_status;                                                                                                 \
	} while (0)

/* Wrong use of the public interface: asserts in debug builds, RWKVK_ERROR_ARGUMENT in release builds. */
#define REQUIRE(condition)                                                                                                     \
	do {                                                                                                                       \
		assert(condition);                                                                                                     \
		if (!(condition))                                                                                                      \
			return fail(RWKVK_ERROR_ARGUMENT, "%s: requirement not met: %s", __func__, #condition);                            \
	} while (0)

/* The same in functions that return no status: in release builds they return `otherwise`. */
#define EXPECT(condition, otherwise)                                                                                           \
	do {                                                                                                                       \
		assert(condition);                                                                                                     \
		if (!(condition)) {                                                                                                    \
			fail(RWKVK_ERROR_ARGUMENT, "%s: requirement not met: %s", __func__, #condition);                                   \
			return otherwise;                                                                                                  \
		}                                                                                                                      \
	} while (0)

/* The same for failures that no caller of the public interface can cause: RWKVK_ERROR_INTERNAL. */
#define INVARIANT(condition)                                                                                                   \
	do {                                                                                                                       \
		assert(condition);                                                                                                     \
		if (!(condition))                                                                                                      \
			return fail(RWKVK_ERROR_INTERNAL, "%s: rule broken: %s; please report this", __func__, #condition);                \
	} while (0)

#endif
