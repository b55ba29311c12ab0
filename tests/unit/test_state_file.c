/* State files: what is written is read back, byte for byte as documented, and anything else is refused with its own message. */
#include "support.h"

#include <math.h>
#include <unistd.h>

#include "network/state_file.h"

#define FLOATS 24 /* 2 layers of 2 * 2 + 1 * 2 * 2 and some more: the shape is the caller's business */
#define COUNTS 3
#define LOGITS 5
#define BYTES  (64 + 4 * FLOATS + 8 * COUNTS + 4 * LOGITS)

static const struct state_header header = { .model_version = 70,
	                                        .layers = 2,
	                                        .width = 4,
	                                        .heads = 1,
	                                        .head_size = 2,
	                                        .position = 0x123456789abcdef0u,
	                                        .floats = FLOATS,
	                                        .counts = COUNTS,
	                                        .logits = LOGITS };

/* A state with everything, for saved_state_free(). */
static struct saved_state filled(void)
{
	static const uint32_t ids[COUNTS] = { 0, 3, 4 };
	static const float counts[COUNTS] = { 0, 1.75f, 1e-38f }, logits[LOGITS] = { 3, -1, -INFINITY, 0.5f, -0.0f };
	struct saved_state saved;
	uint64_t random = 4;
	assert_ok(saved_state_make("a", &header, &saved));
	for (int i = 0; i < FLOATS; i++)
		saved.state[i] = test_uniform(&random) * 3;
	saved.state[1] = -0.0f;
	saved.state[2] = 1e-42f;
	memcpy(saved.ids, ids, sizeof ids);
	memcpy(saved.counts, counts, sizeof counts);
	memcpy(saved.logits, logits, sizeof logits);
	return saved;
}

static void write_filled(const char *path)
{
	struct saved_state saved = filled();
	assert_ok(state_file_write(path, &saved));
	saved_state_free(&saved);
}

/* A written file's bytes; the caller frees them. */
static uint8_t *written(size_t *bytes)
{
	const char *path = test_temp("a.state");
	write_filled(path);
	return test_read_file(path, bytes);
}

/* The same in format 1, which has neither counts nor logits. */
static size_t make_format_1(const uint8_t *bytes, uint8_t *out)
{
	memcpy(out, bytes, 56);
	out[8] = 1;
	memcpy(out + 56, bytes + 64, 4 * FLOATS);
	return 56 + 4 * FLOATS;
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

static void assert_state(const struct saved_state *got, uint32_t counts, uint32_t logits)
{
	struct saved_state want = filled();
	assert_int_equal(got->header.floats, FLOATS);
	assert_int_equal(got->header.counts, counts);
	assert_int_equal(got->header.logits, logits);
	assert_true(got->header.position == header.position);
	assert_memory_equal(got->state, want.state, FLOATS * sizeof(float));
	assert_memory_equal(got->ids, want.ids, counts * sizeof(uint32_t));
	assert_memory_equal(got->counts, want.counts, counts * sizeof(float));
	assert_memory_equal(got->logits, want.logits, logits * sizeof(float));
	saved_state_free(&want);
}

static void round_trip(void **unused)
{
	(void)unused;
	struct state_header want = header;
	struct saved_state got;
	const char *path = test_temp("round.state");
	write_filled(path);
	write_filled(path); /* over itself */
	want.position = want.counts = 0;
	for (int known = 0; known < 2; known++) {
		want.logits = known ? LOGITS : 0; /* or any vocabulary */
		assert_ok(state_file_read(path, &want, &got));
		assert_int_equal(got.header.format, 2);
		assert_state(&got, COUNTS, LOGITS);
		saved_state_free(&got);
	}
}

static void format_1_is_read(void **unused)
{
	(void)unused;
	struct saved_state got;
	size_t count;
	uint8_t *bytes = written(&count), old[BYTES];
	count = make_format_1(bytes, old);
	seal(old, count);
	assert_ok(state_file_parse("old.state", old, count, &header, &got));
	assert_int_equal(got.header.format, 1);
	assert_state(&got, 0, 0);
	saved_state_free(&got);
	assert_fails(state_file_parse("old.state", old, count - 1, &header, &got), RWKVK_ERROR_FILE,
	             "is truncated: 24 floats, 0 counts and 0 logits need 152 bytes, the file has 151");
	free(bytes);
}

static void layout(void **unused)
{
	(void)unused;
	static const uint8_t want[48] = { 'R',  'W',  'K',  'V',  'K',  'S',  'T',  'A',  2,      0, 0, 0, 70, 0, 0, 0,
		                              2,    0,    0,    0,    4,    0,    0,    0,    1,      0, 0, 0, 2,  0, 0, 0,
		                              0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, FLOATS, 0, 0, 0, 0,  0, 0, 0 };
	static const uint8_t sizes[8] = { COUNTS, 0, 0, 0, LOGITS, 0, 0, 0 };
	static const uint8_t second_count[8] = { 3, 0, 0, 0, 0, 0, 0xe0, 0x3f };
	size_t count;
	uint8_t *bytes = written(&count);
	assert_int_equal(count, BYTES);
	assert_memory_equal(bytes, want, sizeof want);
	assert_memory_equal(bytes + 56, sizes, sizeof sizes);
	assert_memory_equal(bytes + 64 + 4, ((const uint8_t[]){ 0, 0, 0, 0x80 }), 4); /* -0 */
	assert_memory_equal(bytes + 64 + 4 * FLOATS + 8, second_count, sizeof second_count);
	assert_memory_equal(bytes + count - 4 * LOGITS, ((const uint8_t[]){ 0, 0, 0x40, 0x40 }), 4); /* 3 */
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
	struct saved_state got;
	const char *path = test_temp("shape.state");
	write_filled(path);
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
		rwkvk_status status = state_file_read(path, &want, &got);
		assert_fails(status, RWKVK_ERROR_FILE, "RWKV-7.0, 2 layers of width 4, 1 heads of 2, 24 floats; this model needs RWKV");
		test_assert_error_contains("shape.state", __FILE__, __LINE__);
		assert_null(got.state);
	}
}

