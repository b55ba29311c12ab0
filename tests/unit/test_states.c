/* Trained start states and the states of other programs: which number goes where, for every version, and files that are not
 * what they should be. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "format/readers.h"
#include "network/trained_state.h"
#include "network/states.h"

enum { LAYERS = 2, HEADS = 2, N = 4, WIDTH = HEADS * N, MATRIX = WIDTH * N, LAYER = 2 * WIDTH + MATRIX };

static struct config config_for(uint32_t version)
{
	struct config c = { .version = version, .layers = LAYERS, .width = WIDTH };
	c.heads = version == 40 ? WIDTH : HEADS;
	c.head_size = version == 40 ? 1 : N;
	c.state_width = version == 40 ? 3 : N;
	return c;
}

/* ---------------------------------------------------------------------------------------------------- a safetensors file */

/* A number that shows where it belongs. */
static float number(unsigned layer, unsigned head, unsigned value, unsigned key)
{
	return (float)(1000 * layer + 100 * head + 10 * value + key + 1);
}

struct file {
	char header[2000];
	size_t used;
	float data[4 * LAYERS * MATRIX];
	size_t count;
};

static void add(struct file *f, const char *name, const char *shape, const float *data, size_t count)
{
	f->used += (size_t)snprintf(f->header + f->used, sizeof f->header - f->used,
	                            "%c\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", f->used ? ',' : '{',
	                            name, shape, 4 * f->count, 4 * (f->count + count));
	memcpy(f->data + f->count, data, count * sizeof *data);
	f->count += count;
}

static void add_layer(struct file *f, unsigned layer)
{
	float data[HEADS][N][N];
	char name[64];
	for (unsigned h = 0; h < HEADS; h++)
		for (unsigned v = 0; v < N; v++)
			for (unsigned k = 0; k < N; k++)
				data[h][v][k] = number(layer, h, v, k); /* the official orientation */
	snprintf(name, sizeof name, "blocks.%u.att.time_state", layer);
	add(f, name, "2,4,4", &data[0][0][0], MATRIX);
}

/* The file's path; valid until exit. */
static const char *written(struct file *f, const char *name)
{
	uint8_t bytes[sizeof f->header + sizeof f->data + 9];
	f->header[f->used++] = '}';
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)((uint64_t)f->used >> 8 * i);
	memcpy(bytes + 8, f->header, f->used);
	memcpy(bytes + 8 + f->used, f->data, 4 * f->count);
	const char *path = test_temp(name);
	test_write_file(path, bytes, 8 + f->used + 4 * f->count);
	return path;
}

static void open_layers(unsigned layers, struct weights *out)
{
	struct file f = { .used = 0 };
	for (unsigned i = 0; i < layers; i++)
		add_layer(&f, i);
	assert_ok(weights_open(written(&f, "trained.safetensors"), NULL, 0, NULL, out));
}

/* ---------------------------------------------------------------------------------------------------- trained states */

/* RWKV-5 and 6 need [key][value], RWKV-7 needs [value][key]; the file has [value][key] unless it is swapped. */
static void orientation(void **unused)
{
	(void)unused;
	static const uint32_t versions[] = { 50, 51, 52, 60, 70 };
	for (size_t i = 0; i < 2 * sizeof versions / sizeof *versions; i++) {
		struct config c = config_for(versions[i / 2]);
		bool swapped = i % 2;
		struct weights weights;
		float state[LAYERS * LAYER];
		open_layers(LAYERS, &weights);
		for (size_t t = 0; t < weights.count; t++)
			weights.tensors[t].swapped = swapped; /* the numbers there are now declared as [key][value] */
		memset(state, 0x55, sizeof state);
		assert_true(has_trained_state(&weights));
		assert_ok(trained_state(&weights, &c, state));
		for (unsigned l = 0; l < LAYERS; l++) {
			for (unsigned x = 0; x < 2 * WIDTH; x++)
				assert_true(state[l * LAYER + x] == 0);
			for (unsigned h = 0; h < HEADS; h++)
				for (unsigned row = 0; row < N; row++)
					for (unsigned column = 0; column < N; column++) {
						unsigned value = c.version == 70 ? row : column, key = c.version == 70 ? column : row;
						float want = swapped ? number(l, h, key, value) : number(l, h, value, key);
						assert_true(state[l * LAYER + 2 * WIDTH + h * N * N + row * N + column] == want);
					}
		}
		weights_close(&weights);
	}
}

