/* Connections to a server that speaks Redis's protocol (Redis, Valkey), by hiredis, with a deadline for each call.  A
 * connection belongs to one thread.  That thread must block SIGPIPE, as those of thread_start() do: hiredis does not prevent
 * it. */
#ifndef RWKVK_SESSION_REDIS_H
#define RWKVK_SESSION_REDIS_H

#include <hiredis/hiredis.h>

#include "base/error.h"

struct redis_address {
	char *user, *password; /* NULL: none */
	char *host;
	uint16_t port;
	uint32_t database;
	bool tls;
	char name[288]; /* host and port, for messages: without user and password */
};

/* From redis://[user:password@]host[:port][/database], or rediss:// for TLS.  Signs with a meaning of their own are
 * percent-encoded in user and password.  RWKVK_ERROR_ARGUMENT; the text does not repeat the URL, which may hold a password. */
rwkvk_status redis_address_parse(const char *url, struct redis_address *out);
void redis_address_free(struct redis_address *address); /* zeroed is allowed */

struct redis; /* a connection */

/* Connects, authenticates, selects the database.  Deadlines are times of clock_nanoseconds(); only the lookup of the host's
 * name may take longer.  All of these functions return RWKVK_ERROR_FILE if the server cannot be reached, answers too late or
 * otherwise than it should; the connection can then only be closed. */
rwkvk_status redis_open(const struct redis_address *address, uint64_t deadline, struct redis **out);
void redis_close(struct redis *redis); /* NULL is allowed */

/* Appends a command of `count` arguments to those that the next redis_reply() sends. */
rwkvk_status redis_add(struct redis *redis, int count, const char **arguments, const size_t *bytes);
/* The next reply, for freeReplyObject(); its type may be REDIS_REPLY_ERROR.  most: bytes that it may have. */
rwkvk_status redis_reply(struct redis *redis, uint64_t deadline, uint64_t most, redisReply **out);

#endif
