/* rwkvk serve: OpenAI's API and a page.  The address goes to standard output once the server can answer; the log goes to
 * standard error. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "streams.h"
#include "system.h"
#include "model.h"
#include "serve/http.h"
#include "serve/loop.h"
#include "serve/socket.h"
#include "store_args.h"
#include "terminal.h"

enum {
	STANDARD_PARALLEL = 8,
	STANDARD_QUEUE = 64,
	STANDARD_PROMPT = 65536,
	STANDARD_TOKENS = 4096,
	STANDARD_DRAIN = 30,
	STANDARD_TIMEOUT = 30,
	WARM_PROMPT = 16,
};

struct serve {
	struct model_args model;
	const char *name, *chat, *host, *key_file, *cors;
	bool open;
	struct arg_count port, parallel, queue, max_prompt, max_tokens, drain, timeout, cache_memory, cache_disk;
	struct store_args store;
	struct arg_texts states; /* NAME=FILE */
	char **names;            /* of the states, to be freed */
};

static uint64_t given(const struct arg_count *count, uint64_t otherwise)
{
	return count->given ? count->value : otherwise;
}

/* ---------------------------------------------------------------------------------------------------- the socket */

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
	return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
}

static int listen_at(const struct serve *args, const struct addrinfo *found, MHD_socket *out)
{
	const int most_unsent = MOST_UNSENT;
	if (!is_loopback(found->ai_addr) && !args->key_file && !args->open)
		return misused(
			"serve",
			"--host %s: can be reached from other machines; give --api-key FILE, or --open for anyone to use the server",
			args->host);
	*out = socket(found->ai_family, SOCK_STREAM, 0);
	if (*out == MHD_INVALID_SOCKET)
		return failed("--host %s: %s", args->host, socket_error());
	socket_take_address(*out);
	setsockopt(*out, SOL_SOCKET, SO_SNDBUF, (const void *)&most_unsent, sizeof most_unsent); /* connections inherit it */
	if (bind(*out, found->ai_addr, found->ai_addrlen) == 0 && listen(*out, SOMAXCONN) == 0)
		return EXIT_DONE;
	int code = failed("--host %s --port %u: %s", args->host, (unsigned)given(&args->port, 8080), socket_error());
	socket_close(*out);
	return code;
}

/* `*url` is the server's address for a browser on this machine. */
static int open_socket(const struct serve *args, MHD_socket *out, char *url, size_t size)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *found = NULL;
	struct sockaddr_storage address;
	socklen_t bytes = sizeof address;
	char port[16], host[NI_MAXHOST] = "";
	snprintf(port, sizeof port, "%u", (unsigned)given(&args->port, 8080));
	if (!sockets_begin())
		return failed("--host %s: the system has no sockets", args->host);
	int error = getaddrinfo(args->host, port, &hints, &found);
	if (error)
		return failed("--host %s: %s", args->host, gai_strerror(error));
	int code = listen_at(args, found, out);
	freeaddrinfo(found);
	if (code != EXIT_DONE)
		return code;
	getsockname(*out, (struct sockaddr *)&address, &bytes);
	getnameinfo((struct sockaddr *)&address, bytes, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(url, size, address.ss_family == AF_INET6 ? "http://[%s]:%s/" : "http://%s:%s/", host, port);
	return EXIT_DONE;
}

/* ---------------------------------------------------------------------------------------------------- the model */

static int check_model(const struct serve *args, rwkvk_file **file)
{
	rwkvk_model_info info = { .size = sizeof info };
	int code = model_peek(&args->model, file);
	if (code != EXIT_DONE)
		return code;
	rwkvk_file_get_info(*file, &info);
	return rwkvk_file_tokenizer(*file) ? EXIT_DONE : no_vocabulary(&args->model, &info, "a server", NULL);
}

/* The model's id in requests: the file's name without folder and extension. */
static const char *model_name(const struct serve *args, char *out, size_t size)
{
	const char *path = args->model.path;
	if (args->name)
		return args->name;
	snprintf(out, size, "%s", path ? system_path_name(path) : "rwkvk-story");
	char *dot = strrchr(out, '.');
	if (dot && dot != out)
		*dot = 0;
	return out;
}

