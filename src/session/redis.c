#include "session/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef RWKVK_STORE_TLS
#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

#include "base/clock.h"

enum { USUAL_PORT = 6379, MOST_DATABASE = 65535, SHORT_REPLY = 4096 };

/* ---------------------------------------------------------------------------------------------------- addresses */

static rwkvk_status bad_url(const char *what)
{
	return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_cache_options.store: %s: expected redis://[user:password@]host[:port][/database]",
	            what);
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef0123456789ABCDEF", *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) % 16 : -1;
}

/* Percent-decodes; for free().  NULL: out of memory, or not so encoded. */
static char *decode(const char *text, size_t bytes)
{
	char *out = malloc(bytes + 1), *end = out;
	for (size_t i = 0; out && i < bytes; i++) {
		*end = text[i];
		if (text[i] == '%') {
			const int high = i + 2 < bytes ? hex_digit(text[i + 1]) : -1, low = high >= 0 ? hex_digit(text[i + 2]) : -1;
			*end = (char)(16 * high + low);
			i += 2;
			if (high < 0 || low < 0 || *end == 0) {
				free(out);
				return NULL;
			}
		}
		end++;
	}
	if (out)
		*end = 0;
	return out;
}

/* Digits up to the end of the text. */
static bool parse_number(const char *text, size_t bytes, uint32_t most, uint32_t *out)
{
	*out = 0;
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] < '0' || text[i] > '9' || *out > most)
			return false;
		*out = 10 * *out + (uint32_t)(text[i] - '0');
	}
	return bytes > 0 && *out <= most;
}

static rwkvk_status parse_user(const char *text, size_t bytes, struct redis_address *out)
{
	const char *colon = memchr(text, ':', bytes);
	if (!colon)
		return bad_url("it has a user and no password");
	const size_t user = (size_t)(colon - text);
	out->user = user > 0 ? decode(text, user) : NULL;
	out->password = decode(colon + 1, bytes - user - 1);
	if ((user > 0 && !out->user) || !out->password)
		return bad_url("user or password are not percent-encoded");
	return RWKVK_OK;
}

/* host, host:port, [IPv6]:port */
static rwkvk_status parse_host(const char *text, size_t bytes, struct redis_address *out)
{
	const bool bracket = bytes > 0 && text[0] == '[';
	const char *end = bracket ? memchr(text, ']', bytes) : memchr(text, ':', bytes);
	uint32_t port = USUAL_PORT;
	if (bracket && !end)
		return bad_url("a bracket is not closed");
	text += bracket;
	bytes -= bracket;
	const size_t host = end ? (size_t)(end - text) : bytes, rest = host + (bracket ? 1 : 0);
	if (host == 0 || host > 255)
		return bad_url("it has no host, or one of more than 255 bytes");
	if (rest < bytes && (text[rest] != ':' || !parse_number(text + rest + 1, bytes - rest - 1, UINT16_MAX, &port) || port == 0))
		return bad_url("the port is no number from 1 to 65535");
	out->host = strndup(text, host);
	out->port = (uint16_t)port;
	if (!out->host)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	snprintf(out->name, sizeof out->name, bracket ? "[%s]:%u" : "%s:%u", out->host, port);
	return RWKVK_OK;
}

static rwkvk_status parse_parts(const char *url, struct redis_address *out)
{
	const char *colon = strstr(url, "://");
	const size_t scheme = colon ? (size_t)(colon - url) : 0;
	out->tls = scheme == 6 && strncmp(url, "rediss", 6) == 0;
	if (!out->tls && !(scheme == 5 && strncmp(url, "redis", 5) == 0))
		return bad_url("it begins with neither redis:// nor rediss://");
	const char *text = colon + 3, *slash = strchr(text, '/');
	const size_t bytes = slash ? (size_t)(slash - text) : strlen(text);
	const char *host = text;
	for (size_t i = 0; i < bytes; i++)
		if (text[i] == '@')
			host = text + i + 1;
	if (host > text)
		TRY(parse_user(text, (size_t)(host - text) - 1, out));
	if (slash && slash[1] && !parse_number(slash + 1, strlen(slash + 1), MOST_DATABASE, &out->database))
		return bad_url("the database is no number");
	return parse_host(host, bytes - (size_t)(host - text), out);
}

