/* The engine: what a device makes of a network (network/network.h), every size in a comment.
 *
 *   load.c       does it fit, upload
 *   slices.c     matrices in slices that bindings can cover
 *   quantise_device.c   blocks made from floats by the device
 *   shape.c      how work is cut for a kind of device
 *   choice.c     and what tuning found instead
 *   plan.c       the stages that versions share: pipeline, bindings, rows
 *   rwkv4.c ...  what is special to a version
 *   forward.c    the token's plan: recorded once, submitted for every token
 *   pace.c       how many tokens a submission has */
#ifndef RWKVK_ENGINE_MODEL_H
#define RWKVK_ENGINE_MODEL_H

#include <stdatomic.h>

#include "base/cancel.h"
#include "base/report.h"
#include "base/thread.h"
#include "gpu/gpu.h"
#include "network/outline.h"

/* A matrix in slices of rows, each at most one binding's range. */
struct device_slice {
	uint32_t row_begin, row_end;     /* row_begin is a multiple of 8, or 24 if interleaved */
	struct gpu_buffer weights, side; /* side.bytes 0 for plain types */
};

struct device_matrix {
	struct matrix matrix;
	uint32_t count;
	struct device_slice *slices;
};

struct device_lora {
	struct lora lora;
	struct gpu_buffer buffer;
};

struct device_ffn {
	struct device_matrix key, receptance, value;
};

/* struct outline on the device. */
struct device_layer {
	struct device_matrix products;
	struct device_matrix lora_in; /* one slice */
	struct device_lora lora_out;
	struct device_matrix mix_in; /* one slice */
	struct device_lora mix_out;
	struct device_matrix output;
	struct device_ffn ffn, pre;
	struct gpu_buffer state;     /* [slots][STATE_STRIDE] */
	struct gpu_buffer snapshots; /* [snapshots][STATE_STRIDE]: slots as they were before a submission */
};

/* slices.c: all matrices of a layer, and its LoRAs, in the order of outline_matrices() and outline_loras(). */
void device_matrices(struct device_layer *layer, struct device_matrix *out[LAYER_MATRICES]);
void device_loras(struct device_layer *layer, struct device_lora *out[LAYER_LORAS]);
/* The outline of a layer, for its device_layer. */
void device_layer_init(const struct network *network, rwkvk_quant quant, uint32_t index, struct device_layer *out);
/* Cuts a matrix into slices of rows, each within what one binding may cover; no buffers yet.  Free matrix->slices.  `use` names
 * it in the message that one row does not fit. */
rwkvk_status matrix_cut(const struct gpu_caps *caps, struct device_matrix *matrix, const char *use);
/* The same with buffers. */
rwkvk_status slices_create(struct gpu *gpu, struct device_matrix *matrix, const char *use);
void slices_destroy(struct device_matrix *matrix); /* zeroed is allowed */

/* quantise_device.c: rows of floats go to the device as they are in the file, and there they become blocks in its layout: the
 * same bytes that pack_tiles() and pack_value_blocks() make (shaders/common/exact.glsl). */
struct quantiser;
/* Whether devices of the kind do that: not where they are the same processors as the host's threads. */
bool device_quantises(const struct gpu_caps *caps);
/* Pieces have QUANTISE_PIECE bytes at most, and QUANTISE_PIECES of them are on their way at once, in memory of the device.  The
 * host's caches should hold them: then it writes half as fast again (docs/speed.md). */