static void write_and_read(void **unused)
{
	(void)unused;
	static const uint32_t versions[] = { 52, 60, 70 };
	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
		struct config c = config_for(versions[i]);
		struct weights weights;
		float state[LAYERS * LAYER], again[LAYERS * LAYER];
		uint64_t random = 11;
		for (size_t k = 0; k < LAYERS * LAYER; k++)
			state[k] = test_uniform(&random);
		const char *path = test_temp("written.safetensors");
		assert_ok(trained_state_write(path, &c, state));
		assert_ok(weights_open(path, NULL, 0, NULL, &weights));
		assert_int_equal(weights.count, LAYERS);
		const struct tensor *t = weights_find(&weights, "blocks.1.att.time_state");
		assert_non_null(t);
		assert_int_equal(t->rank, 3);
		float first[2]; /* of layer 1, head 0: value 0, keys 0 and 1 */
		dtype_to_float(t->type, t->data, 0, 2, first);
		const float *S = state + LAYER + 2 * WIDTH;
		assert_true(first[0] == S[0] && first[1] == (c.version == 70 ? S[1] : S[N]));
		assert_ok(trained_state(&weights, &c, again));
		for (unsigned l = 0; l < LAYERS; l++) {
			memset(state + l * LAYER, 0, 2 * WIDTH * sizeof *state); /* the shifts are lost */
			assert_memory_equal(again + l * LAYER, state + l * LAYER, LAYER * sizeof *state);
		}
		weights_close(&weights);
	}
}

/* A single head's dimension of 1 is dropped on reading; half floats are widened. */
static void single_head(void **unused)
{
	(void)unused;
	static const uint16_t bits[N * N] = { 0x3c00, 0x4000, [N * N - 1] = 0xc200 }; /* 1, 2, and -3 at the end */
	char name[] = "blocks.0.att.time_state", path[] = "one";
	struct tensor tensor = { .name = name, .file_name = name, .type = DTYPE_F16, .rank = 2, .data = bits };
	tensor.shape[0] = tensor.shape[1] = N;
	struct weights weights = { .path = path, .tensors = &tensor, .count = 1 };
	struct config c = { .version = 60, .layers = 1, .width = N, .heads = 1, .head_size = N, .state_width = N }, found;
	float state[2 * N + N * N];
	assert_ok(trained_state(&weights, &c, state));
	assert_true(state[2 * N] == 1 && state[2 * N + N] == 2 && state[2 * N + N * N - 1] == -3);
	assert_ok(trained_state_sizes(&weights, &found));
	assert_int_equal(found.layers, 1);
	assert_int_equal(found.heads, 1);
	assert_int_equal(found.width, N);
}

