/* Tuning: its choice is used, stored and loaded, gives the same bits each time, and agrees with every other choice. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feed.h"
#include "make_model.h"
#include "engine/plan.h"
#include "rwkvk_tools.h"

static const struct model_spec spec = {
	.version = 70,
	.layers = 2,
	.width = 128,
	.head_size = 64,
	.ffn = 512,
	.vocab = 300,
	.rank_decay = 32,
	.rank_iclr = 32,
	.rank_gate = 64,
	.rank_value = 32,
	.type = DTYPE_F16,
	.lora_type = DTYPE_F16,
	.seed = 1,
};
enum { VOCAB = 300, PROMPT = 45, STATE_BYTES = 1 << 19 };

static rwkvk_model *open_batch(const struct model_spec *s, uint32_t max_batch)
{
	rwkvk_model *model = NULL;
	const char *path = test_temp("model");
	make_model(path, s);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .max_batch = max_batch }, &model));
	return model;
}

static rwkvk_model *open_model(const struct model_spec *s)
{
	return open_batch(s, 0);
}

static void feed(rwkvk_model *model, float logits[VOCAB])
{
	static const uint32_t text[] = { 1, 22, 5, 299, 0, 7 };
	rwkvk_session *session = NULL;
	assert_ok(rwkvk_session_create(model, &session));
	assert_ok(feed_tokens(session, text, sizeof text / sizeof *text, logits));
	rwkvk_session_destroy(session);
}

static bool same(const struct tuning *a, const struct tuning *b)
{
	return a->workgroup == b->workgroup && a->lanes == b->lanes && a->rows == b->rows && a->groups == b->groups;
}

static void every_tuning_agrees(void **state)
{
	(void)state;
	rwkvk_model *m = open_model(&spec);
	const struct gpu_caps *caps = gpu_caps(m->gpu);
	float want[VOCAB], got[VOCAB], again[VOCAB];
	uint32_t tried = 0, skip = 0;
	feed(m, want);
	for (uint32_t workgroup = 8; workgroup <= 256; workgroup *= 4)
		for (uint32_t lanes = 2; lanes <= 32; lanes *= 4)
			for (uint32_t rows = 1; rows <= 8; rows *= 2) {
				struct tuning tuning = { .workgroup = workgroup, .lanes = lanes, .rows = rows, .groups = 1 + 5 * rows };
				if (!tuning_complete(&tuning, caps, &m->file.network.config) || skip++ % 3 != 0) /* compiling takes its time */
					continue;
				assert_ok(forward_plan(m, &tuning));
				feed(m, got);
				assert_close("logits", got, want, VOCAB, 1e-4);
				feed(m, again);
				assert_memory_equal(got, again, sizeof got);
				tried++;
			}
	assert_true(tried >= 3);
	rwkvk_model_close(m);
}

/* The logits after a prompt that is read in a chunk, all logits of it, and the state. */
struct prompt {
	float logits[VOCAB], each[PROMPT][VOCAB];
	uint8_t state[STATE_BYTES];
};

static bool keep_logits(void *user, size_t index, const float *logits)
{
	memcpy(((struct prompt *)user)->each[index], logits, VOCAB * sizeof *logits);
	return true;
}

static void read_prompt(rwkvk_model *model, struct prompt *out)
{
	uint32_t tokens[PROMPT];
	rwkvk_session *session = NULL;
	memset(out, 0, sizeof *out);
	for (uint32_t i = 0; i < PROMPT; i++)
		tokens[i] = (1 + 37 * i) % VOCAB;
	assert_ok(rwkvk_session_create(model, &session));
	assert_true(rwkvk_session_state_size(session) <= sizeof out->state);
	assert_ok(feed_tokens(session, tokens, PROMPT, out->logits));
	assert_ok(rwkvk_session_state_get(session, out->state, rwkvk_session_state_size(session)));
	assert_ok(rwkvk_session_reset(session));
	assert_ok(
		rwkvk_session_eval(session, tokens, PROMPT, &(rwkvk_eval_options){ .on_logits = keep_logits, .logits_user = out }));
	rwkvk_session_destroy(session);
}

/* However chunks are divided, the bits are the same; with these sizes in all versions, since tiles then have ends of every
 * kind. */
