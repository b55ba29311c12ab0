/* How long the first token of a conversation's turn takes, with a state cache that is empty, that holds the turns before, that
 * holds them on disk, and that has them in a Redis or Valkey server (docs/speed.md).
 *
 *     measure_turns MODEL ROUNDS FOLDER [STORE]
 *
 * Turns of some 100 tokens, half of them the user's; at turn 5 and at turn 20; with answers that go on from the prompt as they
 * are, and with answers that had reasoning, which the history leaves out.  Each round asks each cache another question, in
 * turn.  FOLDER is for states, and should be empty, as should STORE, such as redis://127.0.0.1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rwkvk.h>

enum { TURNS = 20, SHORT = 5, MOST_ROUNDS = 50, ROOM = 32768 };

enum way { EMPTY, WARM_SHORT, WARM, DISK, STORE, WAYS };
static const char *const ways[WAYS] = { "empty, turn 20", "warm, turn 5", "warm, turn 20", "on disk, turn 20",
	                                    "in the store, turn 20" };

static const char question[] =
	"I have read that the old harbour was moved twice, once after the great storm and once when the river "
	"had filled it with sand. Which of the two moves made the town richer, and what did people there "
	"think of it at the time?";
static const char answer[] =
	"The second one did. After it ships of any size could come in, and within ten years there were three "
	"times as many merchants as before, although the fishermen, who had to leave their houses by the water, "
	"never forgave the council for what it had decided.";

static void check(rwkvk_status status)
{
	if (status == RWKVK_OK)
		return;
	fprintf(stderr, "%s\n", rwkvk_last_error());
	exit(EXIT_FAILURE);
}

/* ---------------------------------------------------------------------------------------------------- conversations */

/* The messages and then the start of the model's answer; G1's prompt, whatever the model. */
struct talk {
	char text[ROOM];
	size_t bytes, ends[2 * TURNS], count;
};

static void add(struct talk *t, const char *text)
{
	size_t bytes = strlen(text);
	if (t->bytes + bytes > ROOM) {
		fprintf(stderr, "a conversation of more than %d bytes\n", ROOM);
		exit(EXIT_FAILURE);
	}
	memcpy(t->text + t->bytes, text, bytes);
	t->bytes += bytes;
}

/* With reasoning, other questions: what is on disk of one conversation is of no use to the other. */
static void ask(struct talk *t, unsigned turn, unsigned round, bool reasoning)
{
	char number[64];
	snprintf(number, sizeof number, "User: %s %u.%u. ", reasoning ? "Problem" : "Question", turn, round);
	add(t, number);
	add(t, question);
	add(t, "\n\n");
	t->ends[t->count++] = t->bytes;
}

static void tell(struct talk *t)
{
	add(t, "Assistant: ");
	add(t, answer);
	add(t, "\n\n");
	t->ends[t->count++] = t->bytes;
}

static rwkvk_prompt *prompt_of(rwkvk_cache *cache, const struct talk *history, bool reasoning)
{
	static struct talk t;
	rwkvk_prompt *prompt;
	const rwkvk_prompt_options options = { .ends = t.ends, .end_count = history->count };
	t = *history;
	add(&t, reasoning ? "Assistant: <think" : "Assistant:");
	check(rwkvk_prompt_create(cache, t.text, t.bytes, &options, &prompt));
	return prompt;
}

static void add_turn(struct talk *t, unsigned turn, unsigned round, bool reasoning)
{
	ask(t, turn, round, reasoning);
	tell(t);
}

/* ---------------------------------------------------------------------------------------------------- turns */

/* Instead of picking tokens the session reads the answer, which takes less time and leaves the same. */
static void answer_it(rwkvk_prompt *prompt, rwkvk_model *model, rwkvk_session *session, struct talk *history, bool reasoning)
{
	char all[1024];
	uint32_t ids[1024];
	size_t count;
	tell(history);
	int bytes = snprintf(all, sizeof all, " %s", reasoning ? "> Two moves.</think>" : answer);
	check(rwkvk_tokenizer_encode(rwkvk_model_tokenizer(model), all, (size_t)bytes, ids, 1024, &count));
	check(rwkvk_session_eval(session, ids, count, NULL));
	check(rwkvk_prompt_answered(prompt, session, all, (size_t)bytes, history->text, history->bytes, history->ends,
	                            history->count));
	check(rwkvk_prompt_finish(prompt, session, NULL));
}

static void take_turn(rwkvk_cache *cache, rwkvk_model *model, rwkvk_session *session, unsigned turn, unsigned round,
                      bool reasoning, struct talk *history)
{
	ask(history, turn, round, reasoning);
	rwkvk_prompt *prompt = prompt_of(cache, history, reasoning);
	check(rwkvk_prompt_read(prompt, session, NULL));
	answer_it(prompt, model, session, history, reasoning);
	rwkvk_prompt_destroy(prompt);
}

struct sample {
	double milliseconds[MOST_ROUNDS];
	unsigned count;
	rwkvk_prompt_info info;
};

static double now(void)
{
	struct timespec time;
	timespec_get(&time, TIME_UTC);
	return 1e3 * (double)time.tv_sec + 1e-6 * (double)time.tv_nsec;
}

/* From the text to the first token. */
static void measure(rwkvk_cache *cache, rwkvk_session *session, struct talk *history, unsigned turn, unsigned round,
                    bool reasoning, struct sample *sample)
{
	uint32_t token;
	ask(history, turn, round, reasoning);
	double start = now();
	rwkvk_prompt *prompt = prompt_of(cache, history, reasoning);
	check(rwkvk_prompt_read(prompt, session, NULL));
	check(rwkvk_session_sample(session, NULL, &token));
	sample->milliseconds[sample->count++] = now() - start;
	fprintf(stderr, "turn %u: %.0f ms\n", turn, sample->milliseconds[sample->count - 1]);
	sample->info.size = sizeof sample->info;
	check(rwkvk_prompt_get_info(prompt, &sample->info));
	rwkvk_prompt_destroy(prompt);
}

