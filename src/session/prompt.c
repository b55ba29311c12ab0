/* Reading a text into a session.  It is cut at ends of messages and within long ones (text/prefix.h), each piece is encoded by
 * itself, and reading begins where the longest known state ends.
 *
 * Reading tokens in a chunk or one by one changes their bits, so the choice must not depend on which states are known.  Pieces
 * long enough for a chunk are read together, and so are short ones, but never both in one call. */
#include "session/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/structs.h"
#include "network/states.h"
#include "text/prefix.h"

/* rwkvk_prompt_options.keep_tokens: with it, reading a history for the first time takes about as long as without a cache. */
enum { KEEP_TOKENS = 128 };

struct piece {
	size_t bytes, tokens; /* of the text up to its end */
	uint64_t hash;        /* of that */
	bool message;         /* a message ends there */
	bool keep;
};

struct rwkvk_prompt {
	rwkvk_cache *cache;
	const struct start *start; /* NULL: the empty state */
	char *text;
	size_t bytes;
	struct piece *pieces; /* the last one ends with the text */
	size_t count, cuts;   /* of these; states can be kept for this many */
	uint32_t *tokens;
	size_t token_count, read, keep_tokens;
	uint64_t before;   /* of an answer: tokens of the text that the session had before the first of these */
	uint64_t cached;   /* tokens */
	uint64_t position; /* of the session before tokens[0], counted back from where it began (so it may be below 0) */
	bool begun, answered;
};

/* ------------------------------------------------------------------------------------------------------ pieces */

/* The pieces after the first `from` bytes: bytes and hash of each, and the last one. */
static rwkvk_status make_pieces(rwkvk_prompt *p, const size_t *ends, size_t count, size_t from)
{
	struct prefix *cuts;
	size_t found;
	TRY(prefixes_find(p->text, p->bytes, ends, count, &cuts, &found));
	p->pieces = calloc(found + 1, sizeof *p->pieces);
	for (size_t i = 0, end = 0; p->pieces && i < found; i++) {
		while (end < count && ends[end] < cuts[i].bytes)
			end++;
		if (cuts[i].bytes >= from)
			p->pieces[p->cuts++] = (struct piece){ .bytes = cuts[i].bytes,
				                                   .hash = cuts[i].hash,
				                                   .message = end < count && ends[end] == cuts[i].bytes };
	}
	free(cuts);
	if (!p->pieces)
		return fail(RWKVK_ERROR_MEMORY, "no memory for a prompt of %zu bytes", p->bytes);
	p->count = p->cuts;
	if (p->count == 0 || p->pieces[p->count - 1].bytes < p->bytes)
		p->pieces[p->count++].bytes = p->bytes;
	return RWKVK_OK;
}

/* Vocabularies that compose characters may give more tokens than bytes. */
static rwkvk_status encode(rwkvk_prompt *p, const char *text, size_t bytes, size_t *capacity)
{
	const rwkvk_tokenizer *tokenizer = model_file(p->cache->model)->tokenizer;
	size_t count, room = *capacity - p->token_count;
	TRY(rwkvk_tokenizer_encode(tokenizer, text, bytes, p->tokens + p->token_count, room, &count));
	if (count > room) {
		uint32_t *more = realloc(p->tokens, (*capacity + count) * sizeof *more);
		if (!more)
			return fail(RWKVK_ERROR_MEMORY, "no memory for the tokens of a prompt");
		p->tokens = more;
		*capacity += count;
		TRY(rwkvk_tokenizer_encode(tokenizer, text, bytes, p->tokens + p->token_count, count, &count));
	}
	p->token_count += count;
	return RWKVK_OK;
}

/* Encodes the text after the first `from` bytes, piece by piece. */
static rwkvk_status encode_pieces(rwkvk_prompt *p, size_t from, uint32_t begin)
{
	size_t capacity = p->bytes - from + 1;
	p->tokens = malloc(capacity * sizeof *p->tokens);
	if (!p->tokens)
		return fail(RWKVK_ERROR_MEMORY, "no memory for the tokens of a prompt");
	if (begin != RWKVK_NO_TOKEN)
		p->tokens[p->token_count++] = begin;
	for (size_t i = 0; i < p->count; i++) {
		TRY(encode(p, p->text + from, p->pieces[i].bytes - from, &capacity));
		from = p->pieces[i].bytes;
		p->pieces[i].tokens = p->token_count;
	}
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ life */

static rwkvk_status check_ends(size_t bytes, const size_t *ends, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ends[i] > bytes || (i > 0 && ends[i] < ends[i - 1]))
			return fail(RWKVK_ERROR_ARGUMENT, "message %zu ends at byte %zu: expected ascending ends in a text of %zu bytes", i,
			            ends[i], bytes);
	return RWKVK_OK;
}

