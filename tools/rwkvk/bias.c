#include "bias.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "streams.h"

static const float MOST = 1000; /* more than any logit: such a token is always picked, or never */

static int append(struct bias_list *list, uint32_t token, float value)
{
	rwkvk_bias *larger = realloc(list->biases, (list->count + 1) * sizeof(*larger));
	if (!larger)
		return failed("out of memory");
	list->biases = larger;
	list->biases[list->count++] = (rwkvk_bias){ token, value };
	return EXIT_DONE;
}

static int read_bans(const char *command, const char *text, struct bias_list *out)
{
	struct arg_ids ids = { 0 };
	int code = args_ids(command, "--ban", text, args_token_ids, &ids);
	if (code == ARGS_GO_ON)
		code = EXIT_DONE;
	for (size_t i = 0; i < ids.count && code == EXIT_DONE; i++)
		code = append(out, ids.ids[i], -INFINITY);
	free(ids.ids);
	return code;
}

/* One ID=VALUE. */
static bool read_pair(const char *text, size_t length, uint32_t *token, float *value)
{
	char pair[64], *equals;
	uint64_t id;
	if (length >= sizeof(pair))
		return false;
	memcpy(pair, text, length);
	pair[length] = 0;
	equals = strchr(pair, '=');
	if (!equals)
		return false;
	*equals = 0;
	if (!args_count(pair, UINT32_MAX, &id) || !args_number(equals + 1, -(double)MOST, (double)MOST, value))
		return false;
	*token = (uint32_t)id;
	return true;
}

static int read_biases(const char *command, const char *text, struct bias_list *out)
{
	for (const char *at = text;; at++) {
		size_t length = strcspn(at, ",");
		uint32_t token;
		float value;
		if (!read_pair(at, length, &token, &value))
			return misused(command, "--bias: expected ID=VALUE, a token id and a number from %g to %g, got \"%.60s\"",
			               -(double)MOST, (double)MOST, text);
		if (append(out, token, value) != EXIT_DONE)
			return EXIT_FAILED;
		at += length;
		if (!*at)
			return EXIT_DONE;
	}
}

int bias_read(const char *command, const struct bias_args *args, struct bias_list *out)
{
	int code = EXIT_DONE;
	*out = (struct bias_list){ 0 };
	for (size_t i = 0; i < args->bans.count && code == EXIT_DONE; i++)
		code = read_bans(command, args->bans.texts[i], out);
	for (size_t i = 0; i < args->biases.count && code == EXIT_DONE; i++)
		code = read_biases(command, args->biases.texts[i], out);
	return code;
}

int bias_check(const char *command, const struct bias_list *list, uint32_t vocab)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->biases[i].token >= vocab)
			return misused(command, "%s: expected ids below %" PRIu32 ", the model's vocabulary, got %" PRIu32,
			               list->biases[i].value == -INFINITY ? "--ban" : "--bias", vocab, list->biases[i].token);
	return EXIT_DONE;
}