static void refused(void **unused)
{
	(void)unused;
	struct config c = config_for(70), four = config_for(40), found;
	float state[LAYERS * LAYER];
	struct weights weights;
	open_layers(1, &weights);
	assert_fails(
		trained_state(&weights, &c, state), RWKVK_ERROR_FILE,
		"trained.safetensors: tensor blocks.1.att.time_state is missing: a start state has one for each of the model's 2");
	assert_fails(trained_state(&weights, &four, state), RWKVK_ERROR_UNSUPPORTED,
	             "expected a model of RWKV-5, 6 or 7, found RWKV-4");
	weights_close(&weights);
	open_layers(3, &weights);
	assert_fails(trained_state(&weights, &c, state), RWKVK_ERROR_FILE,
	             "is the start state of a model with 3 layers; this one has 2");
	weights_close(&weights);

	open_layers(LAYERS, &weights);
	weights.tensors[1].shape[0] = 1;
	assert_fails(trained_state(&weights, &c, state), RWKVK_ERROR_FILE,
	             "tensor blocks.1.att.time_state: expected shape [2, 4, 4], the model's, found [1, 4, 4]");
	weights.tensors[0].shape[1] = 5;
	assert_fails(trained_state_sizes(&weights, &found), RWKVK_ERROR_FILE, "expected a shape [heads, N, N], found [2, 5, 4]");
	weights.tensors[0].rank = 1;
	assert_fails(trained_state_sizes(&weights, &found), RWKVK_ERROR_FILE, "expected a shape [heads, N, N], found [2]");
	weights_close(&weights);

	struct file f = { .used = 0 };
	add_layer(&f, 0);
	add_layer(&f, 1);
	f.data[MATRIX + 5] = NAN;
	assert_ok(weights_open(written(&f, "nan.safetensors"), NULL, 0, NULL, &weights));
	assert_fails(trained_state(&weights, &c, state), RWKVK_ERROR_FILE, "tensor blocks.1.att.time_state: number 5 is");
	weights_close(&weights);

	struct file other = { .used = 0 };
	add(&other, "blocks.0.att.time_state2", "4", f.data, 4);
	assert_ok(weights_open(written(&other, "other.safetensors"), NULL, 0, NULL, &weights));
	assert_false(has_trained_state(&weights));
	assert_fails(trained_state(&weights, &c, state), RWKVK_ERROR_FILE, "other.safetensors: holds no trained start state");
	weights_close(&weights);

	struct file far = { .used = 0 };
	add(&far, "blocks.4294967295.att.time_state", "2,4,4", f.data, MATRIX);
	assert_ok(weights_open(written(&far, "far.safetensors"), NULL, 0, NULL, &weights));
	assert_fails(trained_state_sizes(&weights, &found), RWKVK_ERROR_FILE, "expected a layer below 4096");
	weights_close(&weights);
}

/* ---------------------------------------------------------------------------------------------------- orders */

static void orders(void **unused)
{
	(void)unused;
	for (int four = 0; four < 2; four++) {
		struct config c = config_for(four ? 40 : 60);
		struct state_header header = state_header_of(&c);
		size_t layer = (size_t)header.floats / LAYERS, rest = layer - 2 * WIDTH;
		assert_int_equal(rest, four ? 3 * WIDTH : MATRIX);
		float *ours = malloc(header.floats * sizeof *ours), *theirs = malloc(header.floats * sizeof *theirs),
			  *back = malloc(header.floats * sizeof *back);
		for (size_t i = 0; i < header.floats; i++)
			ours[i] = (float)i;
		for (int chat = 0; chat < 2; chat++) {
			rwkvk_state_format format = chat ? RWKVK_STATE_CHATRWKV : RWKVK_STATE_RWKV_CPP;
			state_from_canonical(&header, format, ours, theirs);
			for (size_t l = 0; l < LAYERS; l++) {
				const float *from = theirs + l * layer;
				float first = (float)(l * layer);
				for (size_t i = 0; i < WIDTH; i++) {
					assert_true(from[chat ? i : WIDTH + i] == first + (float)i);                  /* att_x */
					assert_true(from[chat ? WIDTH + rest + i : i] == first + (float)(WIDTH + i)); /* ffn_x */
				}
				for (size_t i = 0; i < rest; i++)
					assert_true(from[(chat ? WIDTH : 2 * WIDTH) + i] == first + (float)(2 * WIDTH + i));
			}
			state_to_canonical(&header, format, theirs, back);
			assert_memory_equal(back, ours, header.floats * sizeof *ours);
		}
		free(ours);
		free(theirs);
		free(back);
	}
}

/* ---------------------------------------------------------------------------------------------------- files */

