/* States of texts in a Redis or Valkey server, which servers of a model share.  The value of a state is what a file in the
 * folder holds.  The store itself decides what it keeps: by its maxmemory-policy, and by the time to live that is set here.
 *
 * Two threads have a connection each: one answers questions, for which the caller waits no longer than its limit, and one
 * writes. So callers never connect, resolve names or send; and threads take no SIGPIPE.  A store that is gone, slow or lying is
 * one that has no states. */
#include "session/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/numbers.h"
#include "base/thread.h"
#include "session/redis.h"

enum { QUEUE = 16 /* states that wait to be written */ };

#define MILLISECOND   UINT64_C(1000000)
#define FIRST_PAUSE   (250 * MILLISECOND) /* after a failure, and twice as long after each further one */
#define LONGEST_PAUSE (30000 * MILLISECOND)
#define CONNECT_TIME  (2000 * MILLISECOND)
#define WRITE_TIME    (5000 * MILLISECOND) /* of a state, and of all that wait when the store ends */
#define SHORT_REPLY   4096                 /* bytes of replies without a state */
#define NOTE_ROOM     640
#define KEY_ROOM      (STATE_KEY_ROOM + sizeof "rwkvk:")

/* A thread's connection.  The thread's alone. */
struct link {
	struct redis *redis; /* NULL: none */
	uint64_t retry_at, pause;
};

/* What a caller waits for.  The caller's until `taken`, then the thread's until `done`. */
struct question {
	struct candidate {
		struct wanted wanted;
		int64_t stored; /* bytes in the store; 0: it has none */
	} * states;
	size_t count;
	uint64_t deadline;
	struct text_state *found;
	bool taken, done, abandoned; /* an abandoned one is freed by the thread */
};

struct remote {
	struct store store;
	struct redis_address address;
	struct state_header want;
	struct listener listener;
	uint64_t ttl, tokens, wait;
	struct thread reader, writer;
	struct mutex lock; /* guards the members below */
	struct condition asked, answered, queued;
	struct question *question;
	struct text_state *queue[QUEUE]; /* the last one is next */
	size_t waiting;
	bool ending, tried, connected; /* the last two: of the reader */
	uint64_t end_by;
	bool failing, refusing; /* has been reported */
	char note[NOTE_ROOM];   /* to be reported by the next caller; empty: nothing */
	rwkvk_log_level note_level;
	uint64_t lookups, failed, written, unwritten, damaged, bytes_read, bytes_written;
};

/* ---------------------------------------------------------------------------------------------------- reports */

/* With the lock held. */
static void note(struct remote *m, rwkvk_log_level level, const char *what, const char *then)
{
	m->note_level = level;
	snprintf(m->note, sizeof m->note, "state store: %.400s%s", what, then);
}

/* Once, until it works again. */
static void note_failure(struct remote *m, const char *what)
{
	mutex_lock(&m->lock);
	if (!m->failing)
		note(m, RWKVK_LOG_WARNING, what, "; goes on without it, and tries again now and then");
	m->failing = true;
	mutex_unlock(&m->lock);
}

static void note_success(struct remote *m)
{
	mutex_lock(&m->lock);
	if (m->failing)
		note(m, RWKVK_LOG_NOTE, m->address.name, ": answers again");
	m->failing = false;
	mutex_unlock(&m->lock);
}

/* On the thread of a caller, to whom the report goes. */
static void pass_note_on(struct remote *m)
{
	char text[NOTE_ROOM];
	mutex_lock(&m->lock);
	const rwkvk_log_level level = m->note_level;
	memcpy(text, m->note, sizeof text);
	m->note[0] = 0;
	mutex_unlock(&m->lock);
	if (text[0])
		report(&m->listener, level, "%s", text);
}

/* ---------------------------------------------------------------------------------------------------- connections */

static void link_lost(struct remote *m, struct link *link)
{
	note_failure(m, rwkvk_last_error());
	redis_close(link->redis);
	link->redis = NULL;
	link->pause = link->pause ? smaller(2 * link->pause, LONGEST_PAUSE) : FIRST_PAUSE;
	link->retry_at = clock_nanoseconds() + link->pause;
}

static bool link_open(struct remote *m, struct link *link, uint64_t deadline)
{
	if (!link->redis && redis_open(&m->address, deadline, &link->redis) != RWKVK_OK)
		link_lost(m, link);
	return link->redis != NULL;
}

/* Does something over the connection.  One that has been idle may have been closed by the other side, so another one is tried
 * at once; after that there is a pause. */
