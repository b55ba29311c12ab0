/* Tensors of a file that are no part of the network.  Those that would change the results are refused, so that no file runs
 * with parts missing; the rest are reported. */
#include <stdio.h>
#include <string.h>

#include "format/adapter.h"
#include "network/network.h"
#include "network/trained_state.h"

/* ---------------------------------------------------------------------------------------------------- what is used */

static const struct layer *layer_of(const struct network *net, const struct tensor *tensor)
{
	unsigned index;
	bool found = sscanf(tensor->name, "blocks.%u.", &index) == 1 && index < net->config.layers;
	return found ? &net->layers[index] : NULL;
}

bool network_uses(const struct network *net, const struct tensor *tensor)
{
	const struct tensor *const global[] = { net->emb,      net->ln0_w, net->ln0_b, net->ln_out_w,
		                                    net->ln_out_b, net->head,  net->head_b };
	const struct layer *layer = layer_of(net, tensor);
	const struct tensor *field;
	for (size_t i = 0; i < sizeof global / sizeof *global; i++)
		if (global[i] == tensor)
			return true;
	for (size_t at = 0; layer && at < sizeof *layer; at += sizeof field) { /* a layer consists only of pointers to tensors */
		memcpy(&field, (const char *)layer + at, sizeof field);
		if (field == tensor)
			return true;
	}
	return false;
}

/* Layer 0 of RWKV-7 may have v0, v1, v2, which have no effect. */
bool is_dummy(const struct network *net, const struct tensor *tensor)
{
	return net->config.version == 70 && strncmp(tensor->name, "blocks.0.att.v", 14) == 0 && strlen(tensor->name) == 15 &&
	       strchr("012", tensor->name[14]);
}

/* ---------------------------------------------------------------------------------------------------- adapters */

rwkvk_status refuse_adapters(const struct weights *weights)
{
	for (size_t i = 0; i < weights->count; i++) {
		const struct tensor *tensor = &weights->tensors[i];
		if (is_adapter(tensor->name))
			return fail(
				RWKVK_ERROR_UNSUPPORTED,
				"%s: tensor %s is part of an adapter (LoRA or the like), which takes effect only if the file is also given as "
				"an adapter (rwkvk_model_options.lora); or have it ignored (rwkvk_model_options.names, a line: %s -)",
				weights->path, tensor->file_name, tensor->file_name);
	}
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- attention */

static bool ends_in(const char *name, const char *end)
{
	size_t length = strlen(name), tail = strlen(end);
	return length >= tail && strcmp(name + length - tail, end) == 0;
}

static bool has_rwkv(const struct weights *weights)
{
	static const char *const signs[] = { ".att.r_k", ".att.time_maa_x", ".att.time_decay", ".att.ln_x.weight" };
	for (size_t i = 0; i < weights->count; i++)
		for (size_t j = 0; j < sizeof signs / sizeof *signs; j++)
			if (ends_in(weights->tensors[i].name, signs[j]))
				return true;
	return false;
}

/* Whether it makes queries, alone or together with keys and values; *layer: the number before the name. */
static bool is_of_attention(const char *name, unsigned *layer)
{
	static const char *const signs[] = { ".q_proj.weight", ".qkv_proj.weight", ".query.weight" };
	const char *at = strstr(name, "layers.");
	at = at ? at + 7 : strstr(name, "blocks.") ? strstr(name, "blocks.") + 7 : name;
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
		if (ends_in(name, signs[i]))
			return sscanf(at, "%u.", layer) == 1;
	return false;
}

rwkvk_status refuse_attention(const struct weights *weights)
{
	const struct tensor *first = NULL;
	unsigned layer, lowest = 0;
	for (size_t i = 0; i < weights->count; i++)
		if (is_of_attention(weights->tensors[i].file_name, &layer) && (!first || layer < lowest)) {
			first = &weights->tensors[i];
			lowest = layer;
		}
	if (!first || !has_rwkv(weights))
		return RWKVK_OK;
	return fail(RWKVK_ERROR_UNSUPPORTED,
	            "%s: layer %u is attention (tensor %s), as in hybrid models; expected RWKV layers only", weights->path, lowest,
	            first->file_name);
}

/* ---------------------------------------------------------------------------------------------------- biases */

/* The matrix to which it is added, in the official names or in those of the file; NULL when there is none. */
static const struct tensor *matrix_of_bias(const struct weights *weights, const struct network *net, const struct tensor *bias)
{
	const char *const names[] = { bias->name, bias->file_name };
	for (size_t i = 0; i < 2; i++) {
		size_t stem = strlen(names[i]) < 5 ? 0 : strlen(names[i]) - 5;
		if (stem == 0 || strcmp(names[i] + stem, ".bias") != 0)
			continue;
		for (size_t j = 0; j < weights->count; j++) {
			const struct tensor *t = &weights->tensors[j];
			const char *name = i == 0 ? t->name : t->file_name;
			if (strncmp(name, names[i], stem) == 0 && strcmp(name + stem, ".weight") == 0 && network_uses(net, t))
				return t;
		}
	}
	return NULL;
}

rwkvk_status refuse_foreign(const struct weights *weights, const struct tensor *tensor)
{
	return fail(RWKVK_ERROR_UNSUPPORTED,
	            "%s: tensor %s has the type %s; this version runs F32, F16, BF16, Q2_K to Q6_K, Q4_0 to Q8_0 and IQ4_NL: use a "
	            "file in one of these",
	            weights->path, tensor->file_name, tensor->foreign);
}

rwkvk_status check_unused(const struct weights *weights, const struct network *net, const struct listener *listener)
{
	const struct tensor *first = NULL;
	size_t count = 0;
	for (size_t i = 0; i < weights->count; i++) {
		const struct tensor *tensor = &weights->tensors[i];
		if (tensor->type == DTYPE_FOREIGN && (network_uses(net, tensor) || is_trained_state(tensor)))
			return refuse_foreign(weights, tensor);
		if (network_uses(net, tensor) || is_trained_state(tensor) || is_dummy(net, tensor))
			continue;
		const struct tensor *matrix = matrix_of_bias(weights, net, tensor);
		if (matrix)
			return fail(RWKVK_ERROR_UNSUPPORTED,
			            "%s: tensor %s is a bias of %s, which RWKV-%s models do not have: without it the results would differ; "
			            "to run the model anyway, have it ignored (rwkvk_model_options.names, a line: %s -)",
			            weights->path, tensor->file_name, matrix->file_name, config_version(&net->config), tensor->file_name);
		first = first ? first : tensor;
		count++;
	}
	if (count)
		report(listener, RWKVK_LOG_WARNING, "%s: an RWKV-%s model does not use %zu of its tensors (%s%s)", weights->path,
		       config_version(&net->config), count, first->file_name, count > 1 ? ", ..." : "");
	return RWKVK_OK;
}
