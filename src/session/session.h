/* A session: a slot of the model's state pool, and the host's knowledge of the text in it. */
#ifndef RWKVK_SESSION_H
#define RWKVK_SESSION_H

#include <stdatomic.h>

#include "engine/engine.h"
#include "network/state_file.h"
#include "session/sampler.h"

struct rwkvk_session {
	rwkvk_model *model;
	uint32_t slot;
	uint64_t position;       /* tokens fed */
	struct occurrences seen; /* generated tokens, for the penalties */
	bool ready;              /* the slot's logits are those after the last token */
	bool counts_on_device;   /* the device's counts equal `seen` */
	rwkvk_bias *biases;      /* the source of the device's biases; NULL: unknown */
	size_t bias_count;
	struct text *text;         /* of generate.c; NULL: none was ever written */
	struct stepping *stepping; /* of step.c; NULL: no text was ever written in steps */
	atomic_bool in_use;        /* a call is running */
};

/* Every public call on a session begins with the first and, if that was RWKVK_OK, ends with the second.  The first refuses
 * calls from inside a callback of a running call and from a second thread at the same time. */
rwkvk_status session_enter(rwkvk_session *session, const char *call);
void session_leave(rwkvk_session *session);
/* The same for calls that continue a text written in steps. */
rwkvk_status session_enter_step(rwkvk_session *session, const char *call);

/* RWKVK_ERROR_ARGUMENT: tokens past the vocabulary, or too many. */
rwkvk_status session_check_tokens(const rwkvk_session *session, const uint32_t *tokens, size_t count);
/* The device has read the first `fed` of `count` tokens; the last one's logits are wanted. */
void session_has_fed(rwkvk_session *session, size_t count, uint32_t fed);

/* step.c: whether a text is being written in steps, during which other calls are refused; and cleanup when the session ends. */
bool session_steps(const rwkvk_session *session);
void session_stop_stepping(rwkvk_session *session);

/* Filters the error of a failed call: if the logits are not numbers because the model's file holds some that are not, the
 * error blames the file instead of the device. */
rwkvk_status session_blame(rwkvk_session *session, rwkvk_status status);

/* rwkvk_session_create(); without `clear` the state is undefined, for callers that write one at once. */
rwkvk_status session_make(rwkvk_model *model, bool clear, rwkvk_session **out);

/* state.c, for the cache, each in one submission.  The first sets the session to this state and its counts.  The second reads
 * its state without counts, with logits if it has them and they are wanted, for saved_state_free(); it fails unless the
 * session is at this position. */
rwkvk_status session_become(rwkvk_session *session, const struct saved_state *saved);
rwkvk_status session_copy_out(rwkvk_session *session, uint64_t position, bool logits, struct saved_state *out);

/* The functions below are called with the model's lock held. */

/* Feeds some of the tokens, as many as one submission takes; *fed: how many.  The head runs after the last of them all. */
rwkvk_status session_feed(rwkvk_session *session, const uint32_t *tokens, size_t count, bool head, uint32_t *fed);

/* Gives the device the counts and biases that it needs to pick tokens in this way; *pick: PICK_*. */
rwkvk_status session_prepare(rwkvk_session *session, const rwkvk_sampling *sampling, uint32_t *pick);

/* Counts a token for the penalties. */
void session_count(rwkvk_session *session, uint32_t token, float decay);

/* The device's part of a reset. */
rwkvk_status session_clear(rwkvk_session *session);

#endif