static bool link_use(struct remote *m, struct link *link, rwkvk_status (*work)(struct remote *, struct redis *, void *),
                     void *what, uint64_t deadline)
{
	rwkvk_status status = work(m, link->redis, what);
	if (status != RWKVK_OK && clock_nanoseconds() < deadline) {
		redis_close(link->redis);
		link->redis = NULL;
		if (!link_open(m, link, deadline))
			return false;
		status = work(m, link->redis, what);
	}
	if (status != RWKVK_OK) {
		link_lost(m, link);
		return false;
	}
	link->pause = 0;
	note_success(m);
	return true;
}

/* Its reply, which is no error. */
static rwkvk_status receive(struct remote *m, struct redis *redis, uint64_t deadline, int type, redisReply **out)
{
	TRY(redis_reply(redis, deadline, SHORT_REPLY, out));
	if ((*out)->type == type)
		return RWKVK_OK;
	rwkvk_status status = fail(RWKVK_ERROR_FILE, "%s: %.200s", m->address.name,
	                           (*out)->type == REDIS_REPLY_ERROR ? (*out)->str : "answers otherwise than Redis does");
	freeReplyObject(*out);
	*out = NULL;
	return status;
}

static rwkvk_status receive_number(struct remote *m, struct redis *redis, uint64_t deadline, int64_t *out)
{
	redisReply *reply;
	TRY(receive(m, redis, deadline, REDIS_REPLY_INTEGER, &reply));
	*out = reply->integer;
	freeReplyObject(reply);
	return RWKVK_OK;
}

static void make_key(const struct state_key *key, char out[KEY_ROOM])
{
	char name[STATE_KEY_ROOM];
	state_key_name(key, name);
	snprintf(out, KEY_ROOM, "rwkvk:%s", name);
}

/* Appends a command about a state's key alone. */
static rwkvk_status add_about(struct redis *redis, const char *command, const struct state_key *key)
{
	char name[KEY_ROOM];
	const char *arguments[] = { command, name };
	make_key(key, name);
	return redis_add(redis, 2, arguments, NULL);
}

/* Its time to live begins anew. */
static rwkvk_status renew(struct remote *m, struct redis *redis, const struct state_key *key, uint64_t deadline)
{
	char name[KEY_ROOM], seconds[24];
	const char *arguments[] = { "EXPIRE", name, seconds };
	int64_t known;
	if (m->ttl == 0)
		return RWKVK_OK;
	make_key(key, name);
	snprintf(seconds, sizeof seconds, "%" PRIu64, m->ttl);
	TRY(redis_add(redis, 3, arguments, NULL));
	return receive_number(m, redis, deadline, &known);
}

/* ---------------------------------------------------------------------------------------------------- questions */

static uint64_t bytes_of(const struct remote *m, size_t text, bool logits)
{
	struct state_header header = m->want;
	header.counts = 0;
	header.logits = logits ? header.logits : 0;
	return text_state_bytes_with(&header, text);
}

/* A value that no server of this model wrote is removed, so that one will. */
static rwkvk_status remove_damaged(struct remote *m, struct redis *redis, const struct state_key *key, uint64_t deadline)
{
	int64_t removed;
	mutex_lock(&m->lock);
	m->damaged++;
	mutex_unlock(&m->lock);
	TRY(add_about(redis, "DEL", key));
	return receive_number(m, redis, deadline, &removed);
}

static rwkvk_status fetch(struct remote *m, struct redis *redis, const struct wanted *wanted, uint64_t deadline,
                          struct text_state **found)
{
	redisReply *reply;
	TRY(add_about(redis, "GET", &wanted->key));
	TRY(redis_reply(redis, deadline, bytes_of(m, wanted->bytes, true) + SHORT_REPLY, &reply));
	if (reply->type == REDIS_REPLY_STRING)
		text_state_parse(m->address.name, (const uint8_t *)reply->str, reply->len, &wanted->key, &m->want, found);
	const bool damaged = reply->type != REDIS_REPLY_NIL && !*found;
	mutex_lock(&m->lock);
	m->bytes_read += reply->type == REDIS_REPLY_STRING ? reply->len : 0;
	mutex_unlock(&m->lock);
	freeReplyObject(reply);
	if (damaged)
		return remove_damaged(m, redis, &wanted->key, deadline);
	return *found ? renew(m, redis, &wanted->key, deadline) : RWKVK_OK;
}

