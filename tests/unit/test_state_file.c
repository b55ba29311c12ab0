/* State files: what is written is read, byte for byte as documented, and anything else is refused with its own message. */
#include "support.h"

#include <math.h>
#include <unistd.h>

#include "network/state_file.h"

#define FLOATS 24 /* 2 layers of 2 * 2 + 1 * 2 * 2 and some more: the shape is the caller's business */

static const struct state_header header = {
	.model_version = 70, .layers = 2, .width = 4, .heads = 1, .head_size = 2, .position = 0x123456789abcdef0u, .floats = FLOATS
};

static void fill(float *state)
{
	uint64_t random = 4;
	for (int i = 0; i < FLOATS; i++)
		state[i] = test_uniform(&random) * 3;
	state[1] = -0.0f;
	state[2] = 1e-42f;
}

/* A written file's bytes; the caller frees them. */
static uint8_t *written(size_t *bytes)
{
	float state[FLOATS];
	fill(state);
	const char *path = test_temp("a.state");
	assert_ok(state_file_write(path, &header, state));
	return test_read_file(path, bytes);
}

/* The documented checksum, put into a changed file. */
static void seal(uint8_t *bytes, size_t count)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < count; i++)
		if (i < 48 || i >= 56)
			hash = (hash ^ bytes[i]) * 0x100000001b3u;
	for (int i = 0; i < 8; i++)
		bytes[48 + i] = (uint8_t)(hash >> 8 * i);
}

static void round_trip(void **unused)
{
	(void)unused;
	float state[FLOATS], got[FLOATS];
	uint64_t position = 0;
	fill(state);
	const char *path = test_temp("round.state");
	assert_ok(state_file_write(path, &header, state));
	assert_ok(state_file_write(path, &header, state)); /* over itself */
	assert_ok(state_file_read(path, &(struct state_header){ 70, 2, 4, 1, 2, 0, FLOATS }, got, &position));
	assert_memory_equal(got, state, sizeof state);
	assert_true(position == header.position);
}

static void layout(void **unused)
{
	(void)unused;
	static const uint8_t want[48] = { 'R',  'W',  'K',  'V',  'K',  'S',  'T',  'A',  1,      0, 0, 0, 70, 0, 0, 0,
		                              2,    0,    0,    0,    4,    0,    0,    0,    1,      0, 0, 0, 2,  0, 0, 0,
		                              0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, FLOATS, 0, 0, 0, 0,  0, 0, 0 };
	size_t count;
	uint8_t *bytes = written(&count);
	assert_int_equal(count, 56 + 4 * FLOATS);
	assert_memory_equal(bytes, want, sizeof want);
	assert_memory_equal(bytes + 56 + 4, ((const uint8_t[]){ 0, 0, 0, 0x80 }), 4); /* -0 */
	uint8_t *sealed = malloc(count);
	memcpy(sealed, bytes, count);
	seal(sealed, count);
	assert_memory_equal(sealed, bytes, count);
	free(sealed);
	free(bytes);
}

static void other_shapes(void **unused)
{
	(void)unused;
	float state[FLOATS + 1] = { 0 };
	uint64_t position = 7;
	fill(state);
	const char *path = test_temp("shape.state");
	assert_ok(state_file_write(path, &header, state));
	for (int field = 0; field < 6; field++) {
		struct state_header want = header;
		switch (field) {
		case 0:
			want.model_version = 52;
			break;
		case 1:
			want.layers++;
			break;
		case 2:
			want.width++;
			break;
		case 3:
			want.heads++;
			break;
		case 4:
			want.head_size++;
			break;
		case 5:
			want.floats++;
			break;
		}
		rwkvk_status status = state_file_read(path, &want, state, &position);
		assert_fails(status, RWKVK_ERROR_FILE, "RWKV-7.0, 2 layers of width 4, 1 heads of 2, 24 floats; this model needs RWKV");
		test_assert_error_contains("shape.state", __FILE__, __LINE__);
	}
	assert_int_equal(position, 7);
}

