/* A session: a slot of the model's state pool and what the host knows of the text in it. */
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
	bool counts_on_device;   /* the device's counts are `seen`'s */
	rwkvk_bias *biases;      /* what the device's biases are made of; NULL: nothing known */
	size_t bias_count;
	struct text *text;         /* generate.c's; NULL: none was ever written */
	struct stepping *stepping; /* step.c's; NULL: no text was ever written in steps */
	atomic_bool in_use;        /* a call is running */
};

/* Every public call on a session begins with the first and, if that was RWKVK_OK, ends with the second: from inside a callback
 * of a running call, and from a second thread at the same time, it is refused. */
rwkvk_status session_enter(rwkvk_session *session, const char *call);
void session_leave(rwkvk_session *session);
/* The same for calls that go on with a text that is written in steps. */
rwkvk_status session_enter_step(rwkvk_session *session, const char *call);

/* RWKVK_ERROR_ARGUMENT: tokens past the vocabulary, or too many. */
rwkvk_status session_check_tokens(const rwkvk_session *session, const uint32_t *tokens, size_t count);
/* The device has read the first `fed` of `count` tokens, the logits of the last of which are wanted. */
void session_has_fed(rwkvk_session *session, size_t count, uint32_t fed);

/* step.c: whether a text is being written in steps, which all other calls wait for; and the session ends. */
bool session_steps(const rwkvk_session *session);
void session_stop_stepping(rwkvk_session *session);

/* What a call failed with, before anyone hears of it: where the logits are no numbers since the model's file holds some that
 * are none, that is said instead of what would be said of the device. */
rwkvk_status session_blame(rwkvk_session *session, rwkvk_status status);

/* rwkvk_session_create(); without `clear` the state is not made empty, which is for whoever writes one at once. */
rwkvk_status session_make(rwkvk_model *model, bool clear, rwkvk_session **out);

/* state.c, for the cache, both in one submission: the session becomes this state, whose counts are its counts; and its state
 * without counts, with the logits if it has them and they are wanted, for saved_state_free().  The latter fails unless the
 * session is at this position. */
rwkvk_status session_become(rwkvk_session *session, const struct saved_state *saved);
rwkvk_status session_copy_out(rwkvk_session *session, uint64_t position, bool logits, struct saved_state *out);

/* The functions below are called with the model's lock held. */

/* Feeds some of the tokens, as many as one submission takes; *fed tells how many.  The head runs after the last of them all. */
rwkvk_status session_feed(rwkvk_session *session, const uint32_t *tokens, size_t count, bool head, uint32_t *fed);

/* What the device needs of counts and biases to pick tokens in this way; *pick: PICK_*. */
rwkvk_status session_prepare(rwkvk_session *session, const rwkvk_sampling *sampling, uint32_t *pick);

/* Counts a token for the penalties. */
void session_count(rwkvk_session *session, uint32_t token, float decay);

/* The device's part of forgetting everything. */
rwkvk_status session_clear(rwkvk_session *session);

#endif