/* Sizes of all values in one exchange; then the first that fits. */
static rwkvk_status answer(struct remote *m, struct redis *redis, void *what)
{
	struct question *q = what;
	for (size_t i = 0; i < q->count; i++)
		TRY(add_about(redis, "STRLEN", &q->states[i].wanted.key));
	for (size_t i = 0; i < q->count; i++)
		TRY(receive_number(m, redis, q->deadline, &q->states[i].stored));
	for (size_t i = 0; i < q->count && !q->found; i++) {
		const struct wanted *wanted = &q->states[i].wanted;
		const uint64_t stored = (uint64_t)q->states[i].stored;
		const bool whole = stored == bytes_of(m, wanted->bytes, true), plain = stored == bytes_of(m, wanted->bytes, false);
		if (whole || (plain && !wanted->logits))
			TRY(fetch(m, redis, wanted, q->deadline, &q->found));
		else if (stored != 0 && !plain)
			TRY(remove_damaged(m, redis, &wanted->key, q->deadline));
	}
	return RWKVK_OK;
}

static void free_question(struct question *q)
{
	text_state_release(q->found);
	free(q->states);
	free(q);
}

/* With the lock held, which is released meanwhile. */
static void serve_question(struct remote *m, struct link *link)
{
	struct question *q = m->question;
	q->taken = true;
	mutex_unlock(&m->lock);
	bool answered = link_use(m, link, answer, q, q->deadline);
	mutex_lock(&m->lock);
	m->failed += !answered && !q->abandoned;
	m->connected = link->redis != NULL;
	m->question = NULL;
	q->done = true;
	if (q->abandoned)
		free_question(q);
	condition_wake_all(&m->answered);
}

static void reconnect(struct remote *m, struct link *link)
{
	mutex_unlock(&m->lock);
	bool open = link_open(m, link, clock_nanoseconds() + CONNECT_TIME);
	mutex_lock(&m->lock);
	m->connected = open;
	m->tried = true;
	condition_wake_all(&m->answered);
}

/* The reading thread: until the store ends. */
static void answer_all(void *user)
{
	struct remote *m = user;
	struct link link = { .redis = NULL };
	mutex_lock(&m->lock);
	while (!m->ending) {
		const uint64_t now = clock_nanoseconds();
		if (!link.redis && now >= link.retry_at)
			reconnect(m, &link);
		else if (!link.redis)
			condition_wait_for(&m->asked, &m->lock, link.retry_at - now);
		else if (m->question)
			serve_question(m, &link);
		else
			condition_wait(&m->asked, &m->lock);
	}
	mutex_unlock(&m->lock);
	redis_close(link.redis);
}

/* With the lock held.  Whether the reader has time before the deadline. */
static bool wait_for_turn(struct remote *m, uint64_t deadline)
{
	for (uint64_t now; m->connected && m->question && (now = clock_nanoseconds()) < deadline;)
		condition_wait_for(&m->answered, &m->lock, deadline - now);
	return m->connected && !m->question;
}

/* Asks, and waits until the answer has come, or its time is over.  With the lock held; q is no longer the caller's. */
static struct text_state *ask(struct remote *m, struct question *q, size_t *which)
{
	m->question = q;
	condition_wake_one(&m->asked);
	for (uint64_t now; !q->done && (now = clock_nanoseconds()) < q->deadline;)
		condition_wait_for(&m->answered, &m->lock, q->deadline - now);
	if (!q->done && q->taken) {
		q->abandoned = true;
		m->failed++;
		return NULL;
	}
	struct text_state *found = q->done ? q->found : NULL;
	if (!q->done) {
		m->question = NULL;
		m->failed++;
	}
	q->found = NULL;
	for (*which = 0; found && *which < q->count; ++*which)
		if (state_keys_equal(&found->key, &q->states[*which].wanted.key))
			break;
	free_question(q);
	return found;
}

