/* rwkvk_tools - measuring, inspecting and converting, for programs that need more of rwkvk than text.
 *
 * Rules for structs, errors and threads are those of rwkvk.h.  This header's ABI is not stable: build with the header of the
 * library you run with. */
#ifndef RWKVK_TOOLS_H
#define RWKVK_TOOLS_H

#include "rwkvk.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Options for benchmarks: rwkvk_model_options.tools. */
typedef struct rwkvk_tools_options {
	size_t size;
	bool profile; /* time every stage, see rwkvk_model_profile() */
	/* Instead of path and data: an RWKV-7 model of this shape with random weights, for measuring speed: "0.1B", "0.4B", "1.5B",
	 * "2.9B" or "7.2B" like the official models, or LAYERSxWIDTH such as "24x2048".  The same shape and type always give the
	 * same numbers.  The type of its matrices is "f32", "f16", "bf16", or that of an rwkvk_quant, "q8", "q6", "q5", "q4"; NULL:
	 * f16. */
	const char *shape, *shape_type;
	/* For rwkvk_model_open(), instead of path and data: a file that is already open, so that it is not read twice.  The file
	 * options in rwkvk_model_options stay as they were when the file was opened.  If the model opens, it takes ownership, and
	 * `file` must not be used again. */
	struct rwkvk_file *file;
} rwkvk_tools_options;

/* ---------------------------------------------------------------------------------------------------- devices */

/* The best rates that a device reaches with dedicated kernels: upper limits of a model's speed. */
typedef struct rwkvk_device_rates {
	size_t size;
	double read_bytes_per_second;
	double copy_bytes_per_second; /* bytes read plus bytes written */
	double dispatch_seconds;      /* of a dispatch that does nothing, with the barrier after it */
	double submit_seconds;        /* from submitting one such dispatch until the host sees it finished */
	/* Operations; a multiply-add counts as two. int8: in dot products of four.  0: the device has no such arithmetic. */
	double f32_per_second, f16_per_second, int8_per_second;
	uint64_t measured_bytes; /* of memory read; if a cache holds them, the rate is too high */
} rwkvk_device_rates;

typedef struct rwkvk_measure_options {
	size_t size;
	const char *device;          /* as for a model */
	const char *cache_dir;       /* likewise */
	rwkvk_progress_fn *progress; /* NULL: none; counts steps */
	void *progress_user;
	rwkvk_log_fn *log; /* NULL: none */
	void *log_user;
} rwkvk_measure_options;

/* Measures a device in a few seconds.  Uses at most a quarter of its free memory, and at most 512 MiB.  options: NULL for the
 * defaults. */
RWKVK_API rwkvk_status rwkvk_device_measure(const rwkvk_measure_options *options, rwkvk_device_rates *out);

/* ---------------------------------------------------------------------------------------------------- verify */

/* How far one stage on the device is from plain C with the model's own weights, over all compared layers. */
typedef struct rwkvk_verify_row {
	size_t size;
	/* "wkv"; "chunk wkv" for the stage that does the same for all tokens at once; "whole tokens" for the logits after feeding
	 * tokens to the device alone; "whole prompt" for the logits after a prompt in chunks, compared with the device's own after
	 * the same tokens one by one.  Compared with the host to the bit: "pick" for tokens picked from the same logits, and on
	 * devices that quantise, "quantise" */
	const char *stage;
	uint32_t compared;  /* how often */
	uint32_t layer;     /* where it was worst; 0 for stages of no layer */
	const char *vector; /* which result was worst there: "y", "state", "logits"; "bytes of Q4K made of F16" */
	/* Largest difference, relative to that result's largest value; infinity if there are NaNs; for comparisons to the bit: the
	 * share of tokens or bytes that differ. */
	double error;
	double limit; /* the most that rounding may cause; 0: to the bit */
	bool ok;      /* error <= limit */
} rwkvk_verify_row;

typedef struct rwkvk_verify_options {
	size_t size;
	uint32_t tokens; /* fed one by one; 0: 3 */
	/* The most multiplications that the reference may spend on one token (it does about 10^9 a second); 0: 3 * 10^9.  Larger
	 * models are compared in a sample of layers, including the first and the last, and without whole tokens. */
	uint64_t effort;
	rwkvk_progress_fn *progress; /* NULL: none; done and total count layers */
	void *progress_user;
} rwkvk_verify_options;

/* As many rows as there ever are; a smaller capacity gets the first ones. */
enum { RWKVK_VERIFY_ROWS = 32 };