enum { QUANTISE_PIECE = 4 << 20, QUANTISE_PIECES = 3 };
rwkvk_status quantiser_create(struct gpu *gpu, struct parallel *parallel, uint64_t piece_bytes, struct quantiser **out);
void quantiser_destroy(struct quantiser *quantiser); /* waits; NULL is allowed */
/* What makes blocks of a type of such floats; for those who look at what compilers make of it. */
rwkvk_status quantiser_pipeline(struct gpu *gpu, uint32_t floats, uint32_t type, struct gpu_pipeline **out);
/* Whether it makes this matrix: Q8, Q6K, Q5K or Q4K of floats, in columns of 32. */
bool quantiser_takes(const struct quantiser *quantiser, const struct matrix *matrix);
/* Rows of a part that a slice gets, `first` a multiple of 8. */
struct quantise_rows {
	const struct matrix_part *part;
	uint32_t columns;
	bool by_input;
	uint64_t first, rows;
	struct device_slice *slice; /* lives as long as the quantiser does */
	uint64_t to, step; /* tiles: the first one's place, and from one to the next; by input: the first block of 32 outputs */
};
/* Starts on as many of the rows as a piece has, and takes them away; the last piece of a matrix by input fills its block up. */
rwkvk_status quantise_piece(struct quantiser *quantiser, struct quantise_rows *rows);
/* Waits until the device has done all of it. */
rwkvk_status quantiser_finish(struct quantiser *quantiser);

/* How the work is cut for a kind of device: specialisation constants. */
struct shape {
	uint32_t workgroup, lanes, rows, chunk;
	uint32_t state_lanes;
	uint32_t groups;         /* workgroups that a stage should have when it can */
	uint32_t staging_groups; /* those that have a place behind the activations, STAGING_FLOATS each */
};

/* One recorded dispatch; a barrier follows each.  Slices of one matrix do not depend on each other, but they are bound to the
 * same vectors, and nothing but a barrier tells validation and drivers that they touch different parts. */
struct step {
	struct gpu_pipeline *pipeline;
	struct gpu_set *set;
	uint32_t push[PUSH_COUNT];
	uint32_t groups;
	const char *stage;
	uint32_t layer;
	uint64_t bytes; /* least traffic: what it must read and write */
};

/* pace.c: how long tokens have taken, and how many the next submission may have (docs/architecture.md, Several tokens to a
 * submission). */
struct pace {
	uint32_t tokens;         /* of the last submission; 0: there was none */
	uint64_t usual, slowest; /* nanoseconds a token: an average of the last few, and the slowest, slowly forgotten */
};
void pace_measured(struct pace *pace, uint32_t tokens, uint64_t nanoseconds);
/* From 1 to most, and to MAX_TOKENS. */
uint32_t pace_tokens(const struct pace *pace, rwkvk_device_type type, uint64_t most);

/* How this device runs a token of the model: everything that follows from a shape.  It can be replaced while states and weights
 * stay. */
struct plan {
	struct shape shape;
	struct gpu_buffer act;                         /* ACT_* */
	struct step *steps;                            /* one token: select, the layers', head */
	uint32_t step_count, step_capacity, head_step; /* head_step: index of the first step of the head */
	uint32_t parts;                                /* workgroups of the head */
	struct gpu_cmd *feed, *run;                    /* a token without and with the head */
};

struct rwkvk_model {
	struct rwkvk_file file;
	struct gpu *gpu;
	struct plan plan;
	struct mutex lock; /* around everything that touches the device */
	bool has_lock;
	atomic_bool closed;        /* by rwkvk_model_close(): what is left of it belongs to its sessions */
	uint32_t sessions;         /* alive */
	bool count_inputs;         /* before model_load(): a profile is wanted */
	uint32_t threads;          /* that pack weights; 0: one for each processor */
	const atomic_bool *cancel; /* while opening: gives up once it is set; NULL: never */

	struct device_layer *layers; /* [L] */
	struct device_matrix emb, head;
	struct gpu_buffer vectors;     /* small tensors, f32: VEC_* */
	struct gpu_buffer logits;      /* [slots][V4] */
	struct gpu_buffer picks;       /* PICKS_* */
	struct gpu_buffer io;          /* IO_* */
	struct gpu_buffer used_inputs; /* [L,2] with a profile: inputs of ffn.value not zero, and read, over all tokens */