/* A model of the same shape that has other tokens. */
static void other_vocabularies(void **unused)
{
	(void)unused;
	struct state_header want = header;
	struct saved_state saved = filled(), got;
	const char *path = test_temp("vocabulary.state");
	assert_ok(state_file_write(path, &saved));
	want.logits = LOGITS + 1;
	assert_fails(state_file_read(path, &want, &got), RWKVK_ERROR_FILE, "logits of a vocabulary of 5; this model has 6");
	saved.header.logits = 0; /* only counts: all ids must be there */
	assert_ok(state_file_write(path, &saved));
	assert_ok(state_file_read(path, &want, &got));
	assert_state(&got, COUNTS, 0);
	saved_state_free(&got);
	want.logits = 4;
	assert_fails(state_file_read(path, &want, &got), RWKVK_ERROR_FILE, "a count of token 4; this model has 4");
	saved_state_free(&saved);
}

static void hostile(void **unused)
{
	(void)unused;
	enum { AT_COUNTS = 64 + 4 * FLOATS, AT_LOGITS = AT_COUNTS + 8 * COUNTS };
	static const struct {
		int at, value; /* a byte to change, none if at < 0 */
		int cut;       /* bytes to take off (negative: to add) */
		bool sealed;   /* give it the right checksum */
		rwkvk_status status;
		const char *message;
	} cases[] = {
		{ 0, 'r', 0, true, RWKVK_ERROR_FILE, "is not a state file: it does not begin with RWKVKSTA" },
		{ 7, 0, 0, true, RWKVK_ERROR_FILE, "is not a state file" },
		{ 8, 3, 0, true, RWKVK_ERROR_UNSUPPORTED, "format version 3; this program reads versions 1 and 2" },
		{ 8, 0, 0, true, RWKVK_ERROR_UNSUPPORTED, "format version 0" },
		{ 8, 1, 0, true, RWKVK_ERROR_FILE, "is too long: 24 floats, 0 counts and 0 logits need 152 bytes, the file has 204" },
		{ 11, 1, 0, true, RWKVK_ERROR_UNSUPPORTED, "format version 16777218" },
		{ 12, 60, 0, true, RWKVK_ERROR_FILE, "another model: RWKV-6.0" },
		{ 47, 0x80, 0, true, RWKVK_ERROR_FILE, "9223372036854775832 floats" },
		{ 56, COUNTS + 1, 0, true, RWKVK_ERROR_FILE, "is truncated: 24 floats, 4 counts and 5 logits need 212 bytes" },
		{ 59, 0xff, 0, true, RWKVK_ERROR_FILE, "is truncated: 24 floats, 4278190083 counts" },
		{ 60, 4, 0, true, RWKVK_ERROR_FILE, "logits of a vocabulary of 4; this model has 5" },
		{ 60, 0, 0, true, RWKVK_ERROR_FILE, "is too long: 24 floats, 3 counts and 0 logits need 184 bytes, the file has 204" },
		{ -1, 0, 1, true, RWKVK_ERROR_FILE, "is truncated: 24 floats, 3 counts and 5 logits need 204 bytes, the file has 203" },
		{ -1, 0, BYTES - 64, true, RWKVK_ERROR_FILE, "the file has 64" },
		{ -1, 0, BYTES - 63, true, RWKVK_ERROR_FILE, "is truncated: the header has 64 bytes, the file 63" },
		{ -1, 0, BYTES - 55, false, RWKVK_ERROR_FILE, "is truncated: the header has 56 bytes, the file 55" },
		{ -1, 0, BYTES - 7, false, RWKVK_ERROR_FILE, "is not a state file" },
		{ -1, 0, -1, true, RWKVK_ERROR_FILE, "is too long: 24 floats, 3 counts and 5 logits need 204 bytes, the file has 205" },
		{ 32, 1, 0, false, RWKVK_ERROR_FILE, "is damaged: its checksum is" },
		{ 39, 0x80, 0, true, RWKVK_ERROR_FILE, "is damaged: the position is 9" }, /* as 2^63 and more do */
		{ 48, 0, 0, false, RWKVK_ERROR_FILE, "is damaged" },
		{ 100, 0x55, 0, false, RWKVK_ERROR_FILE, "is damaged" },
		{ BYTES - 1, 0x55, 0, false, RWKVK_ERROR_FILE, "is damaged" },
		{ AT_COUNTS, 3, 0, true, RWKVK_ERROR_FILE, "a count of token 3 follows that of 3; expected ascending ids" },
		{ AT_COUNTS + 16, 5, 0, true, RWKVK_ERROR_FILE, "a count of token 5; this model has 5" },
		{ AT_COUNTS + 15, 0xbf, 0, true, RWKVK_ERROR_FILE, "the count of token 3 is -1.75" },
		{ AT_COUNTS + 15, 0x7f, 0, true, RWKVK_ERROR_FILE, "the count of token 3 is nan" },
		{ AT_LOGITS + 11, 0x7f, 0, true, RWKVK_ERROR_FILE, "the logit of token 2 is inf" },
	};
	size_t count;
	uint8_t *bytes = written(&count), changed[BYTES + 1];
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
		struct saved_state got;
		assert_fails(state_file_parse("x.state", changed, n, &header, &got), cases[i].status, cases[i].message);
		test_assert_error_contains("x.state", __FILE__, __LINE__);
		assert_null(got.state);
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
		struct saved_state got;
		for (int k = 0; k < 4; k++)
			bytes[64 + 4 * 23 + k] = (uint8_t)(patterns[i] >> 8 * k);
		seal(bytes, count);
		assert_fails(state_file_parse("x.state", bytes, count, &header, &got), RWKVK_ERROR_FILE, "number 23 of the state is");
	}
	free(bytes);
	const char *path = test_temp("nan.state");
	for (int logit = 0; logit < 2; logit++) {
		struct saved_state saved = filled();
		*(logit ? &saved.logits[2] : &saved.state[5]) = NAN;
		assert_fails(state_file_write(path, &saved), RWKVK_ERROR_DRIVER,
		             logit ? "logit 2 of the state is" : "number 5 of the state is");
		assert_int_equal(access(path, F_OK), -1);
		saved_state_free(&saved);
	}
}

static void paths(void **unused)
{
	(void)unused;
	struct saved_state saved = filled(), got;
	assert_fails(state_file_read(test_temp("missing.state"), &header, &got), RWKVK_ERROR_FILE, "missing.state");
	assert_fails(state_file_write(test_nowhere("x.state"), &saved), RWKVK_ERROR_FILE, "/nowhere/x.state: ");
	assert_fails(state_file_read("/tmp", &header, &got), RWKVK_ERROR_FILE, "/tmp");
	test_write_file(test_temp("empty.state"), "", 0);
	assert_fails(state_file_read(test_temp("empty.state"), &header, &got), RWKVK_ERROR_FILE, "empty");
	saved_state_free(&saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(format_1_is_read),
		cmocka_unit_test(layout),
		cmocka_unit_test(other_shapes),
		cmocka_unit_test(other_vocabularies),
		cmocka_unit_test(hostile),
		cmocka_unit_test(not_finite),
		cmocka_unit_test(paths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
