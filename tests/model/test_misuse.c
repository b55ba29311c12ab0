/* Wrong use of every call of the public headers: each is refused with a message, or does nothing if it returns no status, and
 * the session works as before.  Never a crash: every group of cases runs in its own child process, so that a crash is noticed
 * and named.  Where the library asserts (it is built without NDEBUG) a case may end in its assertion instead, which is caught
 * here.
 *
 * Nothing but the children may touch Vulkan: drivers do not survive a fork. */
#include "support.h"

#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "feed.h"
#include "make_chain.h"
#include "rwkvk_tools.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#define LEAKS() __lsan_do_recoverable_leak_check()
#else
#define LEAKS() 0
#endif

/* ------------------------------------------------------------------------------------------------------ in a child */

static char chain_path[512], mute_path[512], scratch_path[512], state_path[512]; /* mute: a model without tokenizer */
static rwkvk_model *model;
static rwkvk_session *session; /* between cases it has read `fed` */
static rwkvk_file *file;
static const uint32_t fed[] = { 'a', 'b', 'c' };
enum { VOCAB = 256, FED = 3 };
static float want[VOCAB];
static bool inside; /* a callback: the session is busy */
static unsigned failures, assertions, abandoned;
static char *doing; /* shared with the parent, which names it after a crash */

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wclobbered" /* only the call itself changes anything between the two */
#endif
static sigjmp_buf trap;
static volatile sig_atomic_t trapping;

static void on_abort(int number)
{
	(void)number;
	if (trapping)
		siglongjmp(trap, 1);
}

static void complain(int line, const char *what, const char *found)
{
	print_error("line %d: %s\n    %s\n", line, what, found);
	failures++;
}

/* The session from the start: the same bits as the first time. */
static void check_works(int line, const char *after)
{
	float got[VOCAB];
	uint32_t next = 0;
	if (!session || inside)
		return;
	if (rwkvk_session_reset(session) != RWKVK_OK || feed_tokens(session, fed, FED, got) != RWKVK_OK ||
	    rwkvk_session_sample(session, NULL, &next) != RWKVK_OK)
		complain(line, after, rwkvk_last_error());
	else if (memcmp(got, want, sizeof got) != 0 || next != 'd')
		complain(line, after, "afterwards the session computes something else");
}

static void check_refused(int line, const char *call, rwkvk_status got, rwkvk_status status, const char *text)
{
	char found[600];
	if (got == status && rwkvk_last_error()[0] && strstr(rwkvk_last_error(), text))
		return;
	snprintf(found, sizeof found, "returned \"%s\", want \"%s\" with \"%s\"; last error: %s", rwkvk_status_name(got),
	         rwkvk_status_name(status), text, rwkvk_last_error());
	complain(line, call, found);
}

static void open_world(void)
{
	if (rwkvk_model_open(&(rwkvk_model_options){ .path = chain_path, .max_sessions = 2 }, &model) != RWKVK_OK ||
	    rwkvk_session_create(model, &session) != RWKVK_OK || feed_tokens(session, fed, FED, want) != RWKVK_OK ||
	    rwkvk_file_open(&(rwkvk_model_options){ .path = chain_path }, &file) != RWKVK_OK)
		complain(__LINE__, "opening", rwkvk_last_error());
}

static void close_world(void)
{
	rwkvk_file_close(file);
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	session = NULL;
}

/* An assertion within a call has left the session in use: then another model is used. */
static void check_asserted(int line, const char *call)
{
	assertions++;
#ifdef NDEBUG
	complain(line, call, "ended in abort()");
#endif
	(void)line, (void)call;
	if (!session || inside)
		return;
	trapping = 1;
	if (sigsetjmp(trap, 1) == 0) {
		rwkvk_session_reset(session);
	} else {
		abandoned++;
		open_world();
	}
	trapping = 0;
}

/* Runs `statement`, which may end in an assertion of the library. */
#define TRAPPED(text, statement)                                                                                               \
	do {                                                                                                                       \
		snprintf(doing, 400, "line %d: %s", __LINE__, text);                                                                   \
		trapping = 1;                                                                                                          \
		if (sigsetjmp(trap, 1) == 0) {                                                                                         \
			statement;                                                                                                         \
		} else {                                                                                                               \
			check_asserted(__LINE__, text);                                                                                    \
		}                                                                                                                      \
		trapping = 0;                                                                                                          \
		check_works(__LINE__, text);                                                                                           \
	} while (0)
