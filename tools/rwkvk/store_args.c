#include "store_args.h"

#include <stdlib.h>
#include <string.h>

#include "streams.h"

/* What lists of processes show is what argv has. */
static void hide_password(char *url)
{
	char *at = strrchr(url, '@'), *slashes = strstr(url, "://");
	for (char *c = slashes ? slashes + 3 : url; at && c < at; c++)
		*c = '*';
}

static int read_first_line(struct store_args *args)
{
	FILE *file = fopen(args->file, "r");
	if (!file)
		return failed("--state-store-file: cannot read %s", args->file);
	const bool read = fgets(args->address, sizeof args->address, file) != NULL;
	fclose(file);
	args->address[strcspn(args->address, "\r\n")] = 0;
	return read && args->address[0]
	           ? ARGS_GO_ON
	           : failed("--state-store-file: %s: expected a URL in the first line, found none", args->file);
}

static int read_address(const char *command, struct store_args *args)
{
	const char *url = args->url ? args->url : getenv("RWKVK_STATE_STORE");
	const size_t bytes = url ? strlen(url) : 0;
	if (url)
		snprintf(args->address, sizeof args->address, "%s", url);
	if (args->url)
		hide_password(args->url);
	if (args->url && args->file)
		return misused(command, "--state-store and --state-store-file: give one of them");
	if (args->file)
		return read_first_line(args);
	if (bytes >= sizeof args->address)
		return misused(command, "--state-store: expected at most %zu bytes, got %zu", sizeof args->address - 1, bytes);
	return ARGS_GO_ON;
}

int store_args_read(const char *command, struct store_args *args)
{
	int code = read_address(command, args);
	if (code != ARGS_GO_ON)
		return code;
	if (args->tokens.given && args->tokens.value == 0)
		return misused(command, "--state-store-tokens: expected at least 1, got 0");
	if (args->wait.given && args->wait.value == 0)
		return misused(command, "--state-store-wait: expected at least 1, got 0");
	return ARGS_GO_ON;
}

void store_args_set(const struct store_args *args, rwkvk_cache_options *options)
{
	options->store = args->address[0] ? args->address : NULL;
	options->store_ttl = args->ttl.value;
	options->store_tokens = (uint32_t)args->tokens.value;
	options->store_wait = (uint32_t)args->wait.value;
}

void store_args_forget(struct store_args *args)
{
	memset(args->address, 0, sizeof args->address);
}
