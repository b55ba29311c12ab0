#include "serve/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "streams.h"
#include "serve/page.h"
#include "serve/reader.h"
#include "serve/reply.h"
#include "serve/socket.h"

/* A client's socket; under the lock. */
struct connection {
	struct connection *next;
	MHD_socket socket;
	bool busy;     /* a whole request has come, and its reply is not sent */
	double since;  /* when it last stopped being busy */
	double looked; /* when it was last checked while not busy */
};

/* ---------------------------------------------------------------------------------------------------- clients */

void http_wake(struct job *job)
{
	bool ready = job->request.stream ? job->output.count > 0 || job->complete || job->gone : job->complete || job->gone;
	if (!job->suspended || !job->connection || !ready)
		return;
	job->suspended = false;
	MHD_resume_connection(job->connection);
}

static void look_at(struct job *job)
{
	if (!job->connection || job->gone || job->complete)
		return;
	job->gone = socket_is_left(job->socket);
	http_wake(job);
}

/* The daemon misses a client's hang-up that arrives together with its last bytes (libmicrohttpd 0.9.75). */
static bool is_no_use(const struct server *server, struct connection *c, double now)
{
	if (c->busy || now - c->looked < LOOK_SECONDS)
		return false;
	c->looked = now;
	return now - c->since > (double)server->options.timeout || socket_is_left(c->socket);
}

void http_look(struct server *server, double now)
{
	for (struct job *job = server->active; job; job = job->next)
		look_at(job);
	for (struct job *job = server->queue; job; job = job->next)
		look_at(job);
	for (struct connection *c = server->connections; c; c = c->next)
		if (is_no_use(server, c, now))
			socket_end(c->socket); /* the daemon sees the connection end, and closes it */
}

static MHD_socket socket_of(struct MHD_Connection *connection)
{
	return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
	struct server *server = user;
	struct connection *c = *context;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = c = calloc(1, sizeof *c);
		if (!c)
			return;
		c->socket = socket_of(connection);
		c->since = c->looked = server_now();
	}
	if (!c)
		return;
	pthread_mutex_lock(&server->lock);
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		c->next = server->connections;
		server->connections = c;
	} else {
		struct connection **at = &server->connections;
		while (*at != c)
			at = &(*at)->next;
		*at = c->next;
		free(c);
		*context = NULL;
	}
	pthread_mutex_unlock(&server->lock);
}

static void set_busy(struct server *server, struct MHD_Connection *connection, bool busy)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *c = info ? info->socket_context : NULL;
	pthread_mutex_lock(&server->lock);
	if (c) {
		c->busy = busy;
		c->since = c->looked = server_now();
	}
	pthread_mutex_unlock(&server->lock);
}

/* ---------------------------------------------------------------------------------------------------- replies */

