/* A session: a slot of the model's state pool and what the host knows of the text in it. */
#ifndef RWKVK_SESSION_H
#define RWKVK_SESSION_H

#include <stdatomic.h>

#include "model/model.h"
#include "session/sampler.h"

struct rwkvk_session {
	rwkvk_model *model;
	uint32_t slot;
	uint64_t position;       /* tokens fed */
	struct occurrences seen; /* generated tokens, for the penalties */
	bool has_logits;         /* after the last token: on the device if model->logits_of is this, else in `logits` */
	float *logits;           /* [V] */
	atomic_bool cancel;
};

/* The functions below are called with the model's lock held. */

/* The logits of the last token. */
const float *session_logits(const rwkvk_session *session);

/* Before the device's logits are overwritten by `session`: whoever owns them gets a copy. */
void session_claim_logits(rwkvk_session *session);

/* Feeds one token. */
rwkvk_status session_feed(rwkvk_session *session, uint32_t token, bool head);

/* True, once, when rwkvk_session_cancel() was called. */
bool session_cancelled(rwkvk_session *session);

/* The device's part of forgetting everything. */
rwkvk_status session_clear(rwkvk_session *session);

#endif