/* Runs every stage on the device with the inputs that the plain C reference has computed, and compares the results: for each
 * token alone and, if prompts are read in chunks, for all tokens as one chunk; then whole tokens, and a prompt.  Takes a free
 * session of the pool and holds the model's lock throughout: other sessions wait.  Writes at most `capacity` rows; *count is
 * the number of rows.  Returns RWKVK_OK even if a row is not ok; RWKVK_ERROR_FILE if the model's file holds numbers that are
 * not finite, which make comparison impossible.  options: NULL for the defaults. */
RWKVK_API rwkvk_status rwkvk_model_verify(rwkvk_model *model, const rwkvk_verify_options *options, rwkvk_verify_row *rows,
                                          size_t capacity, size_t *count);

/* ---------------------------------------------------------------------------------------------------- tune */

/* One way to divide the work of the matrices, with its measurement.  It is for a single token, or, if tile_outputs is not 0,
 * for prompts in chunks, or, if step_outputs is not 0, for tokens of several sessions (rwkvk_model_options.max_batch). */
typedef struct rwkvk_tune_row {
	size_t size;
	uint32_t workgroup, lanes, rows, groups; /* threads, those that share a row, rows a thread, workgroups a stage; of
	                                            chunks threads alone, of steps nothing: the rest is 0 */
	double seconds;                          /* median of a token with the head; of a chunk's token without it; of
	                                            a step's token, eight of which share a head or as many as there are */
	bool chosen;                             /* one row of each kind is */
	uint32_t tile_outputs, tile_tokens;      /* chunks: outputs and tokens that a thread sums */
	uint32_t tile_depth;                     /* chunks: inputs in shared memory at a time; 0 on CPU devices */
	uint32_t step_outputs;                   /* steps: outputs that a thread sums */
} rwkvk_tune_row;

typedef struct rwkvk_tune_options {
	size_t size;
	double seconds;              /* time limit; the default division is always measured, however long it takes; 0: 35 */
	rwkvk_progress_fn *progress; /* NULL: none; done and total count rows; done may stay below total */
	void *progress_user;
} rwkvk_tune_options;

/* As many rows as there ever are; a smaller capacity gets the first ones. */
enum { RWKVK_TUNE_ROWS = 36 };

/* Measures which way to divide this model's work is fastest on this device, uses it from then on, and stores it beside the
 * driver's pipeline cache for the next model of this kind that is opened on the device with this driver.  Takes under a minute
 * and a free session of the pool, and holds the model's lock throughout (other sessions wait).  Writes at most `capacity` rows:
 * first those of a token, then of chunks, then of steps, each with the default first; *count is the number of rows.  options:
 * NULL for the defaults.  A failure leaves the model as it was.  Another division for single tokens adds in another order:
 * results agree within rounding, and the same division gives the same bits.  Prompts and steps give the same bits however their
 * work is divided. */
RWKVK_API rwkvk_status rwkvk_model_tune(rwkvk_model *model, const rwkvk_tune_options *options, rwkvk_tune_row *rows,
                                        size_t capacity, size_t *count);

/* ---------------------------------------------------------------------------------------------------- inspect */

typedef struct rwkvk_file rwkvk_file; /* a model file without a device; immutable, for any number of threads */

typedef struct rwkvk_tensor_info {
	size_t size;
	const char *name; /* as in the file */
	const char *type; /* "F32", "F16", "BF16", "Q8_0" */
	uint32_t rank;
	uint64_t shape[4]; /* outermost first */
	uint64_t bytes;
	/* Its type on a device: for a matrix, what the options' quant makes of it, "F32", "F16", "BF16", "Q8", "Q6K" and so on
	 * (docs/quantisation.md); "F32" for vectors; NULL: the model does not use the tensor. */
	const char *device_type;
	const char *official_name; /* differs from name if the file has several tensors in one */
	/* How rwkvk_model_options.lora changes it: "LoRA of rank 16, scale 2", "replaced"; NULL: not at all. */
	const char *change;
} rwkvk_tensor_info;

/* Opens and checks a model file.  Ignores the options for devices, sessions and progress. */
RWKVK_API rwkvk_status rwkvk_file_open(const rwkvk_model_options *options, rwkvk_file **out);
RWKVK_API void rwkvk_file_close(rwkvk_file *file); /* NULL is allowed */
RWKVK_API rwkvk_status rwkvk_file_get_info(const rwkvk_file *file, rwkvk_model_info *info);
RWKVK_API const rwkvk_tokenizer *rwkvk_file_tokenizer(const rwkvk_file *file);
/* As rwkvk_model_chat(), but without its reports. */
RWKVK_API rwkvk_status rwkvk_file_chat(const rwkvk_file *file, rwkvk_chat_template *out);
/* As rwkvk_model_metadata(). */
RWKVK_API bool rwkvk_file_metadata(const rwkvk_file *file, size_t index, rwkvk_metadata *out);
/* false when `index` is past the last tensor. */
RWKVK_API bool rwkvk_file_tensor(const rwkvk_file *file, size_t index, rwkvk_tensor_info *info);
/* The name of the vocabulary file of released models with `vocab` tokens; NULL if unknown. */
RWKVK_API const char *rwkvk_vocabulary_for(uint32_t vocab);