rwkvk_status redis_address_parse(const char *url, struct redis_address *out)
{
	*out = (struct redis_address){ .host = NULL };
	rwkvk_status status = parse_parts(url, out);
#ifndef RWKVK_STORE_TLS
	if (status == RWKVK_OK && out->tls)
		status = fail(
			RWKVK_ERROR_UNSUPPORTED,
			"rwkvk_cache_options.store: rediss://, which needs TLS: this build of rwkvk has a hiredis without it; build it "
			"with hiredis 1.0 or newer, its TLS library and OpenSSL");
#endif
	if (status != RWKVK_OK)
		redis_address_free(out);
	return status;
}

void redis_address_free(struct redis_address *address)
{
	free(address->user);
	free(address->password);
	free(address->host);
	*address = (struct redis_address){ .host = NULL };
}

/* ---------------------------------------------------------------------------------------------------- connections */

struct redis {
	redisContext *context;
	const char *name;
};

static rwkvk_status late(const struct redis *r)
{
	return fail(RWKVK_ERROR_FILE, "%s: has not answered in time", r->name);
}

static rwkvk_status lost(const struct redis *r, uint64_t deadline)
{
	if (clock_nanoseconds() >= deadline)
		return late(r);
	return fail(RWKVK_ERROR_FILE, "%s: %s", r->name, r->context ? r->context->errstr : "no memory for a connection");
}

/* *out is what is left, and at least a millisecond: to hiredis none is no limit. */
static bool time_left(uint64_t deadline, struct timeval *out)
{
	const uint64_t now = clock_nanoseconds(), left = now < deadline ? deadline - now : 0;
	const uint64_t microseconds = left > 1000000 ? left / 1000 : 1000;
	out->tv_sec = (time_t)(microseconds / 1000000);
	out->tv_usec = (suseconds_t)(microseconds % 1000000);
	return left > 0;
}

/* For the next call of the system. */
static rwkvk_status set_time(const struct redis *r, uint64_t deadline)
{
	struct timeval left;
	if (!time_left(deadline, &left))
		return late(r);
	return redisSetTimeout(r->context, left) == REDIS_OK ? RWKVK_OK : lost(r, deadline);
}

rwkvk_status redis_add(struct redis *r, int count, const char **arguments, const size_t *bytes)
{
	if (redisAppendCommandArgv(r->context, count, arguments, bytes) != REDIS_OK)
		return fail(RWKVK_ERROR_FILE, "%s: no memory for a command", r->name);
	return RWKVK_OK;
}

static rwkvk_status send_all(struct redis *r, uint64_t deadline)
{
	for (int done = 0; !done;) {
		TRY(set_time(r, deadline));
		if (redisBufferWrite(r->context, &done) != REDIS_OK)
			return lost(r, deadline);
	}
	return RWKVK_OK;
}

rwkvk_status redis_reply(struct redis *r, uint64_t deadline, uint64_t most, redisReply **out)
{
	void *reply = NULL;
	uint64_t read = 0;
	*out = NULL;
	TRY(send_all(r, deadline));
	while (redisGetReplyFromReader(r->context, &reply) == REDIS_OK && !reply) {
		const size_t before = r->context->reader->len;
		if (read > most)
			return fail(RWKVK_ERROR_FILE, "%s: sends more than was asked for", r->name);
		TRY(set_time(r, deadline));
		if (redisBufferRead(r->context) != REDIS_OK)
			return lost(r, deadline);
		read += r->context->reader->len - before;
	}
	*out = reply;
	return reply ? RWKVK_OK : lost(r, deadline);
}

