#include "support.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "rwkvk.h"

double test_error(const float *got, const float *want, size_t n)
{
	double scale = 0, worst = 0;
	for (size_t i = 0; i < n; i++) {
		if (!isfinite(got[i]) || !isfinite(want[i]))
			return INFINITY;
		scale = fmax(scale, fabs((double)want[i]));
		worst = fmax(worst, fabs((double)got[i] - want[i]));
	}
	return worst / (scale > 0 ? scale : 1);
}

void test_assert_close(const char *what, const float *got, const float *want, size_t n, double tolerance, const char *file,
                       int line)
{
	double error = test_error(got, want, n), scale = 0;
	if (error <= tolerance)
		return;
	for (size_t i = 0; i < n; i++)
		if (isfinite(want[i]))
			scale = fmax(scale, fabs((double)want[i]));
	scale = scale > 0 ? scale : 1;
	print_error("%s: largest error %g of the largest value %g, limit %g\n", what, error, scale, tolerance);
	for (size_t i = 0, shown = 0; i < n && shown < 10; i++)
		if (!isfinite(got[i]) || !isfinite(want[i]) || fabs((double)got[i] - want[i]) > tolerance * scale) {
			print_error("    [%zu of %zu] got %.9g, want %.9g\n", i, n, (double)got[i], (double)want[i]);
			shown++;
		}
	_fail(file, line);
}

void test_assert_status(int status, int want, const char *call, const char *file, int line)
{
	if (status == want)
		return;
	print_error("%s\n    returned \"%s\", want \"%s\"; last error: %s\n", call, rwkvk_status_name((rwkvk_status)status),
	            rwkvk_status_name((rwkvk_status)want), rwkvk_last_error());
	_fail(file, line);
}

void test_assert_error_contains(const char *text, const char *file, int line)
{
	if (strstr(rwkvk_last_error(), text))
		return;
	print_error("the error text should contain \"%s\" but is: %s\n", text, rwkvk_last_error());
	_fail(file, line);
}

uint32_t test_random(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u; /* splitmix64 */
	uint64_t z = *state;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)(z >> 32);
}

float test_uniform(uint64_t *state)
{
	return (float)(test_random(state) >> 8) * 0x1p-23f - 1.0f;
}

uint8_t *test_read_file(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		fail_msg("cannot open %s", path);
	size_t size = 0, capacity = 1 << 16;
	uint8_t *data = malloc(capacity + 1);
	for (size_t n; (n = fread(data + size, 1, capacity - size, file)) > 0;) {
		size += n;
		if (size == capacity)
			data = realloc(data, (capacity *= 2) + 1);
	}
	fclose(file);
	data[size] = 0;
	*bytes = size;
	return data;
}

void test_write_file(const char *path, const void *data, size_t bytes)
{
	FILE *file = fopen(path, "wb");
	if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0)
		fail_msg("cannot write %s", path);
}

static char temp_dir[300];

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
	(void)info, (void)at;
	return type == FTW_DP ? rmdir(path) : remove(path); /* on Windows the latter is for files alone */
}

static void remove_temp_dir(void)
{
	nftw(temp_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *test_temp(const char *name)
{
	static char paths[32][512];
	static unsigned next;
	if (!temp_dir[0]) {
		const char *temporary = getenv("TEMP"); /* of Windows */
		snprintf(temp_dir, sizeof temp_dir, "%s/rwkvk-test-XXXXXX", temporary ? temporary : "/tmp");
		if (!mkdtemp(temp_dir))
			fail_msg("cannot make %s", temp_dir);
		atexit(remove_temp_dir);
	}
	char *path = paths[next++ % 32];
	snprintf(path, sizeof paths[0], "%s/%s", temp_dir, name);
	return path;
}

const char *test_nowhere(const char *name)
{
	const char *folder = test_temp("nowhere");
	if (access(folder, F_OK) == 0)
		fail_msg("%s exists", folder);
	char path[256];
	snprintf(path, sizeof path, "nowhere/%s", name);
	return test_temp(path);
}

const char *test_no_folder(void)
{
	test_write_file(test_temp("no-folder"), "", 0);
	return test_temp("no-folder/folder");
}

const char *test_shared(const char *relative)
{
	static char paths[32][512];
	static unsigned next;
	char *path = paths[next++ % 32];
	snprintf(path, sizeof paths[0], "%s/%s", SHARED_DIR, relative);
	if (access(path, R_OK) == 0)
		return path;
	fprintf(stderr, "\n*** NOT TESTED: needs %s, which is not there ***\n\n", path);
	return NULL;
}

bool test_everything(void)
{
	const char *all = getenv("RWKVK_TEST_ALL");
	return all && strcmp(all, "1") == 0;
}

unsigned test_every(void)
{
	const char *few = getenv("RWKVK_TEST_FEW");
	int every = few && !test_everything() ? atoi(few) : 1;
	return every > 1 ? (unsigned)every : 1;
}

unsigned test_turn(void)
{
	const char *turn = getenv("RWKVK_TEST_TURN");
	return turn ? (unsigned)atoi(turn) : 0;
}