/* ---------------------------------------------------------------------------------------------------- export */

/* How an exported file stores numbers.  From RWKVK_EXPORT_Q8_0 on, this applies to large matrices only, whose types depend on
 * their role (docs/quantisation.md).  Matrices that already have fewer bits stay as they are, as do LoRA factors; vectors are
 * F32. */
typedef enum rwkvk_export_type {
	RWKVK_EXPORT_KEEP, /* as they are, except where GGUF allows only F32 */
	RWKVK_EXPORT_F32,
	RWKVK_EXPORT_F16,
	RWKVK_EXPORT_BF16,
	RWKVK_EXPORT_Q8_0,
	RWKVK_EXPORT_Q6_K,
	RWKVK_EXPORT_Q5_K_M,
	RWKVK_EXPORT_Q4_K_M,
	RWKVK_EXPORT_Q4_0,
} rwkvk_export_type;

typedef struct rwkvk_export_options {
	size_t size;
	rwkvk_export_type type;
	uint32_t threads;            /* 0: one per processor, 64 at most.  The file's bytes do not depend on it */
	rwkvk_progress_fn *progress; /* NULL: none; `done` and `total` are bytes of the new file */
	void *progress_user;
	rwkvk_log_fn *log; /* NULL: none; notes on what the file lacks come before any writing */
	void *log_user;
} rwkvk_export_options;

/* Writes the model to `path`, in the format of its extension:
 *   .gguf          names and keys as llama.cpp has them for RWKV-6 and 7, and similar ones for 4 and 5, with the vocabulary;
 *   .safetensors   official names, shapes and orientation, in F32, F16 or BF16, without vocabulary.
 * The file appears as a whole or not at all: until then it is called `path`.PID-N.tmp, which a failure removes.  Memory holds
 * only a few megabytes per thread and the file's list of tensors.  `path` may exist, but must not be the model itself. options:
 * NULL for the defaults.
 *
 * RWKVK_ERROR_ARGUMENT: another extension.  RWKVK_ERROR_UNSUPPORTED: a quantised tensor for safetensors with RWKVK_EXPORT_KEEP,
 * or a quantised type for it.  RWKVK_ERROR_FILE: the file cannot be written, or a number is out of the type's range.
 * RWKVK_CANCELLED: the progress function returned false. */
RWKVK_API rwkvk_status rwkvk_file_export(const rwkvk_file *file, const char *path, const rwkvk_export_options *options);

/* ---------------------------------------------------------------------------------------------------- states */

/* A session's state as numbers in canonical order (docs/formats.md).  Set takes only finite numbers and a position of at most
 * 2^63, else RWKVK_ERROR_ARGUMENT.  Afterwards there are no logits, and the counts of generated tokens are empty. */
RWKVK_API size_t rwkvk_session_state_floats(const rwkvk_session *session); /* 0 for NULL */
RWKVK_API rwkvk_status rwkvk_session_floats_get(rwkvk_session *session, float *state, size_t floats);
RWKVK_API rwkvk_status rwkvk_session_floats_set(rwkvk_session *session, const float *state, size_t floats, uint64_t position);

/* The formats in which a state may be stored (docs/formats.md). */
typedef enum rwkvk_state_format {
	RWKVK_STATE_ANY,     /* one of the next two, recognised by content; read only */
	RWKVK_STATE_NATIVE,  /* rwkvk's own state file */
	RWKVK_STATE_TRAINED, /* tensors blocks.i.att.time_state [H, value, key]; written as safetensors, without shifts, position */
	RWKVK_STATE_WEB_RWKV, /* the same as web-rwkv's converters write it, [H, key, value]; read only */
	RWKVK_STATE_RWKV_CPP, /* bare floats in the order of rwkv.cpp */
	RWKVK_STATE_CHATRWKV, /* bare floats in the order of ChatRWKV's list */
} rwkvk_state_format;

typedef struct rwkvk_state_info {
	size_t size;
	rwkvk_state_format format;
	uint32_t version; /* times ten: 70 is RWKV-7; 0: the file does not say */
	uint32_t layers, width, heads, head_size;
	uint64_t position;     /* tokens seen; NATIVE only */
	uint64_t floats;       /* in the file */
	bool damaged;          /* NATIVE: the checksum is wrong */
	uint64_t not_finite;   /* how many numbers are infinite or not a number */
	float least, greatest; /* of the others; of the state */
	uint32_t file_version; /* NATIVE: 1 or 2; else 0 */
	uint32_t counts;       /* NATIVE: how many generated tokens have counts */
	uint64_t logits;       /* NATIVE: how many logits of the last token it has; 0: none, so a token must be fed first */
} rwkvk_state_info;

