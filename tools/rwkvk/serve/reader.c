#include "serve/reader.h"

#include <inttypes.h>
#include <stdlib.h>

#include "serve/reply.h"

void reader_drop_body(struct server *server, struct exchange *x)
{
	pthread_mutex_lock(&server->lock);
	server->bodies -= x->counted;
	pthread_mutex_unlock(&server->lock);
	x->counted = 0;
	text_free(&x->body);
}

/* ---------------------------------------------------------------------------------------------------- generations */

/* Whether the queue has room.  If so, the loop takes the job over, and may wake the connection of one that is no stream. */
static bool queue_job(struct server *server, struct exchange *x, struct job *job)
{
	pthread_mutex_lock(&server->lock);
	bool room = server->queued < server->options.queue, draining = server->draining;
	if (room && !draining) {
		x->job = job;
		job->connection = x->connection;
		job->socket = x->socket;
		job->sent_at = server_now();
		job->suspended = !job->request.stream;
		*server->queue_end = job;
		server->queue_end = &job->next;
		server->queued++;
		pthread_cond_signal(&server->work);
	}
	pthread_mutex_unlock(&server->lock);
	if (draining)
		return refuse(&x->refusal, 503, "shutting_down", NULL, "the server is shutting down");
	return room || refuse(&x->refusal, 503, "queue_full", NULL, "%" PRIu64 " requests wait already; try again later",
	                      server->options.queue);
}

/* Whether the connection is to sleep on; the exchange may then be gone already. */
static bool begin_generation(struct server *server, struct exchange *x, struct request *request)
{
	bool stream = request->stream;
	struct job *job = job_create(server, request, &x->refusal);
	if (!job)
		return false;
	if (queue_job(server, x, job))
		return !stream;
	job->references = 1;
	job_release(job);
	return false;
}

/* ---------------------------------------------------------------------------------------------------- the thread */

/* Whether the connection is to sleep on. */
static bool read_request(struct server *server, struct exchange *x)
{
	struct request request;
	bool ok =
		request_read(&request, x->endpoint, x->body.count ? x->body.bytes : "", x->body.count, &server->limits, &x->refusal);
	reader_drop_body(server, x);
	if (!ok)
		return false;
	if (x->endpoint == ENDPOINT_CHAT || x->endpoint == ENDPOINT_COMPLETIONS)
		return begin_generation(server, x, &request);
	if (x->endpoint == ENDPOINT_TOKENIZE)
		reply_tokenize(server, &request, &x->reply, &x->refusal);
	else
		reply_detokenize(server, &request, &x->reply);
	request_free(&request);
	return false;
}

static struct exchange *take_unread(struct server *server)
{
	pthread_mutex_lock(&server->lock);
	while (!server->unread && !server->reader_ends)
		pthread_cond_wait(&server->arrived, &server->lock);
	struct exchange *x = server->unread;
	if (x) {
		server->unread = x->next;
		server->unread_end = server->unread ? server->unread_end : &server->unread;
	}
	pthread_mutex_unlock(&server->lock);
	return x;
}

static void *read_requests(void *user)
{
	struct server *server = user;
	for (struct exchange *x; (x = take_unread(server));) {
		struct MHD_Connection *connection = x->connection;
		if (!read_request(server, x))
			MHD_resume_connection(connection);
	}
	return NULL;
}

bool reader_add(struct server *server, struct exchange *x, struct MHD_Connection *connection, MHD_socket socket)
{
	pthread_mutex_lock(&server->lock);
	bool ended = server->reader_ends;
	if (!ended) {
		x->connection = connection;
		x->socket = socket;
		*server->unread_end = x;
		server->unread_end = &x->next;
		MHD_suspend_connection(connection);
		pthread_cond_signal(&server->arrived);
	}
	pthread_mutex_unlock(&server->lock);
	return !ended;
}

bool reader_start(struct server *server)
{
	server->unread_end = &server->unread;
	return pthread_create(&server->reader, NULL, read_requests, server) == 0;
}

void reader_stop(struct server *server)
{
	pthread_mutex_lock(&server->lock);
	server->reader_ends = true;
	pthread_cond_signal(&server->arrived);
	pthread_mutex_unlock(&server->lock);
	pthread_join(server->reader, NULL);
}
