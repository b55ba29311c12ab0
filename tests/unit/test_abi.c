/* The layout of the structs of rwkvk.h, on which programs already built rely: within version 0.1, members may only be added at
 * the end.  For targets with 64-bit pointers and sizes. */
#include "support.h"

#include "rwkvk.h"
#include "rwkvk_tools.h"

#ifdef RWKVK_TEST_CXX
size_t rwkvk_test_cxx_sizes(void); /* abi_cxx.cpp */
size_t rwkvk_test_cxx_use(void);
#endif

struct member {
	const char *name;
	size_t offset, want;
};

struct layout {
	const char *name;
	size_t bytes, want; /* sizeof */
	size_t end;         /* the end of the last member: later additions begin there, so no padding may follow it */
	struct member members[32];
};

/* clang-format off */
#define STRUCT(type, want, last) #type, sizeof(type), want, offsetof(type, last) + sizeof(((type *)0)->last)
#define MEMBER(type, member, want) { #member, offsetof(type, member), want }

static const struct layout layouts[] = {
	{ STRUCT(rwkvk_device_info, 1112, pci), {
		MEMBER(rwkvk_device_info, size, 0),
		MEMBER(rwkvk_device_info, index, 8),
		MEMBER(rwkvk_device_info, type, 12),
		MEMBER(rwkvk_device_info, name, 16),
		MEMBER(rwkvk_device_info, driver, 272),
		MEMBER(rwkvk_device_info, api_version, 784),
		MEMBER(rwkvk_device_info, vendor_id, 796),
		MEMBER(rwkvk_device_info, device_id, 800),
		MEMBER(rwkvk_device_info, subgroup_size, 804),
		MEMBER(rwkvk_device_info, subgroup_operations, 808),
		MEMBER(rwkvk_device_info, unified_memory, 809),
		MEMBER(rwkvk_device_info, is_default, 810),
		MEMBER(rwkvk_device_info, usable, 811),
		MEMBER(rwkvk_device_info, max_workgroup_invocations, 812),
		MEMBER(rwkvk_device_info, max_shared_memory, 816),
		MEMBER(rwkvk_device_info, max_storage_range, 824),
		MEMBER(rwkvk_device_info, device_memory, 832),
		MEMBER(rwkvk_device_info, reason, 840),
		MEMBER(rwkvk_device_info, pci, 1096),
	} },
	{ STRUCT(rwkvk_model_options, 200, fd_length), {
		MEMBER(rwkvk_model_options, size, 0),
		MEMBER(rwkvk_model_options, path, 8),
		MEMBER(rwkvk_model_options, data, 16),
		MEMBER(rwkvk_model_options, data_bytes, 24),
		MEMBER(rwkvk_model_options, device, 32),
		MEMBER(rwkvk_model_options, vocab, 40),
		MEMBER(rwkvk_model_options, names, 48),
		MEMBER(rwkvk_model_options, cache_dir, 56),
		MEMBER(rwkvk_model_options, quant, 64),
		MEMBER(rwkvk_model_options, group_norm_epsilon, 68),
		MEMBER(rwkvk_model_options, rescale, 72),
		MEMBER(rwkvk_model_options, max_sessions, 76),
		MEMBER(rwkvk_model_options, threads, 80),
		MEMBER(rwkvk_model_options, read_file, 84),
		MEMBER(rwkvk_model_options, device_memory, 88),
		MEMBER(rwkvk_model_options, cancel, 96),
		MEMBER(rwkvk_model_options, progress, 104),
		MEMBER(rwkvk_model_options, progress_user, 112),
		MEMBER(rwkvk_model_options, log, 120),
		MEMBER(rwkvk_model_options, log_user, 128),
		MEMBER(rwkvk_model_options, tools, 136),
		MEMBER(rwkvk_model_options, exact, 144),
		MEMBER(rwkvk_model_options, chunk_rows, 148),
		MEMBER(rwkvk_model_options, max_batch, 152),
		MEMBER(rwkvk_model_options, mixed_rows, 156),
		MEMBER(rwkvk_model_options, lora, 160),
		MEMBER(rwkvk_model_options, lora_count, 168),
		MEMBER(rwkvk_model_options, fd, 176),
		MEMBER(rwkvk_model_options, fd_offset, 184),
		MEMBER(rwkvk_model_options, fd_length, 192),
	} },
	{ STRUCT(rwkvk_lora, 24, reserved), {
		MEMBER(rwkvk_lora, size, 0),
		MEMBER(rwkvk_lora, path, 8),
		MEMBER(rwkvk_lora, scale, 16),
		MEMBER(rwkvk_lora, reserved, 20),
	} },
	{ STRUCT(rwkvk_model_info, 160, multiply_adds), {
		MEMBER(rwkvk_model_info, size, 0),
		MEMBER(rwkvk_model_info, name, 8),
		MEMBER(rwkvk_model_info, format, 16),
		MEMBER(rwkvk_model_info, version, 24),
		MEMBER(rwkvk_model_info, device, 32),
		MEMBER(rwkvk_model_info, type, 40),
		MEMBER(rwkvk_model_info, layers, 48),
		MEMBER(rwkvk_model_info, width, 52),
		MEMBER(rwkvk_model_info, ffn_width, 56),
		MEMBER(rwkvk_model_info, vocab, 60),
		MEMBER(rwkvk_model_info, heads, 64),
		MEMBER(rwkvk_model_info, head_size, 68),
		MEMBER(rwkvk_model_info, rank_decay, 72),
		MEMBER(rwkvk_model_info, rank_iclr, 76),
		MEMBER(rwkvk_model_info, rank_value, 80),
		MEMBER(rwkvk_model_info, rank_gate, 84),
		MEMBER(rwkvk_model_info, rank_mix, 88),
		MEMBER(rwkvk_model_info, group_norm_epsilon, 92),
		MEMBER(rwkvk_model_info, rescale, 96),
		MEMBER(rwkvk_model_info, begin_token, 100),
		MEMBER(rwkvk_model_info, end_token, 104),
		MEMBER(rwkvk_model_info, max_sessions, 108),
		MEMBER(rwkvk_model_info, add_bos, 112),
		MEMBER(rwkvk_model_info, has_tokenizer, 113),
		MEMBER(rwkvk_model_info, parameters, 120),
		MEMBER(rwkvk_model_info, bytes_per_token, 128),
		MEMBER(rwkvk_model_info, device_bytes, 136),
		MEMBER(rwkvk_model_info, state_bytes, 144),
		MEMBER(rwkvk_model_info, multiply_adds, 152),
	} },
	{ STRUCT(rwkvk_metadata, 40, items), {
		MEMBER(rwkvk_metadata, size, 0),
		MEMBER(rwkvk_metadata, key, 8),
		MEMBER(rwkvk_metadata, value, 16),
		MEMBER(rwkvk_metadata, value_bytes, 24),
		MEMBER(rwkvk_metadata, items, 32),
	} },
	{ STRUCT(rwkvk_candidate, 8, log_probability), {
		MEMBER(rwkvk_candidate, token, 0),
		MEMBER(rwkvk_candidate, log_probability, 4),
	} },
	{ STRUCT(rwkvk_bias, 8, value), {
		MEMBER(rwkvk_bias, token, 0),
		MEMBER(rwkvk_bias, value, 4),
	} },
	{ STRUCT(rwkvk_sampling, 56, bias_count), {
		MEMBER(rwkvk_sampling, size, 0),
		MEMBER(rwkvk_sampling, temperature, 8),
		MEMBER(rwkvk_sampling, top_p, 12),
		MEMBER(rwkvk_sampling, top_k, 16),
		MEMBER(rwkvk_sampling, presence, 20),
		MEMBER(rwkvk_sampling, frequency, 24),
		MEMBER(rwkvk_sampling, decay, 28),
		MEMBER(rwkvk_sampling, seed, 32),
		MEMBER(rwkvk_sampling, biases, 40),
		MEMBER(rwkvk_sampling, bias_count, 48),
	} },
	{ STRUCT(rwkvk_eval_options, 56, logits_user), {
		MEMBER(rwkvk_eval_options, size, 0),
		MEMBER(rwkvk_eval_options, logits, 8),
		MEMBER(rwkvk_eval_options, cancel, 16),
		MEMBER(rwkvk_eval_options, progress, 24),
		MEMBER(rwkvk_eval_options, progress_user, 32),
		MEMBER(rwkvk_eval_options, on_logits, 40),
		MEMBER(rwkvk_eval_options, logits_user, 48),
	} },
	{ STRUCT(rwkvk_token, 40, tops), {
		MEMBER(rwkvk_token, size, 0),
		MEMBER(rwkvk_token, id, 8),
		MEMBER(rwkvk_token, byte_count, 12),
		MEMBER(rwkvk_token, bytes, 16),
		MEMBER(rwkvk_token, log_probability, 24),
		MEMBER(rwkvk_token, top_count, 28),
		MEMBER(rwkvk_token, tops, 32),
	} },
	{ STRUCT(rwkvk_generate_options, 112, mask), {
		MEMBER(rwkvk_generate_options, size, 0),
		MEMBER(rwkvk_generate_options, sampling, 8),
		MEMBER(rwkvk_generate_options, max_tokens, 16),
		MEMBER(rwkvk_generate_options, stop_tokens, 24),
		MEMBER(rwkvk_generate_options, stop_token_count, 32),
		MEMBER(rwkvk_generate_options, stop_texts, 40),
		MEMBER(rwkvk_generate_options, stop_text_count, 48),
		MEMBER(rwkvk_generate_options, ignore_end, 56),
		MEMBER(rwkvk_generate_options, on_text, 64),
		MEMBER(rwkvk_generate_options, on_token, 72),
		MEMBER(rwkvk_generate_options, user, 80),
		MEMBER(rwkvk_generate_options, cancel, 88),
		MEMBER(rwkvk_generate_options, log_probabilities, 96),
		MEMBER(rwkvk_generate_options, top_log_probabilities, 100),
		MEMBER(rwkvk_generate_options, mask, 104),
	} },
	{ STRUCT(rwkvk_work, 136, close_draws), {
		MEMBER(rwkvk_work, size, 0),
		MEMBER(rwkvk_work, session, 8),
		MEMBER(rwkvk_work, tokens, 16),
		MEMBER(rwkvk_work, token_count, 24),
		MEMBER(rwkvk_work, options, 32),
		MEMBER(rwkvk_work, most, 40),
		MEMBER(rwkvk_work, status, 48),
		MEMBER(rwkvk_work, error, 56),
		MEMBER(rwkvk_work, read, 64),
		MEMBER(rwkvk_work, picked, 72),
		MEMBER(rwkvk_work, picked_count, 80),
		MEMBER(rwkvk_work, text, 88),
		MEMBER(rwkvk_work, text_bytes, 96),
		MEMBER(rwkvk_work, ended, 104),
		MEMBER(rwkvk_work, reason, 108),
		MEMBER(rwkvk_work, stop, 112),
		MEMBER(rwkvk_work, text_tokens, 120),
		MEMBER(rwkvk_work, close_draws, 128),
	} },
	{ STRUCT(rwkvk_generate_result, 32, close_draws), {
		MEMBER(rwkvk_generate_result, size, 0),
		MEMBER(rwkvk_generate_result, reason, 8),
		MEMBER(rwkvk_generate_result, stop, 12),
		MEMBER(rwkvk_generate_result, tokens, 16),
		MEMBER(rwkvk_generate_result, close_draws, 24),
	} },
	{ STRUCT(rwkvk_cache_options, 64, store_wait), {
		MEMBER(rwkvk_cache_options, size, 0),
		MEMBER(rwkvk_cache_options, memory, 8),
		MEMBER(rwkvk_cache_options, disk, 16),
		MEMBER(rwkvk_cache_options, dir, 24),
		MEMBER(rwkvk_cache_options, read_states_only, 32),
		MEMBER(rwkvk_cache_options, begin, 36),
		MEMBER(rwkvk_cache_options, store, 40),
		MEMBER(rwkvk_cache_options, store_ttl, 48),
		MEMBER(rwkvk_cache_options, store_tokens, 56),
		MEMBER(rwkvk_cache_options, store_wait, 60),
	} },
	{ STRUCT(rwkvk_cache_stats, 192, store_damaged), {
		MEMBER(rwkvk_cache_stats, size, 0),
		MEMBER(rwkvk_cache_stats, prompts, 8),
		MEMBER(rwkvk_cache_stats, hits, 16),
		MEMBER(rwkvk_cache_stats, tokens, 24),
		MEMBER(rwkvk_cache_stats, cached_tokens, 32),
		MEMBER(rwkvk_cache_stats, memory_states, 40),
		MEMBER(rwkvk_cache_stats, memory_bytes, 48),
		MEMBER(rwkvk_cache_stats, memory_limit, 56),
		MEMBER(rwkvk_cache_stats, disk_states, 64),
		MEMBER(rwkvk_cache_stats, disk_bytes, 72),
		MEMBER(rwkvk_cache_stats, disk_limit, 80),
		MEMBER(rwkvk_cache_stats, disk_hits, 88),
		MEMBER(rwkvk_cache_stats, dropped, 96),
		MEMBER(rwkvk_cache_stats, damaged, 104),
		MEMBER(rwkvk_cache_stats, unwritten, 112),
		MEMBER(rwkvk_cache_stats, store_connected, 120),
		MEMBER(rwkvk_cache_stats, store_lookups, 128),
		MEMBER(rwkvk_cache_stats, store_failed, 136),
		MEMBER(rwkvk_cache_stats, store_hits, 144),
		MEMBER(rwkvk_cache_stats, store_written, 152),
		MEMBER(rwkvk_cache_stats, store_unwritten, 160),
		MEMBER(rwkvk_cache_stats, store_bytes_read, 168),
		MEMBER(rwkvk_cache_stats, store_bytes_written, 176),
		MEMBER(rwkvk_cache_stats, store_damaged, 184),
	} },
	{ STRUCT(rwkvk_prompt_options, 32, keep_tokens), {
		MEMBER(rwkvk_prompt_options, size, 0),
		MEMBER(rwkvk_prompt_options, ends, 8),
		MEMBER(rwkvk_prompt_options, end_count, 16),
		MEMBER(rwkvk_prompt_options, start, 24),
		MEMBER(rwkvk_prompt_options, keep_tokens, 28),
	} },
	{ STRUCT(rwkvk_prompt_info, 32, read), {
		MEMBER(rwkvk_prompt_info, size, 0),
		MEMBER(rwkvk_prompt_info, tokens, 8),
		MEMBER(rwkvk_prompt_info, cached, 16),
		MEMBER(rwkvk_prompt_info, read, 24),
	} },
	{ STRUCT(rwkvk_chat_message, 32, tool_calls), {
		MEMBER(rwkvk_chat_message, size, 0),
		MEMBER(rwkvk_chat_message, role, 8),
		MEMBER(rwkvk_chat_message, text, 16),
		MEMBER(rwkvk_chat_message, tool_calls, 24),
	} },
	{ STRUCT(rwkvk_chat_options, 24, tools), {
		MEMBER(rwkvk_chat_options, size, 0),
		MEMBER(rwkvk_chat_options, think, 8),
		MEMBER(rwkvk_chat_options, continued, 12),
		MEMBER(rwkvk_chat_options, messages_only, 13),
		MEMBER(rwkvk_chat_options, call, 14),
		MEMBER(rwkvk_chat_options, tools, 16),
	} },
	{ STRUCT(rwkvk_chat_stops, 40, text_count), {
		MEMBER(rwkvk_chat_stops, size, 0),
		MEMBER(rwkvk_chat_stops, tokens, 8),
		MEMBER(rwkvk_chat_stops, token_count, 16),
		MEMBER(rwkvk_chat_stops, texts, 24),
		MEMBER(rwkvk_chat_stops, text_count, 32),
	} },
	{ STRUCT(rwkvk_chat_part, 48, text_bytes), {
		MEMBER(rwkvk_chat_part, size, 0),
		MEMBER(rwkvk_chat_part, new_stops, 8),
		MEMBER(rwkvk_chat_part, reasoning, 16),
		MEMBER(rwkvk_chat_part, reasoning_bytes, 24),
		MEMBER(rwkvk_chat_part, text, 32),
		MEMBER(rwkvk_chat_part, text_bytes, 40),
	} },
};
/* clang-format on */