/* from: bytes of the text that have been read. */
static rwkvk_status fill_prompt(rwkvk_prompt *p, const void *text, size_t bytes, const size_t *ends, size_t count, size_t from,
                                uint32_t begin)
{
	p->text = malloc(bytes + 1);
	p->bytes = bytes;
	if (!p->text)
		return fail(RWKVK_ERROR_MEMORY, "no memory for a prompt of %zu bytes", bytes);
	if (bytes > 0)
		memcpy(p->text, text, bytes);
	TRY(make_pieces(p, ends, count, from));
	return encode_pieces(p, from, begin);
}

static void free_content(rwkvk_prompt *p)
{
	free(p->text);
	free(p->pieces);
	free(p->tokens);
}

static rwkvk_status init_prompt(rwkvk_prompt *p, const void *text, size_t bytes, const rwkvk_prompt_options *options)
{
	const size_t *ends = options->ends ? options->ends : &bytes;
	const size_t count = options->ends ? options->end_count : 1;
	TRY(check_ends(bytes, ends, count));
	TRY(cache_start(p->cache, options->start, &p->start));
	p->keep_tokens = options->keep_tokens ? options->keep_tokens : KEEP_TOKENS;
	return fill_prompt(p, text, bytes, ends, count, 0, p->start ? RWKVK_NO_TOKEN : p->cache->begin);
}

rwkvk_status rwkvk_prompt_create(rwkvk_cache *cache, const void *text, size_t bytes, const rwkvk_prompt_options *given,
                                 rwkvk_prompt **out)
{
	rwkvk_prompt_options options;
	REQUIRE(cache && (text || bytes == 0) && out);
	*out = NULL;
	TRY(READ_OPTIONS(rwkvk_prompt_options, keep_tokens, given, &options));
	REQUIRE(options.ends || options.end_count == 0);
	rwkvk_prompt *p = calloc(1, sizeof *p);
	if (!p)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	p->cache = cache;
	rwkvk_status status = init_prompt(p, text, bytes, &options);
	if (status == RWKVK_OK)
		*out = p;
	else
		rwkvk_prompt_destroy(p);
	return status;
}

void rwkvk_prompt_destroy(rwkvk_prompt *p)
{
	if (p)
		free_content(p);
	free(p);
}

rwkvk_status rwkvk_prompt_get_info(const rwkvk_prompt *p, rwkvk_prompt_info *out)
{
	REQUIRE(p && out);
	const rwkvk_prompt_info own = { .tokens = p->before + p->token_count, .cached = p->cached, .read = p->before + p->read };
	return WRITE_RESULT(rwkvk_prompt_info, read, &own, out);
}

/* ------------------------------------------------------------------------------------------------------ beginning */

static struct state_key key_of(const rwkvk_prompt *p, const struct piece *piece)
{
	return (struct state_key){ p->cache->model_hash, p->start ? p->start->hash : 0, piece->hash };
}

/* If nothing is left to read, going on needs logits. */
static bool is_whole(const rwkvk_prompt *p, const struct piece *piece)
{
	return piece->tokens == p->token_count;
}

/* The longest prefix with a known state; *at: how many tokens it has. */
static struct text_state *find_longest(const rwkvk_prompt *p, size_t *at, enum place *place)
{
	struct wanted *wanted = p->cuts > 0 ? malloc(p->cuts * sizeof *wanted) : NULL;
	struct text_state *found = NULL;
	size_t which;
	for (size_t i = 0; wanted && i < p->cuts; i++) {
		const struct piece *piece = &p->pieces[p->cuts - 1 - i];
		wanted[i] = (struct wanted){ key_of(p, piece), piece->bytes, piece->tokens, is_whole(p, piece) };
	}
	if (wanted)
		found = cache_find(p->cache, p->text, wanted, p->cuts, &which, place);
	*at = found ? wanted[which].tokens : 0;
	free(wanted);
	return found;
}

/* Decides which states to keep, beyond the tokens already read. */
static void choose_keeps(rwkvk_prompt *p)
{
	size_t messages = 0, since = p->read;
	for (size_t i = 0; i < p->cuts; i++)
		messages += p->pieces[i].message;
	for (size_t i = 0; i < p->cuts; i++) {
		struct piece *piece = &p->pieces[i];
		bool last = piece->message && messages <= 2;
		messages -= piece->message;
		piece->keep = piece->tokens >= p->read && (last || piece->tokens - since >= p->keep_tokens);
		if (piece->keep)
			since = piece->tokens;
	}
}

static rwkvk_status become_start(const rwkvk_prompt *p, rwkvk_session *session)
{
	return p->start ? session_become(session, &p->start->saved) : rwkvk_session_reset(session);
}

