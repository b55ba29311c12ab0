/* The parts of an engine, every size in a comment: matrices on the device, the plan of a token, the model.  For this folder
 * and for tests; sessions see engine.h.
 *
 *   model.c      open, close, information
 *   load.c       does it fit, upload
 *   slices.c     matrices in slices that bindings can cover
 *   quantise_device.c   blocks made from floats by the device
 *   tuning.c     how work is divided for a kind of device
 *   tuned.c      tunings found by rwkvk_model_tune()
 *   plan.c       the stages that versions share: pipeline, bindings, rows
 *   rwkv4.c ...  the stages of one version
 *   batch_plan.c passes whose tokens the device finds
 *   forward.c    the token's plan: recorded once, submitted for every token
 *   slot.c       what a session has on the device
 *   pace.c       how many tokens a submission has
 *   chunk_plan.c the stages of many rows; chunk.c: prompts in chunks
 *   batch.c      tokens of many sessions in one pass
 *   share.c      how callers in several threads share one submission
 *   check.c      single stages, for verification
 *   devices.c    devices without a model: the list, their peak rates */
#ifndef RWKVK_ENGINE_PLAN_H
#define RWKVK_ENGINE_PLAN_H

#include <stdatomic.h>

#include "base/thread.h"
#include "engine/engine.h"
#include "gpu/gpu.h"

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
/* Divides a matrix into slices of rows, each within what one binding may cover; no buffers yet.  Free matrix->slices.  `use`
 * names the matrix in the message that one row does not fit. */
rwkvk_status matrix_slice(const struct gpu_caps *caps, struct device_matrix *matrix, const char *use);
/* The same with buffers. */
rwkvk_status slices_create(struct gpu *gpu, struct device_matrix *matrix, const char *use);
void slices_destroy(struct device_matrix *matrix); /* zeroed is allowed */

/* One recorded dispatch; a barrier follows each.  Slices of one matrix do not depend on each other, but they are bound to the
 * same vectors, and only a barrier tells validation and drivers that they touch different parts. */
struct step {
	struct gpu_pipeline *pipeline;
	struct gpu_set *set;
	uint32_t push[PUSH_COUNT];
	struct gpu_groups groups;
	uint32_t threads; /* of a workgroup */
	const char *stage;
	uint32_t layer;
	uint64_t bytes; /* least traffic: bytes that it must read and write */
};
struct steps {
	struct step *all;
	uint32_t count, capacity;
};

/* pace.c: how long tokens took, and how many the next submission may have (docs/architecture.md, Several tokens to a
 * submission). */
struct pace {
	uint32_t tokens;         /* of the last submission; 0: there was none */
	uint64_t usual, slowest; /* nanoseconds a token: a recent average, and the slowest, which decays slowly */
};
void pace_measured(struct pace *pace, uint32_t tokens, uint64_t nanoseconds);
/* How many fit into a submission's time limit.  Before the first: 0 on integrated GPUs and unknown devices, so that they begin
 * with as few as possible, else UINT32_MAX. */
uint64_t pace_most(const struct pace *pace, rwkvk_device_type type);
/* From 1 to `most`, at most MAX_TOKENS. */
uint32_t pace_tokens(const struct pace *pace, rwkvk_device_type type, uint64_t most);

/* How this device runs a token of the model: everything that follows from a tuning.  It can be replaced while states and
 * weights stay. */
struct plan {
	struct tuning tuning;
	struct gpu_buffer act;           /* ACT_* */
	struct steps steps;              /* one token: select, the layers', head */
	uint32_t head_step;              /* index of the first step of the head */
	uint32_t head_groups;            /* workgroups of the head */
	struct gpu_cmd *feed, *run;      /* a token without and with the head */
	struct steps last;               /* from the rows of a chunk to the input of the head */
	struct gpu_cmd *last_row, *head; /* that, and the head alone; NULL: not recorded yet */
};

/* tuning.c: how a device works on a chunk, whose rows are tokens.  All but the first two are specialisation constants. */
struct chunk_shape {
	uint32_t rows;      /* of the longest chunk; 0: the device has no kernel for them */
	uint32_t threshold; /* tokens of the shortest call that is read in chunks */
	uint32_t workgroup; /* of most stages */
	uint32_t tile_workgroup, tile_outputs, tile_rows, tile_depth, thread_outputs, thread_rows; /* of those with matrices */
	uint32_t lanes;                        /* threads that share an output of few rows; 1: tiles */
	uint32_t state_lanes, state_workgroup; /* wkv */
	uint32_t head_rows, head_workgroup;    /* stages that work head by head: rows that a thread has at once */
};

