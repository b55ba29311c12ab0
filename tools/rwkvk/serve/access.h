/* Who may use the server: keys, and where a browser says a request comes from. */
#ifndef RWKVK_SERVE_ACCESS_H
#define RWKVK_SERVE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

struct keys {
	char **keys; /* to be freed by keys_free() */
	size_t count;
};

/* One key per line; empty lines and lines that begin with # are skipped.  EXIT_DONE, or the exit code after a message. */
int keys_read(const char *path, struct keys *out);
void keys_free(struct keys *keys);

/* Whether this is one of the keys, in a time that does not depend on how much of it matches. */
bool keys_match(const struct keys *keys, const char *given);

/* The key in an Authorization header "Bearer KEY"; NULL for other headers, and for none (NULL). */
const char *bearer_key(const char *authorization);

/* Whether a Host header, with a port or without, means this machine. */
bool host_is_loopback(const char *host);

/* Whether an Origin header names the server itself, as the Host header calls it, or `allowed` ("*": any). */
bool origin_is_allowed(const char *origin, const char *host, const char *allowed);

#endif
