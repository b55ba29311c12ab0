/* A text that is being written, from submission to submission: what picks its tokens, what is held back, the way back to where
 * it ends.  rwkvk_session_generate() is one from its beginning to its end; one that is written in steps lives in its session.
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
	uint32_t *mask;  /* [V4 / 32], what the caller allows; NULL: any */
	float *masked;   /* [V] logits, where the host picks by a mask */
	bool holds;      /* text may have to wait */
	struct stream stream;
	struct trail trail;
	/* Bytes of the text: of all tokens that are known, given to the caller, and of the tokens that are reported. */
	uint64_t written, released, reported;
	bool refused, silent; /* a callback returned false: no more text; on_token did: no more tokens */
	uint64_t begin;       /* position */
	uint64_t tokens;      /* known */
	uint64_t limit;
	rwkvk_generate_result done;
};

/* Checks the options, which are copied; what they point to is needed until the end.  After a failure, too, text_free() follows.
 */
rwkvk_status text_begin(struct text *text, rwkvk_session *session, const rwkvk_generate_options *options);
bool text_ended(const struct text *text);

/* What comes next: the end, if it is cancelled or as long as it may be; else, with *ask, `work` is what the device is to do;
 * without, the host has picked a token, and there is nothing to do. */
rwkvk_status text_next(struct text *text, uint64_t most, struct work *work, bool *ask);
/* Does it alone, where each submission is one session's. */
rwkvk_status text_submit(struct text *text, struct work *work);
/* Neither has been done. */
void text_failed(struct text *text, rwkvk_status status);
/* What came of it, given to the caller. */
rwkvk_status text_take(struct text *text);

/* The end, by the caller: its last reported tokens never happened, and nothing more is reported.  text_finish() follows. */
void text_cut(struct text *text, size_t last);
/* The end, after `status`: releases the rest, takes back what is behind the end, fills in what was done. */
rwkvk_status text_finish(struct text *text, rwkvk_status status);
/* What it has taken; zeroed is allowed. */
void text_free(struct text *text);

/* Options as this version knows them. */
rwkvk_status read_generate_options(const rwkvk_generate_options *given, rwkvk_generate_options *own);
rwkvk_status read_sampling(const rwkvk_sampling *given, rwkvk_sampling *own);

#endif