/* How rows go through the model together: each dispatch has room for `rows` rows; the table says how many there are. */
struct pass {
	struct chunk_shape shape;
	uint32_t rows;            /* at most; 0: there is no such pass */
	uint32_t runs;            /* at most */
	struct gpu_buffer *table; /* the host's: TABLE_WORDS, or table_words() where it chooses */
	bool chooses;             /* it begins with `choose` */
	struct steps steps;       /* embedding, the layers' */
};

enum { LEAST_ROWS = 16 }; /* of the longest chunk */

/* The rows of a chunk on the device.  Buffers are made when the model is opened, everything else when the first chunk is
 * fed. */
struct chunk {
	struct pass pass;         /* its rows: of the longest chunk, a multiple of 16; 0: prompts are fed token by token */
	struct gpu_buffer buffer; /* ROWS_TABLE, then ROW_FLOATS for each row */
	struct gpu_buffer table;
	struct gpu_cmd **cmds; /* [1 + L]; NULL: nothing is recorded yet */
	/* The head of every row: made when all logits are first needed. */
	uint32_t logits_rows;     /* of the longest chunk then */
	struct gpu_buffer logits; /* [logits_rows][V4] */
	struct steps head;
	struct gpu_cmd *head_cmd; /* NULL: not recorded yet */
	struct pace pace;         /* of a tile of rows through a layer */
	bool tile_stored;         /* its tile came from a file and has not been tried yet */
};

/* A pass of a step, for a maximum number of rows, and how long it takes. */
struct bucket {
	struct pass pass;    /* with `choose`, and with the head of the wanted rows, whose logits go to their slots */
	struct gpu_cmd *cmd; /* NULL: not recorded yet */
	struct pace pace;
};

/* Tokens of many sessions in one pass.  Its rows lie where those of a chunk do. */
struct batch {
	uint32_t most;            /* rows of a step; 0: each submission is one session's */
	uint32_t mixed_rows;      /* of prompts, beside texts that are being written */
	uint32_t outputs;         /* step_outputs_for(), or the tuned number; kept for the next time if there are no steps */
	struct gpu_buffer table;  /* TABLE_*, ASK blocks [most], the host's */
	struct bucket buckets[9]; /* 1, 2, 4, ... rows; the last one has `most` */
	uint32_t bucket_count;
	struct steps head; /* of a chunk's runs whose logits are wanted, to their slots */
	struct gpu_cmd *head_cmd;
	struct queue *queue; /* private to share.c */
};

struct rwkvk_model {
	struct rwkvk_file file;
	struct gpu *gpu;
	struct plan plan;
	struct plan aside; /* while tuning tries others */
	struct chunk chunk;
	struct batch batch;
	struct mutex lock; /* guards everything that touches the device */
	bool has_lock;
	atomic_bool closed;        /* by rwkvk_model_close(): the rest of it belongs to its sessions */
	uint32_t sessions;         /* alive */
	atomic_bool chat_reported; /* a message about its chat template */

	struct device_layer *layers; /* [L] */
	struct device_matrix emb, head;
	struct gpu_buffer vectors;          /* small tensors, f32: VEC_* */
	struct gpu_buffer logits;           /* [slots][V4] */
	struct gpu_buffer logits_snapshots; /* [snapshots][V4] */
	struct gpu_buffer picks;            /* PICKS_* */
	struct gpu_buffer io;               /* IO_* */
	struct gpu_buffer used_inputs;      /* [L,2] with a profile: inputs of ffn.value not zero, and read, over all tokens */

	uint32_t snapshots;             /* model_snapshots(slots, batch.most) */
	bool *snapshot_taken;           /* [snapshots] by a text that is being written */
	struct gpu_cmd **snapshot_cmds; /* [slots][snapshots] copies a slot's state and logits there; NULL: not recorded yet */
	struct pace feed_pace, run_pace;
	uint32_t at_once; /* tokens of every submission, if not 0 */

	float *start_state; /* [L][STATE_STRIDE]: before the first token */
	bool *slot_taken;   /* [slots] */
	uint32_t slots;
	bool has_light;                 /* PICKS_LIGHT is there: since the first text */
	_Atomic uint64_t tokens;        /* fed so far */
	_Atomic uint64_t single_tokens; /* of these, not in chunks: used_inputs counts them */
};

