/* The engine as sessions, verification and tuning see it: a network on a device, with a slot for each session.  A slot has a
 * state, a row of logits, counts and biases; tokens are fed to it and picked in it.  What an engine is made of is in plan.h.
 *
 * But for those that say otherwise, functions are called with the model's lock held. */
#ifndef RWKVK_ENGINE_H
#define RWKVK_ENGINE_H

#include <stdatomic.h>

#include "base/report.h"
#include "network/outline.h"

/* ------------------------------------------------------------------------------------------------------ model.c */

/* Without the lock: what the model was opened from. */
const struct rwkvk_file *model_file(const struct rwkvk_model *model);
const struct config *model_config(const struct rwkvk_model *model);
/* Who hears what there is to say. */
const struct listener *model_listener(const struct rwkvk_model *model);
/* Where it keeps what can be made again; NULL: nowhere. */
const char *model_cache_folder(const struct rwkvk_model *model);

/* Takes the lock, which is around everything that touches the device, unless the model is closed. */
rwkvk_status model_lock(struct rwkvk_model *model);
void model_unlock(struct rwkvk_model *model);
/* Without the lock: the error that a closed model is. */
rwkvk_status model_expect_open(const struct rwkvk_model *model);
/* A slot for a new session, with the start state in it if it is to be `clear`, else anything. */
rwkvk_status model_take_slot(struct rwkvk_model *model, bool clear, uint32_t *slot);
/* One session less; the last one of a closed model frees it.  Takes the lock, of a closed model, too. */
void model_give_slot(struct rwkvk_model *model, uint32_t slot);

/* ------------------------------------------------------------------------------------------------------ slot.c */

/* The state from before the first token. */
rwkvk_status slot_start(struct rwkvk_model *model, uint32_t slot);
/* A state as numbers, [config_state_floats()]. */
rwkvk_status slot_read(struct rwkvk_model *model, uint32_t slot, float *state);
rwkvk_status slot_write(struct rwkvk_model *model, uint32_t slot, const float *state);
/* State and logits. */
rwkvk_status slot_copy(struct rwkvk_model *model, uint32_t from, uint32_t to);
/* [V], in memory of the device. */
float *slot_logits(const struct rwkvk_model *model, uint32_t slot);
/* What tokens are picked by, [V]: how often each was generated, decayed, -1 if it never was; what is added to its logit. */
rwkvk_status slot_write_counts(struct rwkvk_model *model, uint32_t slot, const float *counts);
rwkvk_status slot_write_biases(struct rwkvk_model *model, uint32_t slot, const float *biases);
/* And of all slots, once a model: tokens that count for nothing, a bit each, [V4 / 32]. */
bool model_has_light(const struct rwkvk_model *model);
rwkvk_status model_write_light(struct rwkvk_model *model, const uint32_t *light);

/* A snapshot is a copy of a slot's state and logits, and belongs to a text while it is written.
 *
 * Takes one for a text in this slot, and records how it is made if this pair is new; NO_SNAPSHOT: none is free. */
rwkvk_status slot_take_snapshot(struct rwkvk_model *model, uint32_t slot, uint32_t *snapshot);
/* Takes the lock, of a closed model, too; NO_SNAPSHOT is allowed. */
void slot_give_snapshot(struct rwkvk_model *model, uint32_t snapshot);
/* The slot's state and logits become the snapshot's; and the other way round. */
rwkvk_status slot_keep(struct rwkvk_model *model, uint32_t slot, uint32_t snapshot);
rwkvk_status slot_rewind(struct rwkvk_model *model, uint32_t slot, uint32_t snapshot);

/* ------------------------------------------------------------------------------------------------------ forward.c */

/* Feeds tokens in one submission, as many as the pace allows; *fed tells how many.  The head runs after the last of `count`. */
rwkvk_status forward_feed(struct rwkvk_model *model, uint32_t slot, const uint32_t *tokens, size_t count, bool head,
                          uint32_t *fed);