	uint32_t snapshots;                 /* model_snapshots(slots) */
	bool snapshot_taken[MAX_SNAPSHOTS]; /* by a text that is being written */
	struct gpu_cmd **keep;              /* [slots][snapshots] copies a slot's state there; NULL: not recorded yet */
	struct pace feed_pace, run_pace;
	uint32_t at_once; /* tokens of every submission, if not 0 */

	float *start_state; /* [L][STATE_STRIDE]: before the first token */
	bool *slot_taken;   /* [slots] */
	uint32_t slots;
	bool has_light;          /* PICKS_LIGHT is there: since the first session */
	_Atomic uint64_t tokens; /* fed so far */
};

/* model.c: takes the lock, unless the model is closed; and the error that it then is. */
rwkvk_status model_lock(struct rwkvk_model *model);
rwkvk_status model_is_closed(const struct rwkvk_model *model);
void model_unlock(struct rwkvk_model *model);
/* The logits of a slot, [V]. */
float *model_logits(const struct rwkvk_model *model, uint32_t slot);
/* One session less; the last one of a closed model frees it. */
void model_release(struct rwkvk_model *model);

/* load.c: fit check, buffers, upload. */
rwkvk_status model_load(struct rwkvk_model *model, rwkvk_progress_fn *progress, void *user);
void model_unload(struct rwkvk_model *model);

/* forward.c */
/* A plan for a shape, after load: activations, pipelines, sets, recording.  The model's own is not touched. */
rwkvk_status forward_make(struct rwkvk_model *model, const struct shape *shape, struct plan *out);
/* The same for the model's own plan; when it cannot be made, the one before stays. */
rwkvk_status forward_plan(struct rwkvk_model *model, const struct shape *shape);
void forward_drop(struct rwkvk_model *model, struct plan *plan); /* zeroed is allowed */
/* Pipelines and sets of the model's own plan, whose shape is set; without activations, pipelines alone. */
rwkvk_status forward_steps(struct rwkvk_model *model);
/* Feeds tokens in one submission, as many as the pace allows; *fed tells how many.  The head runs after the last of `count`. */
rwkvk_status forward_feed(struct rwkvk_model *model, uint32_t slot, const uint32_t *tokens, size_t count, bool head,
                          uint32_t *fed);
rwkvk_status forward_token(struct rwkvk_model *model, uint32_t slot, uint32_t token, bool head);

/* How tokens are picked on the device.  The counts and biases that `pick` names are in the picks buffer. */
struct picking {
	uint32_t pick;     /* PICK_* */
	bool bare;         /* no head has made the logits ready for this way of picking */
	uint32_t snapshot; /* where the state from before may be kept; NO_SNAPSHOT: nowhere, so one token is picked */
	uint64_t position; /* of the first token */
	const rwkvk_sampling *sampling;
	const uint32_t *stops; /* MAX_STOPS at most */
	size_t stop_count;
};
struct picked {
	uint32_t tokens[MAX_TOKENS], count; /* fed */
	bool stopped;                       /* a token of the list was picked after these, and not fed */
	uint32_t stop;                      /* which, then */
	uint32_t close;                     /* draws that rounding may have decided */
};
/* Picks and feeds tokens in one submission, as many as the pace and `most` allow, from the logits on the device, which must be
 * the slot's. */
rwkvk_status forward_pick(struct rwkvk_model *model, uint32_t slot, const struct picking *picking, uint64_t most,
                          struct picked *out);
/* The first token it would pick, and nothing is fed: for verification. */
rwkvk_status forward_select(struct rwkvk_model *model, uint32_t slot, const struct picking *picking, uint32_t *token,
                            bool *is_close);
