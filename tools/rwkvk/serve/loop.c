#include "serve/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "streams.h"
#include "serve/answer.h"
#include "serve/http.h"
#include "serve/reply.h"
#include "terminal.h"

#define PROGRESS_SECONDS 0.5 /* at least, from chunk to chunk of a stream that reports how far its prompt is */

enum {
	IDLE_MILLISECONDS = 100, /* at most, until a signal or a lost client is noticed */
	LAST_SECONDS = 2,        /* to send the last bytes after the time to drain */
};

/* A step being assembled: each work with its owner. */
struct stepping {
	rwkvk_work *works; /* one a session */
	struct job **jobs;
	uint32_t *choices;
	size_t count;
};

/* ---------------------------------------------------------------------------------------------------- to the client */

/* With the lock held. */
static void put(struct job *job, const struct text *piece, int status, bool complete)
{
	if (piece->count > 0)
		text_add(&job->output, piece->bytes, piece->count);
	job->gone |= piece->failed || job->output.failed;
	job->status = status;
	job->complete |= complete;
	job->sent_at = server_now();
	job->written_tokens = 0;
	for (uint32_t i = 0; i < job->request.n; i++)
		job->written_tokens += job->choices[i].tokens;
	http_wake(job);
}

static void deliver(struct server *server, struct job *job, struct text *piece, int status, bool complete)
{
	pthread_mutex_lock(&server->lock);
	put(job, piece, status, complete);
	pthread_mutex_unlock(&server->lock);
	text_free(piece);
}

static void end_sessions(struct server *server, struct job *job)
{
	for (uint32_t i = 0; i < job->request.n; i++) {
		rwkvk_session_destroy(job->choices[i].session);
		job->choices[i].session = NULL;
	}
	pthread_mutex_lock(&server->lock);
	server->sessions -= job->sessions;
	job->sessions = 0;
	pthread_mutex_unlock(&server->lock);
	job->phase = PHASE_DONE;
}

static void fail_job(struct server *server, struct job *job, int status, const char *code, const char *message)
{
	struct refusal refusal;
	struct text piece = { .bytes = NULL };
	if (job->phase != PHASE_KEEPING) { /* else it has had its reply */
		refuse(&refusal, status, code, NULL, "%.*s", MOST_ERROR_TEXT, message);
		reply_error(&refusal, job->request.stream, &piece);
		deliver(server, job, &piece, job->request.stream ? 200 : status, true);
	}
	end_sessions(server, job);
}

/* ---------------------------------------------------------------------------------------------------- phases */

static void begin_job(struct server *server, struct job *job)
{
	rwkvk_prompt_info info = { .size = sizeof info };
	job->phase = PHASE_READING;
	if (rwkvk_session_create(server->model, &job->choices[0].session) != RWKVK_OK ||
	    rwkvk_prompt_begin(job->prompt, job->choices[0].session) != RWKVK_OK) {
		fail_job(server, job, 500, NULL, rwkvk_last_error());
		return;
	}
	rwkvk_prompt_get_info(job->prompt, &info);
	pthread_mutex_lock(&server->lock);
	job->cached_tokens = info.cached;
	server->metrics.prompt_tokens += info.tokens;
	server->metrics.cached_tokens += info.cached;
	pthread_mutex_unlock(&server->lock);
}

static void begin_writing(struct server *server, struct job *job)
{
	struct text piece = { .bytes = NULL };
	bool ok = true;
	for (uint32_t i = 0; i < job->request.n && ok; i++)
		ok = (i == 0 || rwkvk_session_clone(job->choices[0].session, &job->choices[i].session) == RWKVK_OK) &&
		     answer_begin(server, job, i);
	if (!ok) {
		fail_job(server, job, 500, NULL, rwkvk_last_error());
		return;
	}
	job->phase = PHASE_WRITING;
	for (uint32_t i = 0; job->request.stream && i < job->request.n; i++)
		reply_delta(server, job, i, &piece);
	deliver(server, job, &piece, 200, false);
}