static const char *header(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* The page alone has it: browsers then ask for a password, and send it along with the page's requests. */
#define BROWSERS_ASK "Basic realm=\"rwkvk\", charset=\"UTF-8\""

/* Scripts of that origin may read it. */
static void add_cors(const struct server *server, struct MHD_Response *response)
{
	if (!server->options.cors)
		return;
	MHD_add_response_header(response, "Access-Control-Allow-Origin", server->options.cors);
	MHD_add_response_header(response, "Access-Control-Allow-Headers", "Authorization, Content-Type");
	MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
	MHD_add_response_header(response, "Vary", "Origin");
}

static enum MHD_Result send_response(struct server *server, struct MHD_Connection *connection, struct exchange *x,
                                     struct MHD_Response *response, int status, const char *type)
{
	if (!response)
		return MHD_NO;
	x->status = status;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (status == 401)
		MHD_add_response_header(response, "WWW-Authenticate", strcmp(x->path, "/") == 0 ? BROWSERS_ASK : "Bearer");
	if (status == 503)
		MHD_add_response_header(response, "Retry-After", "2");
	add_cors(server, response);
	enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
	MHD_destroy_response(response);
	return result;
}

static ssize_t read_text(void *user, uint64_t position, char *buffer, size_t most)
{
	const struct text *text = user;
	size_t rest = text->count - (size_t)position, count = rest < most ? rest : most;
	memcpy(buffer, text->bytes + position, count);
	return (ssize_t)count;
}

static void free_text(void *user)
{
	text_free(user);
	free(user);
}

/* Takes the text over.  `woken`: the connection slept before this reply.  The daemon then looks at it once more before a reply
 * that goes out at once, body and all, has ended; if the client has left by then, some systems report an error (Wine does), and
 * the log would, too.  So the body comes after the head. */
static struct MHD_Response *text_response(struct text *text, bool woken)
{
	if (text->count == 0)
		return MHD_create_response_from_buffer(0, (char[]){ "" }, MHD_RESPMEM_MUST_COPY);
	if (!woken)
		return MHD_create_response_from_buffer(text->count, text->bytes, MHD_RESPMEM_MUST_FREE);
	struct text *copy = malloc(sizeof *copy);
	if (!copy) {
		text_free(text);
		return NULL;
	}
	*copy = *text;
	struct MHD_Response *response = MHD_create_response_from_callback(copy->count, 16384, read_text, copy, free_text);
	if (!response)
		free_text(copy);
	return response;
}

/* Takes the text over. */
static enum MHD_Result send_text(struct server *server, struct MHD_Connection *connection, struct exchange *x, int status,
                                 const char *type, struct text *text)
{
	if (text->failed) { /* without memory no reply is possible */
		text_free(text);
		return MHD_NO;
	}
	return send_response(server, connection, x, text_response(text, x->connection), status, type);
}

static const char type_json[] = "application/json";

static enum MHD_Result send_refusal(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	struct text text = { .bytes = NULL };
	reply_error(&x->refusal, false, &text);
	return send_text(server, connection, x, x->refusal.status, type_json, &text);
}

/* ---------------------------------------------------------------------------------------------------- generations */

/* The next bytes of a stream; the connection sleeps while there are none. */
static ssize_t read_stream(void *user, uint64_t position, char *buffer, size_t most)
{
	struct job *job = user;
	(void)position;
	pthread_mutex_lock(&job->server->lock);
	size_t count = job->output.count < most ? job->output.count : most;
	ssize_t result = (ssize_t)count;
	if (job->gone) {
		result = MHD_CONTENT_READER_END_WITH_ERROR;
	} else if (count > 0) {
		memcpy(buffer, job->output.bytes, count);
		text_drop(&job->output, count);
		pthread_cond_signal(&job->server->work);
	} else if (job->complete) {
		result = MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		job->suspended = true;
		MHD_suspend_connection(job->connection);
	}
	pthread_mutex_unlock(&job->server->lock);
	return result;
}

static enum MHD_Result send_stream(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream, x->job, NULL);
	if (response) {
		MHD_add_response_header(response, "Cache-Control", "no-cache");
		MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* so that nginx passes events on at once */
	}
	return send_response(server, connection, x, response, 200, "text/event-stream");
}

static enum MHD_Result end_generation(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	struct text text = { .bytes = NULL };
	pthread_mutex_lock(&server->lock);
	bool complete = x->job->complete;
	int status = x->job->status;
	if (complete) {
		text = x->job->output;
		x->job->output = (struct text){ .bytes = NULL };
	}
	pthread_mutex_unlock(&server->lock);
	return complete ? send_text(server, connection, x, status, type_json, &text) : MHD_NO;
}

/* ---------------------------------------------------------------------------------------------------- endpoints */

static enum MHD_Result serve_post(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	if (reader_add(server, x, connection, socket_of(connection)))
		return MHD_YES;
	refuse(&x->refusal, 503, "shutting_down", NULL, "the server is shutting down");
	return send_refusal(server, connection, x);
}