static int open_states(const struct serve *args, struct server *server)
{
	size_t count = args->states.count;
	server->starts = calloc(count + 1, sizeof *server->starts);
	if (!server->starts)
		return failed("out of memory");
	for (size_t i = 0; i < count; i++)
		if (rwkvk_cache_add_start(server->cache, strchr(args->states.texts[i], '=') + 1, &server->starts[i]) != RWKVK_OK)
			return failed_call();
	server->limits.states = (const char *const *)args->names;
	server->limits.state_count = count;
	return EXIT_DONE;
}

static int open_cache(struct serve *args, struct server *server)
{
	rwkvk_cache_options options = {
		.size = sizeof options,
		.memory = args->cache_memory.given ? (args->cache_memory.value ? args->cache_memory.value << 20 : 1) : 0,
		.disk = args->cache_disk.value << 20,
	};
	store_args_set(&args->store, &options);
	rwkvk_status status = rwkvk_cache_create(server->model, &options, &server->cache);
	store_args_forget(&args->store);
	return status == RWKVK_OK ? open_states(args, server) : failed_call();
}

static int open_model(struct serve *args, rwkvk_file *file, struct server *server)
{
	int code = model_open_warm(&args->model, file, WARM_PROMPT, &server->model);
	if (code != EXIT_DONE)
		return code;
	server->info.size = sizeof server->info;
	rwkvk_model_get_info(server->model, &server->info);
	server->limits.vocab = server->info.vocab;
	server->limits.sampling.size = sizeof server->limits.sampling;
	rwkvk_model_sampling(server->model, &server->limits.sampling);
	rwkvk_status status = RWKVK_OK;
	server->chat = RWKVK_CHAT_PLAIN; /* the built-in model tells stories, whatever the user says */
	if (args->chat)
		status = rwkvk_chat_find(args->chat, &server->chat);
	else if (args->model.path)
		status = rwkvk_model_chat(server->model, &server->chat);
	return status == RWKVK_OK ? open_cache(args, server) : failed_call();
}

/* ---------------------------------------------------------------------------------------------------- the command */

static int run(struct server *server, MHD_socket listener, const char *url)
{
	int code = http_start(server, listener);
	if (code != EXIT_DONE)
		return code;
	note("%s on %s: model %s, template %s, %u at a time", url, server->info.device, server->limits.model,
	     rwkvk_chat_name(server->chat), (unsigned)server->options.parallel);
	out_printf("%s\n", url);
	out_flush();
	code = loop_run(server);
	http_stop(server);
	return code;
}

static void close_server(struct server *server)
{
	rwkvk_cache_destroy(server->cache);
	rwkvk_model_close(server->model);
	free(server->starts);
	keys_free(&server->options.keys);
	pthread_cond_destroy(&server->arrived);
	pthread_cond_destroy(&server->work);
	pthread_mutex_destroy(&server->lock);
}

static int serve(struct serve *args)
{
	char url[NI_MAXHOST + 32], name[256];
	MHD_socket listener = MHD_INVALID_SOCKET;
	rwkvk_file *file = NULL;
	struct server server = {
		.options = { .parallel = (uint32_t)given(&args->parallel, STANDARD_PARALLEL),
		             .queue = given(&args->queue, STANDARD_QUEUE),
		             .max_prompt = given(&args->max_prompt, STANDARD_PROMPT),
		             .max_tokens = given(&args->max_tokens, STANDARD_TOKENS),
		             .drain = given(&args->drain, STANDARD_DRAIN),
		             .timeout = given(&args->timeout, STANDARD_TIMEOUT),
		             .cors = args->cors,
		             .open = args->open },
		.created = (int64_t)time(NULL),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.work = PTHREAD_COND_INITIALIZER,
		.arrived = PTHREAD_COND_INITIALIZER,
	};
	server.queue_end = &server.queue;
	server.limits.model = model_name(args, name, sizeof name);
	server.limits.choices = server.options.parallel;
	server.limits.max_tokens = server.options.max_tokens;
	server.limits.max_ids = server.options.max_prompt;
	int code = args->key_file ? keys_read(args->key_file, &server.options.keys) : EXIT_DONE;
	if (code == EXIT_DONE)
		code = check_model(args, &file);
	if (code == EXIT_DONE)
		code = open_socket(args, &listener, url, sizeof url); /* before the model is loaded, which takes longer */
	if (code == EXIT_DONE)
		code = open_model(args, file, &server);
	else
		rwkvk_file_close(file);
	if (code == EXIT_DONE)
		code = run(&server, listener, url);
	else if (listener != MHD_INVALID_SOCKET)
		socket_close(listener);
	close_server(&server);
	return code;
}