/* The reply is complete.  The first text's state is kept for the next turn. */
static void begin_keeping(struct server *server, struct job *job)
{
	struct choice *choice = &job->choices[0];
	struct text history = { .bytes = NULL };
	size_t *ends = calloc(job->request.message_count + 1, sizeof *ends), end_count;
	bool ok = ends && !choice->beyond && !choice->raw.failed;
	if (ok)
		job_history(job, choice, &history, ends, &end_count);
	job->phase = PHASE_KEEPING;
	if (!ok || history.failed || history.count == 0 ||
	    rwkvk_prompt_answered(job->prompt, choice->session, choice->raw.count ? choice->raw.bytes : "", choice->raw.count,
	                          history.bytes, history.count, end_count ? ends : NULL, end_count) != RWKVK_OK)
		end_sessions(server, job);
	text_free(&history);
	free(ends);
}

static void end_writing(struct server *server, struct job *job)
{
	struct text piece = { .bytes = NULL };
	if (job->request.stream)
		reply_stream_end(server, job, &piece);
	else
		reply_whole(server, job, &piece);
	deliver(server, job, &piece, 200, true);
	begin_keeping(server, job);
}

/* What the next step is to read for it; NULL once all is read. */
static const uint32_t *next_tokens(struct server *server, struct job *job, size_t *count)
{
	const uint32_t *tokens = rwkvk_prompt_next(job->prompt, count);
	if (*count > 0)
		return tokens;
	if (job->phase == PHASE_READING)
		begin_writing(server, job);
	else
		end_sessions(server, job);
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- a step */

static void add_work(struct stepping *s, struct job *job, uint32_t choice, const uint32_t *tokens, size_t count)
{
	s->works[s->count] = (rwkvk_work){ .size = sizeof(rwkvk_work),
		                               .session = job->choices[choice].session,
		                               .tokens = tokens,
		                               .token_count = count,
		                               .options = tokens ? NULL : &job->choices[choice].options };
	s->jobs[s->count] = job;
	s->choices[s->count++] = choice;
}

/* A client that does not read makes its own texts wait, and nobody else's. */
static bool is_stuck(struct server *server, struct job *job)
{
	pthread_mutex_lock(&server->lock);
	job->stuck = job->request.stream && job->output.count > MOST_OUTPUT;
	pthread_mutex_unlock(&server->lock);
	return job->stuck;
}

static void add_works(struct server *server, struct stepping *s, struct job *job)
{
	size_t count = 0;
	const uint32_t *tokens = NULL;
	job->unserved = false;
	if (job->phase == PHASE_READING || job->phase == PHASE_KEEPING)
		tokens = next_tokens(server, job, &count);
	if (tokens)
		add_work(s, job, 0, tokens, count);
	for (uint32_t i = 0; job->phase == PHASE_WRITING && !is_stuck(server, job) && i < job->request.n; i++)
		if (!job->choices[i].ended)
			add_work(s, job, i, NULL, 0);
}

static void take_text(struct server *server, struct job *job, uint32_t index, const rwkvk_work *work)
{
	struct choice *choice = &job->choices[index];
	struct text piece = { .bytes = NULL };
	if (!answer_take(server, job, index, work)) {
		fail_job(server, job, 500, NULL, rwkvk_last_error());
		return;
	}
	if (job->request.stream && choice->ended)
		reply_choice_end(server, job, index, &piece);
	else if (job->request.stream)
		reply_delta(server, job, index, &piece);
	piece.failed |= choice->text.failed || choice->reasoning.failed || choice->raw.failed;
	deliver(server, job, &piece, 200, false);
	for (uint32_t i = 0; i < job->request.n; i++)
		if (!job->choices[i].ended)
			return;
	end_writing(server, job);
}

static void take_prompt(struct server *server, struct job *job, const rwkvk_work *work)
{
	rwkvk_prompt_info info = { .size = sizeof info };
	struct text piece = { .bytes = NULL };
	job->unserved = work->read == 0;
	if (work->read > 0 && rwkvk_prompt_done(job->prompt, job->choices[0].session, work->read) != RWKVK_OK) {
		fail_job(server, job, 500, NULL, rwkvk_last_error());
		return;
	}
	if (!job->request.stream_progress || !job->request.stream || job->phase != PHASE_READING ||
	    server_now() - job->progress_at < PROGRESS_SECONDS)
		return;
	job->progress_at = server_now();
	rwkvk_prompt_get_info(job->prompt, &info);
	reply_progress(server, job, info.read, &piece);
	deliver(server, job, &piece, 200, false);
}

/* false: the device is lost, so the server cannot go on. */
static bool take_work(struct server *server, const struct stepping *s, size_t index)
{
	struct job *job = s->jobs[index];
	const rwkvk_work *work = &s->works[index];
	if (job->phase == PHASE_DONE) /* another of its texts has failed */
		return true;
	if (work->status != RWKVK_OK)
		fail_job(server, job, 500, NULL, work->error);
	else if (work->options)
		take_text(server, job, s->choices[index], work);
	else
		take_prompt(server, job, work);
	return work->status != RWKVK_ERROR_DEVICE_LOST;
}

static void count_step(struct server *server, const struct stepping *s, double seconds)
{
	uint64_t works = 0;
	pthread_mutex_lock(&server->lock);
	for (size_t i = 0; i < s->count; i++) {
		works += s->works[i].read > 0 || s->works[i].picked_count > 0;
		metrics_tokens(&server->metrics, s->works[i].picked_count, seconds);
	}
	metrics_batch(&server->metrics, works);
	pthread_mutex_unlock(&server->lock);
}

/* false: the device is lost. */
static bool step(struct server *server, struct stepping *s)
{
	double start = server_now();
	if (rwkvk_model_step(server->model, s->works, s->count) != RWKVK_OK) {
		failed_call();
		return false;
	}
	count_step(server, s, server_now() - start);
	bool ok = true;
	for (size_t i = 0; i < s->count; i++)
		ok &= take_work(server, s, i);
	return ok;
}

/* ---------------------------------------------------------------------------------------------------- who runs */

/* Removes finished jobs from the list, and puts first those that the last step had no room for. */
static void sort_active(struct server *server)
{
	struct job *first = NULL, **first_end = &first, *rest = NULL, **rest_end = &rest;
	for (struct job *job = server->active, *next; job; job = next) {
		next = job->next;
		job->next = NULL;
		if (job->phase == PHASE_DONE) {
			pthread_mutex_lock(&server->lock);
			server->running--;
			job_release(job);
			pthread_mutex_unlock(&server->lock);
			continue;
		}
		struct job ***end = job->unserved ? &first_end : &rest_end;
		**end = job;
		*end = &job->next;
	}
	*first_end = rest;
	server->active = first;
}

/* The first of the queue becomes the last of those that run, if there are as many sessions as it needs. */
static struct job *take_queued(struct server *server)
{
	struct job **end = &server->active;
	pthread_mutex_lock(&server->lock);
	struct job *job = server->queue;
	if (job && server->sessions + job->sessions <= server->options.parallel) {
		server->queue = job->next;
		server->queue_end = server->queue ? server->queue_end : &server->queue;
		server->queued--;
		server->running++;
		server->sessions += job->sessions;
		while (*end)
			end = &(*end)->next;
		*end = job;
		job->next = NULL;
	} else {
		job = NULL;
	}
	pthread_mutex_unlock(&server->lock);
	return job;
}

/* Whether something has changed its phase since the last step. */
static bool is_busy(const struct server *server)
{
	for (const struct job *job = server->active; job; job = job->next)
		if (job->phase == PHASE_DONE || (job->phase == PHASE_WRITING && !job->stuck))
			return true;
	return false;
}

/* A turn that follows at once finds the state of the answer before it: that is one step away. */
static bool is_keeping(const struct server *server)
{
	for (const struct job *job = server->active; job; job = job->next)
		if (job->phase == PHASE_KEEPING)
			return true;
	return false;
}

static void admit(struct server *server)
{
	if (is_keeping(server))
		return;
	for (struct job *job; (job = take_queued(server));)
		begin_job(server, job);
}

/* A silent stream sends a sign of life.  With the lock held. */
static void keep_alive(struct job *job, double now)
{
	static char comment[] = ": waiting\n\n";
	const struct text piece = { .bytes = comment, .count = sizeof comment - 1 };
	if (job->request.stream && !job->complete && job->output.count == 0 && now - job->sent_at >= ALIVE_SECONDS)
		put(job, &piece, 200, false);
}

/* Clients that have gone lose their places. */
static void look_at_clients(struct server *server)
{
	double now = server_now();
	pthread_mutex_lock(&server->lock);
	http_look(server, now);
	for (struct job **at = &server->queue; *at;) {
		struct job *job = *at;
		if (job->gone) {
			*at = job->next;
			server->queued--;
			job_release(job);
			continue;
		}
		keep_alive(job, now);
		at = &job->next;
	}
	server->queue_end = &server->queue;
	while (*server->queue_end)
		server->queue_end = &(*server->queue_end)->next;
	for (struct job *job = server->active; job; job = job->next) {
		job->given_up = job->phase != PHASE_KEEPING && job->gone;
		keep_alive(job, now);
	}
	pthread_mutex_unlock(&server->lock);
	for (struct job *job = server->active; job; job = job->next)
		if (job->given_up)
			fail_job(server, job, 500, NULL, "the client has gone");
}

/* ---------------------------------------------------------------------------------------------------- the end */

static void wait_for_work(struct server *server, long milliseconds)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += milliseconds * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&server->lock);
	if (!server->queue)
		pthread_cond_timedwait(&server->work, &server->lock, &until);
	pthread_mutex_unlock(&server->lock);
}

