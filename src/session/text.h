/* A text being written, from submission to submission: how its tokens are picked, held bytes, and the way back to its end.
 * rwkvk_session_generate() writes one from beginning to end; a text written in steps lives in its session.
 */
#ifndef RWKVK_SESSION_TEXT_H
#define RWKVK_SESSION_TEXT_H

#include "session/trail.h"
#include "text/stream.h"

struct text {
	rwkvk_session *session;
	rwkvk_generate_options options;
	rwkvk_sampling sampling;
	struct asking asking;
	struct picked picked;
	bool prepared;   /* the device has the counts and biases that picking needs */
	void *mask_user; /* of options.mask */
	uint32_t *mask;  /* [V4 / 32], tokens that the caller allows; NULL: any */
	float *masked;   /* [V] logits, if the host picks by a mask */
	bool holds;      /* bytes may have to wait */
	struct stream stream;
	struct trail trail;
	/* Bytes of the text: of all known tokens, of those given to the caller, and of the reported tokens. */
	uint64_t written, released, reported;
	bool refused, silent; /* a callback returned false: no more text; on_token did: no more tokens */
	uint64_t begin;       /* position */
	uint64_t tokens;      /* known */
	uint64_t limit;
	rwkvk_generate_result done;
};

/* Checks and copies the options; data that they point to is needed until the end.  Call text_free() after a failure, too.
 */
rwkvk_status text_begin(struct text *text, rwkvk_session *session, const rwkvk_generate_options *options);
bool text_ended(const struct text *text);

/* The next piece of work.  The text may end here, if cancelled or at its length limit.  Otherwise, with *ask, `work` is for
 * the device; without, the host has picked a token, and there is nothing to run. */
rwkvk_status text_next(struct text *text, uint64_t most, struct work *work, bool *ask);
/* Runs the work alone, if each submission is one session's. */
rwkvk_status text_submit(struct text *text, struct work *work);
/* The work has not been run. */
void text_failed(struct text *text, rwkvk_status status);
/* Reports the result of the work to the caller. */
rwkvk_status text_take(struct text *text);

/* Ends the text for the caller and undoes its last reported tokens; nothing more is reported.  text_finish() follows. */
void text_cut(struct text *text, size_t last);
/* Ends the text, after `status`: releases the rest, undoes everything past the end, fills in the result. */
rwkvk_status text_finish(struct text *text, rwkvk_status status);
/* Frees its memory; zeroed is allowed. */
void text_free(struct text *text);

/* Options as this version's struct. */
rwkvk_status read_generate_options(const rwkvk_generate_options *given, rwkvk_generate_options *own);
rwkvk_status read_sampling(const rwkvk_sampling *given, rwkvk_sampling *own);

#endif