/* Whether a call with so many tokens reads them in chunks.  Bits depend on that, so it depends on nothing else. */
bool forward_reads_chunks(const struct rwkvk_model *model, size_t count);
/* Tokens of the longest chunk; 0: none is read. */
uint32_t forward_chunk_rows(const struct rwkvk_model *model);
/* Feeds the next chunk of them, in as many submissions as the pace asks for; *fed tells how many tokens it has.  The head runs
 * after the last of `count`.  each: receives the logits of the chunk's tokens, [*fed][V], room for [forward_chunk_rows()][V];
 * NULL: not wanted.  `cancel`, once it is set, ends it after the running submission with RWKVK_CANCELLED; then, as after a
 * failure, the state is that from before the chunk. */
rwkvk_status chunk_feed(struct rwkvk_model *model, uint32_t slot, const uint32_t *tokens, size_t count, bool head, float *each,
                        const atomic_bool *cancel, uint32_t *fed);
rwkvk_status forward_token(struct rwkvk_model *model, uint32_t slot, uint32_t token, bool head);

/* Whether a submission begins with slot_keep(). */
enum keeping {
	KEEP_BEFORE_SEVERAL, /* tokens */
	KEEP_ALWAYS,
	KEEP_NOT,
};
/* How tokens are picked on the device.  The counts and biases that `pick` names are in the picks buffer. */
struct picking {
	uint32_t pick;     /* PICK_* */
	bool bare;         /* no head has made the logits ready for this way of picking */
	uint32_t snapshot; /* NO_SNAPSHOT: none, so one token is picked */
	enum keeping keep; /* in the snapshot, if there is one */
	uint64_t position; /* of the first token */
	const rwkvk_sampling *sampling;
	const uint32_t *stops; /* MAX_STOPS at most */
	size_t stop_count;
};
/* The same for a row of a batch, and what else such a row can have. */
struct asking {
	struct picking picking;   /* PICK_LOGPROB: log-probabilities are wanted; bare, snapshot and keep have no meaning */
	uint32_t most;            /* tokens, MAX_TOKENS at most */
	const rwkvk_bias *biases; /* with PICK_BIAS: MAX_BIASES at most; none: those in the picks buffer */
	uint32_t bias_count;
	uint32_t top;         /* with PICK_LOGPROB: how many of the largest logits are wanted, MAX_TOP at most */
	const uint32_t *mask; /* a bit for each token that may be picked, [V4 / 32]; NULL: any */
};
struct picked {
	uint32_t tokens[MAX_TOKENS], count; /* fed */
	bool stopped;                       /* a token of the list was picked after these, and not fed */
	uint32_t stop;                      /* which, then */
	uint32_t close;                     /* draws that rounding may have decided */
	/* For a row of a batch that asks for them. */
	float log_probabilities[MAX_TOKENS];
	rwkvk_candidate tops[MAX_TOKENS][MAX_TOP]; /* token NO_ROW: there are no more */
};
/* Picks and feeds tokens in one submission, as many as the pace and `most` allow, from the logits on the device, which must be
 * the slot's.  Without log-probabilities. */
rwkvk_status forward_pick(struct rwkvk_model *model, uint32_t slot, const struct picking *picking, uint64_t most,
                          struct picked *out);

/* ------------------------------------------------------------------------------------------------------ batch.c */

/* Rows of a step; 0: every submission is one session's, and what follows is not called. */
uint32_t model_max_batch(const struct rwkvk_model *model);