static void every_tile_has_the_same_bits(void **state)
{
	(void)state;
	static const uint32_t versions[] = { 70, 60, 40 };
	static struct prompt want, got;
	for (size_t v = 0; v < 3; v++) {
		struct model_spec s = spec;
		s.version = versions[v];
		s.rank_mix = s.version == 60 ? 32 : 0;
		s.type = s.version == 60 ? DTYPE_F32 : DTYPE_F16;
		s.width = 576; /* LayerNorm of which depends on the threads of its workgroup */
		s.ffn = 420;
		rwkvk_model *m = open_model(&s);
		uint32_t tried = 0, skip = (uint32_t)v;
		if (m->chunk.pass.rows)
			read_prompt(m, &want);
		for (uint32_t workgroup = 4; workgroup <= 256 && m->chunk.pass.rows; workgroup *= 2)
			for (uint32_t outputs = 2; outputs <= 8; outputs *= 2)
				for (uint32_t tokens = 1; tokens <= 16; tokens *= 2)
					for (uint32_t depth = 0; depth <= 32; depth += 16) {
						const struct tile tile = { workgroup, outputs, tokens, depth };
						if (!chunk_takes_tile(m, &tile) || skip++ % (depth ? 23 : 5) != 0) /* compiling takes its time */
							continue;
						chunk_set_tile(m, &tile);
						read_prompt(m, &got);
						assert_memory_equal(&got, &want, sizeof got);
						const struct tile now = chunk_tile(m);
						assert_memory_equal(&now, &tile, sizeof tile);
						tried++;
					}
		assert_true(tried >= 2 || !m->chunk.pass.rows);
		rwkvk_model_close(m);
	}
}

static void impossible_tunings(void **state)
{
	(void)state;
	rwkvk_model *m = open_model(&spec);
	const struct gpu_caps *caps = gpu_caps(m->gpu);
	const struct config *c = &m->file.network.config;
	static const struct tuning bad[] = {
		{ .workgroup = 0, .lanes = 1, .rows = 4, .groups = 8 },   { .workgroup = 4, .lanes = 1, .rows = 4, .groups = 8 },
		{ .workgroup = 96, .lanes = 1, .rows = 4, .groups = 8 },  { .workgroup = 512, .lanes = 1, .rows = 4, .groups = 8 },
		{ .workgroup = 64, .lanes = 0, .rows = 4, .groups = 8 },  { .workgroup = 64, .lanes = 3, .rows = 4, .groups = 8 },
		{ .workgroup = 64, .lanes = 64, .rows = 4, .groups = 8 }, { .workgroup = 64, .lanes = 1, .rows = 16, .groups = 8 },
		{ .workgroup = 64, .lanes = 1, .rows = 4, .groups = 0 },  { .workgroup = 64, .lanes = 1, .rows = 4, .groups = 1025 },
		{ .workgroup = 64, .lanes = 1, .rows = 0, .groups = 8 },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct tuning tuning = bad[i];
		assert_false(tuning_complete(&tuning, caps, c));
	}
	struct tuning usual = tuning_for(caps, c), tuning = usual;
	assert_true(tuning_complete(&tuning, caps, c));
	assert_memory_equal(&tuning, &usual, sizeof tuning);
	rwkvk_model_close(m);
}

