/* Reads adapter files: splits tensor names into module and part. */
#include "format/adapter.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/readers.h"

/* ---------------------------------------------------------------------------------------------------- which names */

/* "lora" begins "lora_A", not "loran". */
static bool begins_with(const char *part, size_t bytes, const char *word)
{
	size_t length = strlen(word);
	return bytes >= length && strncmp(part, word, length) == 0 && (bytes == length || !islower((unsigned char)part[length]));
}

/* `part` runs to the end of the name, and its first `bytes` to the next dot.  These are the words of RWKV-PEFT, Hugging Face's
 * peft and web-rwkv, which has x.lora.0; fla's lora.0.weight belongs to the model itself. */
static bool is_adapter_part(const char *part, size_t bytes)
{
	static const char *const words[] = { "bone", "disha", "miss", "dora", "pissa", "hada",    "loha",
		                                 "lokr", "ia3",   "oft",  "boft", "vera",  "adapter", "adapters" };
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (begins_with(part, bytes, words[i]))
			return true;
	if (bytes == 4 && memcmp(part, "lora", 4) == 0)
		return strchr(part + 4 + (part[4] == '.'), '.') == NULL;
	return (bytes > 5 && memcmp(part, "lora_", 5) == 0) || (bytes > 10 && memcmp(part, "init_lora_", 10) == 0);
}

/* The first part of the name that belongs to an adapter, and its length; NULL if there is none. */
static const char *adapter_part(const char *name, size_t *bytes)
{
	for (const char *part = name; part;) {
		*bytes = strcspn(part, ".");
		if (is_adapter_part(part, *bytes))
			return part;
		const char *dot = strchr(part, '.');
		part = dot ? dot + 1 : NULL;
	}
	return NULL;
}

bool is_adapter(const char *name)
{
	size_t bytes;
	return adapter_part(name, &bytes) != NULL;
}

/* ---------------------------------------------------------------------------------------------------- what they are */

static const struct word {
	const char *text;
	enum adapter_role role;
	bool turned, below;
} words[] = {
	{ "lora_A", ADAPTER_A, false, false },
	{ "lora_B", ADAPTER_B, false, false },
	{ "lora.0", ADAPTER_A, true, false },
	{ "lora.1", ADAPTER_B, false, false },
	{ "lora_embedding_A", ADAPTER_A, false, false },
	{ "lora_embedding_B", ADAPTER_B, false, false },
	{ "init_lora_A", ADAPTER_INIT_A, false, false },
	{ "init_lora_B", ADAPTER_INIT_B, false, false },
	{ "lora_magnitude_vector", ADAPTER_MAGNITUDE, false, false },
	{ "bone", ADAPTER_BONE, false, false },
	{ "disha", ADAPTER_BONE, false, false },
	{ "miss", ADAPTER_BONE, false, false },
	{ "bone_block", ADAPTER_BONE, false, true },
	{ "miss_block", ADAPTER_BONE, false, true },
	{ "alpha", ADAPTER_ALPHA, false, false },
};

/* What may follow the word: nothing or "weight", possibly after the adapter's own name, such as "default". */
static bool is_end(const char *rest)
{
	const char *dot = *rest ? strchr(rest + 1, '.') : NULL;
	return !*rest || strcmp(rest, ".weight") == 0 || (!dot && strcmp(rest, ".bias") != 0) ||
	       (dot && strcmp(dot, ".weight") == 0);
}

/* The word that begins `part`, the end of a name; NULL if no such adapter can be merged. */
static const struct word *find_word(const char *part)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		size_t length = strlen(words[i].text);
		if (strncmp(part, words[i].text, length) == 0 && (!part[length] || part[length] == '.') && is_end(part + length))
			return &words[i];
	}
	return NULL;
}

/* Other programs store one alpha per module. */
static const char *alpha_part(const char *name)
{
	const char *last = strrchr(name, '.');
	return last && strcmp(last, ".alpha") == 0 ? last + 1 : NULL;
}

/* ---------------------------------------------------------------------------------------------------- modules */

static rwkvk_status no_memory(const struct adapter *adapter)
{
	return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the list of its adapters", adapter->weights.path);
}