rwkvk_status rwkvk_prompt_begin(rwkvk_prompt *p, rwkvk_session *session)
{
	size_t at;
	enum place place = IN_MEMORY;
	REQUIRE(p && session && session->model == p->cache->model);
	if (p->answered)
		return fail(RWKVK_ERROR_ARGUMENT, "the prompt has been answered: create another for the text that comes next");
	struct text_state *found = find_longest(p, &at, &place);
	rwkvk_status status = found ? session_become(session, &found->saved) : become_start(p, session);
	text_state_release(found);
	p->begun = status == RWKVK_OK;
	TRY(status);
	p->read = at;
	p->cached = at;
	p->position = session->position - at;
	choose_keeps(p);
	cache_count(p->cache, p->token_count, at, place);
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ reading */

/* The piece that the next token belongs to. */
static size_t next_piece(const rwkvk_prompt *p)
{
	size_t i = 0;
	while (p->pieces[i].tokens <= p->read)
		i++;
	return i;
}

static bool reads_chunk(const rwkvk_prompt *p, size_t piece)
{
	size_t from = piece > 0 ? p->pieces[piece - 1].tokens : 0;
	return forward_reads_chunks(p->cache->model, p->pieces[piece].tokens - from);
}

/* Where the call that reads the next token ends: its pieces are all long, or short even together. */
static size_t next_end(const rwkvk_prompt *p)
{
	size_t i = next_piece(p);
	const bool chunk = reads_chunk(p, i);
	for (; i + 1 < p->count && !p->pieces[i].keep; i++) {
		bool fits = chunk ? reads_chunk(p, i + 1) : !forward_reads_chunks(p->cache->model, p->pieces[i + 1].tokens - p->read);
		if (!fits)
			break;
	}
	return p->pieces[i].tokens;
}

const uint32_t *rwkvk_prompt_next(const rwkvk_prompt *p, size_t *count)
{
	EXPECT(p && count, NULL);
	*count = p->read < p->token_count ? next_end(p) - p->read : 0;
	return *count > 0 ? p->tokens + p->read : NULL;
}

/* Keeps the session's state if it is worth keeping here. */
static void keep(const rwkvk_prompt *p, rwkvk_session *session)
{
	const struct piece *piece = p->pieces;
	while (piece < p->pieces + p->cuts && !(piece->keep && piece->tokens == p->read))
		piece++;
	if (piece == p->pieces + p->cuts)
		return;
	const struct state_key key = key_of(p, piece);
	struct saved_state saved;
	struct text_state *state = NULL;
	error_hold();
	if (session_copy_out(session, p->position + p->read, is_whole(p, piece), &saved) == RWKVK_OK)
		text_state_make(&key, p->text, piece->bytes, &saved, &state);
	error_release();
	if (state)
		cache_keep(p->cache, state);
	text_state_release(state);
}

rwkvk_status rwkvk_prompt_done(rwkvk_prompt *p, rwkvk_session *session, size_t read)
{
	size_t count;
	REQUIRE(p && session && session->model == p->cache->model);
	rwkvk_prompt_next(p, &count);
	if (!p->begun || read > count)
		return fail(RWKVK_ERROR_ARGUMENT, "%zu tokens are said to be read: expected %zu at most%s", read, p->begun ? count : 0,
		            p->begun ? "" : ", before rwkvk_prompt_begin()");
	p->read += read;
	if (read > 0)
		keep(p, session);
	return RWKVK_OK;
}

/* A caller's progress function, and the offset for its numbers. */
struct progress {
	const rwkvk_prompt *prompt;
	const rwkvk_eval_options *options;
	bool stopped;
};

static bool report_progress(void *user, uint64_t done, uint64_t total)
{
	struct progress *progress = user;
	const rwkvk_prompt *p = progress->prompt;
	(void)total;
	progress->stopped =
		!progress->options->progress(progress->options->progress_user, p->before + p->read + done, p->before + p->token_count);
	return !progress->stopped;
}

/* The tokens of one call. */
static rwkvk_status read_next(rwkvk_prompt *p, rwkvk_session *session, const uint32_t *tokens, size_t count,
                              struct progress *progress)
{
	const rwkvk_eval_options own = { .cancel = progress->options->cancel,
		                             .progress = progress->options->progress ? report_progress : NULL,
		                             .progress_user = progress };
	const uint64_t before = session->position;
	rwkvk_status status = rwkvk_session_eval(session, tokens, count, &own);
	TRY(rwkvk_prompt_done(p, session, (size_t)(session->position - before)));
	TRY(status);
	if (progress->stopped && p->read < p->token_count)
		return fail(RWKVK_CANCELLED, "stopped by the caller after %zu of %zu tokens", p->read, p->token_count);
	return RWKVK_OK;
}

static rwkvk_status finish(rwkvk_prompt *p, rwkvk_session *session, const rwkvk_eval_options *options)
{
	struct progress progress = { .prompt = p, .options = options };
	const uint32_t *tokens;
	size_t count;
	if (options->on_logits)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_eval_options.on_logits: a prompt's logits are not all computed");
	if (!p->begun || (p->read < p->token_count && session->position != p->position + p->read))
		return fail(RWKVK_ERROR_ARGUMENT,
		            "the prompt does not continue from where the session is: begin it with rwkvk_prompt_begin()");
	while ((tokens = rwkvk_prompt_next(p, &count)))
		TRY(read_next(p, session, tokens, count, &progress));
	return options->logits ? rwkvk_session_eval(session, NULL, 0, &(rwkvk_eval_options){ .logits = options->logits })
	                       : RWKVK_OK;
}

rwkvk_status rwkvk_prompt_finish(rwkvk_prompt *p, rwkvk_session *session, const rwkvk_eval_options *given)
{
	rwkvk_eval_options options;
	REQUIRE(p && session && session->model == p->cache->model);
	TRY(READ_OPTIONS(rwkvk_eval_options, logits_user, given, &options));
	return finish(p, session, &options);
}

rwkvk_status rwkvk_prompt_read(rwkvk_prompt *p, rwkvk_session *session, const rwkvk_eval_options *options)
{
	TRY(rwkvk_prompt_begin(p, session));
	return rwkvk_prompt_finish(p, session, options);
}

/* ------------------------------------------------------------------------------------------------------ answers */

static bool is_at(const char *text, size_t bytes, size_t at, const void *part, size_t part_bytes)
{
	return at <= bytes && part_bytes <= bytes - at && (part_bytes == 0 || memcmp(text + at, part, part_bytes) == 0);
}

/* The prompt becomes `next`, whose first bytes the session has read. */
static void go_on(rwkvk_prompt *p, const rwkvk_session *session, rwkvk_prompt *next)
{
	next->cached = p->cached;
	next->before = p->before + p->token_count + (session->position - (p->position + p->read));
	next->position = session->position;
	next->begun = next->answered = true;
	free_content(p);
	*p = *next;
	choose_keeps(p);
}

static rwkvk_status check_answered(const rwkvk_prompt *p, const rwkvk_session *session)
{
	if (p->begun && p->read == p->token_count && session->position >= p->position + p->read)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_ARGUMENT, "an answer to a prompt that has not been read: %zu of %zu tokens are",
	            p->begun ? p->read : 0, p->token_count);
}

