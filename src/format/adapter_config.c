/* adapter_config.json, which Hugging Face's peft writes beside an adapter: its scale, and its kind if it is not plain LoRA. */
#include "format/adapter.h"
#include "format/readers.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { MOST_ALPHAS = 4096 };

/* Kinds that their tensors describe completely. */
static rwkvk_status check_kind(const char *path, const json_t *root)
{
	static const char *const kinds[] = { "LORA", "BONE", "MISS" };
	const char *kind = json_string_value(json_object_get(root, "peft_type"));
	for (size_t i = 0; kind && i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kind, kinds[i]) == 0)
			return RWKVK_OK;
	if (!kind)
		return fail(RWKVK_ERROR_FILE, "%s: expected a \"peft_type\" such as \"LORA\", found none", path);
	return fail(RWKVK_ERROR_UNSUPPORTED,
	            "%s: expected the \"peft_type\" LORA, BONE or MISS, found \"%s\", which cannot be merged", path,
	            show_text(kind, strlen(kind)).text);
}

/* Options that change the model in ways its tensors do not show.  These kinds start from a base that differs from the model. */
static rwkvk_status check_options(const char *path, const json_t *root)
{
	static const char *const others[] = { "pissa", "olora", "corda", "loftq", "lora_ga" };
	static const char *const options[] = { "layer_replication", "alora_invocation_tokens", "use_qalora" };
	const char *init = json_string_value(json_object_get(root, "init_lora_weights"));
	for (size_t i = 0; init && i < sizeof others / sizeof *others; i++)
		if (strncmp(init, others[i], strlen(others[i])) == 0)
			return fail(RWKVK_ERROR_UNSUPPORTED,
			            "%s: \"init_lora_weights\" is \"%s\", which has changed the model that the adapter is for: have peft "
			            "convert it to plain LoRA when it saves it (path_initial_model_for_weight_conversion)",
			            path, show_text(init, strlen(init)).text);
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		const json_t *value = json_object_get(root, options[i]);
		if (value && !json_is_null(value) && !json_is_false(value))
			return fail(RWKVK_ERROR_UNSUPPORTED, "%s: \"%s\" is set, which cannot be merged", path, options[i]);
	}
	return RWKVK_OK;
}

static rwkvk_status take_alpha(const char *path, const char *name, const json_t *value, double *out)
{
	*out = json_number_value(value);
	if (*out >= SMALLEST_ALPHA && *out <= LARGEST_ALPHA) /* 0 if it is not a number */
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE, "%s: expected \"%s\" to be a number from %g to %g, found something else", path,
	            show_text(name, strlen(name)).text, SMALLEST_ALPHA, LARGEST_ALPHA);
}

/* Module names are regular expressions; nearly all are plain names. */
static bool is_plain(const char *name)
{
	return *name && name[strcspn(name, "\\^$*+?{}[]|()")] == 0;
}

static rwkvk_status take_alphas(const char *path, json_t *pattern, struct adapter_config *out)
{
	const char *name;
	json_t *value;
	size_t count = json_object_size(pattern);
	if (count == 0)
		return RWKVK_OK;
	if (count > MOST_ALPHAS)
		return fail(RWKVK_ERROR_FILE, "%s: expected an \"alpha_pattern\" of at most %d modules, found more", path, MOST_ALPHAS);
	out->alphas = calloc(count, sizeof *out->alphas);
	json_object_foreach(pattern, name, value)
	{
		if (!is_plain(name))
			return fail(RWKVK_ERROR_UNSUPPORTED,
			            "%s: expected names of modules in \"alpha_pattern\", found the regular expression \"%s\"", path,
			            show_text(name, strlen(name)).text);
		char *copy = out->alphas ? strdup(name) : NULL;
		if (!copy)
			return fail(RWKVK_ERROR_MEMORY, "%s: no memory for it", path);
		out->alphas[out->alpha_count] = (struct adapter_alpha){ .module = copy };
		TRY(take_alpha(path, name, value, &out->alphas[out->alpha_count++].alpha));
	}
	return RWKVK_OK;
}

static rwkvk_status take(const char *path, const json_t *root, struct adapter_config *out)
{
	const json_t *alpha = json_object_get(root, "lora_alpha");
	json_t *pattern = json_object_get(root, "alpha_pattern");
	if (!json_is_object(root))
		return fail(RWKVK_ERROR_FILE, "%s: expected a JSON object, found something else: correct it or delete it", path);
	TRY(check_kind(path, root));
	TRY(check_options(path, root));
	out->found = true;
	out->rank_root = json_is_true(json_object_get(root, "use_rslora"));
	if (alpha && !json_is_null(alpha))
		TRY(take_alpha(path, "lora_alpha", alpha, &out->alpha));
	return take_alphas(path, pattern, out);
}

rwkvk_status adapter_config_parse(const char *path, const struct mapping *file, struct adapter_config *out)
{
	json_t *root;
	*out = (struct adapter_config){ 0 };
	TRY(config_json_load(path, file, "with the scale of the adapter", &root));
	rwkvk_status status = take(path, root, out);
	json_decref(root);
	if (status != RWKVK_OK)
		adapter_config_free(out);
	return status;
}

rwkvk_status adapter_config_read(const struct weights *weights, struct adapter_config *out)
{
	struct mapping file = { 0 };
	*out = (struct adapter_config){ 0 };
	char *path = file_join(weights->path, (size_t)(file_part(weights->path) - weights->path), "adapter_config.json");
	if (!path)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for a path", weights->path);
	rwkvk_status status = RWKVK_OK;
	if (file_kind(path) != FILE_MISSING)
		status = file_map(path, &file);
	if (file.data)
		status = adapter_config_parse(path, &file, out);
	file_unmap(&file);
	free(path);
	return status;
}