/* NAME=FILE; the names are copied. */
static int check_states(struct serve *args)
{
	args->names = calloc(args->states.count + 1, sizeof *args->names);
	if (!args->names)
		return failed("out of memory");
	for (size_t i = 0; i < args->states.count; i++) {
		const char *text = args->states.texts[i], *equals = strchr(text, '=');
		if (!equals || equals == text || !equals[1])
			return misused("serve", "--state: expected NAME=FILE, got \"%s\"", text);
		args->names[i] = strdup(text);
		if (!args->names[i])
			return failed("out of memory");
		args->names[i][equals - text] = 0;
		for (size_t j = 0; j < i; j++)
			if (strcmp(args->names[j], args->names[i]) == 0)
				return misused("serve", "--state: the name \"%s\" is given twice", args->names[i]);
	}
	return ARGS_GO_ON;
}

static int check(struct serve *args)
{
	if (args->model.exact)
		return misused("serve", "--exact: has the bits of one text alone, which a server does not have");
	if (args->parallel.given && args->parallel.value < 2)
		return misused("serve", "--parallel: expected at least 2, got %u", (unsigned)args->parallel.value);
	if (args->max_tokens.given && args->max_tokens.value == 0)
		return misused("serve", "--max-tokens: expected at least 1, got 0");
	if (args->timeout.given && args->timeout.value == 0)
		return misused("serve", "--timeout: expected at least 1, got 0");
	if (args->open && args->key_file)
		return misused("serve", "--open: lets anyone use the server, --api-key does not; give one of them");
	int code = store_args_read("serve", &args->store);
	return code == ARGS_GO_ON ? check_states(args) : code;
}

