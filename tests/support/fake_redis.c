#include "fake_redis.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VALUES = 64, CONNECTIONS = 256, ARGUMENTS = 8, COMMANDS = 512 };

struct value {
	char key[128];
	uint8_t *bytes;
	size_t count;
	uint64_t seconds;
};

struct fake_redis {
	int listener;
	uint16_t port;
	pthread_t accepter, threads[CONNECTIONS];
	int sockets[CONNECTIONS]; /* -1: closed */
	size_t connections;
	pthread_mutex_t lock; /* guards what follows, and the two above */
	pthread_cond_t changed;
	enum fake_lie lie;
	bool held, ending;
	struct value values[VALUES];
	char last[128];
	char commands[COMMANDS][16];
	size_t command_count;
};

struct connection {
	struct fake_redis *fake;
	size_t index;
	int socket;
};

struct command {
	int count;
	char *arguments[ARGUMENTS];
	size_t bytes[ARGUMENTS];
};

/* ---------------------------------------------------------------------------------------------------- commands */

static bool read_command(FILE *in, struct command *c)
{
	char line[64];
	*c = (struct command){ .count = 0 };
	if (!fgets(line, sizeof line, in) || line[0] != '*')
		return false;
	const int count = atoi(line + 1);
	if (count < 1 || count > ARGUMENTS)
		return false;
	for (; c->count < count; c->count++) {
		if (!fgets(line, sizeof line, in) || line[0] != '$')
			return false;
		size_t bytes = (size_t)atoll(line + 1);
		c->bytes[c->count] = bytes;
		c->arguments[c->count] = malloc(bytes + 2);
		if (fread(c->arguments[c->count], 1, bytes + 2, in) != bytes + 2)
			return false;
		c->arguments[c->count][bytes] = 0;
	}
	return true;
}

static void free_command(struct command *c)
{
	for (int i = 0; i < ARGUMENTS; i++)
		free(c->arguments[i]);
}