/* The reader has woken the connection, or the loop has. */
static enum MHD_Result serve_read(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	if (x->refusal.status)
		return send_refusal(server, connection, x);
	if (x->job)
		return x->job->request.stream ? send_stream(server, connection, x) : end_generation(server, connection, x);
	struct text reply = x->reply;
	x->reply = (struct text){ .bytes = NULL };
	return send_text(server, connection, x, 200, type_json, &reply);
}

static enum MHD_Result serve_models(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	struct text text = { .bytes = NULL };
	reply_models(server, true, &text);
	return send_text(server, connection, x, 200, type_json, &text);
}

static enum MHD_Result serve_model(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	struct text text = { .bytes = NULL };
	reply_models(server, false, &text);
	return send_text(server, connection, x, 200, type_json, &text);
}

static enum MHD_Result serve_health(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	struct text text = { .bytes = NULL };
	pthread_mutex_lock(&server->lock);
	bool draining = server->draining;
	pthread_mutex_unlock(&server->lock);
	text_add_text(&text, draining ? "{\"status\":\"draining\"}" : "{\"status\":\"ok\"}");
	return send_text(server, connection, x, draining ? 503 : 200, type_json, &text);
}

static enum MHD_Result serve_metrics(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	struct text text = { .bytes = NULL };
	metrics_write(server, &text);
	return send_text(server, connection, x, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}

static enum MHD_Result serve_page(struct server *server, struct MHD_Connection *connection, struct exchange *x)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(rwkvk_page_bytes, (void *)(uintptr_t)rwkvk_page, MHD_RESPMEM_PERSISTENT);
	if (response) {
		MHD_add_response_header(response, "Cache-Control", "no-cache");
		MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
		MHD_add_response_header(response, "Content-Security-Policy", PAGE_POLICY);
	}
	return send_response(server, connection, x, response, 200, "text/html; charset=utf-8");
}

typedef enum MHD_Result serve_fn(struct server *, struct MHD_Connection *, struct exchange *);

static const struct route {
	const char *path;
	serve_fn *get;
	enum endpoint post; /* instead */
	bool is_public;     /* needs no key */
} routes[] = {
	{ "/", serve_page, 0, false },
	{ "/health", serve_health, 0, true },
	{ "/metrics", serve_metrics, 0, false },
	{ "/v1/models", serve_models, 0, false },
	{ "/v1/chat/completions", NULL, ENDPOINT_CHAT, false },
	{ "/v1/completions", NULL, ENDPOINT_COMPLETIONS, false },
	{ "/tokenize", NULL, ENDPOINT_TOKENIZE, false },
	{ "/detokenize", NULL, ENDPOINT_DETOKENIZE, false },
};

static const struct route *find_route(const struct server *server, const char *path)
{
	static const struct route model = { "/v1/models/", serve_model, 0, false };
	size_t prefix = strlen(model.path);
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (strcmp(routes[i].path, path) == 0)
			return &routes[i];
	return strncmp(path, model.path, prefix) == 0 && strcmp(path + prefix, server->limits.model) == 0 ? &model : NULL;
}

/* ---------------------------------------------------------------------------------------------------- who may */

static bool check_origin(const struct server *server, struct MHD_Connection *connection, struct refusal *refusal)
{
	const char *host = header(connection, "Host"), *origin = header(connection, "Origin");
	return origin_is_allowed(origin, host, server->options.cors) ||
	       refuse(refusal, 403, NULL, NULL, "Origin: pages of \"%.100s\" may not use this server; see --cors", origin);
}

/* Whether a key is the password, whoever the user is. */
static bool has_password(const struct keys *keys, struct MHD_Connection *connection)
{
	char *password = NULL, *user = MHD_basic_auth_get_username_password(connection, &password);
	bool found = password && keys_match(keys, password);
	MHD_free(user);
	MHD_free(password);
	return found;
}