/* A state file of our own; RWKV-4's largest exponent of nothing, -1e30, is a number like others. */
static const char *native(uint32_t version, const char *name, float *state)
{
	struct config c = config_for(version);
	struct state_header header = state_header_of(&c);
	header.position = 7;
	for (size_t i = 0; i < header.floats; i++)
		state[i] = (float)i - 3;
	if (version == 40)
		state[5 * WIDTH - 1] = -1e30f;
	const char *path = test_temp(name);
	struct saved_state saved;
	header.counts = 2;
	header.logits = 3;
	assert_ok(saved_state_make(name, &header, &saved));
	memcpy(saved.state, state, header.floats * sizeof *state);
	saved.ids[1] = 1;
	saved.counts[1] = 0.5f;
	saved.logits[2] = -2;
	assert_ok(state_file_write(path, &saved));
	saved_state_free(&saved);
	return path;
}

static void inspect(void **unused)
{
	(void)unused;
	static const uint32_t versions[] = { 40, 50, 51, 52, 60, 70 };
	float state[LAYERS * LAYER];
	rwkvk_state_info info = { 0 };
	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
		const char *path = native(versions[i], "own.state", state);
		bool four = versions[i] == 40;
		assert_ok(rwkvk_state_inspect(path, RWKVK_STATE_ANY, NULL, &info));
		assert_int_equal(info.format, RWKVK_STATE_NATIVE);
		assert_int_equal(info.version, versions[i]);
		assert_int_equal(info.layers, LAYERS);
		assert_int_equal(info.width, WIDTH);
		assert_int_equal(info.head_size, four ? 1 : N);
		assert_int_equal(info.heads, four ? WIDTH : HEADS);
		assert_int_equal(info.position, 7);
		assert_int_equal(info.floats, four ? LAYERS * 5 * WIDTH : LAYERS * LAYER);
		assert_false(info.damaged);
		assert_int_equal(info.not_finite, 0);
		assert_int_equal(info.file_version, 2);
		assert_int_equal(info.counts, 2);
		assert_int_equal(info.logits, 3);
		assert_true(info.least == (four ? -1e30f : -3) && info.greatest == (float)info.floats - 4);
	}
	struct file f = { .used = 0 };
	add_layer(&f, 0);
	add_layer(&f, 1);
	assert_ok(rwkvk_state_inspect(written(&f, "look.safetensors"), RWKVK_STATE_ANY, NULL, &info));
	assert_int_equal(info.format, RWKVK_STATE_TRAINED);
	assert_int_equal(info.version, 0);
	assert_int_equal(info.layers, LAYERS);
	assert_int_equal(info.heads, HEADS);
	assert_int_equal(info.floats, LAYERS * MATRIX);
	assert_int_equal(info.file_version, 0);
	assert_int_equal(info.logits, 0);
	assert_true(info.least == 1 && info.greatest == number(LAYERS - 1, HEADS - 1, N - 1, N - 1));
}

