/* The way back for a text being written: a state, and the tokens read since.  Tokens are picked before it is known whether the
 * text reaches that far, so the text may have to end before the last of them, or within one.
 *
 * The state is kept in a snapshot on the device; if other texts have all snapshots, in a copy on the host. */
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
	size_t reported; /* the first of these, which are certain to stay */
	size_t fed;      /* fed to the device's state; if more than count, the rest are not known here yet */
};

/* Beyond this length the way back is made shorter. */
enum { TRAIL_FAR = 64 };

void trail_init(struct trail *trail, rwkvk_session *session, float decay);
/* Also gives back the snapshot. */
void trail_finish(struct trail *trail);

/* The current state becomes the one to return to.  The caller then keeps it: trail_store(), or forward_pick(). */
void trail_start(struct trail *trail);
rwkvk_status trail_store(struct trail *trail);

/* trail_start() if all tokens are reported; `store`: also keeps the state if the host keeps it.  In that case the kept state
 * stays where it was as long as it is near. */
rwkvk_status trail_restart(struct trail *trail, bool store);
/* The state after the reported tokens becomes the one to return to, and is kept; the other tokens are read again. */
rwkvk_status trail_shorten(struct trail *trail);

/* Makes room for so many more tokens. */
rwkvk_status trail_reserve(struct trail *trail, size_t tokens);
/* Adds and counts a token of the text, which the device may have read already; there is room for it. */
void trail_add(struct trail *trail, const struct trail_token *token);

/* Returns to the reported tokens; those that the device's state has lost are read again.  State, logits, position and counts
 * are then as if only they had been read. */
rwkvk_status trail_back(struct trail *trail);
/* Feeds a reported token, after all others. */
rwkvk_status trail_feed(struct trail *trail, uint32_t id);

#endif