static void hostile(void **unused)
{
	(void)unused;
	static const struct {
		int at, value; /* a byte to change, none if at < 0 */
		int cut;       /* bytes to take off (negative: to add) */
		bool sealed;   /* give it the right checksum */
		rwkvk_status status;
		const char *message;
	} cases[] = {
		{ 0, 'r', 0, true, RWKVK_ERROR_FILE, "is not a state file: it does not begin with RWKVKSTA" },
		{ 7, 0, 0, true, RWKVK_ERROR_FILE, "is not a state file" },
		{ 8, 2, 0, true, RWKVK_ERROR_UNSUPPORTED, "format version 2; this program reads version 1" },
		{ 11, 1, 0, true, RWKVK_ERROR_UNSUPPORTED, "format version 16777217" },
		{ 12, 60, 0, true, RWKVK_ERROR_FILE, "another model: RWKV-6.0" },
		{ 47, 0x80, 0, true, RWKVK_ERROR_FILE, "9223372036854775832 floats" },
		{ -1, 0, 1, true, RWKVK_ERROR_FILE, "is truncated: 24 floats need 152 bytes, the file has 151" },
		{ -1, 0, 4 * FLOATS, true, RWKVK_ERROR_FILE, "the file has 56" },
		{ -1, 0, 4 * FLOATS + 1, false, RWKVK_ERROR_FILE, "is truncated: the header has 56 bytes, the file 55" },
		{ -1, 0, 4 * FLOATS + 49, false, RWKVK_ERROR_FILE, "is not a state file" },
		{ -1, 0, -1, true, RWKVK_ERROR_FILE, "is too long: 24 floats need 152 bytes, the file has 153" },
		{ 32, 1, 0, false, RWKVK_ERROR_FILE, "is damaged: its checksum is" },
		{ 39, 0x80, 0, true, RWKVK_ERROR_FILE, "is damaged: the position is 9" }, /* as 2^63 and more do */
		{ 48, 0, 0, false, RWKVK_ERROR_FILE, "is damaged" },
		{ 100, 0x55, 0, false, RWKVK_ERROR_FILE, "is damaged" },
		{ 151, 0x55, 0, false, RWKVK_ERROR_FILE, "is damaged" },
	};
	size_t count;
	uint8_t *bytes = written(&count), changed[256];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		memset(changed, 0, sizeof changed);
		memcpy(changed, bytes, count);
		if (cases[i].at >= 0) {
			assert_int_not_equal(changed[cases[i].at], cases[i].value);
			changed[cases[i].at] = (uint8_t)cases[i].value;
		}
		size_t n = (size_t)((int)count - cases[i].cut);
		if (cases[i].sealed)
			seal(changed, n);
		float state[FLOATS] = { 9 };
		uint64_t position = 7;
		assert_fails(state_file_parse("x.state", changed, n, &header, state, &position), cases[i].status, cases[i].message);
		test_assert_error_contains("x.state", __FILE__, __LINE__);
		assert_true(state[0] == 9 && position == 7);
	}
	free(bytes);
}

static void not_finite(void **unused)
{
	(void)unused;
	static const uint32_t patterns[] = { 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001 };
	size_t count;
	uint8_t *bytes = written(&count);
	for (size_t i = 0; i < 4; i++) {
		float state[FLOATS];
		uint64_t position;
		for (int k = 0; k < 4; k++)
			bytes[56 + 4 * 23 + k] = (uint8_t)(patterns[i] >> 8 * k);
		seal(bytes, count);
		assert_fails(state_file_parse("x.state", bytes, count, &header, state, &position), RWKVK_ERROR_FILE,
		             "number 23 of the state is");
	}
	free(bytes);
	float state[FLOATS];
	fill(state);
	state[5] = NAN;
	const char *path = test_temp("nan.state");
	assert_fails(state_file_write(path, &header, state), RWKVK_ERROR_DRIVER, "number 5 of the state is");
	assert_int_equal(access(path, F_OK), -1);
}

static void paths(void **unused)
{
	(void)unused;
	float state[FLOATS];
	uint64_t position;
	fill(state);
	assert_fails(state_file_read(test_temp("missing.state"), &header, state, &position), RWKVK_ERROR_FILE, "missing.state");
	assert_fails(state_file_write(test_nowhere("x.state"), &header, state), RWKVK_ERROR_FILE, "/nowhere/x.state: ");
	assert_fails(state_file_read("/tmp", &header, state, &position), RWKVK_ERROR_FILE, "/tmp");
	test_write_file(test_temp("empty.state"), "", 0);
	assert_fails(state_file_read(test_temp("empty.state"), &header, state, &position), RWKVK_ERROR_FILE, "empty");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(layout),     cmocka_unit_test(other_shapes),
		cmocka_unit_test(hostile),    cmocka_unit_test(not_finite), cmocka_unit_test(paths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
