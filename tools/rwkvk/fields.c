#include "fields.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct name {
	const char *library, *program;
};

/* Members without an option are left out: the program does not set them, so no message names them. */
static const struct name fields[] = {
	{ "rwkvk_model_options.path", "-m" },
	{ "rwkvk_model_options.device", "--device" },
	{ "rwkvk_model_options.vocab", "--vocab" },
	{ "rwkvk_model_options.names", "--names" },
	{ "rwkvk_model_options.lora", "--lora" },
	{ "rwkvk_model_options.cache_dir", "--cache-dir" },
	{ "rwkvk_model_options.read_file", "--no-mmap" },
	{ "rwkvk_model_options.exact", "--exact" },
	{ "rwkvk_model_options.quant", "--quant" },
	{ "rwkvk_model_options.group_norm_epsilon", "--group-norm-epsilon" },
	{ "rwkvk_model_options.rescale", "--rescale" },
	{ "rwkvk_model_options.threads", "--threads" },
	{ "rwkvk_model_options.max_sessions", "--count or -b" },
	{ "rwkvk_model_options.max_batch", "--count or -b" },
	{ "rwkvk_cache_options.store", "--state-store" },
	{ "rwkvk_tools_options.profile", "--profile" },
	{ "rwkvk_tools_options.shape", "--shape" },
	{ "rwkvk_tools_options.shape_type", "--type" },
	{ "rwkvk_measure_options.device", "--device" },
	{ "rwkvk_measure_options.cache_dir", "--cache-dir" },
	{ "rwkvk_verify_options.tokens", "--tokens" },
	{ "rwkvk_tune_options.seconds", "--seconds" },
	{ "rwkvk_export_options.type", "--type" },
	{ "rwkvk_export_options.threads", "--threads" },
	{ "rwkvk_generate_options.max_tokens", "-n" },
	{ "rwkvk_generate_options.stop_texts", "--stop" },
	{ "rwkvk_sampling.temperature", "--temp" },
	{ "rwkvk_sampling.top_p", "--top-p" },
	{ "rwkvk_sampling.top_k", "--top-k" },
	{ "rwkvk_sampling.presence", "--presence" },
	{ "rwkvk_sampling.frequency", "--frequency" },
	{ "rwkvk_sampling.decay", "--decay" },
	{ "rwkvk_sampling.seed", "--seed" },
	{ "rwkvk_sampling.biases", "--bias and --ban" },
	{ NULL, NULL },
};

/* Values of these fields, where they are not numbers or names of files. */
static const struct name values[] = {
	{ "RWKVK_QUANT_NONE", "none" },
	{ "RWKVK_QUANT_F16", "f16" },
	{ "RWKVK_QUANT_Q8", "q8" },
	{ "RWKVK_QUANT_Q6", "q6" },
	{ "RWKVK_QUANT_Q5", "q5" },
	{ "RWKVK_QUANT_Q4", "q4" },
	{ "RWKVK_EXPORT_KEEP", "keep" },
	{ "RWKVK_EXPORT_F32", "f32" },
	{ "RWKVK_EXPORT_F16", "f16" },
	{ "RWKVK_EXPORT_BF16", "bf16" },
	{ "RWKVK_EXPORT_Q8_0", "q8_0" },
	{ "RWKVK_EXPORT_Q6_K", "q6_k" },
	{ "RWKVK_EXPORT_Q5_K_M", "q5_k_m" },
	{ "RWKVK_EXPORT_Q4_K_M", "q4_k_m" },
	{ "RWKVK_EXPORT_Q4_0", "q4_0" },
	{ "RWKVK_STATE_NATIVE", "rwkvk" },
	{ "RWKVK_STATE_TRAINED", "trained" },
	{ "RWKVK_STATE_WEB_RWKV", "web-rwkv" },
	{ "RWKVK_STATE_RWKV_CPP", "rwkv.cpp" },
	{ "RWKVK_STATE_CHATRWKV", "chatrwkv" },
	{ NULL, NULL },
};

static bool in_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* The row whose whole name is at the beginning of `text`, or NULL. */
static const struct name *find(const struct name *names, const char *text)
{
	for (; names->library; names++) {
		size_t length = strlen(names->library);
		if (strncmp(text, names->library, length) == 0 && !in_name(text[length]))
			return names;
	}
	return NULL;
}

const char *fields_as_options(char *out, size_t size, const char *text)
{
	size_t count = 0;
	for (bool inside = false; *text && count + 1 < size;) {
		const struct name *field = inside ? NULL : find(fields, text);
		const struct name *name = field || inside ? field : find(values, text);
		if (!name) {
			inside = in_name(*text);
			out[count++] = *text++;
			continue;
		}
		count += (size_t)snprintf(out + count, size - count, "%s", name->program);
		if (count >= size)
			count = size - 1;
		text += strlen(name->library);
		if (field && strncmp(text, " = ", 3) == 0) /* an option and its value have a blank between them */
			text += 2;
	}
	out[count] = 0;
	return out;
}