/* ---------------------------------------------------------------------------------------------------- rounds */

/* folder, store: NULL for none. */
static rwkvk_cache *make_cache(rwkvk_model *model, const char *folder, const char *store)
{
	rwkvk_cache *cache;
	const rwkvk_cache_options options = {
		.disk = folder ? UINT64_C(8) << 30 : 0, .dir = folder, .store = store, .store_tokens = 1, .store_wait = 10000
	};
	check(rwkvk_cache_create(model, &options, &cache));
	return cache;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void print(const char *way, bool reasoning, struct sample *s)
{
	qsort(s->milliseconds, s->count, sizeof *s->milliseconds, by_size);
	printf("| %s%s | %llu | %llu | %.0f | %.0f to %.0f |\n", way, reasoning ? ", reasoning" : "",
	       (unsigned long long)s->info.tokens, (unsigned long long)s->info.cached, s->milliseconds[s->count / 2],
	       s->milliseconds[0], s->milliseconds[s->count - 1]);
}

/* The measured conversations and caches. */
struct run {
	rwkvk_model *model;
	rwkvk_session *session;
	bool reasoning;
	const char *folder, *store; /* the store may be NULL */
	struct talk early, late;    /* but for the last two turns */
	rwkvk_cache *early_cache, *late_cache;
	struct sample samples[WAYS];
};

/* The turn before the measured one is different each time, so that no cache knows it from an earlier reading. */
static void run_way(struct run *r, enum way way, unsigned round)
{
	static struct talk history;
	const unsigned turn = way == WARM_SHORT ? SHORT : TURNS, number = round * WAYS + way;
	const bool own = way == EMPTY || way == DISK || way == STORE;
	const char *folder = way == DISK ? r->folder : NULL, *store = way == STORE ? r->store : NULL;
	rwkvk_cache *cache = way == WARM_SHORT ? r->early_cache : own ? make_cache(r->model, folder, store) : r->late_cache;
	history = way == WARM_SHORT ? r->early : r->late;
	if (way == EMPTY)
		add_turn(&history, turn - 1, number, r->reasoning);
	else
		take_turn(cache, r->model, r->session, turn - 1, number, r->reasoning, &history);
	if (way == DISK || way == STORE) { /* once it is destroyed, all is there */
		rwkvk_cache_destroy(cache);
		cache = make_cache(r->model, folder, store);
	}
	measure(cache, r->session, &history, turn, round, r->reasoning, &r->samples[way]);
	if (own)
		rwkvk_cache_destroy(cache);
}

/* A history, and some state for it: how long anything takes does not depend on its numbers. */
static void make_history(struct run *r, rwkvk_cache *cache, unsigned turns, struct talk *history)
{
	const rwkvk_prompt_options options = { .ends = history->ends, .end_count = 2 * turns };
	const uint32_t token = 1;
	for (unsigned i = 1; i <= turns; i++)
		add_turn(history, i, 0, r->reasoning);
	check(rwkvk_session_reset(r->session));
	check(rwkvk_session_eval(r->session, &token, 1, NULL));
	size_t bytes = rwkvk_session_state_size(r->session);
	void *state = malloc(bytes);
	if (!state)
		exit(EXIT_FAILURE);
	check(rwkvk_session_state_get(r->session, state, bytes));
	check(rwkvk_cache_put(cache, history->text, history->bytes, &options, state, bytes));
	free(state);
}

static void run(struct run *r, unsigned rounds)
{
	const enum way ways_here = r->store ? WAYS : STORE;
	r->early_cache = make_cache(r->model, NULL, NULL);
	r->late_cache = make_cache(r->model, r->folder, r->store);
	make_history(r, r->early_cache, SHORT - 2, &r->early);
	make_history(r, r->late_cache, TURNS - 2, &r->late);
	for (unsigned round = 0; round < rounds; round++)
		for (enum way way = EMPTY; way < ways_here; way++)
			run_way(r, way, round);
	for (enum way way = EMPTY; way < ways_here; way++)
		print(ways[way], r->reasoning, &r->samples[way]);
	fflush(stdout);
	rwkvk_cache_destroy(r->early_cache);
	rwkvk_cache_destroy(r->late_cache);
}

int main(int count, char **words)
{
	rwkvk_model *model;
	rwkvk_session *session;
	int rounds = count == 4 || count == 5 ? atoi(words[2]) : 0;
	if (rounds < 1 || rounds > MOST_ROUNDS) {
		fprintf(stderr, "usage: measure_turns MODEL ROUNDS FOLDER [STORE], with up to %d rounds\n", MOST_ROUNDS);
		return EXIT_FAILURE;
	}
	check(rwkvk_model_open(&(rwkvk_model_options){ .path = words[1] }, &model));
	check(rwkvk_session_create(model, &session));
	printf("| cache | tokens | known | ms | |\n| --- | ---: | ---: | ---: | --- |\n");
	static struct run plain, reasoning;
	plain = (struct run){ .model = model, .session = session, .folder = words[3], .store = words[4] };
	run(&plain, (unsigned)rounds);
	reasoning = (struct run){ .model = model, .session = session, .folder = words[3], .store = words[4], .reasoning = true };
	run(&reasoning, (unsigned)rounds);
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	return EXIT_SUCCESS;
}