/* Takes a snapshot for a text in this slot, and records how it is made if this pair is new; NO_SNAPSHOT: none is free. */
rwkvk_status forward_take_snapshot(struct rwkvk_model *model, uint32_t slot, uint32_t *snapshot);
void forward_give_snapshot(struct rwkvk_model *model, uint32_t snapshot); /* NO_SNAPSHOT is allowed */
/* The snapshot becomes the slot's state. */
rwkvk_status forward_rewind(struct rwkvk_model *model, uint32_t slot, uint32_t snapshot);
/* Runs the steps of one stage of one layer on whatever the buffers hold: for tests and verification. */
rwkvk_status forward_stage(struct rwkvk_model *model, uint32_t layer, const char *stage);

/* plan.c: a dispatch in the making.  dispatch_init() fills in what all have: sizes, activations, the layer's vectors and state
 * (layer L: the vectors of no layer, no state); the stage sets the rest and hands it to plan_step(). */
struct dispatch {
	const char *shader, *stage;
	uint32_t layer, groups;
	uint32_t constants[SPEC_COUNT], push[PUSH_COUNT];
	struct gpu_binding bindings[GPU_BINDINGS];
	uint64_t bytes;
};
void dispatch_init(struct rwkvk_model *model, uint32_t layer, const char *shader, const char *stage, struct dispatch *out);
/* Binds the slice of a matrix as the stage's first. */
void dispatch_slice(struct dispatch *dispatch, struct device_matrix *matrix, uint32_t index);
/* As its second. */
void dispatch_second(struct dispatch *dispatch, struct device_matrix *matrix, uint32_t index);
/* Binds outer LoRA factors as its second. */
void dispatch_lora(struct dispatch *dispatch, struct device_lora *lora);
rwkvk_status plan_step(struct rwkvk_model *model, const struct dispatch *dispatch);
struct gpu_binding whole(struct gpu_buffer *buffer);
/* Workgroups for `rows` rows at `passes` passes, and the passes with which about shape.groups of them do `rows`. */
uint32_t groups_for(const struct shape *shape, uint32_t rows, uint32_t passes);
uint32_t passes_for(const struct shape *shape, uint32_t rows);
/* The stages that versions share.  att_in: flags FLAG_MIXED or 0; att_out: FLAG_SHIFT or 0. */
rwkvk_status plan_select(struct rwkvk_model *model);
rwkvk_status plan_att_in(struct rwkvk_model *model, uint32_t layer, uint32_t flags);
rwkvk_status plan_att_out(struct rwkvk_model *model, uint32_t layer, uint32_t flags);
rwkvk_status plan_ffn(struct rwkvk_model *model, uint32_t layer, struct device_ffn *ffn, bool pre);
rwkvk_status plan_head(struct rwkvk_model *model);
/* rwkv4.c to rwkv7.c: appends the steps of a layer.  rwkv5.c's wkv stage is RWKV-6's too. */
rwkvk_status rwkv4_plan(struct rwkvk_model *model, uint32_t layer);
rwkvk_status rwkv5_plan(struct rwkvk_model *model, uint32_t layer);
rwkvk_status rwkv6_plan(struct rwkvk_model *model, uint32_t layer);
rwkvk_status rwkv7_plan(struct rwkvk_model *model, uint32_t layer);
rwkvk_status plan_wkv5(struct rwkvk_model *model, uint32_t layer);

/* shape.c: the table of device kinds; `caps` limits what is taken from it. */
struct shape shape_for(const struct gpu_caps *caps, const struct config *config);
/* Fills in what follows from workgroup, lanes, rows and groups; false when the device or the shaders cannot have these. */
bool shape_complete(struct shape *shape, const struct gpu_caps *caps, const struct config *config);
/* choice.c: plans a loaded model with the shape that tuning found for such models on the device, else with the usual one.  What
 * was found and does not work any more is dropped, with a message. */
rwkvk_status choice_plan(struct rwkvk_model *model);
/* Keeps the shape of the model's plan. */
rwkvk_status choice_save(const struct rwkvk_model *model);
/* The constants that all stages have. */
void shape_constants(const struct shape *shape, const struct config *config, uint32_t constants[SPEC_COUNT]);

#endif