/* The module named by the first `bytes`, created if needed; NULL if memory runs out. */
static struct adapter_module *module_of(struct adapter *adapter, const char *name, size_t bytes)
{
	for (size_t i = adapter->count; i-- > 0;)
		if (strncmp(adapter->modules[i].name, name, bytes) == 0 && !adapter->modules[i].name[bytes])
			return &adapter->modules[i];
	struct adapter_module *more = realloc(adapter->modules, (adapter->count + 1) * sizeof *more);
	if (!more)
		return NULL;
	adapter->modules = more;
	char *copy = malloc(bytes + 1);
	if (!copy)
		return NULL;
	memcpy(copy, name, bytes);
	copy[bytes] = 0;
	more[adapter->count] = (struct adapter_module){ .name = copy };
	return &more[adapter->count++];
}

static rwkvk_status add_part(struct adapter *adapter, const struct tensor *tensor)
{
	const char *name = tensor->file_name, *path = adapter->weights.path;
	size_t bytes;
	const char *part = adapter_part(name, &bytes);
	part = part ? part : alpha_part(name);
	const struct word *word = part ? find_word(part) : NULL;
	if (!part)
		return RWKVK_OK;
	if (!word || part == name)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: tensor %s is part of an adapter of a kind that cannot be merged; expected LoRA, DoRA, PiSSA, bone, "
		            "disha or miss: merge it with the program that trained it",
		            path, name);
	if (tensor->type == DTYPE_FOREIGN || dtype_is_block(tensor->type))
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected tensor %s as F32, F16 or BF16, found %s", path, name,
		            tensor_type(tensor));
	struct adapter_module *module = module_of(adapter, name, (size_t)(part - name) - 1);
	if (!module)
		return no_memory(adapter);
	if (module->parts[word->role])
		return fail(RWKVK_ERROR_FILE, "%s: expected one adapter of %s, found two tensors for the same part of it: %s and %s",
		            path, module->name, module->parts[word->role]->file_name, name);
	module->parts[word->role] = tensor;
	module->turned |= word->turned;
	module->below |= word->below;
	return RWKVK_OK;
}

/* Checks that each part comes with the parts it needs. */
static rwkvk_status check_module(const struct adapter *adapter, const struct adapter_module *m)
{
	const char *path = adapter->weights.path;
	bool low_rank = m->parts[ADAPTER_A] || m->parts[ADAPTER_B], init = m->parts[ADAPTER_INIT_A] || m->parts[ADAPTER_INIT_B];
	if ((low_rank && !(m->parts[ADAPTER_A] && m->parts[ADAPTER_B])) ||
	    (init && !(m->parts[ADAPTER_INIT_A] && m->parts[ADAPTER_INIT_B])))
		return fail(RWKVK_ERROR_FILE, "%s: expected lora_A and lora_B of %s, found only one of them", path, m->name);
	if (m->parts[ADAPTER_MAGNITUDE] && !low_rank)
		return fail(RWKVK_ERROR_FILE, "%s: expected lora_A and lora_B beside %s, found neither", path,
		            m->parts[ADAPTER_MAGNITUDE]->file_name);
	if (m->parts[ADAPTER_BONE] && (low_rank || init))
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected one kind of adapter of %s, found LoRA and %s", path, m->name,
		            m->parts[ADAPTER_BONE]->file_name);
	return RWKVK_OK;
}