/* Returns this status, and the error text has this part. */
#define REFUSED(call, status, part) TRAPPED(#call, check_refused(__LINE__, #call, call, status, part))
#define WRONG(call, part)           REFUSED(call, RWKVK_ERROR_ARGUMENT, part)
/* No status: does nothing. */
#define NOTHING(call) TRAPPED(#call, call)
/* No status: gives this. */
#define GIVES(condition) TRAPPED(#condition, (condition) ? (void)0 : complain(__LINE__, #condition, "is not so"))
/* Calls that are allowed, although they look wrong. */
#define FINE(call)                                                                                                             \
	do {                                                                                                                       \
		snprintf(doing, 400, "line %d: %s", __LINE__, #call);                                                                  \
		if ((call) != RWKVK_OK)                                                                                                \
			complain(__LINE__, #call, rwkvk_last_error());                                                                     \
		check_works(__LINE__, #call);                                                                                          \
	} while (0)

/* Options that are shorter than in version 0.1, and that set what this version does not know; `o` is them. */
#define OPTION_SIZES(type, first, call)                                                                                        \
	do {                                                                                                                       \
		struct {                                                                                                               \
			type options;                                                                                                      \
			uint64_t more;                                                                                                     \
		} large = { .options = first };                                                                                        \
		const type *o = &large.options;                                                                                        \
		large.options.size = sizeof(type) - sizeof(void *);                                                                    \
		WRONG(call, #type ".size is");                                                                                         \
		large.options.size = 1;                                                                                                \
		WRONG(call, #type ".size is 1");                                                                                       \
		large.options.size = sizeof large;                                                                                     \
		large.more = 1;                                                                                                        \
		WRONG(call, #type);                                                                                                    \
	} while (0)
#define NONE                                                                                                                   \
	{                                                                                                                          \
		0                                                                                                                      \
	}

/* A result that is shorter than in version 0.1; `o` is it. */
#define RESULT_SIZE(type, call)                                                                                                \
	do {                                                                                                                       \
		type result = { .size = sizeof(type) - sizeof(void *) };                                                               \
		type *o = &result;                                                                                                     \
		WRONG(call, #type ".size is");                                                                                         \
	} while (0)

/* ------------------------------------------------------------------------------------------------------ without a model */

static void errors_and_cancel_objects(void)
{
	GIVES(rwkvk_last_error() != NULL && rwkvk_last_error()[0] == 0);
	GIVES(strcmp(rwkvk_status_name((rwkvk_status)99), "unknown") == 0);
	GIVES(strcmp(rwkvk_status_name((rwkvk_status)-1), "unknown") == 0);
	WRONG(rwkvk_cancel_create(NULL), "rwkvk_cancel_create");
	rwkvk_cancel_destroy(NULL);
	rwkvk_cancel_set(NULL);
	rwkvk_cancel_clear(NULL);
	if (rwkvk_cancel_is_set(NULL))
		complain(__LINE__, "rwkvk_cancel_is_set(NULL)", "is true");
}

static void devices(void)
{
	size_t count = 0;
	rwkvk_device_info info = { .size = 16 };
	WRONG(rwkvk_devices(NULL, 0, NULL), "rwkvk_devices");
	WRONG(rwkvk_devices(NULL, 3, &count), "rwkvk_devices");
	WRONG(rwkvk_devices(&info, 1, &count), "rwkvk_device_info.size is 16");
	FINE(rwkvk_devices(&info, 0, &count));
	WRONG(rwkvk_device_find(NULL, NULL), "rwkvk_device_find");
	WRONG(rwkvk_device_find(NULL, &info), "rwkvk_device_info.size is 16");
	info.size = 0;
	REFUSED(rwkvk_device_find("no such device", &info), RWKVK_ERROR_DEVICE, "no such device");
	REFUSED(rwkvk_device_find("99", &info), RWKVK_ERROR_DEVICE, "99");
	REFUSED(rwkvk_device_find("99999999999999999999", &info), RWKVK_ERROR_DEVICE, "99999999999999999999");
	rwkvk_device_rates rates = { 0 };
	WRONG(rwkvk_device_measure(NULL, NULL), "rwkvk_device_measure");
	REFUSED(rwkvk_device_measure(&(rwkvk_measure_options){ .device = "no such device" }, &rates), RWKVK_ERROR_DEVICE,
	        "no such device");
	OPTION_SIZES(rwkvk_measure_options, NONE, rwkvk_device_measure(o, &rates));
	rates.size = 12;
	WRONG(rwkvk_device_measure(NULL, &rates), "rwkvk_device_rates.size is 12"); /* before it measures, too */
}

static void tokenizers(void)
{
	rwkvk_tokenizer *tokenizer = NULL;
	uint32_t ids[4];
	size_t count = 0, bytes = 7;
	WRONG(rwkvk_tokenizer_open(NULL, &tokenizer), "rwkvk_tokenizer_open");
	WRONG(rwkvk_tokenizer_open("x", NULL), "rwkvk_tokenizer_open");
	REFUSED(rwkvk_tokenizer_open("", &tokenizer), RWKVK_ERROR_FILE, "");
	REFUSED(rwkvk_tokenizer_open("/nowhere/vocab", &tokenizer), RWKVK_ERROR_FILE, "/nowhere/vocab");
	GIVES(tokenizer == NULL);
	rwkvk_tokenizer_close(NULL);
	open_world();
	const rwkvk_tokenizer *own = rwkvk_model_tokenizer(model);
	WRONG(rwkvk_tokenizer_encode(NULL, "x", 1, ids, 4, &count), "rwkvk_tokenizer_encode");
	WRONG(rwkvk_tokenizer_encode(own, NULL, 3, ids, 4, &count), "rwkvk_tokenizer_encode");
	WRONG(rwkvk_tokenizer_encode(own, "x", 1, NULL, 4, &count), "rwkvk_tokenizer_encode");
	WRONG(rwkvk_tokenizer_encode(own, "x", 1, ids, 4, NULL), "rwkvk_tokenizer_encode");
	FINE(rwkvk_tokenizer_encode(own, NULL, 0, NULL, 0, &count));
	GIVES(count == 0);
	FINE(rwkvk_tokenizer_encode(own, "a\0b", 3, ids, 2, &count));
	GIVES(count == 3 && ids[0] == 'a' && ids[1] == 0);
	GIVES(rwkvk_tokenizer_token(NULL, 1, &bytes) == NULL);
	GIVES(rwkvk_tokenizer_token(own, UINT32_MAX, &bytes) == NULL && bytes == 0);
	bytes = 7;
	GIVES(rwkvk_tokenizer_token(own, VOCAB, &bytes) == NULL && bytes == 0);
	NOTHING(rwkvk_tokenizer_token(own, 1, NULL));
	close_world();
}

/* ------------------------------------------------------------------------------------------------------ opening */

static rwkvk_model *opened;
static rwkvk_file *opened_file;

/* On failure *out is NULL. */
static rwkvk_status try_open(rwkvk_model_options options)
{
	opened = (rwkvk_model *)(uintptr_t)1;
	rwkvk_status status = rwkvk_model_open(&options, &opened);
	if (status != RWKVK_OK && opened)
		complain(__LINE__, "rwkvk_model_open", "failed but left *out");
	if (status == RWKVK_OK)
		rwkvk_model_close(opened);
	return status;
}

static void opening(void)
{
	const char *data = "x";
	WRONG(rwkvk_model_open(NULL, &opened), "rwkvk_model_open");
	WRONG(rwkvk_model_open(&(rwkvk_model_options){ .path = chain_path }, NULL), "rwkvk_model_open");
	OPTION_SIZES(rwkvk_model_options, { .path = chain_path }, rwkvk_model_open(o, &opened));
	WRONG(try_open((rwkvk_model_options){ 0 }), "rwkvk_model_options.path");
	WRONG(try_open((rwkvk_model_options){ .data_bytes = 5 }), "rwkvk_model_options");
	REFUSED(try_open((rwkvk_model_options){ .data = data }), RWKVK_ERROR_FILE, "");
	REFUSED(try_open((rwkvk_model_options){ .data = data, .data_bytes = 1 }), RWKVK_ERROR_FILE, "");
	REFUSED(try_open((rwkvk_model_options){ .path = "" }), RWKVK_ERROR_FILE, "");
	REFUSED(try_open((rwkvk_model_options){ .path = "/nowhere/model" }), RWKVK_ERROR_FILE, "/nowhere/model");
	WRONG(try_open((rwkvk_model_options){ .path = chain_path, .quant = (rwkvk_quant)99 }), "quant is 99");
	WRONG(try_open((rwkvk_model_options){ .path = chain_path, .quant = (rwkvk_quant)-1 }), "quant is");
	static const float epsilons[] = { NAN, -1, -1e-30f, 1.5f, INFINITY, -INFINITY };
	for (size_t i = 0; i < sizeof epsilons / sizeof *epsilons; i++)
		WRONG(try_open((rwkvk_model_options){ .path = chain_path, .group_norm_epsilon = epsilons[i] }),
		      "group_norm_epsilon is");
	REFUSED(try_open((rwkvk_model_options){ .path = chain_path, .device = "no such device" }), RWKVK_ERROR_DEVICE,
	        "no such device");
	REFUSED(try_open((rwkvk_model_options){ .path = chain_path, .vocab = "/nowhere/vocab" }), RWKVK_ERROR_FILE,
	        "/nowhere/vocab");
	REFUSED(try_open((rwkvk_model_options){ .path = chain_path, .names = "/nowhere/names" }), RWKVK_ERROR_FILE,
	        "/nowhere/names");
	REFUSED(try_open((rwkvk_model_options){ .path = chain_path, .device_memory = 1 }), RWKVK_ERROR_MEMORY, "device_memory");
	for (uint32_t sessions = 1 << 20; sessions; sessions = sessions == UINT32_MAX ? 0 : UINT32_MAX)
		GIVES(try_open((rwkvk_model_options){ .path = chain_path, .max_sessions = sessions }) != RWKVK_OK &&
		      strstr(rwkvk_last_error(), "max_sessions"));
	FINE(try_open((rwkvk_model_options){ .path = chain_path, .threads = UINT32_MAX, .max_sessions = 1 }));
	FINE(try_open((rwkvk_model_options){ .path = chain_path, .rescale = UINT32_MAX, .max_sessions = 1 }));
	FINE(try_open((rwkvk_model_options){ .path = chain_path, .cache_dir = "/dev/null/x", .max_sessions = 1 }));
	FINE(try_open((rwkvk_model_options){ .path = chain_path, .tools = &(rwkvk_tools_options){ 0 }, .max_sessions = 1 }));
	OPTION_SIZES(rwkvk_tools_options, NONE, try_open((rwkvk_model_options){ .path = chain_path, .tools = o }));
	static const char *const shapes[] = { "", "0x0", "2x63", "99999999999x64", "1000x65536", "9B", "2x256x2" };
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		WRONG(try_open((rwkvk_model_options){ .tools = &(rwkvk_tools_options){ .shape = shapes[i] } }), "shape");
	WRONG(try_open((rwkvk_model_options){ .tools = &(rwkvk_tools_options){ .shape = "1x64", .shape_type = "q3" } }), "q3");
	WRONG(try_open((rwkvk_model_options){ .path = chain_path, .tools = &(rwkvk_tools_options){ .shape = "1x64" } }), "shape");
	rwkvk_model_close(NULL);
}

/* Cases for models only. */
static void models(void)
{
	rwkvk_model_info info = { 0 };
	rwkvk_metadata entry = { 0 };
	rwkvk_sampling sampling = { 0 };
	rwkvk_session *one = NULL, *two = NULL;
	open_world();
	WRONG(rwkvk_model_get_info(NULL, &info), "rwkvk_model_get_info");
	WRONG(rwkvk_model_get_info(model, NULL), "rwkvk_model_get_info");
	RESULT_SIZE(rwkvk_model_info, rwkvk_model_get_info(model, o));
	GIVES(!rwkvk_model_metadata(NULL, 0, &entry));
	GIVES(!rwkvk_model_metadata(model, 0, NULL));
	GIVES(!rwkvk_model_metadata(model, SIZE_MAX, &entry));
	GIVES(rwkvk_model_metadata_value(NULL, "x") == NULL);
	GIVES(rwkvk_model_metadata_value(model, NULL) == NULL);
	GIVES(rwkvk_model_metadata_value(model, "") == NULL);
	GIVES(rwkvk_model_tokenizer(NULL) == NULL);
	WRONG(rwkvk_model_sampling(NULL, &sampling), "rwkvk_model_sampling");
	WRONG(rwkvk_model_sampling(model, NULL), "rwkvk_model_sampling");
	RESULT_SIZE(rwkvk_sampling, rwkvk_model_sampling(model, o));
	WRONG(rwkvk_session_create(NULL, &one), "rwkvk_session_create");
	WRONG(rwkvk_session_create(model, NULL), "rwkvk_session_create");
	FINE(rwkvk_session_create(model, &one));
	two = one;
	REFUSED(rwkvk_session_create(model, &two), RWKVK_ERROR_BUSY, "max_sessions");
	GIVES(two == NULL);
	rwkvk_session_destroy(one);
	FINE(rwkvk_session_create(model, &one));
	rwkvk_session_destroy(one);
	rwkvk_session_destroy(NULL);
	close_world();
}

/* ------------------------------------------------------------------------------------------------------ chats */

static void prompts(void)
{
	const rwkvk_chat_message hello = { .role = RWKVK_ROLE_USER, .text = "Hello" };
	rwkvk_chat_template chat = RWKVK_CHAT_G1;
	char text[64];
	size_t bytes;
	WRONG(rwkvk_chat_find(NULL, &chat), "rwkvk_chat_find");
	WRONG(rwkvk_chat_find("g1", NULL), "rwkvk_chat_find");
	REFUSED(rwkvk_chat_find("", &chat), RWKVK_ERROR_ARGUMENT, "expected g1");
	GIVES(rwkvk_chat_name((rwkvk_chat_template)99) == NULL);
	WRONG(rwkvk_chat_render(chat, NULL, 1, NULL, text, 64, &bytes, NULL), "rwkvk_chat_render");
	WRONG(rwkvk_chat_render(chat, &hello, 1, NULL, NULL, 64, &bytes, NULL), "rwkvk_chat_render");
	WRONG(rwkvk_chat_render(chat, &hello, 1, NULL, text, 64, NULL, NULL), "rwkvk_chat_render");
	REFUSED(rwkvk_chat_render((rwkvk_chat_template)99, &hello, 1, NULL, text, 64, &bytes, NULL), RWKVK_ERROR_ARGUMENT, "99");
	REFUSED(rwkvk_chat_render(chat, &(rwkvk_chat_message){ .size = 8 }, 1, NULL, text, 64, &bytes, NULL), RWKVK_ERROR_ARGUMENT,
	        "rwkvk_chat_message.size");
	REFUSED(rwkvk_chat_render(chat, &hello, 1, &(rwkvk_chat_options){ .size = 8 }, text, 64, &bytes, NULL),
	        RWKVK_ERROR_ARGUMENT, "rwkvk_chat_options.size");
	FINE(rwkvk_chat_render(chat, NULL, 0, NULL, NULL, 0, &bytes, NULL));
	WRONG(rwkvk_chat_tool_calls(NULL, "x", 1, text, 64, &bytes), "rwkvk_chat_tool_calls");
	WRONG(rwkvk_chat_tool_calls("[]", NULL, 1, text, 64, &bytes), "rwkvk_chat_tool_calls");
	WRONG(rwkvk_chat_tool_calls("[]", "x", 1, NULL, 64, &bytes), "rwkvk_chat_tool_calls");
	WRONG(rwkvk_chat_tool_calls("[]", "x", 1, text, 64, NULL), "rwkvk_chat_tool_calls");
}

static void answers(void)
{
	rwkvk_chat_template chat = RWKVK_CHAT_G1;
	rwkvk_chat_answer *answer = NULL;
	rwkvk_chat_stops stops = { 0 };
	rwkvk_chat_part part = { 0 };
	open_world();
	const rwkvk_tokenizer *own = rwkvk_model_tokenizer(model);
	WRONG(rwkvk_model_chat(NULL, &chat), "rwkvk_model_chat");
	WRONG(rwkvk_model_chat(model, NULL), "rwkvk_model_chat");
	WRONG(rwkvk_chat_answer_create(chat, NULL, NULL, &answer), "rwkvk_chat_answer_create");
	WRONG(rwkvk_chat_answer_create(chat, NULL, own, NULL), "rwkvk_chat_answer_create");
	REFUSED(rwkvk_chat_answer_create((rwkvk_chat_template)99, NULL, own, &answer), RWKVK_ERROR_ARGUMENT, "99");
	GIVES(answer == NULL);
	FINE(rwkvk_chat_answer_create(chat, NULL, own, &answer));
	WRONG(rwkvk_chat_answer_stops(NULL, &stops), "rwkvk_chat_answer_stops");
	WRONG(rwkvk_chat_answer_stops(answer, NULL), "rwkvk_chat_answer_stops");
	RESULT_SIZE(rwkvk_chat_stops, rwkvk_chat_answer_stops(answer, o));
	WRONG(rwkvk_chat_answer_push(NULL, "x", 1, &part), "rwkvk_chat_answer_push");
	WRONG(rwkvk_chat_answer_push(answer, NULL, 1, &part), "rwkvk_chat_answer_push");
	WRONG(rwkvk_chat_answer_push(answer, "x", 1, NULL), "rwkvk_chat_answer_push");
	RESULT_SIZE(rwkvk_chat_part, rwkvk_chat_answer_push(answer, "", 0, o));
	FINE(rwkvk_chat_answer_push(answer, NULL, 0, &part));
	WRONG(rwkvk_chat_answer_end(NULL, &part), "rwkvk_chat_answer_end");
	WRONG(rwkvk_chat_answer_end(answer, NULL), "rwkvk_chat_answer_end");
	rwkvk_chat_answer_destroy(answer);
	rwkvk_chat_answer_destroy(NULL);
	close_world();
}

/* ------------------------------------------------------------------------------------------------------ the cache */

static void caches(void)
{
	rwkvk_cache *cache = NULL;
	rwkvk_cache_stats stats = { 0 };
	uint32_t start;
	open_world();
	WRONG(rwkvk_cache_create(NULL, NULL, &cache), "rwkvk_cache_create");
	WRONG(rwkvk_cache_create(model, NULL, NULL), "rwkvk_cache_create");
	OPTION_SIZES(rwkvk_cache_options, NONE, rwkvk_cache_create(model, o, &cache));
	WRONG(rwkvk_cache_create(model, &(rwkvk_cache_options){ .begin = (rwkvk_begin)9 }, &cache), "begin is 9");
	WRONG(rwkvk_cache_create(model, &(rwkvk_cache_options){ .begin = RWKVK_BEGIN_TOKEN }, &cache), "begin with");
	GIVES(cache == NULL);
	FINE(rwkvk_cache_create(model, NULL, &cache));
	GIVES(rwkvk_cache_fingerprint(NULL) == NULL);
	GIVES(strlen(rwkvk_cache_fingerprint(cache)) == 32);
	WRONG(rwkvk_cache_get_stats(NULL, &stats), "rwkvk_cache_get_stats");
	WRONG(rwkvk_cache_get_stats(cache, NULL), "rwkvk_cache_get_stats");
	RESULT_SIZE(rwkvk_cache_stats, rwkvk_cache_get_stats(cache, o));
	WRONG(rwkvk_cache_add_start(NULL, "x", &start), "rwkvk_cache_add_start");
	WRONG(rwkvk_cache_add_start(cache, NULL, &start), "rwkvk_cache_add_start");
	WRONG(rwkvk_cache_add_start(cache, "x", NULL), "rwkvk_cache_add_start");
	REFUSED(rwkvk_cache_add_start(cache, "/nowhere/start", &start), RWKVK_ERROR_FILE, "/nowhere/start");
	WRONG(rwkvk_cache_put(NULL, "x", 1, NULL, "y", 1), "requirement");
	WRONG(rwkvk_cache_put(cache, NULL, 1, NULL, "y", 1), "requirement");
	WRONG(rwkvk_cache_put(cache, "x", 1, NULL, NULL, 1), "rwkvk_cache_put");
	REFUSED(rwkvk_cache_put(cache, "x", 1, NULL, "y", 1), RWKVK_ERROR_FILE, "is not a state file");
	WRONG(rwkvk_cache_put(cache, "xx", 2, &(rwkvk_prompt_options){ .ends = (size_t[]){ 1 }, .end_count = 1 }, "y", 1),
	      "ends before the text");
	rwkvk_cache_destroy(cache);
	rwkvk_cache_destroy(NULL);
	close_world();
}

static bool no_logits(void *user, size_t index, const float *logits)
{
	(void)user, (void)index, (void)logits;
	return true;
}

static void prompts_of_caches(void)
{
	const size_t ends[] = { 2, 1 };
	rwkvk_cache *cache = NULL;
	rwkvk_prompt *prompt = NULL;
	rwkvk_prompt_info info = { 0 };
	rwkvk_session *own = NULL; /* the other one is fed by the checks */
	size_t count = 7;
	open_world();
	FINE(rwkvk_session_create(model, &own));
	FINE(rwkvk_cache_create(model, NULL, &cache));
	WRONG(rwkvk_prompt_create(NULL, "x", 1, NULL, &prompt), "rwkvk_prompt_create");
	WRONG(rwkvk_prompt_create(cache, NULL, 1, NULL, &prompt), "rwkvk_prompt_create");
	WRONG(rwkvk_prompt_create(cache, "x", 1, NULL, NULL), "rwkvk_prompt_create");
	OPTION_SIZES(rwkvk_prompt_options, NONE, rwkvk_prompt_create(cache, "x", 1, o, &prompt));
	WRONG(rwkvk_prompt_create(cache, "x", 1, &(rwkvk_prompt_options){ .end_count = 1 }, &prompt), "rwkvk_prompt_create");
	WRONG(rwkvk_prompt_create(cache, "xyz", 3, &(rwkvk_prompt_options){ .ends = ends, .end_count = 2 }, &prompt), "ascending");
	WRONG(rwkvk_prompt_create(cache, "x", 1, &(rwkvk_prompt_options){ .ends = ends, .end_count = 1 }, &prompt), "byte 2");
	WRONG(rwkvk_prompt_create(cache, "x", 1, &(rwkvk_prompt_options){ .start = 1 }, &prompt), "start is 1");
	GIVES(prompt == NULL);
	FINE(rwkvk_prompt_create(cache, "xy", 2, NULL, &prompt));
	WRONG(rwkvk_prompt_get_info(NULL, &info), "rwkvk_prompt_get_info");
	WRONG(rwkvk_prompt_get_info(prompt, NULL), "rwkvk_prompt_get_info");
	RESULT_SIZE(rwkvk_prompt_info, rwkvk_prompt_get_info(prompt, o));
	GIVES(rwkvk_prompt_next(NULL, &count) == NULL);
	GIVES(rwkvk_prompt_next(prompt, NULL) == NULL);
	WRONG(rwkvk_prompt_done(prompt, own, 1), "before rwkvk_prompt_begin");
	WRONG(rwkvk_prompt_finish(prompt, own, NULL), "rwkvk_prompt_begin");
	WRONG(rwkvk_prompt_answered(prompt, own, "z", 1, "xyz", 3, NULL, 0), "0 of 2");
	WRONG(rwkvk_prompt_begin(NULL, own), "rwkvk_prompt_begin");
	WRONG(rwkvk_prompt_begin(prompt, NULL), "rwkvk_prompt_begin");
	FINE(rwkvk_prompt_begin(prompt, own));
	WRONG(rwkvk_prompt_done(NULL, own, 1), "rwkvk_prompt_done");
	WRONG(rwkvk_prompt_done(prompt, NULL, 1), "rwkvk_prompt_done");
	WRONG(rwkvk_prompt_done(prompt, own, 3), "3 tokens are said to be read: expected 2");
	WRONG(rwkvk_prompt_answered(prompt, own, "z", 1, "xyz", 3, NULL, 0), "0 of 2");
	WRONG(rwkvk_prompt_finish(NULL, own, NULL), "rwkvk_prompt_finish");
	WRONG(rwkvk_prompt_finish(prompt, NULL, NULL), "rwkvk_prompt_finish");
	OPTION_SIZES(rwkvk_eval_options, NONE, rwkvk_prompt_finish(prompt, own, o));
	WRONG(rwkvk_prompt_finish(prompt, own, &(rwkvk_eval_options){ .on_logits = no_logits }), "on_logits");
	FINE(feed_tokens(own, fed, 1, NULL)); /* someone else's token */
	WRONG(rwkvk_prompt_finish(prompt, own, NULL), "where the session is");
	WRONG(rwkvk_prompt_read(NULL, own, NULL), "requirement");
	WRONG(rwkvk_prompt_read(prompt, NULL, NULL), "requirement");
	FINE(rwkvk_prompt_read(prompt, own, NULL));
	WRONG(rwkvk_prompt_answered(NULL, own, "z", 1, "xyz", 3, NULL, 0), "rwkvk_prompt_answered");
	WRONG(rwkvk_prompt_answered(prompt, NULL, "z", 1, "xyz", 3, NULL, 0), "rwkvk_prompt_answered");
	WRONG(rwkvk_prompt_answered(prompt, own, NULL, 1, "xyz", 3, NULL, 0), "rwkvk_prompt_answered");
	WRONG(rwkvk_prompt_answered(prompt, own, "z", 1, NULL, 3, NULL, 0), "rwkvk_prompt_answered");
	WRONG(rwkvk_prompt_answered(prompt, own, "z", 1, "xyz", 3, NULL, 1), "requirement");
	WRONG(rwkvk_prompt_answered(prompt, own, "z", 1, "xyz", 3, ends, 2), "ascending");
	FINE(rwkvk_prompt_answered(prompt, own, "", 0, "xyz", 3, NULL, 0));
	WRONG(rwkvk_prompt_begin(prompt, own), "has been answered");
	FINE(rwkvk_prompt_finish(prompt, own, NULL));
	rwkvk_prompt_destroy(prompt);
	rwkvk_prompt_destroy(NULL);
	rwkvk_cache_destroy(cache);
	rwkvk_session_destroy(own);
	close_world();
}

/* ------------------------------------------------------------------------------------------------------ feeding */

static void feeding(void)
{
	float logits[VOCAB];
	open_world();
	WRONG(rwkvk_session_reset(NULL), "rwkvk_session_reset");
	WRONG(rwkvk_session_eval(NULL, fed, FED, NULL), "rwkvk_session_eval");
	WRONG(rwkvk_session_eval(session, NULL, 3, NULL), "rwkvk_session_eval");
	WRONG(feed_tokens(session, (uint32_t[]){ 1, VOCAB }, 2, logits), "256");
	WRONG(feed_tokens(session, &(uint32_t){ UINT32_MAX }, 1, logits), "4294967295");
	OPTION_SIZES(rwkvk_eval_options, NONE, rwkvk_session_eval(session, fed, FED, o));
	rwkvk_session_reset(session);
	WRONG(feed_tokens(session, NULL, 0, logits), "feed");
	rwkvk_session_reset(session);
	FINE(rwkvk_session_eval(session, NULL, 0, NULL));
	if (rwkvk_session_position(NULL) != 0)
		complain(__LINE__, "rwkvk_session_position(NULL)", "is not 0");
	/* of a list with a wrong token, none is fed */
	rwkvk_session_reset(session);
	GIVES(rwkvk_session_eval(session, (uint32_t[]){ 1, 2, 3, 4, 5, VOCAB }, 6, NULL) == RWKVK_ERROR_ARGUMENT);
	rwkvk_session_reset(session);
	FINE(rwkvk_session_eval(session, (uint32_t[]){ 1, VOCAB }, 1, NULL)); /* which is past the count */
	close_world();
}

/* ------------------------------------------------------------------------------------------------------ picking */

static rwkvk_status sample(rwkvk_sampling sampling)
{
	uint32_t token = UINT32_MAX;
	return rwkvk_session_sample(session, &sampling, &token);
}

/* By generate with the same setting: the host picks the first token, the device the others. */
static rwkvk_status generate(rwkvk_sampling sampling)
{
	rwkvk_generate_result result = { .reason = RWKVK_END_LENGTH, .tokens = 7 };
	rwkvk_status status = rwkvk_session_generate(
		session, &(rwkvk_generate_options){ .sampling = &sampling, .max_tokens = 5, .ignore_end = true }, &result);
	if (status != RWKVK_OK && (result.reason != RWKVK_END_FAILED || result.tokens != 0))
		complain(__LINE__, "rwkvk_session_generate", "a call that was refused has generated something");
	return status;
}

#define BOTH_WRONG(sampling, part)                                                                                             \
	do {                                                                                                                       \
		WRONG(sample(sampling), part);                                                                                         \
		WRONG(generate(sampling), part);                                                                                       \
	} while (0)

static void sampling(void)
{
	uint32_t token;
	static rwkvk_bias bans[VOCAB];
	for (uint32_t i = 0; i < VOCAB; i++)
		bans[i] = (rwkvk_bias){ i, -INFINITY };
	open_world();
	WRONG(rwkvk_session_sample(NULL, NULL, &token), "rwkvk_session_sample");
	WRONG(rwkvk_session_sample(session, NULL, NULL), "rwkvk_session_sample");
	OPTION_SIZES(rwkvk_sampling, NONE, rwkvk_session_sample(session, o, &token));
	OPTION_SIZES(rwkvk_sampling, NONE,
	             rwkvk_session_generate(session, &(rwkvk_generate_options){ .sampling = o, .max_tokens = 1 }, NULL));
	rwkvk_session_reset(session);
	WRONG(sample((rwkvk_sampling){ 0 }), "feed");
	static const float wrong[] = { NAN, INFINITY, -INFINITY, -1 };
	for (int i = 0; i < 4; i++) {
		if (wrong[i] != INFINITY) { /* top_p >= 1 keeps all */
			BOTH_WRONG(((rwkvk_sampling){ .temperature = 1, .top_p = wrong[i] }), "top");
		}
		BOTH_WRONG(((rwkvk_sampling){ .temperature = wrong[i], .top_p = 1 }), "temperature");
		BOTH_WRONG(((rwkvk_sampling){ .temperature = 1, .top_p = 1, .frequency = 1, .decay = wrong[i] }), "decay");
	}
	BOTH_WRONG(((rwkvk_sampling){ .temperature = 1, .top_p = 1, .frequency = 1, .decay = 1e30f }), "decay");
	for (int i = 0; i < 3; i++) { /* a negative penalty is none, but allowed */
		BOTH_WRONG(((rwkvk_sampling){ .temperature = 1, .top_p = 1, .presence = wrong[i] }), "presence");
		BOTH_WRONG(((rwkvk_sampling){ .temperature = 1, .top_p = 1, .frequency = wrong[i] }), "frequency");
	}
	BOTH_WRONG(((rwkvk_sampling){ .bias_count = 2 }), "");
	BOTH_WRONG(((rwkvk_sampling){ .biases = &(rwkvk_bias){ VOCAB, 1 }, .bias_count = 1 }), "256");
	BOTH_WRONG(((rwkvk_sampling){ .biases = &(rwkvk_bias){ UINT32_MAX, 1 }, .bias_count = 1 }), "4294967295");
	BOTH_WRONG(((rwkvk_sampling){ .biases = &(rwkvk_bias){ 3, NAN }, .bias_count = 1 }), "bias");
	BOTH_WRONG(((rwkvk_sampling){ .biases = &(rwkvk_bias){ 3, INFINITY }, .bias_count = 1 }), "bias");
	BOTH_WRONG(((rwkvk_sampling){ .biases = bans, .bias_count = VOCAB }), "banned");
	close_world();
}

/* Numbers at the limits of floats: they still decide what is picked. */
static void extreme_biases(void)
{
	static const rwkvk_bias up[] = { { 'x', 3e38f }, { 'x', 3e38f } }, down[] = { { 'd', -3e38f }, { 'd', -3e38f } };
	static const rwkvk_bias both[] = { { 'x', 3e38f }, { 'x', 3e38f }, { 'y', 3e38f }, { 'y', 3e38f }, { 'y', -3e38f } };
	uint32_t token = 0;
	open_world();
	for (int greedy = 0; greedy < 2; greedy++) {
		rwkvk_sampling s = { .temperature = greedy ? 0 : 1, .top_p = 1, .biases = up, .bias_count = 2 };
		FINE(rwkvk_session_sample(session, &s, &token));
		GIVES(token == 'x');
		FINE(generate(s));
		s.biases = down;
		FINE(rwkvk_session_sample(session, &s, &token));
		GIVES(token != 'd' && token < VOCAB);
		FINE(generate(s));
		s.biases = both;
		s.bias_count = 5;
		FINE(rwkvk_session_sample(session, &s, &token));
		GIVES(token == 'x' || token == 'y');
		FINE(generate(s));
		FINE(sample((rwkvk_sampling){ .temperature = 3e38f, .top_p = 3e38f, .top_k = UINT32_MAX }));
		FINE(generate(
			(rwkvk_sampling){ .temperature = 1e-38f, .top_p = 1, .presence = 3e38f, .frequency = -3e38f, .decay = 1 }));
	}
	close_world();
}

/* ------------------------------------------------------------------------------------------------------ generating */

static void generating(void)
{
	static uint32_t stops[1025];
	const char *const with_null[] = { "x", NULL }, *const with_empty[] = { "x", "" };
	rwkvk_generate_options options = { .max_tokens = 2 };
	open_world();
	WRONG(rwkvk_session_generate(NULL, &options, NULL), "rwkvk_session_generate");
	OPTION_SIZES(rwkvk_generate_options, NONE, rwkvk_session_generate(session, o, NULL));
	RESULT_SIZE(rwkvk_generate_result, rwkvk_session_generate(session, &options, o));
	rwkvk_session_reset(session);
	WRONG(rwkvk_session_generate(session, &options, NULL), "feed");
	options = (rwkvk_generate_options){ .stop_token_count = 3 };
	WRONG(rwkvk_session_generate(session, &options, NULL), "stop_token");
	options = (rwkvk_generate_options){ .stop_tokens = stops, .stop_token_count = 1025 };
	WRONG(rwkvk_session_generate(session, &options, NULL), "1025");
	options.stop_token_count = SIZE_MAX;
	WRONG(rwkvk_session_generate(session, &options, NULL), "stop tokens");
	options.stop_token_count = 2;
	stops[1] = VOCAB;
	WRONG(rwkvk_session_generate(session, &options, NULL), "256");
	stops[1] = 1;
	options.ignore_end = true;
	WRONG(rwkvk_session_generate(session, &options, NULL), "ignore_end");
	options = (rwkvk_generate_options){ .stop_text_count = 1 };
	WRONG(rwkvk_session_generate(session, &options, NULL), "stop_text");
	options.stop_texts = with_null + 1;
	WRONG(rwkvk_session_generate(session, &options, NULL), "stop_text");
	options.stop_texts = with_null;
	options.stop_text_count = 2;
	WRONG(rwkvk_session_generate(session, &options, NULL), "stop_text");
	options.stop_texts = with_empty;
	WRONG(rwkvk_session_generate(session, &options, NULL), "stop text 1");
	options.stop_text_count = 0; /* a list that is there, but of none */
	options.max_tokens = 2;
	FINE(rwkvk_session_generate(session, &options, NULL));
	FINE(rwkvk_session_generate(session, &(rwkvk_generate_options){ .max_tokens = 2 }, NULL));
	close_world();
}

static bool any_text(void *user, const char *text, size_t bytes)
{
	(void)user, (void)text, (void)bytes;
	return true;
}

/* Texts need a tokenizer. */
static void without_a_tokenizer(void)
{
	const char *const stops[] = { "x" };
	rwkvk_model *mute;
	rwkvk_session *s;
	FINE(rwkvk_model_open(&(rwkvk_model_options){ .path = mute_path, .max_sessions = 1 }, &mute));
	FINE(rwkvk_session_create(mute, &s));
	FINE(rwkvk_session_eval(s, fed, FED, NULL));
	GIVES(rwkvk_model_tokenizer(mute) == NULL);
	WRONG(rwkvk_session_generate(s, &(rwkvk_generate_options){ .stop_texts = stops, .stop_text_count = 1 }, NULL), "vocab");
	WRONG(rwkvk_session_generate(s, &(rwkvk_generate_options){ .on_text = any_text }, NULL), "vocab");
	FINE(rwkvk_session_generate(s, &(rwkvk_generate_options){ .max_tokens = 3 }, NULL));
	GIVES(rwkvk_session_position(s) == FED + 3);
	rwkvk_session_destroy(s);
	rwkvk_model_close(mute);
}

/* Everything that may not be called while the session is generating. */
static void call_everything(void)
{
	float logits[VOCAB];
	uint32_t token;
	rwkvk_session *clone = NULL;
	size_t bytes = rwkvk_session_state_size(session), floats = rwkvk_session_state_floats(session);
	uint8_t *state = calloc(bytes, 1);
	float *numbers = calloc(floats, sizeof *numbers);
	inside = true;
	WRONG(rwkvk_session_eval(session, fed, FED, NULL), "in use");
	WRONG(feed_tokens(session, NULL, 0, logits), "in use");
	WRONG(rwkvk_session_sample(session, NULL, &token), "in use");
	WRONG(rwkvk_session_generate(session, &(rwkvk_generate_options){ .max_tokens = 1 }, NULL), "in use");
	WRONG(rwkvk_session_reset(session), "in use");
	WRONG(rwkvk_session_clone(session, &clone), "in use");
	WRONG(rwkvk_session_state_get(session, state, bytes), "in use");
	WRONG(rwkvk_session_state_set(session, state, bytes), "in use");
	WRONG(rwkvk_session_floats_get(session, numbers, floats), "in use");
	WRONG(rwkvk_session_floats_set(session, numbers, floats, 3), "in use");
	WRONG(rwkvk_session_save(session, scratch_path), "in use");
	WRONG(rwkvk_session_load(session, state_path), "in use");
	NOTHING(rwkvk_session_destroy(session));
	if (clone)
		complain(__LINE__, "rwkvk_session_clone", "made one in a callback");
	inside = false;
	free(state);
	free(numbers);
}

static size_t tokens_seen, bytes_seen;

static bool misusing_token(void *user, const rwkvk_token *token)
{
	(void)user;
	if (++tokens_seen == 2)
		call_everything();
	if (token->id != 'd' + (uint32_t)tokens_seen - 1)
		complain(__LINE__, "on_token", "another token than without misuse");
	return true;
}

static bool misusing_text(void *user, const char *text, size_t bytes)
{
	(void)user, (void)text;
	bytes_seen += bytes;
	if (bytes_seen == 3)
		call_everything();
	return true;
}

static bool misusing_progress(void *user, uint64_t done, uint64_t total)
{
	if (done < total && (*(size_t *)user)++ == 0)
		call_everything();
	return true;
}

static void inside_callbacks(void)
{
	rwkvk_generate_result result = { 0 };
	open_world();
	FINE(rwkvk_session_save(session, state_path));
	const rwkvk_generate_options options = {
		.max_tokens = 6, .ignore_end = true, .on_text = misusing_text, .on_token = misusing_token
	};
	if (rwkvk_session_generate(session, &options, &result) != RWKVK_OK)
		complain(__LINE__, "generate", rwkvk_last_error());
	GIVES(tokens_seen == 6 && bytes_seen == 6 && result.tokens == 6 && result.reason == RWKVK_END_LENGTH);
	size_t calls = 0;
	uint32_t many[400] = { 0 }; /* several chunks of any device */
	if (rwkvk_session_eval(session, many, 400,
	                       &(rwkvk_eval_options){ .progress = misusing_progress, .progress_user = &calls }) != RWKVK_OK)
		complain(__LINE__, "eval", rwkvk_last_error());
	GIVES(calls > 0);
	GIVES(access(scratch_path, F_OK) != 0);
	close_world();
}

static bool closing_token(void *user, const rwkvk_token *token)
{
	(void)token;
	if (++*(size_t *)user == 2)
		rwkvk_model_close(model);
	return true;
}

/* A model that is closed from a callback of its own session: the call fails, and the session frees it. */
static void closed_inside_a_callback(void)
{
	size_t calls = 0;
	rwkvk_generate_result result = { 0 };
	open_world();
	rwkvk_session *s = session;
	session = NULL; /* it will not work again */
	const rwkvk_generate_options options = { .max_tokens = 400, .ignore_end = true, .on_token = closing_token, .user = &calls };
	WRONG(rwkvk_session_generate(s, &options, &result), "closed");
	GIVES(result.reason == RWKVK_END_FAILED && result.tokens >= 2);
	WRONG(rwkvk_session_eval(s, fed, FED, NULL), "closed");
	rwkvk_session_destroy(s);
	rwkvk_file_close(file);
}

/* ------------------------------------------------------------------------------------------------------ states */

static void states(void)
{
	open_world();
	rwkvk_session *clone = session;
	size_t bytes = rwkvk_session_state_size(session), floats = rwkvk_session_state_floats(session);
	uint8_t *state = malloc(2 * bytes); /* trying whether all works makes it longer: tokens that are counted */
	float *numbers = malloc((floats + 1) * sizeof *numbers);
	if (rwkvk_session_state_size(NULL) != 0 || rwkvk_session_state_floats(NULL) != 0)
		complain(__LINE__, "size of the state of NULL", "is not 0");
	WRONG(rwkvk_session_clone(NULL, &clone), "rwkvk_session_clone");
	WRONG(rwkvk_session_clone(session, NULL), "rwkvk_session_clone");
	WRONG(rwkvk_session_state_get(NULL, state, bytes), "rwkvk_session_state_get");
	WRONG(rwkvk_session_state_get(session, NULL, bytes), "rwkvk_session_state_get");
	WRONG(rwkvk_session_state_get(session, state, bytes - 1), "bytes");
	WRONG(rwkvk_session_state_get(session, state, bytes + 1), "bytes");
	WRONG(rwkvk_session_state_get(session, state, 0), "bytes");
	bytes = rwkvk_session_state_size(session);
	FINE(rwkvk_session_state_get(session, state, bytes));
	state[bytes] = 0;
	WRONG(rwkvk_session_state_set(NULL, state, bytes), "rwkvk_session_state_set");
	WRONG(rwkvk_session_state_set(session, NULL, bytes), "rwkvk_session_state_set");
	REFUSED(rwkvk_session_state_set(session, state, bytes - 1), RWKVK_ERROR_FILE, "truncated");
	REFUSED(rwkvk_session_state_set(session, state, bytes + 1), RWKVK_ERROR_FILE, "too long");
	REFUSED(rwkvk_session_state_set(session, state, 0), RWKVK_ERROR_FILE, "");
	state[bytes / 2] ^= 1;
	REFUSED(rwkvk_session_state_set(session, state, bytes), RWKVK_ERROR_FILE, "damaged");
	WRONG(rwkvk_session_floats_get(NULL, numbers, floats), "rwkvk_session_floats_get");
	WRONG(rwkvk_session_floats_get(session, NULL, floats), "rwkvk_session_floats_get");
	WRONG(rwkvk_session_floats_get(session, numbers, floats - 1), "floats");
	FINE(rwkvk_session_floats_get(session, numbers, floats));
	WRONG(rwkvk_session_floats_set(NULL, numbers, floats, 3), "rwkvk_session_floats_set");
	WRONG(rwkvk_session_floats_set(session, NULL, floats, 3), "rwkvk_session_floats_set");
	WRONG(rwkvk_session_floats_set(session, numbers, floats + 1, 3), "floats");
	WRONG(rwkvk_session_floats_set(session, numbers, 0, 3), "floats");
	WRONG(rwkvk_session_floats_set(session, numbers, floats, ((uint64_t)1 << 63) + 1), "position");
	WRONG(rwkvk_session_floats_set(session, numbers, floats, UINT64_MAX), "position");
	static const float wrong[] = { NAN, INFINITY, -INFINITY };
	for (size_t i = 0; i < 3; i++)
		for (size_t at = 0; at < floats; at = at ? floats : floats - 1) {
			float kept = numbers[at];
			numbers[at] = wrong[i];
			WRONG(rwkvk_session_floats_set(session, numbers, floats, 3), "finite");
			numbers[at] = kept;
			if (at == floats - 1)
				break;
		}
	/* set leaves no logits, at any position */
	uint32_t token;
	for (uint64_t position = 3; position; position = position == 3 ? (uint64_t)1 << 63 : 0) {
		if (rwkvk_session_floats_set(session, numbers, floats, position) != RWKVK_OK)
			complain(__LINE__, "rwkvk_session_floats_set", rwkvk_last_error());
		if (rwkvk_session_sample(session, NULL, &token) != RWKVK_ERROR_ARGUMENT)
			complain(__LINE__, "sample after set", "should be refused");
		if (rwkvk_session_position(session) != position)
			complain(__LINE__, "position after set", "is another");
		check_works(__LINE__, "rwkvk_session_floats_set");
	}
	free(state);
	free(numbers);
	close_world();
}

/* No token is fed after the last position. */
static void the_last_position(void)
{
	const uint64_t last = (uint64_t)1 << 63;
	rwkvk_generate_result result = { 0 };
	open_world();
	size_t floats = rwkvk_session_state_floats(session);
	float *numbers = malloc(floats * sizeof *numbers);
	FINE(rwkvk_session_floats_get(session, numbers, floats));
	for (uint64_t before = 0; before < 3; before += 2)
		GIVES(rwkvk_session_floats_set(session, numbers, floats, last - before) == RWKVK_OK &&
		      rwkvk_session_eval(session, fed, FED, NULL) == RWKVK_ERROR_ARGUMENT &&
		      rwkvk_session_position(session) == last - before);
	GIVES(rwkvk_session_floats_set(session, numbers, floats, last - FED - 2) == RWKVK_OK &&
	      rwkvk_session_eval(session, fed, FED, NULL) == RWKVK_OK &&
	      rwkvk_session_generate(session, &(rwkvk_generate_options){ .max_tokens = UINT64_MAX }, &result) == RWKVK_OK &&
	      rwkvk_session_position(session) == last && result.tokens == 2 && result.reason == RWKVK_END_LENGTH);
	free(numbers);
	close_world();
}

static void state_files(void)
{
	rwkvk_state_info info = { 0 };
	open_world();
	WRONG(rwkvk_session_save(NULL, scratch_path), "rwkvk_session_save");
	WRONG(rwkvk_session_save(session, NULL), "rwkvk_session_save");
	REFUSED(rwkvk_session_save(session, ""), RWKVK_ERROR_FILE, "");
	REFUSED(rwkvk_session_save(session, "/nowhere/at/all"), RWKVK_ERROR_FILE, "/nowhere/at/all");
	WRONG(rwkvk_session_load(NULL, scratch_path), "rwkvk_session_load");
	WRONG(rwkvk_session_load(session, NULL), "rwkvk_session_load");
	REFUSED(rwkvk_session_load(session, ""), RWKVK_ERROR_FILE, "");
	REFUSED(rwkvk_session_load(session, "/nowhere/at/all"), RWKVK_ERROR_FILE, "/nowhere/at/all");
	REFUSED(rwkvk_session_load(session, chain_path), RWKVK_ERROR_FILE, "time_state"); /* a model, not a state */
	FINE(rwkvk_session_save(session, state_path));
	WRONG(rwkvk_state_inspect(NULL, RWKVK_STATE_ANY, NULL, &info), "rwkvk_state_inspect");
	WRONG(rwkvk_state_inspect(state_path, RWKVK_STATE_ANY, NULL, NULL), "rwkvk_state_inspect");
	WRONG(rwkvk_state_inspect(state_path, (rwkvk_state_format)99, NULL, &info), "");
	WRONG(rwkvk_state_inspect(state_path, (rwkvk_state_format)-1, NULL, &info), "");
	WRONG(rwkvk_state_inspect(state_path, RWKVK_STATE_RWKV_CPP, NULL, &info), "model");
	RESULT_SIZE(rwkvk_state_info, rwkvk_state_inspect(state_path, RWKVK_STATE_ANY, NULL, o));
	REFUSED(rwkvk_state_inspect("/nowhere/at/all", RWKVK_STATE_ANY, NULL, &info), RWKVK_ERROR_FILE, "/nowhere/at/all");
	REFUSED(rwkvk_state_inspect(state_path, RWKVK_STATE_TRAINED, NULL, &info), RWKVK_ERROR_FILE, "");
	WRONG(rwkvk_state_convert(NULL, RWKVK_STATE_ANY, scratch_path, RWKVK_STATE_NATIVE, NULL), "rwkvk_state_convert");
	WRONG(rwkvk_state_convert(state_path, RWKVK_STATE_ANY, NULL, RWKVK_STATE_NATIVE, NULL), "rwkvk_state_convert");
	WRONG(rwkvk_state_convert(state_path, (rwkvk_state_format)99, scratch_path, RWKVK_STATE_NATIVE, file), "");
	WRONG(rwkvk_state_convert(state_path, RWKVK_STATE_ANY, scratch_path, (rwkvk_state_format)99, file), "");
	WRONG(rwkvk_state_convert(state_path, RWKVK_STATE_ANY, scratch_path, RWKVK_STATE_ANY, file), "");
	WRONG(rwkvk_state_convert(state_path, RWKVK_STATE_ANY, scratch_path, RWKVK_STATE_WEB_RWKV, file), "");
	GIVES(access(scratch_path, F_OK) != 0);
	close_world();
}

/* ------------------------------------------------------------------------------------------------------ tools */

static void measuring(void)
{
	rwkvk_verify_row row = { 0 };
	rwkvk_tune_row cut = { 0 };
	rwkvk_counters counters = { 0 };
	rwkvk_profile_row stage = { 0 };
	rwkvk_sparsity sparsity = { 0 };
	rwkvk_session *other;
	size_t count = 0;
	open_world();
	WRONG(rwkvk_model_verify(NULL, NULL, &row, 1, &count), "rwkvk_model_verify");
	WRONG(rwkvk_model_verify(model, NULL, NULL, 1, &count), "rwkvk_model_verify");
	WRONG(rwkvk_model_verify(model, NULL, &row, 1, NULL), "rwkvk_model_verify");
	OPTION_SIZES(rwkvk_verify_options, NONE, rwkvk_model_verify(model, o, &row, 1, &count));
	RESULT_SIZE(rwkvk_verify_row, rwkvk_model_verify(model, NULL, o, 1, &count));
	WRONG(rwkvk_model_tune(NULL, NULL, &cut, 1, &count), "rwkvk_model_tune");
	WRONG(rwkvk_model_tune(model, NULL, NULL, 1, &count), "rwkvk_model_tune");
	WRONG(rwkvk_model_tune(model, NULL, &cut, 1, NULL), "rwkvk_model_tune");
	OPTION_SIZES(rwkvk_tune_options, NONE, rwkvk_model_tune(model, o, &cut, 1, &count));
	static const double wrong[] = { NAN, -1, -INFINITY };
	for (size_t i = 0; i < 3; i++)
		WRONG(rwkvk_model_tune(model, &(rwkvk_tune_options){ .seconds = wrong[i] }, &cut, 1, &count), "seconds");
	FINE(rwkvk_session_create(model, &other));
	REFUSED(rwkvk_model_verify(model, NULL, &row, 1, &count), RWKVK_ERROR_BUSY, "sessions");
	REFUSED(rwkvk_model_tune(model, NULL, &cut, 1, &count), RWKVK_ERROR_BUSY, "sessions");
	rwkvk_session_destroy(other);
	WRONG(rwkvk_model_counters(NULL, &counters), "rwkvk_model_counters");
	WRONG(rwkvk_model_counters(model, NULL), "rwkvk_model_counters");
	RESULT_SIZE(rwkvk_counters, rwkvk_model_counters(model, o));
	GIVES(!rwkvk_model_profile(NULL, 0, &stage));
	GIVES(!rwkvk_model_profile(model, 0, NULL));
	GIVES(!rwkvk_model_profile(model, 0, &stage)); /* opened without */
	GIVES(!rwkvk_model_profile(model, SIZE_MAX, &stage));
	GIVES(!rwkvk_model_sparsity(NULL, 0, &sparsity));
	GIVES(!rwkvk_model_sparsity(model, 0, NULL));
	GIVES(!rwkvk_model_sparsity(model, 0, &sparsity));
	GIVES(!rwkvk_model_sparsity(model, UINT32_MAX, &sparsity));
	close_world();
}

static void files(void)
{
	rwkvk_chat_template chat;
	rwkvk_model_info info = { 0 };
	rwkvk_metadata entry = { 0 };
	rwkvk_tensor_info tensor = { 0 };
	char gguf[600], temporary[600];
	glob_t found;
	snprintf(gguf, sizeof gguf, "%s.gguf", scratch_path);
	snprintf(temporary, sizeof temporary, "%s.gguf.*", scratch_path);
	open_world();
	WRONG(rwkvk_file_open(NULL, &opened_file), "rwkvk_file_open");
	WRONG(rwkvk_file_open(&(rwkvk_model_options){ .path = chain_path }, NULL), "rwkvk_file_open");
	WRONG(rwkvk_file_open(&(rwkvk_model_options){ 0 }, &opened_file), "rwkvk_model_options");
	WRONG(rwkvk_file_open(&(rwkvk_model_options){ .path = chain_path, .group_norm_epsilon = NAN }, &opened_file), "epsilon");
	WRONG(rwkvk_file_open(&(rwkvk_model_options){ .path = chain_path, .quant = (rwkvk_quant)6 }, &opened_file), "quant");
	WRONG(rwkvk_file_open(&(rwkvk_model_options){ .path = chain_path, .lora_count = 1 }, &opened_file), "own->lora");
	OPTION_SIZES(rwkvk_model_options, { .path = chain_path }, rwkvk_file_open(o, &opened_file));
	REFUSED(rwkvk_file_open(&(rwkvk_model_options){ .path = "/nowhere/model" }, &opened_file), RWKVK_ERROR_FILE,
	        "/nowhere/model");
	GIVES(opened_file == NULL);
	rwkvk_file_close(NULL);
	WRONG(rwkvk_file_get_info(NULL, &info), "rwkvk_file_get_info");
	WRONG(rwkvk_file_get_info(file, NULL), "rwkvk_file_get_info");
	WRONG(rwkvk_file_chat(NULL, &chat), "rwkvk_file_chat");
	WRONG(rwkvk_file_chat(file, NULL), "rwkvk_file_chat");
	RESULT_SIZE(rwkvk_model_info, rwkvk_file_get_info(file, o));
	GIVES(rwkvk_file_tokenizer(NULL) == NULL);
	GIVES(!rwkvk_file_metadata(NULL, 0, &entry));
	GIVES(!rwkvk_file_metadata(file, 0, NULL));
	GIVES(!rwkvk_file_tensor(NULL, 0, &tensor));
	GIVES(!rwkvk_file_tensor(file, 0, NULL));
	GIVES(!rwkvk_file_tensor(file, SIZE_MAX, &tensor));
	tensor.size = 9;
	GIVES(!rwkvk_file_tensor(file, 0, &tensor) && strstr(rwkvk_last_error(), "rwkvk_tensor_info.size is 9"));
	GIVES(rwkvk_vocabulary_for(0) == NULL && rwkvk_vocabulary_for(UINT32_MAX) == NULL);
	WRONG(rwkvk_file_export(NULL, gguf, NULL), "rwkvk_file_export");
	WRONG(rwkvk_file_export(file, NULL, NULL), "rwkvk_file_export");
	WRONG(rwkvk_file_export(file, "", NULL), "");
	WRONG(rwkvk_file_export(file, "/nowhere/model.bin", NULL), ".gguf");
	REFUSED(rwkvk_file_export(file, "/nowhere/model.gguf", NULL), RWKVK_ERROR_FILE, "/nowhere/model.gguf");
	WRONG(rwkvk_file_export(file, gguf, &(rwkvk_export_options){ .type = (rwkvk_export_type)99 }), "type");
	WRONG(rwkvk_file_export(file, gguf, &(rwkvk_export_options){ .type = (rwkvk_export_type)-1 }), "type");
	OPTION_SIZES(rwkvk_export_options, NONE, rwkvk_file_export(file, gguf, o));
	GIVES(access(gguf, F_OK) != 0 && glob(temporary, 0, NULL, &found) == GLOB_NOMATCH);
	REFUSED(rwkvk_file_export(file, chain_path, NULL), RWKVK_ERROR_FILE, "is the model being read");
	FINE(rwkvk_file_export(file, gguf, &(rwkvk_export_options){ .threads = UINT32_MAX }));
	unlink(gguf);
	rwkvk_output *output = NULL;
	WRONG(rwkvk_output_open(NULL, &output), "rwkvk_output_open");
	WRONG(rwkvk_output_open(gguf, NULL), "rwkvk_output_open");
	REFUSED(rwkvk_output_open("/nowhere/x", &output), RWKVK_ERROR_FILE, "/nowhere/x");
	GIVES(output == NULL);
	WRONG(rwkvk_output_write(NULL, "a", 1), "rwkvk_output_write");
	WRONG(rwkvk_output_commit(NULL), "rwkvk_output_commit");
	rwkvk_output_drop(NULL);
	FINE(rwkvk_output_open(gguf, &output));
	WRONG(rwkvk_output_write(output, NULL, 1), "rwkvk_output_write");
	rwkvk_output_drop(output);
	GIVES(access(gguf, F_OK) != 0 && glob(temporary, 0, NULL, &found) == GLOB_NOMATCH);
	rwkvk_outputs_remove();
	close_world();
}

/* ------------------------------------------------------------------------------------------------------ the parent */

#define GROUP(name)                                                                                                            \
	{                                                                                                                          \
#name, name                                                                                                            \
	}
static const struct group {
	const char *name;
	void (*run)(void);
} groups[] = {
	GROUP(errors_and_cancel_objects),
	GROUP(devices),
	GROUP(tokenizers),
	GROUP(opening),
	GROUP(models),
	GROUP(prompts),
	GROUP(answers),
	GROUP(caches),
	GROUP(prompts_of_caches),
	GROUP(feeding),
	GROUP(sampling),
	GROUP(extreme_biases),
	GROUP(generating),
	GROUP(without_a_tokenizer),
	GROUP(inside_callbacks),
	GROUP(closed_inside_a_callback),
	GROUP(states),
	GROUP(the_last_position),
	GROUP(state_files),
	GROUP(measuring),
	GROUP(files),
};
enum { GROUPS = sizeof groups / sizeof *groups };

static void run_in_child(void **state)
{
	const struct group *group = *state;
	int status;
	fflush(NULL);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		alarm(120);
		static const int of_cmocka[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS }; /* it would go on as if in the parent */
		for (size_t i = 0; i < sizeof of_cmocka / sizeof *of_cmocka; i++)
			signal(of_cmocka[i], SIG_DFL);
		signal(SIGABRT, on_abort);
		group->run();
#ifndef NDEBUG
		print_message("    %u assertions\n", assertions);
#endif
		if (abandoned == 0 && LEAKS())
			complain(__LINE__, "leaks", "see above");
		fflush(NULL);
		_exit(failures ? 1 : 0); /* cleaning up at exit is left to the parent */
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		fail_msg("signal %d at %s", WTERMSIG(status), doing);
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool has_device(void)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		size_t count;
		rwkvk_status found = rwkvk_devices(NULL, 0, &count);
		if (found != RWKVK_OK)
			print_message("SKIPPED test_misuse: %s\n", rwkvk_last_error());
		fflush(NULL);
		_exit(found == RWKVK_OK ? 0 : 1);
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int make_files(void **state)
{
	(void)state;
	uint32_t next[300];
	for (uint32_t i = 0; i < 300; i++)
		next[i] = (i + 1) % VOCAB;
	snprintf(chain_path, sizeof chain_path, "%s", test_temp("chain.safetensors"));
	snprintf(mute_path, sizeof mute_path, "%s", test_temp("mute.safetensors"));
	snprintf(scratch_path, sizeof scratch_path, "%s", test_temp("scratch"));
	snprintf(state_path, sizeof state_path, "%s", test_temp("kept.state"));
	make_chain(chain_path, next, VOCAB);
	for (uint32_t i = 0; i < 300; i++)
		next[i] = (i + 1) % 300;
	make_chain(mute_path, next, 300);
	return 0;
}

int main(void)
{
	struct CMUnitTest tests[GROUPS];
	doing = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (doing == MAP_FAILED)
		return 1;
	if (!has_device())
		return 77;
	for (size_t i = 0; i < GROUPS; i++)
		tests[i] = (struct CMUnitTest){ .name = groups[i].name,
			                            .test_func = run_in_child,
			                            .initial_state = (void *)(uintptr_t)&groups[i] };
	return cmocka_run_group_tests(tests, make_files, NULL);
}