static void fail_all(struct server *server)
{
	static const char message[] = "the server is shutting down";
	for (struct job *job = server->active; job; job = job->next)
		if (job->phase != PHASE_DONE)
			fail_job(server, job, 503, "shutting_down", message);
	for (struct job *job; (job = take_queued(server));)
		fail_job(server, job, 503, "shutting_down", message);
}

/* Whether the program may end: everything has, or the time is up. */
static bool is_drained(struct server *server, double *deadline)
{
	double now = server_now();
	if (!interrupt_seen())
		return false;
	pthread_mutex_lock(&server->lock);
	if (!server->draining) {
		*deadline = now + (double)server->options.drain;
		note("draining: %" PRIu64 " requests run, %" PRIu64 " wait", server->running, server->queued);
	}
	server->draining = true;
	bool ended = !server->queue && !server->active && server->exchanges == 0;
	pthread_mutex_unlock(&server->lock);
	if (!ended && now > *deadline)
		fail_all(server);
	return ended || now > *deadline + LAST_SECONDS;
}

static bool make_room(struct stepping *s, uint32_t sessions)
{
	s->works = calloc(sessions, sizeof *s->works);
	s->jobs = calloc(sessions, sizeof *s->jobs);
	s->choices = calloc(sessions, sizeof *s->choices);
	return s->works && s->jobs && s->choices;
}

int loop_run(struct server *server)
{
	struct stepping s = { .works = NULL };
	double deadline = 0;
	bool ok = make_room(&s, server->options.parallel);
	while (ok && !is_drained(server, &deadline)) {
		look_at_clients(server);
		sort_active(server);
		admit(server);
		s.count = 0;
		for (struct job *job = server->active; job; job = job->next)
			add_works(server, &s, job);
		if (s.count > 0)
			ok = step(server, &s);
		else if (!is_busy(server))
			wait_for_work(server, IDLE_MILLISECONDS);
	}
	pthread_mutex_lock(&server->lock);
	server->draining = true; /* after a lost device, too: nothing is queued any more */
	pthread_mutex_unlock(&server->lock);
	fail_all(server);
	sort_active(server);
	free(s.works);
	free(s.jobs);
	free(s.choices);
	return ok ? EXIT_DONE : EXIT_FAILED;
}