/* A damaged file is described; one with a nonsensical header is not. */
static void damaged(void **unused)
{
	(void)unused;
	float state[LAYERS * LAYER];
	size_t count;
	rwkvk_state_info info = { 0 };
	uint8_t *bytes = test_read_file(native(70, "own.state", state), &count);
	const char *path = test_temp("damaged.state");
	memcpy(bytes + 64, "\0\0\xc0\x7f", 4);
	test_write_file(path, bytes, count);
	assert_ok(rwkvk_state_inspect(path, RWKVK_STATE_ANY, NULL, &info));
	assert_true(info.damaged);
	assert_int_equal(info.not_finite, 1);
	assert_true(info.least == -2);
	assert_fails(rwkvk_state_convert(path, RWKVK_STATE_ANY, test_temp("x"), RWKVK_STATE_RWKV_CPP, NULL), RWKVK_ERROR_FILE,
	             "damaged.state: is damaged: its checksum is");

	static const struct {
		int at, value;
	} changes[] = { { 12, 71 }, { 12, 40 }, { 16, 0 }, { 16, 3 }, { 20, 9 },
		            { 20, 0 },  { 24, 3 },  { 28, 5 }, { 40, 1 }, { 47, 0x80 } };
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		uint8_t was = bytes[changes[i].at];
		bytes[changes[i].at] = (uint8_t)changes[i].value;
		test_write_file(path, bytes, count);
		assert_fails(rwkvk_state_inspect(path, RWKVK_STATE_ANY, NULL, &info), RWKVK_ERROR_FILE,
		             "damaged.state: is damaged: no model has this state: RWKV-");
		bytes[changes[i].at] = was;
	}
	memset(bytes + 16, 0xff, 16); /* sizes whose product wraps around */
	test_write_file(path, bytes, count);
	assert_fails(rwkvk_state_inspect(path, RWKVK_STATE_ANY, NULL, &info), RWKVK_ERROR_FILE, "no model has this state");
	test_write_file(path, bytes, 55);
	assert_fails(rwkvk_state_inspect(path, RWKVK_STATE_ANY, NULL, &info), RWKVK_ERROR_FILE, "is truncated: the header has 56");
	free(bytes);
	bytes = test_read_file(native(70, "own.state", state), &count);
	test_write_file(path, bytes, count - 1);
	assert_fails(rwkvk_state_inspect(path, RWKVK_STATE_ANY, NULL, &info), RWKVK_ERROR_FILE,
	             "is truncated: 96 floats, 2 counts and 3 logits need");
	free(bytes);
	test_write_file(path, "neither", 7);
	assert_fails(rwkvk_state_inspect(path, RWKVK_STATE_ANY, NULL, &info), RWKVK_ERROR_FILE,
	             "is neither a state file nor a file");
}

static void convert(void **unused)
{
	(void)unused;
	float state[LAYERS * LAYER];
	size_t count;
	const char *in = native(60, "own.state", state), *out = test_temp("out");
	assert_ok(rwkvk_state_convert(in, RWKVK_STATE_ANY, out, RWKVK_STATE_RWKV_CPP, NULL));
	uint8_t *bytes = test_read_file(out, &count);
	assert_int_equal(count, sizeof state);
	float first;
	memcpy(&first, bytes, sizeof first);
	assert_true(first == state[WIDTH]); /* ffn_x comes first */
	free(bytes);
	assert_ok(rwkvk_state_convert(in, RWKVK_STATE_NATIVE, out, RWKVK_STATE_TRAINED, NULL));
	struct weights weights;
	assert_ok(weights_open(out, NULL, 0, NULL, &weights));
	assert_int_equal(weights.count, LAYERS);
	weights_close(&weights);
	assert_fails(rwkvk_state_convert(out, RWKVK_STATE_ANY, test_temp("x"), RWKVK_STATE_NATIVE, NULL), RWKVK_ERROR_ARGUMENT,
	             "a trained start state does not say which version of RWKV it is for; name the model");
	assert_fails(rwkvk_state_convert(in, RWKVK_STATE_RWKV_CPP, test_temp("x"), RWKVK_STATE_NATIVE, NULL), RWKVK_ERROR_ARGUMENT,
	             "bare numbers do not say their shape; name the model");
	assert_fails(
		rwkvk_state_convert(native(40, "own.state", state), RWKVK_STATE_ANY, test_temp("x"), RWKVK_STATE_TRAINED, NULL),
		RWKVK_ERROR_UNSUPPORTED, "found RWKV-4, whose state has no matrix");
	assert_fails(rwkvk_state_convert(in, RWKVK_STATE_ANY, test_nowhere("x.state"), RWKVK_STATE_NATIVE, NULL), RWKVK_ERROR_FILE,
	             "/nowhere/x.state: ");
}

