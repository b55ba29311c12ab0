/* The engine as sessions, verification and tuning see it: a network on a device, with a slot for each session.  A slot has a
 * state, a row of logits, counts and biases; tokens are fed to it and picked in it.  The parts of an engine are in plan.h.
 *
 * Unless stated otherwise, functions are called with the model's lock held. */
#ifndef RWKVK_ENGINE_H
#define RWKVK_ENGINE_H

#include <stdatomic.h>

#include "base/report.h"
#include "network/outline.h"

/* ------------------------------------------------------------------------------------------------------ model.c */

/* Without the lock: the model's source. */
const struct rwkvk_file *model_file(const struct rwkvk_model *model);
const struct config *model_config(const struct rwkvk_model *model);
/* Where messages go. */
const struct listener *model_listener(const struct rwkvk_model *model);
/* The cache folder; NULL: none. */
const char *model_cache_folder(const struct rwkvk_model *model);

/* Takes the lock, which guards everything that touches the device; fails if the model is closed. */
rwkvk_status model_lock(struct rwkvk_model *model);
void model_unlock(struct rwkvk_model *model);
/* Without the lock: the error of a closed model. */
rwkvk_status model_expect_open(const struct rwkvk_model *model);
/* A slot for a new session.  `clear`: it has the start state; otherwise its content is undefined. */
rwkvk_status model_take_slot(struct rwkvk_model *model, bool clear, uint32_t *slot);
/* Ends a session; the last one of a closed model frees the model.  Takes the lock, even of a closed model. */
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
/* Counts and biases for picking, [V]: how often each token was generated, decayed, -1 if never; what is added to its logit. */
rwkvk_status slot_write_counts(struct rwkvk_model *model, uint32_t slot, const float *counts);
rwkvk_status slot_write_biases(struct rwkvk_model *model, uint32_t slot, const float *biases);
/* Once per model, for all slots: tokens that are not counted, a bit each, [V4 / 32]. */
bool model_has_light(const struct rwkvk_model *model);
rwkvk_status model_write_light(struct rwkvk_model *model, const uint32_t *light);

/* A snapshot is a copy of a slot's state and logits, and belongs to a text while it is written.
 *
 * Takes one for a text in this slot, and records how it is made if this pair is new; NO_SNAPSHOT: none is free. */
rwkvk_status slot_take_snapshot(struct rwkvk_model *model, uint32_t slot, uint32_t *snapshot);
/* Takes the lock, even of a closed model; NO_SNAPSHOT is allowed. */
void slot_give_snapshot(struct rwkvk_model *model, uint32_t snapshot);
/* Copies the slot's state and logits to the snapshot; and restores them from it. */
rwkvk_status slot_keep(struct rwkvk_model *model, uint32_t slot, uint32_t snapshot);
rwkvk_status slot_rewind(struct rwkvk_model *model, uint32_t slot, uint32_t snapshot);

/* ------------------------------------------------------------------------------------------------------ forward.c */

/* Feeds tokens in one submission, as many as the pace allows; *fed: how many. The head runs after the last of `count`. */
rwkvk_status forward_feed(struct rwkvk_model *model, uint32_t slot, const uint32_t *tokens, size_t count, bool head,
                          uint32_t *fed);
/* Whether a call with so many tokens reads them in chunks.  Bits depend on this, so it depends on nothing else. */
bool forward_reads_chunks(const struct rwkvk_model *model, size_t count);
/* Tokens of the longest chunk; 0: none is read. */
uint32_t forward_chunk_rows(const struct rwkvk_model *model);
/* Feeds the next chunk of them, in as many submissions as the pace needs; *fed: how many tokens it has.  The head runs
 * after the last of `count`.  each: receives the logits of the chunk's tokens, [*fed][V], room for [forward_chunk_rows()][V];
 * NULL: not wanted.  Once `cancel` is set, it ends after the running submission with RWKVK_CANCELLED.  Then, as after a
 * failure, the state is the one from before the chunk. */
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
	bool bare;         /* no head has prepared the logits for this way of picking */
	uint32_t snapshot; /* NO_SNAPSHOT: none, so one token is picked */
	enum keeping keep; /* in the snapshot, if there is one */
	uint64_t position; /* of the first token */
	const rwkvk_sampling *sampling;
	const uint32_t *stops; /* MAX_STOPS at most */
	size_t stop_count;
};
/* The same for a row of a batch, with more options. */
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
	bool stopped;                       /* a stop token was picked after these, and not fed */
	uint32_t stop;                      /* that stop token */
	uint32_t close;                     /* draws so close that rounding may have decided them */
	/* For a row of a batch that asks for them. */
	float log_probabilities[MAX_TOKENS];
	rwkvk_candidate tops[MAX_TOKENS][MAX_TOP]; /* token NO_ROW: there are no more */
};
/* Picks and feeds tokens in one submission, as many as the pace and `most` allow, from the logits on the device, which must be
 * the slot's.  Without log-probabilities. */