static bool check_key(const struct server *server, struct MHD_Connection *connection, struct refusal *refusal)
{
	const struct keys *keys = &server->options.keys;
	const char *key = bearer_key(header(connection, "Authorization"));
	if (key && keys_match(keys, key))
		return true;
	if (has_password(keys, connection))
		return check_origin(server, connection, refusal); /* browsers send it with the requests of any page */
	return refuse(refusal, 401, "invalid_api_key", NULL,
	              "expected one of the server's keys as \"Authorization: Bearer KEY\", or as the password of any user");
}

/* `route` is NULL for paths that are not there. */
static bool check_access(const struct server *server, struct MHD_Connection *connection, const struct route *route,
                         struct refusal *refusal)
{
	const char *host = header(connection, "Host");
	if (server->options.keys.count > 0)
		return (route && route->is_public) || check_key(server, connection, refusal);
	if (!server->options.open && !host_is_loopback(host))
		return refuse(refusal, 403, NULL, NULL, "Host: expected this machine's own address, such as localhost, got \"%.100s\"",
		              host ? host : "");
	return check_origin(server, connection, refusal);
}

static bool is_json(const char *type)
{
	size_t bytes = sizeof type_json - 1;
	return type && strncasecmp(type, type_json, bytes) == 0 && (type[bytes] == 0 || type[bytes] == ';' || type[bytes] == ' ');
}

static bool check_body(struct MHD_Connection *connection, struct refusal *refusal)
{
	const char *length = header(connection, "Content-Length"), *type = header(connection, "Content-Type");
	if (length && strtoull(length, NULL, 10) > MOST_BODY)
		return refuse(refusal, 413, NULL, NULL, "the body: expected at most %d bytes, got %.20s", MOST_BODY, length);
	return is_json(type) ||
	       refuse(refusal, 415, NULL, NULL, "Content-Type: expected application/json, got \"%.100s\"", type ? type : "");
}

/* Checks everything that a request's head contains. */
static bool check_head(struct server *server, struct MHD_Connection *connection, const char *path, const char *method,
                       struct refusal *refusal)
{
	const struct route *route = find_route(server, path);
	bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0, post = strcmp(method, "POST") == 0;
	bool preflight = server->options.cors && strcmp(method, "OPTIONS") == 0;
	if (preflight)
		return true;
	if (!check_access(server, connection, route, refusal))
		return false;
	if (!route)
		return refuse(refusal, 404, strncmp(path, "/v1/models/", 11) == 0 ? "model_not_found" : NULL, NULL,
		              "there is no %.60s here", path);
	if (route->post ? !post : !get)
		return refuse(refusal, 405, NULL, NULL, "%.60s: expected %s, got %.20s", path, route->post ? "POST" : "GET", method);
	return !post || check_body(connection, refusal);
}

/* ---------------------------------------------------------------------------------------------------- requests */

static enum MHD_Result serve(struct server *server, struct MHD_Connection *connection, struct exchange *x, const char *path,
                             const char *method)
{
	const struct route *route = find_route(server, path);
	struct text none = { .bytes = NULL };
	set_busy(server, connection, true);
	if (x->refusal.status)
		return send_refusal(server, connection, x);
	if (strcmp(method, "OPTIONS") == 0)
		return send_text(server, connection, x, 204, "text/plain", &none);
	x->endpoint = route->post;
	return route->post ? serve_post(server, connection, x) : route->get(server, connection, x);
}

/* What a client says, for the log: no terminal takes it for a command, and the log stays UTF-8. */
static void copy_ascii(char *out, size_t size, const char *text)
{
	printable(out, size, text);
	for (; *out; out++)
		if ((unsigned char)*out > 126)
			*out = '?';
}

static struct exchange *begin_exchange(struct server *server, struct MHD_Connection *connection, const char *path,
                                       const char *method)
{
	struct exchange *x = calloc(1, sizeof *x);
	if (!x)
		return NULL;
	x->start = server_now();
	copy_ascii(x->path, sizeof x->path, path);
	copy_ascii(x->method, sizeof x->method, method);
	check_head(server, connection, path, method, &x->refusal);
	pthread_mutex_lock(&server->lock);
	server->exchanges++;
	pthread_mutex_unlock(&server->lock);
	return x;
}