static struct question *make_question(const struct remote *m, const struct wanted *wanted, size_t count)
{
	struct question *q = calloc(1, sizeof *q);
	struct candidate *states = calloc(count, sizeof *states);
	if (!q || !states) {
		free(q);
		free(states);
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		states[i].wanted = wanted[i];
	*q = (struct question){ .states = states, .count = count, .deadline = clock_nanoseconds() + m->wait };
	return q;
}

static struct text_state *lookup(struct store *store, const void *text, const struct wanted *wanted, size_t count,
                                 size_t *which)
{
	struct remote *m = (struct remote *)store;
	struct question *q = make_question(m, wanted, count);
	struct text_state *found = NULL;
	if (!q)
		return NULL;
	mutex_lock(&m->lock);
	m->lookups++;
	if (wait_for_turn(m, q->deadline)) {
		found = ask(m, q, which);
	} else {
		m->failed++;
		free_question(q);
	}
	mutex_unlock(&m->lock);
	pass_note_on(m);
	if (found && text_state_is(found, &wanted[*which].key, text, wanted[*which].bytes, wanted[*which].logits))
		return found;
	text_state_release(found); /* another text has the same hash */
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- writing */

struct writing {
	const struct text_state *state;
	uint64_t deadline;
};

/* A store that refuses a state, because it is full for instance, goes on; it is reported once, until it takes another. */
static void count_written(struct remote *m, uint64_t bytes, const redisReply *reply)
{
	const bool written = reply->type == REDIS_REPLY_STATUS;
	mutex_lock(&m->lock);
	m->written += written;
	m->unwritten += !written;
	m->bytes_written += written ? bytes : 0;
	if (!written && !m->refusing)
		note(m, RWKVK_LOG_WARNING, reply->type == REDIS_REPLY_ERROR ? reply->str : "answers otherwise than Redis does",
		     "; the state was not kept there, nor are others until it takes one again");
	m->refusing = !written;
	mutex_unlock(&m->lock);
}

static rwkvk_status set_value(struct remote *m, struct redis *redis, const struct writing *w, const uint8_t *blob,
                              uint64_t bytes)
{
	char name[KEY_ROOM], seconds[24];
	redisReply *reply;
	make_key(&w->state->key, name);
	snprintf(seconds, sizeof seconds, "%" PRIu64, m->ttl);
	const char *arguments[] = { "SET", name, (const char *)blob, "EX", seconds };
	const size_t sizes[] = { 3, strlen(name), (size_t)bytes, 2, strlen(seconds) };
	TRY(redis_add(redis, m->ttl > 0 ? 5 : 3, arguments, sizes));
	TRY(redis_reply(redis, w->deadline, SHORT_REPLY, &reply));
	count_written(m, bytes, reply);
	freeReplyObject(reply);
	return RWKVK_OK;
}

/* An existing value is just as good, unless it lacks the logits: then it is shorter. */
static rwkvk_status write_state(struct remote *m, struct redis *redis, void *what)
{
	const struct writing *w = what;
	const uint64_t bytes = text_state_bytes(w->state);
	int64_t stored;
	TRY(add_about(redis, "STRLEN", &w->state->key));
	TRY(receive_number(m, redis, w->deadline, &stored));
	if ((uint64_t)stored >= bytes)
		return renew(m, redis, &w->state->key, w->deadline);
	uint8_t *blob = malloc(bytes);
	rwkvk_status status = RWKVK_OK;
	if (blob && text_state_build(w->state, blob) == RWKVK_OK)
		status = set_value(m, redis, w, blob, bytes);
	free(blob);
	return status;
}

static uint64_t write_deadline(struct remote *m)
{
	mutex_lock(&m->lock);
	const uint64_t usual = clock_nanoseconds() + WRITE_TIME, deadline = m->ending ? smaller(m->end_by, usual) : usual;
	mutex_unlock(&m->lock);
	return deadline;
}

/* With the lock held, which is released meanwhile.  The newest state first: its conversation goes on soonest. */
static void write_next(struct remote *m, struct link *link)
{
	struct text_state *state = m->queue[--m->waiting];
	mutex_unlock(&m->lock);
	struct writing w = { .state = state, .deadline = write_deadline(m) };
	bool done = link_use(m, link, write_state, &w, w.deadline);
	text_state_release(state);
	mutex_lock(&m->lock);
	m->unwritten += !done;
}

static void drop_queue(struct remote *m)
{
	while (m->waiting > 0)
		text_state_release(m->queue[--m->waiting]);
}

/* The writing thread: until the store ends, and all is written or its time is over. */
static void write_all(void *user)
{
	struct remote *m = user;
	struct link link = { .redis = NULL };
	mutex_lock(&m->lock);
	while (m->waiting > 0 || !m->ending) {
		const uint64_t now = clock_nanoseconds();
		if (m->ending && (now >= m->end_by || (!link.redis && link.pause > 0)))
			drop_queue(m);
		else if (m->waiting == 0)
			condition_wait(&m->queued, &m->lock);
		else if (!link.redis && now < link.retry_at)
			condition_wait_for(&m->queued, &m->lock, link.retry_at - now);
		else if (link.redis) {
			write_next(m, &link);
		} else {
			mutex_unlock(&m->lock);
			link_open(m, &link, clock_nanoseconds() + CONNECT_TIME);
			mutex_lock(&m->lock);
		}
	}
	mutex_unlock(&m->lock);
	redis_close(link.redis);
}

/* A text that no other server would fetch need not be there. */
static void put(struct store *store, struct text_state *state)
{
	struct remote *m = (struct remote *)store;
	if (state->saved.header.position < m->tokens)
		return;
	struct text_state *oldest = NULL;
	mutex_lock(&m->lock);
	if (m->waiting == QUEUE) {
		oldest = m->queue[0];
		memmove(m->queue, m->queue + 1, --m->waiting * sizeof *m->queue);
		m->unwritten++;
	}
	m->queue[m->waiting++] = text_state_take(state);
	condition_wake_one(&m->queued);
	mutex_unlock(&m->lock);
	text_state_release(oldest);
	pass_note_on(m);
}

/* ---------------------------------------------------------------------------------------------------- the store */

static void count(struct store *store, rwkvk_cache_stats *stats)
{
	struct remote *m = (struct remote *)store;
	pass_note_on(m);
	mutex_lock(&m->lock);
	stats->store_connected = m->connected;
	stats->store_lookups = m->lookups;
	stats->store_failed = m->failed;
	stats->store_damaged = m->damaged;
	stats->store_written = m->written;
	stats->store_unwritten = m->unwritten;
	stats->store_bytes_read = m->bytes_read;
	stats->store_bytes_written = m->bytes_written;
	mutex_unlock(&m->lock);
}

static void end_locks(struct remote *m)
{
	condition_destroy(&m->queued);
	condition_destroy(&m->answered);
	condition_destroy(&m->asked);
	mutex_destroy(&m->lock);
}

static void end_threads(struct remote *m, bool writer)
{
	mutex_lock(&m->lock);
	m->ending = true;
	m->end_by = clock_nanoseconds() + WRITE_TIME;
	condition_wake_all(&m->asked);
	condition_wake_all(&m->queued);
	mutex_unlock(&m->lock);
	thread_join(&m->reader);
	if (writer)
		thread_join(&m->writer);
}

static void destroy(struct store *store)
{
	struct remote *m = (struct remote *)store;
	end_threads(m, true);
	pass_note_on(m);
	end_locks(m);
	redis_address_free(&m->address);
	free(m);
}

static bool start_locks(struct remote *m)
{
	if (!mutex_init(&m->lock))
		return false;
	bool asked = condition_init(&m->asked), answered = condition_init(&m->answered), queued = condition_init(&m->queued);
	if (asked && answered && queued)
		return true;
	if (asked)
		condition_destroy(&m->asked);
	if (answered)
		condition_destroy(&m->answered);
	if (queued)
		condition_destroy(&m->queued);
	mutex_destroy(&m->lock);
	return false;
}

static rwkvk_status start(struct remote *m)
{
	if (!start_locks(m))
		return fail(RWKVK_ERROR_MEMORY, "no memory for the state store");
	bool reader = thread_start(&m->reader, answer_all, m), writer = reader && thread_start(&m->writer, write_all, m);
	if (writer)
		return RWKVK_OK;
	if (reader)
		end_threads(m, false);
	end_locks(m);
	return fail(RWKVK_ERROR_MEMORY, "%s: cannot start the threads of the state store", m->address.name);
}

/* A store that is there is there for the first prompt. */
static void wait_for_first(struct remote *m)
{
	const uint64_t deadline = clock_nanoseconds() + m->wait;
	mutex_lock(&m->lock);
	for (uint64_t now; !m->tried && (now = clock_nanoseconds()) < deadline;)
		condition_wait_for(&m->answered, &m->lock, deadline - now);
	mutex_unlock(&m->lock);
	pass_note_on(m);
}

rwkvk_status store_redis_create(const struct store_redis_options *options, const struct state_header *want,
                                const struct listener *listener, struct store **out)
{
	struct remote *m = calloc(1, sizeof *m);
	*out = NULL;
	if (!m)
		return fail(RWKVK_ERROR_MEMORY, "no memory for the state store");
	m->store = (struct store){ lookup, put, count, destroy };
	m->want = *want;
	m->listener = *listener;
	m->ttl = options->ttl;
	m->tokens = options->tokens;
	m->wait = options->wait * MILLISECOND;
	rwkvk_status status = redis_address_parse(options->url, &m->address);
	if (status == RWKVK_OK)
		status = start(m);
	if (status != RWKVK_OK) {
		redis_address_free(&m->address);
		free(m);
		return status;
	}
	wait_for_first(m);
	*out = &m->store;
	return RWKVK_OK;
}