/* load.c: fit check, buffers, upload.  The request; the model has the outcome. */
struct load_options {
	uint32_t max_sessions;     /* 0: 4, or as many as the device can have if those are less */
	uint32_t threads;          /* that pack weights; 0: one for each processor */
	uint32_t at_once;          /* tokens of every submission; 0: as many as suit the device */
	bool exact;                /* prompts are fed token by token */
	uint32_t max_batch;        /* rows of a step; 0 and 1: every submission is one session's */
	uint32_t mixed_rows;       /* of prompts beside texts; 0: as many as a chunk */
	uint32_t chunk_rows;       /* of the longest chunk, if fewer than suit the device; 0: those */
	bool profile;              /* counts inputs of ffn.value; a submission has one token */
	struct tuning tuning;      /* of the plan to be made, for which there has to be room; zeroed: the usual one */
	const atomic_bool *cancel; /* gives up once it is set; NULL: never */
	rwkvk_progress_fn *progress;
	void *progress_user;
};
rwkvk_status model_load(struct rwkvk_model *model, const struct load_options *options);
void model_unload(struct rwkvk_model *model);

/* forward.c */
/* Makes a plan for a tuning, after load: activations, pipelines, sets, recording.  The model's own plan is not touched. */
rwkvk_status forward_make(struct rwkvk_model *model, const struct tuning *tuning, struct plan *out);
void forward_drop(struct rwkvk_model *model, struct plan *plan); /* zeroed is allowed */
/* Fills in the words from IO_MODE to IO_STOPS for a text whose tokens the device picks; not IO_PARTS. */
void write_picking(uint32_t *io, uint32_t slot, const struct picking *picking);
/* Pipelines and sets of the model's own plan, whose tuning is set; without activations, pipelines alone. */
rwkvk_status forward_steps(struct rwkvk_model *model);
/* Steps [first, first + count) of a list as a new command. */
rwkvk_status record_steps(struct rwkvk_model *model, const struct step *steps, uint32_t count, struct gpu_cmd **out);
/* Runs the steps of one stage of one layer, from a list or from the plan, on whatever the buffers hold. */
rwkvk_status steps_run(struct rwkvk_model *model, const struct steps *steps, uint32_t layer, const char *stage);
rwkvk_status forward_stage(struct rwkvk_model *model, uint32_t layer, const char *stage);

/* slot.c: the command that copies a slot to a snapshot; NULL: not recorded yet. */
struct gpu_cmd **slot_snapshot_cmd(const struct rwkvk_model *model, uint32_t slot, uint32_t snapshot);
/* A free snapshot, recorded, for a prompt in this slot.  It is not taken, but stays free while the lock is held. */
rwkvk_status slot_find_snapshot(struct rwkvk_model *model, uint32_t slot, uint32_t *snapshot);

/* plan.c: a dispatch being built.  dispatch_init() fills in what all have in common: sizes, activations, the layer's vectors
 * and state (layer L: the vectors of no layer, no state).  The stage sets the rest and passes it to plan_step(). */