/* Replaces the text of the only choice in the folder; returns the old text. */
static void rewrite(const char *folder, const char *text, char *old, size_t bytes)
{
	char path[512] = "";
	DIR *dir = opendir(folder);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strncmp(entry->d_name, "tuning-", 7) == 0)
			snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
	closedir(dir);
	FILE *file = fopen(path, "r+");
	assert_non_null(file);
	size_t got = fread(old, 1, bytes - 1, file);
	old[got] = 0;
	fclose(file);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void the_choice_is_kept(void **state)
{
	(void)state;
	const char *folder = test_temp("cache");
	setenv("RWKVK_CACHE_DIR", folder, 1);
	rwkvk_model *m = open_model(&spec);
	struct tuning usual = m->plan.tuning;
	rwkvk_tune_row rows[RWKVK_TUNE_ROWS] = { { 0 } };
	size_t count = 0, chosen = 0, which = 0;
	float tuned[VOCAB], again[VOCAB];
	assert_ok(rwkvk_model_tune(m, &(rwkvk_tune_options){ .seconds = 2 }, rows, RWKVK_TUNE_ROWS, &count));
	assert_true(count >= 1 && count <= RWKVK_TUNE_ROWS);
	assert_int_equal(rows[0].workgroup, usual.workgroup);
	assert_int_equal(rows[0].rows, usual.rows);
	for (size_t i = 0; i < count; i++) {
		assert_true(rows[i].seconds > 0);
		which = rows[i].chosen ? i : which;
		chosen += rows[i].chosen;
	}
	assert_int_equal(chosen, m->chunk.pass.rows ? 2 : 1);
	if (m->chunk.pass.rows) {
		const struct tile tile = { rows[which].workgroup, rows[which].tile_outputs, rows[which].tile_tokens,
			                       rows[which].tile_depth },
						  now = chunk_tile(m);
		assert_memory_equal(&tile, &now, sizeof now);
		for (which = 0; !rows[which].chosen;)
			which++;
	}
	assert_int_equal(rows[which].tile_outputs, 0);
	assert_int_equal(m->plan.tuning.workgroup, rows[which].workgroup);
	assert_int_equal(m->plan.tuning.groups, rows[which].groups);
	struct tuning best = m->plan.tuning;
	const struct tile best_tile = chunk_tile(m);
	feed(m, tuned);
	rwkvk_model_close(m);
	m = open_model(&spec);
	assert_true(same(&m->plan.tuning, &best));
	const struct tile stored = chunk_tile(m);
	assert_memory_equal(&stored, &best_tile, sizeof stored);
	feed(m, again);
	assert_memory_equal(tuned, again, sizeof tuned);
	rwkvk_model_close(m);

	char old[512], text[512];
	rewrite(folder, "", old, sizeof old);
	char *numbers = strchr(old, '\n');
	assert_non_null(numbers);
	snprintf(text, sizeof text, "%.*s\nworkgroup %u\nlanes %u\nrows 2\ngroups 3\n", (int)(numbers - old), old, usual.workgroup,
	         usual.lanes);
	const char *const damaged[] = { "", "RWKV-7", "some other model\nworkgroup 64\nlanes 8\nrows 4\ngroups 8\n" };
	for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
		rewrite(folder, damaged[i], old, sizeof old);
		m = open_model(&spec);
		assert_true(same(&m->plan.tuning, &usual));
		rwkvk_model_close(m);
	}
	rewrite(folder, text, old, sizeof old); /* well-formed: is taken */
	m = open_model(&spec);
	assert_int_equal(m->plan.tuning.rows, 2);
	assert_int_equal(m->plan.tuning.groups, 3);
	rwkvk_model_close(m);
	numbers = strstr(text, "rows 2");
	memcpy(numbers, "rows 3", 6); /* what no shader can do: is not */
	rewrite(folder, text, old, sizeof old);
	m = open_model(&spec);
	assert_true(same(&m->plan.tuning, &usual));
	rwkvk_model_close(m);
	struct model_spec other = spec; /* another model of other types has its own choice, here none */
	other.type = DTYPE_F32;
	m = open_model(&other);
	assert_true(same(&m->plan.tuning, &usual));
	rwkvk_model_close(m);
}

/* A tile from the file: one that the device can run is used and gives the same bits; one that it cannot run, or half a tile, is
 * not used. */
static void tiles_are_kept(void **state)
{
	(void)state;
	static struct prompt want, got;
	const char *folder = test_temp("tiles");
	char old[512], text[512];
	setenv("RWKVK_CACHE_DIR", folder, 1);
	rwkvk_model *m = open_model(&spec);
	const struct tuning tuning = m->plan.tuning;
	const struct tile usual = chunk_usual_tile(m);
	struct tile other = usual;
	other.outputs /= 2;
	const bool reads = m->chunk.pass.rows > 0;
	assert_ok(tuned_save(m));
	if (reads)
		read_prompt(m, &want);
	rwkvk_model_close(m);
	rewrite(folder, "", old, sizeof old);
	const int name = (int)(strchr(old, '\n') - old);
	static const char *const tiles[] = { "", "chunk_workgroup %u\nchunk_outputs %u\nchunk_tokens %u\nchunk_depth %u\n",
		                                 "chunk_workgroup %u\nchunk_outputs %u\n",
		                                 "chunk_workgroup %u\nchunk_outputs 3%u\nchunk_tokens %u\nchunk_depth %u\n" };
	for (size_t i = 0; i < sizeof tiles / sizeof *tiles && reads; i++) {
		int bytes = snprintf(text, sizeof text, "%.*s\nworkgroup %u\nlanes %u\nrows %u\ngroups 3\n", name, old,
		                     tuning.workgroup, tuning.lanes, tuning.rows);
		snprintf(text + bytes, sizeof text - (size_t)bytes, tiles[i], other.workgroup, other.outputs, other.tokens,
		         other.depth);
		rewrite(folder, text, (char[512]){ 0 }, 512);
		m = open_model(&spec);
		const struct tile now = chunk_tile(m);
		assert_memory_equal(&now, i == 1 ? &other : &usual, sizeof now);
		assert_int_equal(m->plan.tuning.groups, i < 2 ? 3 : tuning.groups);
		read_prompt(m, &got);
		assert_memory_equal(&got, &want, sizeof want);
		rwkvk_model_close(m);
	}
}

static bool stop_after(void *user, uint64_t done, uint64_t total)
{
	(void)total;
	return done < *(uint64_t *)user;
}