static rwkvk_status find_modules(struct adapter *adapter)
{
	struct weights *w = &adapter->weights;
	for (size_t i = 0; i < w->count; i++)
		TRY(add_part(adapter, &w->tensors[i]));
	for (size_t i = 0; i < adapter->count; i++)
		TRY(check_module(adapter, &adapter->modules[i]));
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- the file */

/* The path itself, or for a folder the file in it; the caller frees it.  A folder without adapters of its own may be the model,
 * which then holds them. */
static rwkvk_status resolve(const char *path, char **out)
{
	static const char *const names[] = { "adapter_model.safetensors", "adapter_model.bin" };
	bool folder = file_kind(path) == FILE_FOLDER;
	for (size_t i = 0; folder && i < sizeof names / sizeof *names; i++) {
		*out = file_join(path, strlen(path), names[i]);
		if (!*out)
			return fail(RWKVK_ERROR_MEMORY, "%s: no memory for a path", path);
		if (file_kind(*out) != FILE_MISSING)
			return RWKVK_OK;
		free(*out);
	}
	rwkvk_status status = shards_resolve(path, out);
	if (status != RWKVK_ERROR_FILE)
		return status;
	return fail(RWKVK_ERROR_FILE, "%s: expected a folder with %s, %s or a model, found none of them: name the adapter's file",
	            path, names[0], names[1]);
}

rwkvk_status adapter_open(const char *path, bool read_files, struct adapter *out)
{
	char *file;
	*out = (struct adapter){ 0 };
	TRY(resolve(path, &file));
	rwkvk_status status = weights_open_tensors(file, read_files, &out->weights);
	free(file);
	if (status == RWKVK_OK)
		status = find_modules(out);
	if (status == RWKVK_OK)
		status = adapter_config_read(&out->weights, &out->config);
	if (status != RWKVK_OK)
		adapter_close(out);
	return status;
}

void adapter_close(struct adapter *adapter)
{
	for (size_t i = 0; i < adapter->count; i++)
		free(adapter->modules[i].name);
	free(adapter->modules);
	adapter_config_free(&adapter->config);
	weights_close(&adapter->weights);
	*adapter = (struct adapter){ 0 };
}

void adapter_config_free(struct adapter_config *config)
{
	for (size_t i = 0; i < config->alpha_count; i++)
		free(config->alphas[i].module);
	free(config->alphas);
	*config = (struct adapter_config){ 0 };
}

/* ---------------------------------------------------------------------------------------------------- the scale */

/* The config's alpha for this module; 0 if it gives none. */
static double config_alpha(const struct adapter_config *config, const char *module)
{
	for (size_t i = 0; i < config->alpha_count; i++) {
		size_t length = strlen(module), tail = strlen(config->alphas[i].module);
		const char *end = length >= tail ? module + length - tail : module;
		if (strcmp(end, config->alphas[i].module) == 0 && (end == module || end[-1] == '.'))
			return config->alphas[i].alpha;
	}
	return config->alpha;
}

/* A number beside the factors, as other programs store it. */
static rwkvk_status stored_alpha(const char *path, const struct tensor *tensor, double *out)
{
	float number;
	if (tensor_elements(tensor) != 1)
		return fail(RWKVK_ERROR_FILE, "%s: expected tensor %s to be one number, found the shape %s", path, tensor->file_name,
		            show_shape(tensor->rank, tensor->shape).text);
	dtype_to_float(tensor->type, tensor->data, 0, 1, &number);
	*out = (double)number;
	if (number >= (float)SMALLEST_ALPHA && number <= (float)LARGEST_ALPHA)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE, "%s: expected tensor %s to be a number from %g to %g, found %g", path, tensor->file_name,
	            SMALLEST_ALPHA, LARGEST_ALPHA, *out);
}

/* The alpha in the file itself, beside the factors or in a safetensors header; 0 if there is none. */
static rwkvk_status file_alpha(const struct adapter *adapter, const struct adapter_module *module, double *out)
{
	const char *path = adapter->weights.path, *text = weights_text(&adapter->weights, "lora_alpha");
	if (module->parts[ADAPTER_ALPHA])
		return stored_alpha(path, module->parts[ADAPTER_ALPHA], out);
	*out = text ? text_number(text) : 0;
	if (!text || (*out >= SMALLEST_ALPHA && *out <= LARGEST_ALPHA))
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE, "%s: expected \"lora_alpha\" in \"__metadata__\" to be a number from %g to %g, found \"%s\"",
	            path, SMALLEST_ALPHA, LARGEST_ALPHA, show_text(text, strlen(text)).text);
}

rwkvk_status adapter_scale(const struct adapter *adapter, const struct adapter_module *module, uint32_t rank, float given,
                           float *out)
{
	double own = 0;
	if (given == 0)
		TRY(file_alpha(adapter, module, &own));
	double alpha = own != 0 ? own : config_alpha(&adapter->config, module->name);
	bool root = own == 0 && adapter->config.rank_root;
	*out = given != 0 ? given : (float)(alpha / (root ? sqrt(rank) : rank));
	if (given == 0 && alpha == 0 && module->parts[ADAPTER_INIT_A])
		*out = 1; /* PiSSA has no scale */
	if (*out != 0 && isfinite(*out))
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE,
	            "%s: neither it nor an adapter_config.json beside it gives its scale, which is alpha / rank: append that to "
	            "the name, as in %s:0.5 (rwkvk_model_options.lora)",
	            adapter->weights.path, adapter->weights.path);
}