static void members_stay(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
		const struct layout *layout = &layouts[i];
		for (const struct member *m = layout->members; m->name; m++)
			if (m->offset != m->want)
				fail_msg("%s.%s is at %zu, but was at %zu in version 0.1", layout->name, m->name, m->offset, m->want);
		if (layout->bytes != layout->want)
			fail_msg("%s has %zu bytes, %zu were expected; what was added at the end belongs into this table", layout->name,
			         layout->bytes, layout->want);
	}
}

/* Padding at the end is part of sizeof.  A program built earlier would seem to have set a member that later takes its place. */
static void nothing_is_hidden_behind_the_last_member(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
		if (layouts[i].end != layouts[i].bytes)
			fail_msg("%s: %zu bytes of padding at the end", layouts[i].name, layouts[i].bytes - layouts[i].end);
}

/* A struct that can grow begins with its size.  rwkvk_bias and rwkvk_candidate are elements of arrays, so they never grow. */
static void structs_begin_with_their_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
		if (strcmp(layouts[i].name, "rwkvk_bias") != 0 && strcmp(layouts[i].name, "rwkvk_candidate") != 0) {
			assert_string_equal(layouts[i].members[0].name, "size");
			assert_int_equal(layouts[i].members[0].offset, 0);
		}
}

/* Numbers that are compiled into programs. */
static void constants_stay(void **state)
{
	(void)state;
	static const int constants[][2] = {
		{ RWKVK_OK, 0 },
		{ RWKVK_CANCELLED, 1 },
		{ RWKVK_ERROR_ARGUMENT, 2 },
		{ RWKVK_ERROR_FILE, 3 },
		{ RWKVK_ERROR_UNSUPPORTED, 4 },
		{ RWKVK_ERROR_DEVICE, 5 },
		{ RWKVK_ERROR_MEMORY, 6 },
		{ RWKVK_ERROR_DRIVER, 7 },
		{ RWKVK_ERROR_BUSY, 8 },
		{ RWKVK_ERROR_DEVICE_LOST, 9 },
		{ RWKVK_ERROR_INTERNAL, 10 },
		{ RWKVK_LOG_ERROR, 0 },
		{ RWKVK_LOG_WARNING, 1 },
		{ RWKVK_LOG_NOTE, 2 },
		{ RWKVK_DEVICE_OTHER, 0 },
		{ RWKVK_DEVICE_INTEGRATED, 1 },
		{ RWKVK_DEVICE_DISCRETE, 2 },
		{ RWKVK_DEVICE_VIRTUAL, 3 },
		{ RWKVK_DEVICE_CPU, 4 },
		{ RWKVK_QUANT_NONE, 0 },
		{ RWKVK_QUANT_Q8, 1 },
		{ RWKVK_QUANT_Q6, 2 },
		{ RWKVK_QUANT_Q5, 3 },
		{ RWKVK_QUANT_Q4, 4 },
		{ RWKVK_QUANT_F16, 5 },
		{ RWKVK_END_FAILED, 0 },
		{ RWKVK_END_STOP_TOKEN, 1 },
		{ RWKVK_END_STOP_TEXT, 2 },
		{ RWKVK_END_LENGTH, 3 },
		{ RWKVK_END_CALLER, 4 },
		{ RWKVK_END_CANCELLED, 5 },
		{ RWKVK_BEGIN_FILE, 0 },
		{ RWKVK_BEGIN_TOKEN, 1 },
		{ RWKVK_BEGIN_NOTHING, 2 },
		{ RWKVK_CHAT_PLAIN, 0 },
		{ RWKVK_CHAT_RAVEN, 1 },
		{ RWKVK_CHAT_WORLD, 2 },
		{ RWKVK_CHAT_RWKV_WORLD, 3 },
		{ RWKVK_CHAT_G1, 4 },
		{ RWKVK_ROLE_SYSTEM, 0 },
		{ RWKVK_ROLE_USER, 1 },
		{ RWKVK_ROLE_ASSISTANT, 2 },
		{ RWKVK_ROLE_TOOL, 3 },
		{ RWKVK_THINK_OFF, 0 },
		{ RWKVK_THINK_FAKE, 1 },
		{ RWKVK_THINK_ON, 2 },
		{ RWKVK_THINK_A_BIT, 3 },
		{ RWKVK_THINK_A_LOT, 4 },
	};
	for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
		assert_int_equal(constants[i][0], constants[i][1]);
	assert_int_equal(sizeof(rwkvk_status), 4);
	assert_int_equal(sizeof(bool), 1);
	assert_true(RWKVK_NO_TOKEN == UINT32_MAX);
}

/* The headers in C++: the same structs, and functions that link. */
static void cxx(void **state)
{
	(void)state;
#ifdef RWKVK_TEST_CXX
	size_t sum = 0;
	for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
		sum += layouts[i].bytes;
	assert_int_equal(rwkvk_test_cxx_sizes(), sum);
	assert_int_equal(rwkvk_test_cxx_use(), strlen(rwkvk_version()));
#else
	skip();
#endif
}

int main(void)
{
	if (sizeof(void *) != 8 || sizeof(size_t) != 8 || _Alignof(uint64_t) != 8) {
		print_message("SKIPPED test_abi: the layout is written down for 64-bit systems\n");
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_stay),
		cmocka_unit_test(nothing_is_hidden_behind_the_last_member),
		cmocka_unit_test(structs_begin_with_their_size),
		cmocka_unit_test(constants_stay),
		cmocka_unit_test(cxx),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