static bool put(int socket, const void *bytes, size_t count)
{
	for (size_t sent = 0; sent < count;) {
		ssize_t n = send(socket, (const char *)bytes + sent, count - sent, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		sent += (size_t)n;
	}
	return true;
}

static bool say(int socket, const char *text)
{
	return put(socket, text, strlen(text));
}

static struct value *find(struct fake_redis *f, const char *key, bool make)
{
	for (size_t i = 0; i < VALUES; i++)
		if (f->values[i].bytes && strcmp(f->values[i].key, key) == 0)
			return &f->values[i];
	for (size_t i = 0; make && i < VALUES; i++)
		if (!f->values[i].bytes) {
			snprintf(f->values[i].key, sizeof f->values[i].key, "%s", key);
			return &f->values[i];
		}
	return NULL;
}

static void store(struct fake_redis *f, const char *key, const void *bytes, size_t count, uint64_t seconds)
{
	struct value *value = find(f, key, true);
	free(value->bytes);
	value->bytes = malloc(count + 1);
	memcpy(value->bytes, bytes, count);
	value->count = count;
	value->seconds = seconds;
}

static bool number(int socket, uint64_t value)
{
	char text[32];
	snprintf(text, sizeof text, ":%llu\r\n", (unsigned long long)value);
	return say(socket, text);
}

static bool give(int socket, const struct value *value)
{
	char text[32];
	if (!value)
		return say(socket, "$-1\r\n");
	snprintf(text, sizeof text, "$%zu\r\n", value->count);
	return say(socket, text) && put(socket, value->bytes, value->count) && say(socket, "\r\n");
}

/* With the lock held. */
static bool set(struct fake_redis *f, int socket, const struct command *c)
{
	while (f->held && !f->ending)
		pthread_cond_wait(&f->changed, &f->lock);
	if (f->lie == FAKE_FULL)
		return say(socket, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
	store(f, c->arguments[1], c->arguments[2], c->bytes[2], c->count > 4 ? strtoull(c->arguments[4], NULL, 10) : 0);
	snprintf(f->last, sizeof f->last, "%s", c->arguments[1]);
	return say(socket, "+OK\r\n");
}

static bool obey(struct fake_redis *f, int socket, const struct command *c)
{
	const char *name = c->arguments[0];
	struct value *value = c->count > 1 ? find(f, c->arguments[1], false) : NULL;
	if (strcmp(name, "STRLEN") == 0)
		return number(socket, value ? value->count : 0);
	if (strcmp(name, "GET") == 0)
		return give(socket, value);
	if (strcmp(name, "SET") == 0)
		return set(f, socket, c);
	if (strcmp(name, "EXPIRE") == 0 && value)
		value->seconds = strtoull(c->arguments[2], NULL, 10);
	if (strcmp(name, "DEL") == 0 && value) {
		free(value->bytes);
		*value = (struct value){ .bytes = NULL };
	}
	return strcmp(name, "EXPIRE") == 0 || strcmp(name, "DEL") == 0 ? number(socket, value != NULL) : say(socket, "+OK\r\n");
}

static bool repeat(int socket, const struct command *c)
{
	bool ok = say(socket, "-ERR unknown command");
	for (int i = 0; i < c->count; i++)
		ok = ok && say(socket, " `") && say(socket, c->arguments[i]) && say(socket, "`");
	return ok && say(socket, "\r\n");
}

static bool send_endlessly(int socket)
{
	static char zeros[65536];
	bool ok = say(socket, "$500000000\r\n");
	for (int i = 0; i < 10000 && ok; i++)
		ok = put(socket, zeros, sizeof zeros);
	return false;
}

static bool drip(int socket)
{
	bool ok = say(socket, ":");
	while (ok) {
		ok = say(socket, "0");
		usleep(1000);
	}
	return false;
}

/* With the lock held, which lies of their own time let go. */
static bool lie(struct fake_redis *f, int socket, const struct command *c)
{
	const enum fake_lie told = f->lie;
	if (told == FAKE_REPEATS_ALL)
		return repeat(socket, c);
	if (told == FAKE_HONEST || told == FAKE_FULL || strcmp(c->arguments[0], "STRLEN") != 0)
		return obey(f, socket, c);
	if (told == FAKE_SILENT)
		return true;
	if (told == FAKE_NONSENSE)
		return say(socket, "HTTP/1.1 400 Bad Request\r\n\r\n");
	if (told == FAKE_OTHER_TYPE)
		return say(socket, "*1\r\n$1\r\n1\r\n");
	if (told == FAKE_CLOSES) {
		say(socket, ":1");
		return false;
	}
	pthread_mutex_unlock(&f->lock);
	bool ok = told == FAKE_DRIPS ? drip(socket) : send_endlessly(socket);
	pthread_mutex_lock(&f->lock);
	return ok;
}

/* ---------------------------------------------------------------------------------------------------- connections */

static void *serve(void *user)
{
	struct connection *own = user;
	struct fake_redis *f = own->fake;
	FILE *in = fdopen(own->socket, "r");
	struct command c;
	bool more = true;
	while (more && read_command(in, &c)) {
		pthread_mutex_lock(&f->lock);
		snprintf(f->commands[f->command_count++ % COMMANDS], sizeof f->commands[0], "%.15s", c.arguments[0]);
		more = lie(f, own->socket, &c);
		pthread_mutex_unlock(&f->lock);
		free_command(&c);
	}
	pthread_mutex_lock(&f->lock);
	f->sockets[own->index] = -1;
	fclose(in);
	pthread_mutex_unlock(&f->lock);
	free(own);
	return NULL;
}

static void *accept_all(void *user)
{
	struct fake_redis *f = user;
	for (int socket; (socket = accept(f->listener, NULL, NULL)) >= 0;) {
		struct connection *own = malloc(sizeof *own);
		pthread_mutex_lock(&f->lock);
		*own = (struct connection){ f, f->connections++, socket };
		f->sockets[own->index] = socket;
		pthread_create(&f->threads[own->index], NULL, serve, own);
		pthread_mutex_unlock(&f->lock);
	}
	return NULL;
}

struct fake_redis *fake_redis_start(uint16_t port)
{
	struct fake_redis *f = calloc(1, sizeof *f);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof address;
	int yes = 1;
	f->listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(f->listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(f->listener, 16) != 0)
		abort();
	getsockname(f->listener, (struct sockaddr *)&address, &bytes);
	f->port = ntohs(address.sin_port);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	pthread_create(&f->accepter, NULL, accept_all, f);
	return f;
}

void fake_redis_hang_up(struct fake_redis *f)
{
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->connections; i++)
		if (f->sockets[i] >= 0)
			shutdown(f->sockets[i], SHUT_RDWR);
	pthread_mutex_unlock(&f->lock);
}

void fake_redis_stop(struct fake_redis *f)
{
	shutdown(f->listener, SHUT_RDWR);
	pthread_join(f->accepter, NULL);
	close(f->listener);
	pthread_mutex_lock(&f->lock);
	f->ending = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	fake_redis_hang_up(f);
	for (size_t i = 0; i < f->connections; i++)
		pthread_join(f->threads[i], NULL);
	for (size_t i = 0; i < VALUES; i++)
		free(f->values[i].bytes);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* ---------------------------------------------------------------------------------------------------- for tests */

uint16_t fake_redis_port(const struct fake_redis *f)
{
	return f->port;
}

void fake_redis_lie(struct fake_redis *f, enum fake_lie lie)
{
	pthread_mutex_lock(&f->lock);
	f->lie = lie;
	pthread_mutex_unlock(&f->lock);
}

void fake_redis_hold(struct fake_redis *f, bool held)
{
	pthread_mutex_lock(&f->lock);
	f->held = held;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

size_t fake_redis_get(struct fake_redis *f, const char *key, uint8_t *out, size_t capacity, uint64_t *seconds)
{
	pthread_mutex_lock(&f->lock);
	const struct value *value = find(f, key, false);
	const size_t count = value ? value->count : 0;
	if (value && count <= capacity)
		memcpy(out, value->bytes, count);
	*seconds = value ? value->seconds : 0;
	pthread_mutex_unlock(&f->lock);
	return count;
}

void fake_redis_set(struct fake_redis *f, const char *key, const void *bytes, size_t count)
{
	pthread_mutex_lock(&f->lock);
	store(f, key, bytes, count, 0);
	pthread_mutex_unlock(&f->lock);
}

void fake_redis_last(struct fake_redis *f, char out[128])
{
	pthread_mutex_lock(&f->lock);
	memcpy(out, f->last, 128);
	pthread_mutex_unlock(&f->lock);
}

uint64_t fake_redis_count(struct fake_redis *f, const char *command)
{
	uint64_t count = 0;
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->command_count && i < COMMANDS; i++)
		count += strcmp(f->commands[i], command) == 0;
	pthread_mutex_unlock(&f->lock);
	return count;
}