rwkvk_status rwkvk_prompt_answered(rwkvk_prompt *p, rwkvk_session *session, const void *answer, size_t answer_bytes,
                                   const void *text, size_t bytes, const size_t *ends, size_t count)
{
	REQUIRE(p && session && session->model == p->cache->model && (answer || answer_bytes == 0) && (text || bytes == 0));
	REQUIRE(ends || count == 0);
	TRY(check_ends(bytes, ends, count));
	TRY(check_answered(p, session));
	if (p->cache->read_states_only || !is_at(text, bytes, 0, p->text, p->bytes) ||
	    !is_at(text, bytes, p->bytes, answer, answer_bytes))
		return RWKVK_OK;
	rwkvk_prompt next = { .cache = p->cache, .start = p->start, .keep_tokens = p->keep_tokens };
	rwkvk_status status = fill_prompt(&next, text, bytes, ends, count, p->bytes + answer_bytes, RWKVK_NO_TOKEN);
	if (status != RWKVK_OK) {
		free_content(&next);
		return status;
	}
	go_on(p, session, &next);
	keep(p, session); /* where the text ends with the answer */
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ from elsewhere */

static rwkvk_status put_state(const rwkvk_prompt *p, const void *bytes, size_t count)
{
	const struct state_header want = state_header_of(model_config(p->cache->model));
	struct saved_state saved;
	struct text_state *state;
	if (p->cuts < p->count)
		return fail(RWKVK_ERROR_ARGUMENT, "the last message ends before the text of %zu bytes that the state belongs to",
		            p->bytes);
	TRY(state_file_parse("the state", bytes, count, &want, &saved));
	saved.header.counts = 0;
	const struct state_key key = key_of(p, &p->pieces[p->count - 1]);
	TRY(text_state_make(&key, p->text, p->bytes, &saved, &state));
	cache_keep(p->cache, state);
	text_state_release(state);
	return RWKVK_OK;
}

rwkvk_status rwkvk_cache_put(rwkvk_cache *cache, const void *text, size_t bytes, const rwkvk_prompt_options *options,
                             const void *state, size_t state_bytes)
{
	rwkvk_prompt *prompt;
	REQUIRE(state);
	TRY(rwkvk_prompt_create(cache, text, bytes, options, &prompt));
	rwkvk_status status = put_state(prompt, state, state_bytes);
	rwkvk_prompt_destroy(prompt);
	return status;
}