int cmd_serve(int argc, char **argv)
{
	struct serve s = { .host = "127.0.0.1" };
	/* clang-format off: a row is an option */
	const struct arg args[] = {
		ARG_MODEL(s.model),
		{ .name = "name",
		  .kind = ARG_TEXT,
		  .target = &s.name,
		  .value = "NAME",
		  .help = "the model's name in requests",
		  .standard = "the file's name without folder and kind; rwkvk-story" },
		ARG_VOCAB(s.model),
		ARGS_TENSORS(s.model),
		ARG_QUANT(s.model),
		ARGS_NUMERICS(s.model),
		ARG_DEVICE(s.model),
		ARGS_HOST(s.model),
		{ .name = "template",
		  .kind = ARG_TEXT,
		  .target = &s.chat,
		  .value = "NAME",
		  .help = "how messages become a prompt: plain, raven, world, rwkv-world or g1; see docs/chat.md",
		  .standard = "the model's own" },
		{ .name = "state",
		  .kind = ARG_TEXTS,
		  .target = &s.states,
		  .value = "NAME=FILE",
		  .help = "a state that requests may start from, as \"state\": \"NAME\"; may be given several times",
		  .standard = "none" },
		{ .group = "Who may use it",
		  .name = "host",
		  .kind = ARG_TEXT,
		  .target = &s.host,
		  .value = "ADDRESS",
		  .help = "where to listen; beyond this machine only with --api-key or --open",
		  .standard = "127.0.0.1" },
		{ .name = "port",
		  .kind = ARG_COUNT,
		  .target = &s.port,
		  .value = "N",
		  .high = 65535,
		  .help = "the port; 0 takes a free one",
		  .standard = "8080" },
		{ .name = "api-key",
		  .kind = ARG_TEXT,
		  .target = &s.key_file,
		  .value = "FILE",
		  .help = "keys, one per line; requests need one of them",
		  .standard = "none" },
		{ .name = "open",
		  .kind = ARG_FLAG,
		  .target = &s.open,
		  .help = "anyone who reaches the server may use it",
		  .standard = "only programs and pages of this machine" },
		{ .name = "cors",
		  .kind = ARG_TEXT,
		  .target = &s.cors,
		  .value = "ORIGIN",
		  .help = "pages of this origin may use the server; * for all",
		  .standard = "none but its own" },
		{ .group = "How much",
		  .name = "parallel",
		  .kind = ARG_COUNT,
		  .target = &s.parallel,
		  .value = "N",
		  .high = 256,
		  .help = "texts written at the same time, at least 2",
		  .standard = "8" },
		{ .name = "queue",
		  .kind = ARG_COUNT,
		  .target = &s.queue,
		  .value = "N",
		  .high = 65536,
		  .help = "requests that may wait; more are refused",
		  .standard = "64" },
		{ .name = "max-prompt",
		  .kind = ARG_COUNT,
		  .target = &s.max_prompt,
		  .value = "N",
		  .help = "tokens of the longest prompt",
		  .standard = "65536" },
		{ .name = "max-tokens",
		  .kind = ARG_COUNT,
		  .target = &s.max_tokens,
		  .value = "N",
		  .help = "tokens of the longest answer, and of one without a requested length",
		  .standard = "4096" },
		{ .name = "timeout",
		  .kind = ARG_COUNT,
		  .target = &s.timeout,
		  .value = "SECONDS",
		  .high = 86400,
		  .help = "how long a client may take to send a request, or read nothing of a reply that waits",
		  .standard = "30" },
		{ .name = "drain",
		  .kind = ARG_COUNT,
		  .target = &s.drain,
		  .value = "SECONDS",
		  .high = 86400,
		  .help = "how long running requests may continue after SIGTERM or Ctrl-C",
		  .standard = "30" },
		{ .name = "cache-memory",
		  .kind = ARG_COUNT,
		  .target = &s.cache_memory,
		  .value = "MIB",
		  .high = 1 << 24,
		  .help = "main memory for states of texts already read; 0 keeps none",
		  .standard = "a quarter of what is free, at most 4096" },
		{ .name = "cache-disk",
		  .kind = ARG_COUNT,
		  .target = &s.cache_disk,
		  .value = "MIB",
		  .high = 1 << 24,
		  .help = "the same in the cache folder, where they outlive the server",
		  .standard = "0, none" },
		ARGS_STORE(s.store),
		ARG_QUIET(s.model),
	};
	/* clang-format on */
	const struct usage usage = {
		.command = "serve",
		.synopsis = "[OPTION]...",
		.about =
			"Serves a model: OpenAI's API at /v1, a web page at /.  Prints its address on standard output once the server\n"
			"is ready, and a line for each request, without its text, on standard error (-q: none).",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.notes =
			"Ctrl-C, or SIGTERM: accepts no new requests, and ends when the running ones have ended.  A second one ends at\n"
			"once.  docs/server.md has endpoints, fields and limits.\n"
			"\nExamples\n"
			"  rwkvk serve\n"
			"  rwkvk serve -m model.gguf --parallel 16\n"
			"  rwkvk serve -m model.gguf --host 0.0.0.0 --api-key keys.txt",
	};
	int code = args_parse(&usage, argc, argv, NULL);
	s.model.batch = (uint32_t)given(&s.parallel, STANDARD_PARALLEL);
	if (code == ARGS_GO_ON)
		code = check(&s);
	if (code == ARGS_GO_ON)
		code = serve(&s);
	for (size_t i = 0; s.names && i < s.states.count; i++)
		free(s.names[i]);
	free(s.names);
	free(s.states.texts);
	return code;
}