static void cancelled(void **state)
{
	(void)state;
	rwkvk_model *m = open_model(&spec);
	struct tuning usual = m->plan.tuning;
	rwkvk_tune_row rows[RWKVK_TUNE_ROWS] = { { 0 } };
	size_t count = 0;
	uint64_t most = 1;
	float want[VOCAB], got[VOCAB];
	feed(m, want);
	assert_fails(rwkvk_model_tune(m, &(rwkvk_tune_options){ .progress = stop_after, .progress_user = &most }, rows,
	                              RWKVK_TUNE_ROWS, &count),
	             RWKVK_CANCELLED, "stopped by the caller after 1 tunings");
	assert_true(same(&m->plan.tuning, &usual));
	feed(m, got);
	assert_memory_equal(got, want, sizeof got);
	rwkvk_model_close(m);
}

/* A step of six rows, and single ones: with any number of outputs a thread, the same bits. */
static void outputs_of_steps_change_no_bits(void **state)
{
	(void)state;
	static const uint32_t versions[] = { 70, 60 };
	for (size_t v = 0; v < 2; v++) {
		struct model_spec s = spec;
		s.version = versions[v];
		s.rank_mix = s.version == 60 ? 32 : 0;
		s.type = s.version == 60 ? DTYPE_F32 : DTYPE_F16;
		rwkvk_model *m = open_batch(&s, 8);
		float want[VOCAB], got[VOCAB], one[VOCAB], same_one[VOCAB];
		uint32_t tried = 0;
		feed(m, want);
		rwkvk_session *session;
		assert_ok(rwkvk_session_create(m, &session));
		assert_ok(feed_tokens(session, (uint32_t[]){ 9 }, 1, one));
		for (uint32_t outputs = 1; outputs <= 16; outputs *= 2) {
			if (!step_takes_outputs(m, outputs))
				continue;
			step_set_outputs(m, outputs);
			feed(m, got);
			assert_memory_equal(got, want, sizeof got);
			assert_ok(rwkvk_session_reset(session));
			assert_ok(feed_tokens(session, (uint32_t[]){ 9 }, 1, same_one));
			assert_memory_equal(same_one, one, sizeof one);
			tried++;
		}
		assert_true(tried >= 3);
		rwkvk_session_destroy(session);
		rwkvk_model_close(m);
	}
}

/* The choice for steps is loaded again, also after a model without any was tuned; one that no thread can have is not used. */
static void outputs_of_steps_are_kept(void **state)
{
	(void)state;
	const char *folder = test_temp("cache");
	char old[512], text[512];
	rwkvk_tune_row rows[RWKVK_TUNE_ROWS] = { { 0 } };
	size_t count = 0, chosen = 0, which = 0;
	setenv("RWKVK_CACHE_DIR", folder, 1);
	rwkvk_model *m = open_batch(&spec, 4);
	const uint32_t usual = step_usual_outputs(m);
	assert_true(usual > 0);
	assert_ok(rwkvk_model_tune(m, &(rwkvk_tune_options){ .seconds = 2 }, rows, RWKVK_TUNE_ROWS, &count));
	for (size_t i = 0; i < count; i++) {
		which = rows[i].chosen ? i : which;
		chosen += rows[i].chosen;
	}
	assert_int_equal(chosen, 3);
	assert_true(rows[which].step_outputs > 0 && rows[which].seconds > 0);
	assert_int_equal(step_outputs(m), rows[which].step_outputs);
	rwkvk_model_close(m);

	rewrite(folder, "", old, sizeof old);
	char *line = strstr(old, "step_outputs ");
	assert_non_null(line);
	snprintf(text, sizeof text, "%.*sstep_outputs %u\n", (int)(line - old), old, 2);
	rewrite(folder, text, old, sizeof old);
	m = open_batch(&spec, 4);
	assert_int_equal(step_outputs(m), 2);
	rwkvk_model_close(m);
	m = open_model(&spec);
	assert_ok(rwkvk_model_tune(m, &(rwkvk_tune_options){ .seconds = 0.5 }, rows, RWKVK_TUNE_ROWS, &count));
	rwkvk_model_close(m);
	rewrite(folder, text, old, sizeof old);
	assert_non_null(strstr(old, "step_outputs 2\n"));
	snprintf(text + strlen(text) - 2, 3, "3\n");
	rewrite(folder, text, old, sizeof old);
	m = open_batch(&spec, 4);
	assert_int_equal(step_outputs(m), usual);
	rwkvk_model_close(m);
	unsetenv("RWKVK_CACHE_DIR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_tuning_agrees),
		cmocka_unit_test(impossible_tunings),
		cmocka_unit_test(the_choice_is_kept),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(every_tile_has_the_same_bits),
		cmocka_unit_test(tiles_are_kept),
		cmocka_unit_test(outputs_of_steps_change_no_bits),
		cmocka_unit_test(outputs_of_steps_are_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
