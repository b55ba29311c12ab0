/* What every test includes: cmocka and our own assertions.  cmocka's float assert passes on NaN and infinity; use
 * assert_close(), which rejects anything that is not finite first. */
#ifndef RWKVK_TEST_SUPPORT_H
#define RWKVK_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#ifdef _WIN32
#include "on_windows.h"
#endif
#ifdef assert_uint_in_range /* its name since cmocka 2 */
#undef assert_in_range
#define assert_in_range assert_uint_in_range
#endif
/* cmocka's fail() would hide the function of base/error.h; fail_msg() stays. */
#undef fail
#undef fail_msg
#define fail_msg(...)                                                                                                          \
	do {                                                                                                                       \
		print_error("ERROR: " __VA_ARGS__);                                                                                    \
		print_error("\n");                                                                                                     \
		_fail(__FILE__, __LINE__);                                                                                             \
	} while (0)

/* got and want are finite and |got - want| <= tolerance * scale, where scale is the largest |want| of the array (1 when all
 * are zero).  Prints `what`, the first ten mismatches and the largest error on failure. */
#define assert_close(what, got, want, n, tolerance) test_assert_close(what, got, want, n, tolerance, __FILE__, __LINE__)
void test_assert_close(const char *what, const float *got, const float *want, size_t n, double tolerance, const char *file,
                       int line);
/* The same without the assertion: largest |got - want| / scale; infinity if anything is not finite. */
double test_error(const float *got, const float *want, size_t n);

/* status == RWKVK_OK, else prints rwkvk_last_error(). */
#define assert_ok(call) test_assert_status((int)(call), 0, #call, __FILE__, __LINE__)
/* status is `want` and the error text contains `text`. */
#define assert_fails(call, want, text)                                                                                         \
	do {                                                                                                                       \
		test_assert_status((int)(call), (int)(want), #call, __FILE__, __LINE__);                                               \
		test_assert_error_contains(text, __FILE__, __LINE__);                                                                  \
	} while (0)
void test_assert_status(int status, int want, const char *call, const char *file, int line);
void test_assert_error_contains(const char *text, const char *file, int line);

/* A small deterministic generator. */
uint32_t test_random(uint64_t *state);
float test_uniform(uint64_t *state); /* [-1, 1) */

/* A whole file, malloc'ed, with a zero byte after it; fails the test when it cannot be read. */
uint8_t *test_read_file(const char *path, size_t *bytes);
/* A fresh path in a temporary directory of this process, removed at exit; valid until exit. */
const char *test_temp(const char *name);
/* Such a path in a folder that does not exist, so that nothing can be written there, not even by root. */
const char *test_nowhere(const char *name);
/* A folder that cannot be created, because it would be inside a file. */
const char *test_no_folder(void);
void test_write_file(const char *path, const void *data, size_t bytes);

/* Of many similar cases, run only every n-th: RWKVK_TEST_FEW, or 1 if unset.  For devices that differ little. */
unsigned test_every(void);
/* Which of them, so that similar kinds of devices run different ones: RWKVK_TEST_TURN, from 0. */
unsigned test_turn(void);
/* RWKVK_TEST_ALL=1: run all cases, however long it takes; test_every() is then 1. */
bool test_everything(void);

/* The path of a file beside the project that some tests need (golden data, foreign models). If it is missing: NULL, and a loud
 * message on stderr that names the file and the test.  Valid until exit. */
const char *test_shared(const char *relative);

#endif