/* What a session wants of a submission: to read tokens, or to pick some. */
struct work {
	uint32_t slot;
	const uint32_t *tokens; /* to read, at least one */
	size_t count;
	bool singly;               /* they were picked: the kernel that reads single tokens reads them, however many there are */
	const atomic_bool *cancel; /* ends a chunk within; NULL: never */
	struct asking *picking;    /* NULL: reads */
	uint64_t most;             /* tokens to pick */
	/* What came of it. */
	uint32_t rows;       /* in the submission; 0 without a failure: there was no room, try again */
	uint32_t done;       /* tokens read, or picked and fed */
	rwkvk_status status; /* with the text of the error: it may have happened in another thread */
	char error[512];
	struct picked *picked;
	/* batch.c's */
	uint32_t first;
	bool in_chunk;
};
void work_blame(struct work *work, rwkvk_status status);
/* One submission, of as many of the works as have room in it, the first ones first; at least of one.  Prompts of the length
 * that forward_reads_chunks() asks for share a chunk, all others have rows of a step. */
void batch_run(struct rwkvk_model *model, struct work **works, uint32_t count);
/* Reads tokens that were picked before; *fed tells how many. */
rwkvk_status batch_feed(struct rwkvk_model *model, uint32_t slot, const uint32_t *tokens, size_t count, uint32_t *fed);

/* share.c: batch_run() for a caller without the lock, together with what other threads want; waits until it is done.  Callers
 * of several works in a row stand between the other two, and those who run a submission wait a moment for them. */
rwkvk_status share_run(struct rwkvk_model *model, struct work *work);
void share_begin(struct rwkvk_model *model);
void share_end(struct rwkvk_model *model);

/* ------------------------------------------------------------------------------------------------------ tunings, for tuning */

/* How the work is cut for a kind of device: specialisation constants. */
struct tuning {
	uint32_t workgroup, lanes, rows, chunk;
	uint32_t state_lanes;
	uint32_t groups;         /* workgroups that a stage should have when it can */
	uint32_t staging_groups; /* those that have a place behind the activations, STAGING_FLOATS each */
};
/* What a device of this kind usually has. */
struct tuning model_usual_tuning(const struct rwkvk_model *model);
/* Fills in what follows from workgroup, lanes, rows and groups; false when the device or the shaders cannot have these. */
bool model_complete_tuning(const struct rwkvk_model *model, struct tuning *tuning);
/* From now on tokens run with this tuning; when it cannot be planned, as before. */
rwkvk_status forward_plan(struct rwkvk_model *model, const struct tuning *tuning);
/* The plan stays beside those that come, the first of which may fail; and it is the model's again, whatever came. */
void forward_set_aside(struct rwkvk_model *model);
void forward_put_back(struct rwkvk_model *model);
/* How the matrices of a chunk are cut: threads of a workgroup, outputs and tokens of which a thread has the sums, and inputs
 * that lie in shared memory at a time (0: none do).  Bits depend on none of these. */
struct tile {
	uint32_t workgroup, outputs, tokens, depth;
};
struct tile chunk_usual_tile(const struct rwkvk_model *model);
/* The one that the model's chunks have. */
struct tile chunk_tile(const struct rwkvk_model *model);
/* false when the device or the shaders cannot have it. */
bool chunk_takes_tile(const struct rwkvk_model *model, const struct tile *tile);
/* From now on chunks have this one, which the model takes. */
void chunk_set_tile(struct rwkvk_model *model, const struct tile *tile);
/* Compiles and records what chunks need, unless that has been done; so does feeding the first one. */
rwkvk_status chunk_prepare(struct rwkvk_model *model);
/* Outputs of a matrix of which a thread has the sums in a step of one row; 0: steps are cut as chunks are, or there are none.
 * Bits do not depend on it. */
uint32_t step_usual_outputs(const struct rwkvk_model *model);
uint32_t step_outputs(const struct rwkvk_model *model);
bool step_takes_outputs(const struct rwkvk_model *model, uint32_t outputs);
void step_set_outputs(struct rwkvk_model *model, uint32_t outputs);
/* tuned.c: keeps the tuning of the model's plan, the tile and the outputs of steps, for the next time. */
rwkvk_status tuned_save(const struct rwkvk_model *model);

#endif