struct dispatch {
	const char *shader, *stage;
	uint32_t layer;
	struct gpu_groups groups;
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
/* The same at the end of another list.  unused: bound where a stage needs no binding; without memory, only the pipeline is
 * requested. */
rwkvk_status steps_append(struct rwkvk_model *model, struct steps *steps, const struct dispatch *dispatch,
                          struct gpu_buffer *unused);
void steps_drop(struct rwkvk_model *model, struct steps *steps); /* zeroed is allowed */
struct gpu_binding whole(struct gpu_buffer *buffer);
/* Workgroups for `rows` rows at `passes` passes; and the passes with which about tuning.groups workgroups do `rows`. */
uint32_t groups_for(const struct tuning *tuning, uint32_t rows, uint32_t passes);
uint32_t passes_for(const struct tuning *tuning, uint32_t rows);
/* The stages that versions share.  att_in: flags FLAG_MIXED or 0; att_out: FLAG_SHIFT or 0. */
rwkvk_status plan_select(struct rwkvk_model *model);
uint32_t select_workgroup(const struct rwkvk_model *model); /* its threads, and those of `choose` */
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

/* chunk_plan.c: the stages of a pass, appended to its steps.  rwkv4.c to rwkv7.c have those of one version. mixes: a bit for
 * each wanted vector of token shift, from VEC_MIX_R on, or of channel-mix from VEC_MIX_FFN on. */
#define MIX_BIT(vec) (1u << ((vec)-VEC_MIX_R))
void chunk_dispatch(struct rwkvk_model *model, struct pass *pass, uint32_t layer, const char *shader, const char *stage,
                    struct dispatch *out);
/* For a stage that has tiles of a matrix.  Only these differ between passes of few rows, which share the other pipelines. */
void chunk_tile_dispatch(struct rwkvk_model *model, struct pass *pass, uint32_t layer, const char *shader, const char *stage,
                         struct dispatch *out);
/* For a stage that works head by head on some rows at a time, with outer LoRA factors; and for the one that has the state. */
void chunk_heads(struct rwkvk_model *model, struct pass *pass, uint32_t layer, const char *shader, const char *stage,
                 struct device_lora *lora, struct dispatch *out);
void chunk_state(struct rwkvk_model *model, struct pass *pass, uint32_t layer, const char *shader, struct dispatch *out);
/* Workgroups of chunk_matrix for a matrix of one part. */
struct gpu_groups chunk_tiles(const struct pass *pass, uint32_t outputs);
rwkvk_status chunk_step(struct rwkvk_model *model, struct pass *pass, const struct dispatch *dispatch);
rwkvk_status chunk_embed(struct rwkvk_model *model, struct pass *pass);
rwkvk_status chunk_shift(struct rwkvk_model *model, struct pass *pass, uint32_t layer, const char *stage, uint32_t flags,
                         uint32_t mixes);
rwkvk_status chunk_products(struct rwkvk_model *model, struct pass *pass, uint32_t layer, uint32_t flags);
rwkvk_status chunk_output(struct rwkvk_model *model, struct pass *pass, uint32_t layer);
rwkvk_status chunk_ffn(struct rwkvk_model *model, struct pass *pass, uint32_t layer, struct device_ffn *ffn, bool pre);
rwkvk_status chunk_last(struct rwkvk_model *model, struct pass *pass);                 /* to plan.last */
rwkvk_status chunk_wkv5(struct rwkvk_model *model, struct pass *pass, uint32_t layer); /* rwkv5.c's is RWKV-6's too */
rwkvk_status rwkv4_chunk(struct rwkvk_model *model, struct pass *pass, uint32_t layer);
rwkvk_status rwkv5_chunk(struct rwkvk_model *model, struct pass *pass, uint32_t layer);
rwkvk_status rwkv6_chunk(struct rwkvk_model *model, struct pass *pass, uint32_t layer);
/* The head of the rows whose logits are wanted, appended to `steps`: to `logits`, one after the other; NULL: to their
 * slots'. */
rwkvk_status chunk_head(struct rwkvk_model *model, struct pass *pass, struct steps *steps, struct gpu_buffer *logits);
rwkvk_status rwkv7_chunk(struct rwkvk_model *model, struct pass *pass, uint32_t layer);
/* Embedding and layers; only the pipelines are requested while the chunk has no buffer. */
rwkvk_status chunk_steps(struct rwkvk_model *model, struct pass *pass);

/* chunk.c: chunks of `rows` rows at most; and their buffers, with room for so many rows, before anything is fed. */
void chunk_init(struct rwkvk_model *model, uint32_t rows);
rwkvk_status chunk_create(struct rwkvk_model *model, uint32_t rows, uint32_t places);
void chunk_drop(struct rwkvk_model *model);
/* The longest chunk that the device supports, by its table of shapes and one binding's range; at most `asked` rows unless that
 * is 0. */
uint32_t chunk_most_rows(const struct rwkvk_model *model, uint32_t asked);
uint64_t chunk_bytes(const struct config *config, uint32_t rows);
/* A chunk on its way through the layers, whose table is written. */
struct passage {
	uint32_t rows, layer;                         /* the next one */
	struct gpu_cmd *keep[MAX_ROWS];               /* snapshots of the slots, which come first */
	struct gpu_cmd *after[MAX_ROWS + MAX_TOKENS]; /* in the submission of the last layer */
	uint32_t keep_count, after_count;
	uint64_t after_nanoseconds; /* their expected duration */
	bool goes_on;               /* another submission follows, before which it can still be cancelled */
	bool kept;                  /* the states from before are in the snapshots */
	const atomic_bool *cancel;
};
rwkvk_status chunk_run(struct rwkvk_model *model, struct passage *passage);
/* The error when the table comes back without an answer. */
rwkvk_status driver_idles(const struct rwkvk_model *model);
/* Rows that go through a layer within a submission's time limit; each: also through the head, for all their logits. */
uint32_t chunk_rows_at_once(const struct rwkvk_model *model, bool each);
/* A host's table: empties it; adds a run whose last `wanted` rows' logits are wanted, and returns its first row.
 */
void table_clear(uint32_t *table);
uint32_t table_add(uint32_t *table, uint32_t slot, const uint32_t *tokens, uint32_t rows, uint32_t wanted);
/* The chunk's: one run. */
void chunk_table(struct rwkvk_model *model, uint32_t slot, const uint32_t *tokens, uint32_t rows, uint32_t wanted);

/* batch_plan.c: the start of a pass over rows whose tokens the device finds.  Its table has table_words() words. */
rwkvk_status plan_choose(struct rwkvk_model *model, struct pass *pass);
uint64_t table_words(const struct config *config, uint32_t rows);
/* The words of a row in the host's table, apart from TABLE_*: tokens to feed, MAX_TOKENS at most; a token to pick, repeatedly;
 * nothing, until the row gets other words. */
void ask_feed(const struct rwkvk_model *model, uint32_t row, uint32_t *table, uint32_t slot, const uint32_t *tokens,
              uint32_t count);
void ask_pick(const struct rwkvk_model *model, uint32_t row, uint32_t *table, uint32_t slot, const struct asking *asking);
void ask_nothing(const struct rwkvk_model *model, uint32_t row, uint32_t *table);

/* batch.c: steps of `most` rows at most; their buffers, when the model is opened; the size of their table. */
rwkvk_status batch_create(struct rwkvk_model *model, uint32_t most, uint32_t mixed_rows);
void batch_drop(struct rwkvk_model *model);
uint64_t batch_bytes(const struct config *config, uint32_t most);
/* share.c */
rwkvk_status queue_create(struct queue **out);
void queue_destroy(struct queue *queue); /* NULL is allowed */
/* Compiles and records the head of a chunk's runs, unless that has been done. */
rwkvk_status batch_prepare_head(struct rwkvk_model *model);
/* Divides the steps again, after the tile of chunks has changed. */
void batch_cut(struct rwkvk_model *model);

/* tuning.c: the table of device kinds; `caps` limits what is taken from it. */
struct tuning tuning_for(const struct gpu_caps *caps, const struct config *config);
/* Derives the rest from workgroup, lanes, rows and groups; false when the device or the shaders do not support these. */
bool tuning_complete(struct tuning *tuning, const struct gpu_caps *caps, const struct config *config);
/* tuned.c: the tuning stored for such models on this device, else the usual one, chosen before loading; and the plan of the
 * loaded model with it.  A stored tuning that no longer works is dropped with a message, and the usual one is used. */
struct tuned {
	struct tuning tuning;
	struct tile tile;
	uint32_t step_outputs; /* 0: not tuned */
	bool stored;
};
void tuned_choose(const struct rwkvk_model *model, struct tuned *out);
rwkvk_status tuned_plan(struct rwkvk_model *model, const struct tuned *chosen);
/* The same for a stored tile with which chunks cannot be prepared; false: there is none. */
bool tuned_drop_tile(struct rwkvk_model *model);
/* The same for the outputs of steps. */
bool tuned_drop_step(struct rwkvk_model *model);
struct chunk_shape chunk_shape_for(const struct gpu_caps *caps, const struct config *config);
struct tile chunk_shape_tile(const struct chunk_shape *shape);
/* Sets this tile; false, and nothing changes, when the device or the shaders do not support it. */
bool chunk_shape_cut(struct chunk_shape *shape, const struct gpu_caps *caps, const struct tile *tile);
/* The shape of a pass of at most `rows` rows, one of several for at most `max_batch`: all give a row the same bits. */
struct chunk_shape step_shape_for(const struct gpu_caps *caps, const struct config *config, uint32_t max_batch, uint32_t rows,
                                  uint32_t outputs);
/* Its `outputs`: how many sums a thread holds, half as many from four rows on where lanes share them.  The usual number, 0
 * where steps have the tiles of chunks; and whether another one is possible.  Bits do not depend on it. */
uint32_t step_outputs_for(const struct gpu_caps *caps, const struct config *config, uint32_t max_batch);
bool step_outputs_possible(const struct gpu_caps *caps, uint32_t max_batch, uint32_t outputs);
void chunk_constants(const struct chunk_shape *shape, uint32_t constants[SPEC_COUNT]); /* of tiles, besides those of a tuning */
/* Bytes after the activations for the staged data of workgroups. */
uint64_t tuning_staging_bytes(const struct tuning *tuning, const struct config *config);
/* The constants that all stages have. */
void tuning_constants(const struct tuning *tuning, const struct config *config, uint32_t constants[SPEC_COUNT]);

#endif