rwkvk_status forward_pick(struct rwkvk_model *model, uint32_t slot, const struct picking *picking, uint64_t most,
                          struct picked *out);

/* ------------------------------------------------------------------------------------------------------ batch.c */

/* Rows of a step; 0: every submission is one session's, and the functions below are not called. */
uint32_t model_max_batch(const struct rwkvk_model *model);

/* A session's request for a submission: tokens to read, or to pick. */
struct work {
	uint32_t slot;
	const uint32_t *tokens; /* to read, at least one */
	size_t count;
	bool singly;               /* they were picked: always read by the single-token kernel, however many there are */
	const atomic_bool *cancel; /* ends a chunk within; NULL: never */
	struct asking *picking;    /* NULL: reads */
	uint64_t most;             /* tokens to pick */
	/* The result. */
	uint32_t rows;       /* in the submission; 0 without a failure: no room, try again */
	uint32_t done;       /* tokens read, or picked and fed */
	rwkvk_status status; /* with the error's text, since it may come from another thread */
	char error[512];
	struct picked *picked;
	/* private to batch.c */
	uint32_t first;
	bool in_chunk;
};
void work_blame(struct work *work, rwkvk_status status);
/* One submission with as many of the works as have room in it, in order; at least one.  Prompts long enough for
 * forward_reads_chunks() share a chunk; all others have rows of a step. */
void batch_run(struct rwkvk_model *model, struct work **works, uint32_t count);
/* Reads tokens that were picked before; *fed: how many. */
rwkvk_status batch_feed(struct rwkvk_model *model, uint32_t slot, const uint32_t *tokens, size_t count, uint32_t *fed);

/* share.c: batch_run() for a caller without the lock, combined with the works of other threads; waits until it is done.  A
 * caller with several works in a row brackets them with the other two, so that whoever runs a submission waits a moment for
 * the next work. */
rwkvk_status share_run(struct rwkvk_model *model, struct work *work);
void share_begin(struct rwkvk_model *model);
void share_end(struct rwkvk_model *model);

/* ------------------------------------------------------------------------------------------------------ tunings, for tuning */

/* How work is divided for a kind of device: specialisation constants. */
struct tuning {
	uint32_t workgroup, lanes, rows, chunk;
	uint32_t state_lanes;
	uint32_t groups;         /* workgroups that a stage should have when it can */
	uint32_t staging_groups; /* those that have a place after the activations, STAGING_FLOATS each */
};
/* The usual tuning of this kind of device. */
struct tuning model_usual_tuning(const struct rwkvk_model *model);
/* Derives the rest from workgroup, lanes, rows and groups; false when the device or the shaders do not support these. */
bool model_complete_tuning(const struct rwkvk_model *model, struct tuning *tuning);
/* From now on tokens run with this tuning; after a failure, as before. */
rwkvk_status forward_plan(struct rwkvk_model *model, const struct tuning *tuning);
/* Sets the current plan aside while others are tried, of which the first may fail; and restores it in any case. */
void forward_set_aside(struct rwkvk_model *model);
void forward_put_back(struct rwkvk_model *model);
/* How the matrices of a chunk are divided: threads of a workgroup, outputs and tokens whose sums a thread holds, and inputs in
 * shared memory at a time (0: none).  Bits depend on none of these. */
struct tile {
	uint32_t workgroup, outputs, tokens, depth;
};
struct tile chunk_usual_tile(const struct rwkvk_model *model);
/* The tile of the model's chunks. */
struct tile chunk_tile(const struct rwkvk_model *model);
/* false when the device or the shaders do not support it. */
bool chunk_takes_tile(const struct rwkvk_model *model, const struct tile *tile);
/* From now on chunks have this tile, which must be supported. */
void chunk_set_tile(struct rwkvk_model *model, const struct tile *tile);
/* Compiles and records what chunks need, unless it is done already; feeding the first chunk does the same. */
rwkvk_status chunk_prepare(struct rwkvk_model *model);
/* Outputs of a matrix whose sums a thread holds in a step of one row; 0: steps are divided as chunks are, or there are none.
 * Bits do not depend on it. */
uint32_t step_usual_outputs(const struct rwkvk_model *model);
uint32_t step_outputs(const struct rwkvk_model *model);
bool step_takes_outputs(const struct rwkvk_model *model, uint32_t outputs);
void step_set_outputs(struct rwkvk_model *model, uint32_t outputs);
/* tuned.c: keeps the tuning of the model's plan, the tile and the outputs of steps, for the next time. */
rwkvk_status tuned_save(const struct rwkvk_model *model);

#endif