/* With a model, against whose sizes bare numbers and trained states are checked. */
static void with_model(void **unused)
{
	(void)unused;
	rwkvk_file *model;
	rwkvk_model_info info = { 0 };
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = TEST_DATA_DIR "/v7-c128-f16.gguf" }, &model));
	assert_ok(rwkvk_file_get_info(model, &info));
	size_t floats = info.state_bytes / sizeof(float), count;
	float *state = malloc(floats * sizeof *state);
	uint64_t random = 12;
	for (size_t i = 0; i < floats; i++)
		state[i] = test_uniform(&random);
	const char *bare = test_temp("bare"), *own = test_temp("own.state"), *again = test_temp("again");
	test_write_file(bare, state, floats * sizeof *state);
	for (int chat = 0; chat < 2; chat++) {
		rwkvk_state_format format = chat ? RWKVK_STATE_CHATRWKV : RWKVK_STATE_RWKV_CPP;
		assert_ok(rwkvk_state_convert(bare, format, own, RWKVK_STATE_NATIVE, model));
		assert_ok(rwkvk_state_convert(own, RWKVK_STATE_ANY, again, format, model));
		uint8_t *bytes = test_read_file(again, &count);
		assert_int_equal(count, floats * sizeof *state);
		assert_memory_equal(bytes, state, count);
		free(bytes);
	}
	state[3] = INFINITY;
	test_write_file(bare, state, floats * sizeof *state);
	assert_fails(rwkvk_state_convert(bare, RWKVK_STATE_CHATRWKV, own, RWKVK_STATE_TRAINED, model), RWKVK_ERROR_FILE,
	             "bare: number 3 of the state is inf");
	test_write_file(bare, state, floats * sizeof *state - 1);
	assert_fails(rwkvk_state_convert(bare, RWKVK_STATE_RWKV_CPP, own, RWKVK_STATE_NATIVE, model), RWKVK_ERROR_FILE,
	             "bare: expected the");
	struct file f = { .used = 0 };
	add_layer(&f, 0);
	assert_fails(rwkvk_state_convert(written(&f, "small.safetensors"), RWKVK_STATE_ANY, own, RWKVK_STATE_NATIVE, model),
	             RWKVK_ERROR_FILE, "expected shape [2, 64, 64], the model's, found [2, 4, 4]");
	float small[LAYERS * LAYER];
	assert_fails(rwkvk_state_convert(native(70, "other.state", small), RWKVK_STATE_ANY, again, RWKVK_STATE_NATIVE, model),
	             RWKVK_ERROR_FILE, "other.state: holds the state of another model");
	free(state);
	rwkvk_file_close(model);
}

/* Files that a session loads: both kinds, recognised by content. */
static void read_either(void **unused)
{
	(void)unused;
	struct config c = config_for(70);
	float want[LAYERS * LAYER];
	struct saved_state got;
	assert_ok(state_read(native(70, "own.state", want), &c, &got));
	assert_memory_equal(got.state, want, sizeof want);
	assert_int_equal(got.header.position, 7);
	assert_int_equal(got.header.counts, 2);
	assert_true(got.counts[1] == 0.5f && got.logits[2] == -2);
	saved_state_free(&got);
	struct file f = { .used = 0 };
	add_layer(&f, 0);
	add_layer(&f, 1);
	assert_ok(state_read(written(&f, "start.safetensors"), &c, &got));
	assert_int_equal(got.header.position, 0);
	assert_int_equal(got.header.logits, 0);
	assert_true(got.state[2 * WIDTH + 1] == number(0, 0, 0, 1));
	saved_state_free(&got);
	test_write_file(test_temp("junk"), "junk, of some length", 20);
	assert_fails(state_read(test_temp("junk"), &c, &got), RWKVK_ERROR_FILE,
	             "does not begin with RWKVKSTA, nor is it a safetensors or .pth file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orientation), cmocka_unit_test(write_and_read), cmocka_unit_test(single_head),
		cmocka_unit_test(refused),     cmocka_unit_test(orders),         cmocka_unit_test(inspect),
		cmocka_unit_test(damaged),     cmocka_unit_test(convert),        cmocka_unit_test(with_model),
		cmocka_unit_test(read_either),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