/* Inspects a state file.  `model` may be NULL, except for bare floats; with it, trained states are checked against it. */
RWKVK_API rwkvk_status rwkvk_state_inspect(const char *path, rwkvk_state_format format, const rwkvk_file *model,
                                           rwkvk_state_info *info);

/* Converts the state in the file `in` to another kind of file, which is replaced as a whole.  `model` may be NULL if `in` is
 * NATIVE; else it must be the model that the state belongs to. */
RWKVK_API rwkvk_status rwkvk_state_convert(const char *in, rwkvk_state_format from, const char *out, rwkvk_state_format to,
                                           const rwkvk_file *model);

/* ---------------------------------------------------------------------------------------------------- files */

/* Writes files as the library does: `path` appears as a whole or not at all, two writers at the same time leave one whole file,
 * and links are not followed.  A pipe or a device is written directly. */
typedef struct rwkvk_output rwkvk_output;

RWKVK_API rwkvk_status rwkvk_output_open(const char *path, rwkvk_output **out);
RWKVK_API rwkvk_status rwkvk_output_write(rwkvk_output *output, const void *data, size_t bytes);
RWKVK_API rwkvk_status rwkvk_output_commit(rwkvk_output *output); /* `output` must not be used again, whatever it returns */
RWKVK_API void rwkvk_output_drop(rwkvk_output *output);           /* leaves no file; NULL is allowed */

/* Removes all temporary files that the library is writing, for a program that is about to exit; may be called by a signal
 * handler. */
RWKVK_API void rwkvk_outputs_remove(void);

/* ---------------------------------------------------------------------------------------------------- counters */

/* How the host has used Vulkan since the model was opened.  Differences between two calls are exact while no other thread uses
 * the model.  This function and those below may be called while sessions run, from any thread. */
typedef struct rwkvk_counters {
	size_t size;
	uint64_t tokens;     /* fed, and fed again if a text was cut (rwkvk_session_generate()) */
	uint64_t dispatches; /* executed; a recorded one counts at each submission */
	uint64_t barriers;   /* likewise */
	uint64_t submits;
	uint64_t host_calls;         /* Vulkan calls to submit, wait and read timestamps: 3 a submission without profile */
	uint64_t descriptor_updates; /* vkUpdateDescriptorSets calls */
	uint64_t allocations;        /* vkAllocateMemory calls */
	uint64_t buffers;            /* vkCreateBuffer calls */
	uint64_t recordings;         /* command buffers recorded */
	/* Spent in the driver's compiler to create pipelines; excludes what a driver compiles when a pipeline is first used. */
	uint64_t compile_nanoseconds;
} rwkvk_counters;

RWKVK_API rwkvk_status rwkvk_model_counters(const rwkvk_model *model, rwkvk_counters *counters);

/* One row of the stage profile, summed over layers and tokens since the model was opened.  The stages of chunks have separate
 * names, "chunk att_in" and so on. */
typedef struct rwkvk_profile_row {
	size_t size;
	const char *stage;
	uint64_t runs;  /* dispatches timed */
	double seconds; /* device time, from timestamps */
	uint64_t bytes; /* the least that those dispatches must read and write */
} rwkvk_profile_row;

/* false if index is past the last row, the model was opened without profile, or the device has no timestamps. */
RWKVK_API bool rwkvk_model_profile(const rwkvk_model *model, size_t index, rwkvk_profile_row *row);

/* How much of a layer's ffn.value is skipped because most of its inputs, relu(key x)^2, are zero.  Averages over all tokens
 * since the model was opened, except those read in chunks, for which all of it is read. */
typedef struct rwkvk_sparsity {
	size_t size;
	uint64_t tokens;
	double density; /* share of the inputs that are not zero, 0 to 1 */
	uint64_t bytes; /* of the matrix on the device */
	/* Bytes of weights skipped per token, not including scales.  CPU devices skip less: they read on where many consecutive
	 * inputs are not zero. */
	double bytes_skipped;
} rwkvk_sparsity;

/* false past the last layer, before the first such token, or when the model was opened without profile.  Waits for a running
 * submission. */
RWKVK_API bool rwkvk_model_sparsity(const rwkvk_model *model, uint32_t layer, rwkvk_sparsity *out);

#ifdef __cplusplus
}
#endif
#endif