/* Counts bytes that have come of a body, if they may. */
static bool count_body(struct server *server, struct exchange *x, size_t count)
{
	pthread_mutex_lock(&server->lock);
	bool room = server->bodies + count <= MOST_BODIES;
	server->bodies += room ? count : 0;
	pthread_mutex_unlock(&server->lock);
	x->counted += room ? count : 0;
	return room;
}

/* The body of a refused request is read, but not kept. */
static void take_body(struct server *server, struct exchange *x, const char *bytes, size_t count)
{
	if (x->refusal.status)
		return;
	if (x->body.count + count > MOST_BODY)
		refuse(&x->refusal, 413, NULL, NULL, "the body: expected at most %d bytes", MOST_BODY);
	else if (!count_body(server, x, count))
		refuse(&x->refusal, 503, "overloaded", NULL, "too many requests are on their way; try again later");
	if (x->refusal.status)
		return;
	text_add(&x->body, bytes, count);
	if (x->body.failed)
		refuse(&x->refusal, 503, "overloaded", NULL, "out of memory");
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *path, const char *method,
                                  const char *version, const char *upload, size_t *upload_bytes, void **context)
{
	struct server *server = user;
	struct exchange *x = *context;
	(void)version;
	if (!x) {
		*context = x = begin_exchange(server, connection, path, method);
		/* Do not wait for a body that is too long. */
		return !x ? MHD_NO : x->refusal.status == 413 ? serve(server, connection, x, path, method) : MHD_YES;
	}
	if (*upload_bytes > 0) {
		take_body(server, x, upload, *upload_bytes);
		*upload_bytes = 0;
		return MHD_YES;
	}
	return x->connection ? serve_read(server, connection, x) : serve(server, connection, x, path, method);
}

/* ---------------------------------------------------------------------------------------------------- the log */

/* The log does not say what a request asked for. */
static void log_exchange(const struct exchange *x, const char *tokens)
{
	time_t now = time(NULL);
	struct tm utc;
	char date[32];
	gmtime_r(&now, &utc);
	strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
	note("%s %s %s %d%s %.3f s", date, x->method, x->path, x->status, tokens, server_now() - x->start);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode code)
{
	struct server *server = user;
	struct exchange *x = *context;
	char tokens[120] = "";
	if (!x)
		return;
	set_busy(server, connection, false);
	bool sent = code == MHD_REQUEST_TERMINATED_COMPLETED_OK;
	x->status = sent ? x->status : 499;
	pthread_mutex_lock(&server->lock);
	server->exchanges--;
	server->metrics.requests[x->status]++;
	if (x->job) {
		snprintf(tokens, sizeof tokens, ", prompt %" PRIu64 " tokens, %" PRIu64 " of them cached, answer %" PRIu64 " tokens,",
		         x->job->prompt_tokens, x->job->cached_tokens, x->job->written_tokens);
		x->job->connection = NULL;
		x->job->gone = true;
		job_release(x->job);
	}
	pthread_cond_signal(&server->work);
	pthread_mutex_unlock(&server->lock);
	log_exchange(x, tokens);
	reader_drop_body(server, x);
	text_free(&x->reply);
	free(x);
	*context = NULL;
}

/* ---------------------------------------------------------------------------------------------------- life */

int http_start(struct server *server, MHD_socket listener)
{
	if (!reader_start(server))
		return failed("cannot start a thread");
	server->daemon = MHD_start_daemon(
		MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET,
		listener, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MOST_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)server->options.timeout, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
	if (server->daemon)
		return EXIT_DONE;
	reader_stop(server);
	return failed("cannot start the HTTP server");
}

void http_stop(struct server *server)
{
	reader_stop(server); /* before, so that no connection sleeps */
	MHD_stop_daemon(server->daemon);
}