/* The first word of an error: the rest may repeat what was sent, a password for instance. */
static rwkvk_status check_greeting(const struct redis *r, const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ERROR)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE, "%s: refuses the user, the password or the database (%.*s)", r->name,
	            (int)strcspn(reply->str, " "), reply->str);
}

static rwkvk_status greet(struct redis *r, const struct redis_address *address, uint64_t deadline)
{
	char database[16];
	const char *auth[3] = { "AUTH" }, *select[] = { "SELECT", database }, *ping[] = { "PING" };
	int count = 1, replies = 2;
	snprintf(database, sizeof database, "%u", (unsigned)address->database);
	if (address->user)
		auth[count++] = address->user;
	if (address->password) {
		auth[count++] = address->password;
		TRY(redis_add(r, count, auth, NULL));
		replies++;
	}
	TRY(redis_add(r, 2, select, NULL));
	TRY(redis_add(r, 1, ping, NULL));
	for (int i = 0; i < replies; i++) {
		redisReply *reply;
		TRY(redis_reply(r, deadline, SHORT_REPLY, &reply));
		rwkvk_status status = check_greeting(r, reply);
		freeReplyObject(reply);
		TRY(status);
	}
	return RWKVK_OK;
}

#ifdef RWKVK_STORE_TLS
/* The certificate must be the host's, from an authority that the system trusts (or SSL_CERT_FILE). */
static SSL *make_tls(const char *host)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *tls = context && SSL_CTX_set_default_verify_paths(context) == 1 ? SSL_new(context) : NULL;
	SSL_CTX_free(context); /* the connection has a reference of its own */
	if (!tls)
		return NULL;
	SSL_set_verify(tls, SSL_VERIFY_PEER, NULL);
	SSL_set_connect_state(tls);
	const bool number = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host) == 1;
	if (number || (SSL_set1_host(tls, host) == 1 && SSL_set_tlsext_host_name(tls, host) == 1))
		return tls;
	SSL_free(tls);
	return NULL;
}

static rwkvk_status begin_tls(struct redis *r, const struct redis_address *address, uint64_t deadline)
{
	TRY(set_time(r, deadline));
	SSL *tls = make_tls(address->host);
	if (!tls)
		return fail(RWKVK_ERROR_FILE, "%s: no memory for TLS", r->name);
	if (redisInitiateSSL(r->context, tls) == REDIS_OK)
		return RWKVK_OK;
	const long verified = SSL_get_verify_result(tls);
	rwkvk_status status = verified == X509_V_OK ? lost(r, deadline)
	                                            : fail(RWKVK_ERROR_FILE, "%s: its certificate: %s", r->name,
	                                                   X509_verify_cert_error_string(verified));
	SSL_free(tls);
	return status;
}
#else
static rwkvk_status begin_tls(struct redis *r, const struct redis_address *address, uint64_t deadline)
{
	(void)r, (void)address, (void)deadline;
	INVARIANT(!"such addresses are refused");
	return RWKVK_OK;
}
#endif

static rwkvk_status connect_to(struct redis *r, const struct redis_address *address, uint64_t deadline)
{
	struct timeval left;
	if (!time_left(deadline, &left))
		return late(r);
	r->context = redisConnectWithTimeout(address->host, address->port, left);
	if (!r->context || r->context->err)
		return lost(r, deadline);
	if (address->tls)
		TRY(begin_tls(r, address, deadline));
	return greet(r, address, deadline);
}

rwkvk_status redis_open(const struct redis_address *address, uint64_t deadline, struct redis **out)
{
	struct redis *r = calloc(1, sizeof *r);
	*out = NULL;
	if (!r)
		return fail(RWKVK_ERROR_FILE, "%s: no memory for a connection", address->name);
	r->name = address->name;
	rwkvk_status status = connect_to(r, address, deadline);
	if (status == RWKVK_OK)
		*out = r;
	else
		redis_close(r);
	return status;
}

void redis_close(struct redis *r)
{
	if (r && r->context)
		redisFree(r->context);
	free(r);
}
