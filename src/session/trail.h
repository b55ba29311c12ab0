/* The way back of a text that is being written: a state, and the tokens that were read since.  Tokens are picked before anybody
 * knows whether the text goes so far, so it may have to end before the last of them, or within one.
 *
 * The state is kept in a snapshot on the device; while other texts have them all, in a copy of the host's. */
#ifndef RWKVK_SESSION_TRAIL_H
#define RWKVK_SESSION_TRAIL_H

#include "session/session.h"

struct trail_token {
	uint32_t id;
	uint64_t end; /* of its bytes in the text */
	float log_probability;
	uint32_t top_count;
	rwkvk_candidate tops[MAX_TOP];
};

struct trail {
	rwkvk_session *session;
	float decay;       /* of the counts */
	uint32_t snapshot; /* NO_SNAPSHOT: none was free */
	float *copy;       /* [state and logits] instead; NULL: not needed yet */
	bool copied;       /* the kept state is in it */
	uint64_t position; /* of the kept state, whose counts are marked (sampler.h) */
	struct trail_token *tokens;
	size_t count, capacity;
	size_t reported; /* the first of them, which are sure to stay */
	size_t fed;      /* to the device's state; more than count: those behind are not known here yet */
};

/* A way back from so far is made shorter when that costs more than it saves. */
enum { TRAIL_FAR = 64 };

void trail_init(struct trail *trail, rwkvk_session *session, float decay);
/* Also gives back the snapshot. */
void trail_finish(struct trail *trail);

/* The state as it is now is the one to go back to.  Who goes on keeps it: trail_store(), or forward_pick(). */
void trail_start(struct trail *trail);
rwkvk_status trail_store(struct trail *trail);

/* trail_start() where all tokens are reported; `store`: and keeps the state if it is the host that does.  Then the state stays
 * where it was as long as it is near. */
rwkvk_status trail_restart(struct trail *trail, bool store);
/* The state after the reported tokens is the one to go back to, and is kept; the others are read again. */
rwkvk_status trail_shorten(struct trail *trail);

/* Room for so many tokens more. */
rwkvk_status trail_reserve(struct trail *trail, size_t tokens);
/* A token of the text, which the device may have read already; there is room for it.  Counts it. */
void trail_add(struct trail *trail, const struct trail_token *token);

/* Back to the reported tokens, of which all that the device does not have any more are read again.  State, logits, position and
 * counts are then what they alone have made. */
rwkvk_status trail_back(struct trail *trail);
/* Feeds a token that is reported, behind all others. */
rwkvk_status trail_feed(struct trail *trail, uint32_t id);

#endif
