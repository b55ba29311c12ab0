#include "serve/access.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "serve/socket.h"
#include "streams.h"

static bool add_key(struct keys *keys, const char *line)
{
	char **grown = realloc(keys->keys, (keys->count + 1) * sizeof *grown);
	if (!grown)
		return false;
	keys->keys = grown;
	grown[keys->count] = strdup(line);
	return grown[keys->count] != NULL && ++keys->count;
}

int keys_read(const char *path, struct keys *out)
{
	FILE *file = fopen(path, "r");
	char line[512];
	bool ok = true;
	*out = (struct keys){ .keys = NULL };
	if (!file)
		return failed("--api-key: cannot read %s", path);
	while (ok && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\r\n")] = 0;
		ok = *line == 0 || *line == '#' || add_key(out, line);
	}
	fclose(file);
	if (ok && out->count > 0)
		return EXIT_DONE;
	keys_free(out);
	return failed(ok ? "--api-key: %s: expected a key a line, found none" : "--api-key: %s: out of memory", path);
}

void keys_free(struct keys *keys)
{
	for (size_t i = 0; i < keys->count; i++)
		free(keys->keys[i]);
	free(keys->keys);
	*keys = (struct keys){ .keys = NULL };
}

/* The time depends on what the client sent, not on the key. */
static bool same(const char *key, const char *given)
{
	size_t bytes = strlen(key), count = strlen(given);
	unsigned different = bytes != count;
	for (size_t i = 0; i < count; i++)
		different |= (unsigned char)(given[i] ^ key[bytes ? i % bytes : 0]);
	return different == 0;
}

bool keys_match(const struct keys *keys, const char *given)
{
	bool found = false;
	for (size_t i = 0; i < keys->count; i++)
		found |= same(keys->keys[i], given);
	return found;
}

const char *bearer_key(const char *authorization)
{
	static const char scheme[] = "Bearer ";
	size_t bytes = sizeof scheme - 1;
	return authorization && strncasecmp(authorization, scheme, bytes) == 0 ? authorization + bytes : NULL;
}

bool host_is_loopback(const char *host)
{
	char name[64];
	struct in_addr address;
	if (!host || strlen(host) >= sizeof name)
		return false;
	snprintf(name, sizeof name, "%s", host);
	if (*name == '[')
		return strncmp(name, "[::1]", 5) == 0 && (name[5] == 0 || name[5] == ':');
	name[strcspn(name, ":")] = 0;
	return strcasecmp(name, "localhost") == 0 ||
	       (inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

bool origin_is_allowed(const char *origin, const char *host, const char *allowed)
{
	static const char scheme[] = "http://";
	if (!origin || (allowed && (strcmp(allowed, "*") == 0 || strcmp(allowed, origin) == 0)))
		return true;
	const char *own = strncmp(origin, "https://", 8) == 0 ? origin + 8 : origin + sizeof scheme - 1;
	bool web = strncmp(origin, "https://", 8) == 0 || strncmp(origin, scheme, sizeof scheme - 1) == 0;
	return web && host && strcasecmp(own, host) == 0;
}
