/* rwkvk - RWKV language models on any Vulkan device.
 *
 * Two nouns.  A *model* is a set of weights on one device: immutable once open, shared by any number of sessions.
 * A *session* is one text in progress: a recurrent state of fixed size inside a pool the model owns, and the logits
 * of the last token.  Feed tokens with rwkvk_session_eval(), or let rwkvk_session_generate() feed and pick them.
 *
 *     rwkvk_model *model = NULL;
 *     rwkvk_session *session = NULL;
 *     if (rwkvk_model_open(&(rwkvk_model_options){.path = "model.gguf"}, &model) != RWKVK_OK ||
 *         rwkvk_session_create(model, &session) != RWKVK_OK)
 *             fprintf(stderr, "%s\n", rwkvk_last_error());
 *     ...
 *     rwkvk_session_destroy(session);
 *     rwkvk_model_close(model);
 *
 * Options are structs whose zero value is a documented default, so `(rwkvk_model_options){.path = p}` is complete.
 *
 * Errors.  Every call that can fail returns a status and leaves a sentence for the calling thread in
 * rwkvk_last_error().  Wrong use of the interface (a NULL that may not be one, a token id past the vocabulary) asserts
 * in debug builds and returns RWKVK_ERROR_ARGUMENT in release builds.  The library never exits, aborts or prints.
 *
 * Threads.  A model may be used from several threads; its device work is done one call at a time under a lock.
 * A session belongs to one thread at a time, except rwkvk_session_cancel(), which may be called from anywhere.
 */
#ifndef RWKVK_H
#define RWKVK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(RWKVK_SHARED) && defined(_WIN32)
#ifdef RWKVK_BUILDING
#define RWKVK_API __declspec(dllexport)
#else
#define RWKVK_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define RWKVK_API __attribute__((visibility("default")))
#else
#define RWKVK_API
#endif

#define RWKVK_VERSION_MAJOR 0
#define RWKVK_VERSION_MINOR 1
#define RWKVK_VERSION_PATCH 0

/* ---------------------------------------------------------------------------------------------------- status */

typedef enum rwkvk_status {
	RWKVK_OK = 0,
	RWKVK_CANCELLED,         /* rwkvk_session_cancel(), or a callback that returned false; the session stays valid */
	RWKVK_ERROR_ARGUMENT,    /* the interface was used wrongly */
	RWKVK_ERROR_FILE,        /* a file that cannot be read or written, or does not hold what it should */
	RWKVK_ERROR_UNSUPPORTED, /* a well-formed file of a kind this version does not run */
	RWKVK_ERROR_DEVICE,      /* no Vulkan loader, no device, no device of that name, or one below the minimum limits */
	RWKVK_ERROR_MEMORY,      /* host or device memory does not suffice */
	RWKVK_ERROR_DRIVER,      /* a Vulkan call failed; the text names the call, the result and the source line */
	RWKVK_ERROR_BUSY,        /* all of the model's sessions are taken: wait for one to be destroyed */
	RWKVK_ERROR_DEVICE_LOST, /* the driver gave the device up: close the model and open it again */
	RWKVK_ERROR_INTERNAL,    /* the library broke a rule of its own: please report it with the text */
} rwkvk_status;

/* The text of the last failure in this thread; "" before the first.  Valid until the thread's next failing call. */
RWKVK_API const char *rwkvk_last_error(void);

/* A short constant name such as "file" or "driver". */
RWKVK_API const char *rwkvk_status_name(rwkvk_status status);

/* "MAJOR.MINOR.PATCH" of the library that is running. */
RWKVK_API const char *rwkvk_version(void);

/* ---------------------------------------------------------------------------------------------------- devices */

typedef enum rwkvk_device_type {
	RWKVK_DEVICE_OTHER,
	RWKVK_DEVICE_INTEGRATED,
	RWKVK_DEVICE_DISCRETE,
	RWKVK_DEVICE_VIRTUAL,
	RWKVK_DEVICE_CPU,
} rwkvk_device_type;

typedef struct rwkvk_device_info {
	uint32_t index; /* what rwkvk_model_options.device accepts as a number */
	rwkvk_device_type type;
	char name[256];
	char driver[512];        /* driver name and version text, "" where the driver does not tell */
	uint32_t api_version[3]; /* Vulkan major, minor, patch */
	uint32_t vendor_id, device_id;
	uint32_t subgroup_size;
	bool subgroup_operations; /* arithmetic and shuffle in compute: without them the shared-memory shaders run */
	bool unified_memory;      /* weights are written in place rather than through a staging buffer */
	uint32_t max_workgroup_invocations;
	uint32_t max_shared_memory; /* bytes */
	uint64_t max_storage_range; /* bytes that one binding may cover; larger matrices are cut */
	uint64_t device_memory;     /* bytes in the heaps weights may use */
	bool is_default;            /* what a NULL device selects */
	bool usable;                /* false: below the minimum limits; reason says which */
	char reason[256];
} rwkvk_device_info;

/* Lists the Vulkan devices, in the driver's order.  Writes at most `capacity` entries; *count is how many there are.
 * `infos` may be NULL when capacity is 0.  RWKVK_ERROR_DEVICE when there is no Vulkan loader. */
RWKVK_API rwkvk_status rwkvk_devices(rwkvk_device_info *infos, size_t capacity, size_t *count);

/* The device that rwkvk_model_options.device would select; NULL: the best. */
RWKVK_API rwkvk_status rwkvk_device_find(const char *device, rwkvk_device_info *out);

/* What a device does at best with kernels made for nothing else: the ceilings of a model's speed. */
typedef struct rwkvk_device_rates {
	double read_bytes_per_second;
	double copy_bytes_per_second; /* bytes read plus bytes written */
	double dispatch_seconds;      /* of a dispatch that does nothing, with the barrier after it */
	double submit_seconds;        /* from a submission of one such dispatch until the host knows */
	/* Operations, of which a multiply-add is two; int8: in dot products of four.  0: the device has no such arithmetic. */
	double f32_per_second, f16_per_second, int8_per_second;
	uint64_t measured_bytes; /* of memory that was read through; a cache that holds them makes the rate too high */
} rwkvk_device_rates;

/* Called by work that takes its time; `done` of `total` steps or bytes.  Return false to give up (RWKVK_CANCELLED). */
typedef bool rwkvk_progress_fn(void *user, uint64_t done, uint64_t total);

/* Measures a device, chosen as for a model; a few seconds.  At most a quarter of its free memory is used, 512 MiB at most.
 * progress: NULL for none; counts steps. */
RWKVK_API rwkvk_status rwkvk_device_measure(const char *device, rwkvk_progress_fn *progress, void *progress_user,
                                            rwkvk_device_rates *out);

/* ---------------------------------------------------------------------------------------------------- sampling */

/* A number added to the logit of a token before everything else; -INFINITY bans the token. */
typedef struct rwkvk_bias {
	uint32_t token; /* below the model's vocabulary */
	float value;
} rwkvk_bias;

/* How the next token is picked (the order is RWKV's own: biases, penalties, softmax, top-p on the untempered probabilities,
 * top-k, p^(1/T), draw).  Zeros mean: the most probable token, lowest id on ties, no penalties, no biases.
 * rwkvk_model_sampling() gives what the model's author recommends. */
typedef struct rwkvk_sampling {
	float temperature; /* 0: the most probable token */
	float top_p;       /* keep the most probable tokens until they sum to this; 0 keeps one, >= 1 keeps all */
	uint32_t top_k;    /* keep at most this many; 0: no limit */
	float presence;    /* subtracted from the logit of every token generated so far */
	float frequency;   /* times a token's decayed count, subtracted too */
	float decay;       /* the counts are multiplied by this at each step; used only with frequency */
	uint64_t seed;     /* same seed, model, device and text: same tokens */
	/* The caller's, needed while a call lasts; several of one token add up.  RWKVK_ERROR_ARGUMENT when all tokens are banned.
	 */
	const rwkvk_bias *biases;
	size_t bias_count; /* 0 with biases NULL: none */
} rwkvk_sampling;

/* ---------------------------------------------------------------------------------------------------- tokenizer */

typedef struct rwkvk_tokenizer rwkvk_tokenizer;

/* Reads a vocabulary, told by its content (docs/formats.md): World text (a line `ID LITERAL BYTES` a token, as in
 * rwkv_vocab_v20230424.txt), or a tokenizer.json with byte-level BPE, as in 20B_tokenizer.json.  JSON of another kind is
 * RWKVK_ERROR_UNSUPPORTED. */
RWKVK_API rwkvk_status rwkvk_tokenizer_open(const char *path, rwkvk_tokenizer **out);
/* NULL is allowed.  Not for the tokenizer of a model. */
RWKVK_API void rwkvk_tokenizer_close(rwkvk_tokenizer *tokenizer);

/* Text, of any bytes, to ids.  Writes at most `capacity` ids and sets *count to the number the text has, so a call with
 * capacity 0 (ids may be NULL) measures.  Never more ids than bytes; from a tokenizer.json, which may compose characters first
 * and so lengthen them, never more than three a byte.  The ids' bytes are the text again, or the composed text (Unicode's
 * form C).  A byte that the vocabulary has no token for is RWKVK_ERROR_FILE.  Thread-safe. */
RWKVK_API rwkvk_status rwkvk_tokenizer_encode(const rwkvk_tokenizer *tokenizer, const void *text, size_t bytes, uint32_t *ids,
                                              size_t capacity, size_t *count);

/* The bytes of one token (they need not be whole UTF-8 characters); NULL with *bytes = 0 for an id without text, such as
 * World's end-of-text token.  Owned by the tokenizer. */
RWKVK_API const void *rwkvk_tokenizer_token(const rwkvk_tokenizer *tokenizer, uint32_t id, size_t *bytes);

/* ---------------------------------------------------------------------------------------------------- model */

typedef struct rwkvk_model rwkvk_model;

/* How large matrices of float type are stored on the device; small tensors stay as they are, and so does what the file has
 * quantised.  docs/quantisation.md says which matrix gets how many bits and what that costs. */
typedef enum rwkvk_quant {
	RWKVK_QUANT_NONE, /* the file's types */
	RWKVK_QUANT_Q8,   /* 8.5 bits a weight */
	RWKVK_QUANT_Q6,   /* mostly 6.6 */
	RWKVK_QUANT_Q5,   /* mostly 5.6 */
	RWKVK_QUANT_Q4,   /* mostly 4.6 */
	RWKVK_QUANT_F16,  /* 16; what F16 cannot hold becomes infinite, so a BF16 model may need more */
} rwkvk_quant;

typedef struct rwkvk_model_options {
	const char *path; /* told apart by content: GGUF, safetensors (or the index of its shards), .pth, rwkv.cpp's .bin */
	const void *data; /* instead of path: the file's bytes, which must outlive the model */
	size_t data_bytes;
	/* Instead of both: an RWKV-7 model of this shape with random weights, for measuring speed: "0.1B", "0.4B", "1.5B", "2.9B"
	 * or "7.2B" as the official ones, or LAYERSxWIDTH such as "24x2048".  The same shape and type always give the same numbers.
	 * Its matrices are of the type "f32", "f16", "bf16", or what a rwkvk_quant makes, "q8", "q6", "q5", "q4"; NULL: f16. */
	const char *shape, *shape_type;
	const char *device;       /* an index, or part of a device's name in any case; NULL: the best device */
	const char *vocab;        /* a vocabulary file; NULL: the model's own, else bytes if it has 256 tokens, else none */
	const char *names;        /* a file that maps the model's tensor names to official ones (docs/formats.md); NULL: none */
	float group_norm_epsilon; /* of ln_x; 0: what the file's kind implies, 1e-5 for RWKV-5 from rwkv.cpp, else 64e-5 */
	/* n > 0: halve the residual stream after every n layers, of any version, as 16-bit engines do with RWKV-4 to 6; it changes
	 * nothing but the share that LayerNorm's epsilon has.  Files that are stored so (rwkv6 GGUF) are always run so. */
	uint32_t rescale;
	rwkvk_quant quant;
	uint32_t max_sessions;       /* states in the pool; 0: 4, or fewer where a device cannot bind so much at once */
	bool profile;                /* time every stage, see rwkvk_model_profile() */
	rwkvk_progress_fn *progress; /* NULL: none; `done` and `total` are bytes of the file */
	void *progress_user;
} rwkvk_model_options;

/* Opens a model on a device: reads the file (memory-mapped; it must stay unchanged while the model is open), checks that
 * it fits, uploads the weights, compiles the shaders.  On failure *out is NULL. */
RWKVK_API rwkvk_status rwkvk_model_open(const rwkvk_model_options *options, rwkvk_model **out);

/* Sessions must be destroyed first.  NULL is allowed. */
RWKVK_API void rwkvk_model_close(rwkvk_model *model);

typedef struct rwkvk_model_info {
	const char *name;                                      /* general.name of the file, else "" */
	const char *format;                                    /* "GGUF v3", "safetensors", "PyTorch .pth", "synthetic" */
	const char *version;                                   /* "4", "5.0", "5.1", "5.2", "6", "7" */
	uint32_t layers;                                       /* L */
	uint32_t width;                                        /* C, n_embd */
	uint32_t ffn_width;                                    /* F */
	uint32_t vocab;                                        /* V: logits per token */
	uint32_t heads, head_size;                             /* heads * head_size = width; RWKV-4 has C heads of 1 */
	uint32_t rank_decay, rank_iclr, rank_value, rank_gate; /* LoRA ranks of RWKV-7; RWKV-6 has a decay and a mix rank */
	uint32_t rank_mix;
	float group_norm_epsilon; /* of ln_x as the model runs; 0: RWKV-4, which has none */
	uint32_t rescale;         /* the residual stream is halved after every so many layers; 0: never */
	const char *type; /* of the matrices on the device, told by ffn.value: "F32", "F16", "BF16", "Q8", "Q6K" and so on */
	uint64_t parameters;
	uint64_t bytes_per_token; /* what one decoded token must read from device memory: weights as stored, state twice */
	uint64_t device_bytes;    /* device memory the model holds; 0 when no device is involved */
	uint64_t state_floats;    /* size of one state */
	bool add_bos;             /* the text should begin with token 0 */
	bool has_tokenizer;
	const char *device; /* name of the device, "" when none is involved */
} rwkvk_model_info;

/* Strings belong to the model. */
RWKVK_API void rwkvk_model_get_info(const rwkvk_model *model, rwkvk_model_info *info);

/* The model's own sampling metadata (general.sampling.*), else temperature 1.0, top-p 0.3, no top-k, presence 0.5,
 * frequency 0.5, decay 0.996, seed 0. */
RWKVK_API rwkvk_sampling rwkvk_model_sampling(const rwkvk_model *model);

/* The model's tokenizer, owned by the model; NULL when neither the file nor the options brought one. */
RWKVK_API const rwkvk_tokenizer *rwkvk_model_tokenizer(const rwkvk_model *model);

/* ---------------------------------------------------------------------------------------------------- verify */

/* How far the device is from plain C on the model's own weights, for one stage over all layers compared. */
typedef struct rwkvk_verify_row {
	const char *stage;  /* "wkv"; "whole tokens" for the logits after feeding tokens to the device alone */
	uint32_t compared;  /* how often */
	uint32_t layer;     /* where it was worst; 0 for stages of no layer */
	const char *vector; /* which result was worst there: "y", "state", "logits" */
	double error;       /* largest difference, as a share of that result's largest value; infinity for what is no number */
	double limit;       /* what rounding may amount to */
	bool ok;            /* error <= limit */
} rwkvk_verify_row;

typedef struct rwkvk_verify_options {
	uint32_t tokens; /* fed one after the other; 0: 3 */
	/* Multiplications of the reference that one token may take (it does about 10^9 a second); 0: 3 * 10^9.  Of larger models a
	 * sample of the layers is compared, first and last among them, and no whole tokens. */
	uint64_t effort;
	rwkvk_progress_fn *progress; /* NULL: none; done and total count layers */
	void *progress_user;
} rwkvk_verify_options;

enum { RWKVK_VERIFY_ROWS = 16 };

/* Runs every stage on the device on what the reference in plain C has computed up to there, and compares; then whole tokens.
 * Takes a free state of the pool.  Fills `rows` (RWKVK_VERIFY_ROWS of them) and *count.  RWKVK_OK also when a row is not ok.
 * options: NULL for the defaults. */
RWKVK_API rwkvk_status rwkvk_model_verify(rwkvk_model *model, const rwkvk_verify_options *options, rwkvk_verify_row *rows,
                                          size_t *count);

/* ---------------------------------------------------------------------------------------------------- tune */

/* One way to cut the work of the matrices, as it was measured. */
typedef struct rwkvk_tune_row {
	uint32_t workgroup, lanes, rows, groups; /* threads, those that share a row, rows a thread, workgroups a stage */
	double seconds;                          /* median of a token with the head */
	bool chosen;
} rwkvk_tune_row;

typedef struct rwkvk_tune_options {
	double seconds;              /* after which no further cut is tried; 0: 35 */
	rwkvk_progress_fn *progress; /* NULL: none; done and total count rows, and it may end before the total */
	void *progress_user;
} rwkvk_tune_options;

enum { RWKVK_TUNE_ROWS = 16 };

/* Measures how this device cuts this model's work best, goes on with that, and keeps it beside the driver's pipeline cache for
 * the next model of this kind that is opened on the device with this driver.  Takes a free state of the pool, and
 * under a minute.  Fills `rows` (RWKVK_TUNE_ROWS of them), the usual choice first, and *count.  options: NULL for the defaults.
 * Another cut adds up in another order: results agree within rounding, and are the same bits for the same cut. */
RWKVK_API rwkvk_status rwkvk_model_tune(rwkvk_model *model, const rwkvk_tune_options *options, rwkvk_tune_row *rows,
                                        size_t *count);

/* ---------------------------------------------------------------------------------------------------- inspect */

typedef struct rwkvk_file rwkvk_file; /* a model file without a device */

typedef struct rwkvk_tensor_info {
	const char *name; /* as in the file */
	const char *type; /* "F32", "F16", "BF16", "Q8_0" */
	uint32_t rank;
	uint64_t shape[4]; /* outermost first */
	uint64_t bytes;
	/* What it is stored as on a device: of a matrix the type that it gets there with the options' quant, "F32", "F16", "BF16",
	 * "Q8", "Q6K" and so on (docs/quantisation.md); "F32" for vectors; NULL: the model has no use for the tensor. */
	const char *device_type;
} rwkvk_tensor_info;

/* Opens and checks a model file.  device, max_sessions, profile and progress of the options are not used. */
RWKVK_API rwkvk_status rwkvk_file_open(const rwkvk_model_options *options, rwkvk_file **out);
RWKVK_API void rwkvk_file_close(rwkvk_file *file);
RWKVK_API void rwkvk_file_get_info(const rwkvk_file *file, rwkvk_model_info *info);
RWKVK_API const rwkvk_tokenizer *rwkvk_file_tokenizer(const rwkvk_file *file);
/* false when `index` is past the last tensor. */
RWKVK_API bool rwkvk_file_tensor(const rwkvk_file *file, size_t index, rwkvk_tensor_info *info);

/* ---------------------------------------------------------------------------------------------------- export */

/* How an exported file stores numbers.  From RWKVK_EXPORT_Q8_0 on: large matrices only, of several types by what they are for
 * (docs/quantisation.md); what they hold in fewer bits already stays, LoRA factors stay, vectors are F32. */
typedef enum rwkvk_export_type {
	RWKVK_EXPORT_KEEP, /* as they are, but for what GGUF has in F32 only */
	RWKVK_EXPORT_F32,
	RWKVK_EXPORT_F16,
	RWKVK_EXPORT_BF16,
	RWKVK_EXPORT_Q8_0,
	RWKVK_EXPORT_Q6_K,
	RWKVK_EXPORT_Q5_K_M,
	RWKVK_EXPORT_Q4_K_M,
	RWKVK_EXPORT_Q4_0,
} rwkvk_export_type;

/* A sentence for the user: what was left out, or stored otherwise than asked for, or which programs will not read the file. */
typedef void rwkvk_note_fn(void *user, const char *text);

typedef struct rwkvk_export_options {
	rwkvk_export_type type;
	uint32_t threads;            /* 0: one for each processor, 64 at most.  The file's bytes do not depend on it */
	rwkvk_progress_fn *progress; /* NULL: none; `done` and `total` are bytes of the new file */
	void *progress_user;
	rwkvk_note_fn *note; /* NULL: none; called before anything is written */
	void *note_user;
} rwkvk_export_options;

/* Writes the model to `path`, by the ending of its name:
 *   .gguf          names and keys as llama.cpp has them for RWKV-6 and 7, and similar ones for 4 and 5, with the vocabulary;
 *   .safetensors   official names, shapes and orientation, in F32, F16 or BF16, without vocabulary.
 * The file appears as a whole or not at all: until then it is called `path`.tmp, which a failure removes.  Nothing is held in
 * memory but a few megabytes for each thread and the file's list of tensors.  `path` may exist, but not be the model itself.
 * options: NULL for the defaults.
 * RWKVK_ERROR_ARGUMENT: another ending.  RWKVK_ERROR_UNSUPPORTED: a quantised tensor for safetensors with RWKVK_EXPORT_KEEP, or
 * a quantised type for it.  RWKVK_ERROR_FILE: the file cannot be written, or a number is out of the type's range.
 * RWKVK_CANCELLED: the progress function returned false. */
RWKVK_API rwkvk_status rwkvk_file_export(const rwkvk_file *file, const char *path, const rwkvk_export_options *options);

/* ---------------------------------------------------------------------------------------------------- session */

typedef struct rwkvk_session rwkvk_session;

/* Takes a free state of the model's pool (RWKVK_ERROR_MEMORY when all are taken), empty: no token seen. */
RWKVK_API rwkvk_status rwkvk_session_create(rwkvk_model *model, rwkvk_session **out);
RWKVK_API void rwkvk_session_destroy(rwkvk_session *session); /* NULL is allowed */

/* Forgets everything: state, position, generated-token counts, logits. */
RWKVK_API rwkvk_status rwkvk_session_reset(rwkvk_session *session);

/* Feeds `count` tokens.  `logits`, unless NULL, receives V floats: the logits after the last token.  A failure in the
 * middle leaves the state after the tokens that were done (see rwkvk_session_position()). */
RWKVK_API rwkvk_status rwkvk_session_eval(rwkvk_session *session, const uint32_t *tokens, size_t count, float *logits);

/* Tokens fed since the session was empty; a state file carries it on. */
RWKVK_API uint64_t rwkvk_session_position(const rwkvk_session *session);

/* Picks a token from the logits of the last eval and counts it for the penalties; does not feed it.  On the host; generate does
 * it on the device.  RWKVK_ERROR_ARGUMENT when nothing has been fed.  Same seed, same position, same logits: same token, also
 * as rwkvk_session_generate() picks, unless the draw is one of its close_draws. */
RWKVK_API rwkvk_status rwkvk_session_sample(rwkvk_session *session, const rwkvk_sampling *sampling, uint32_t *token);

/* Called with each token in order, and its bytes (possibly part of a character, possibly none).  Return false to stop: generate
 * then returns RWKVK_CANCELLED.  The device may have gone on already; of the session, only its position and
 * rwkvk_session_cancel() may be used in here. */
typedef bool rwkvk_token_fn(void *user, uint32_t token, const void *bytes, size_t count);

typedef struct rwkvk_generate_options {
	rwkvk_sampling sampling;
	uint64_t max_tokens;         /* 0: 1024 */
	const uint32_t *stop_tokens; /* a picked token of this list ends the text and is neither reported nor fed */
	size_t stop_token_count; /* at most 1024; 0 with stop_tokens NULL: token 0 stops, unless tokens are bytes; see ignore_end */
	bool ignore_end;         /* no token stops */
	rwkvk_token_fn *on_token; /* NULL: none */
	void *user;
} rwkvk_generate_options;

typedef struct rwkvk_generate_result {
	uint64_t tokens; /* how many were picked and reported */
	bool stopped;    /* a stop token ended it, rather than max_tokens */
	/* Draws that came within 1e-5 of a border between two tokens or of top_p, so that rounding may have decided them: another
	 * device, or rwkvk_session_sample(), may pick another token there. */
	uint64_t close_draws;
} rwkvk_generate_result;

/* Picks and feeds tokens on the device, as many in one submission as take some 30 milliseconds, until a stop token, max_tokens,
 * cancellation or a failure.  The first one may be picked on the host and reported before the device has read it.  Something
 * must have been fed before.  All reported tokens are in the state afterwards and none that was not reported, so a further eval
 * or generate continues the text.  `result` may be NULL. */
RWKVK_API rwkvk_status rwkvk_session_generate(rwkvk_session *session, const rwkvk_generate_options *options,
                                              rwkvk_generate_result *result);

/* Makes a running or the next eval or generate of this session return RWKVK_CANCELLED soon.  From any thread, and from
 * a signal handler. */
RWKVK_API void rwkvk_session_cancel(rwkvk_session *session);

/* ---------------------------------------------------------------------------------------------------- states */

/* A new session of the same model that continues from here, bit for bit. */
RWKVK_API rwkvk_status rwkvk_session_clone(rwkvk_session *session, rwkvk_session **out);

/* Copies the state out or in: state_floats floats in the canonical order (docs/formats.md).  Restore leaves no logits:
 * feed a token before sampling.  The generated-token counts are not part of it. */
RWKVK_API rwkvk_status rwkvk_session_snapshot(rwkvk_session *session, float *state);
RWKVK_API rwkvk_status rwkvk_session_restore(rwkvk_session *session, const float *state, uint64_t position);

/* The same through a state file (docs/formats.md).  Loading refuses a state of another version or shape.  It also takes a
 * trained start state, a safetensors or .pth file with the tensors blocks.i.att.time_state: then position is 0. */
RWKVK_API rwkvk_status rwkvk_session_save(rwkvk_session *session, const char *path);
RWKVK_API rwkvk_status rwkvk_session_load(rwkvk_session *session, const char *path);

/* What a state may be stored as (docs/formats.md). */
typedef enum rwkvk_state_format {
	RWKVK_STATE_ANY,     /* one of the next two, told by content; only to read */
	RWKVK_STATE_NATIVE,  /* rwkvk's own state file */
	RWKVK_STATE_TRAINED, /* tensors blocks.i.att.time_state [H, value, key]; written as safetensors, without shifts, position */
	RWKVK_STATE_WEB_RWKV, /* the same as web-rwkv's converters leave it, [H, key, value]; only to read */
	RWKVK_STATE_RWKV_CPP, /* bare floats in the order of rwkv.cpp */
	RWKVK_STATE_CHATRWKV, /* bare floats in the order of ChatRWKV's list */
} rwkvk_state_format;

typedef struct rwkvk_state_info {
	rwkvk_state_format format;
	uint32_t version; /* times ten: 70 is RWKV-7; 0: the file does not say */
	uint32_t layers, width, heads, head_size;
	uint64_t position;     /* tokens seen; only NATIVE says */
	uint64_t floats;       /* in the file */
	bool damaged;          /* NATIVE: the checksum is wrong */
	uint64_t not_finite;   /* how many numbers are infinite or not a number */
	float least, greatest; /* of the others */
} rwkvk_state_info;

/* Looks at a state in a file.  `model` may be NULL; bare floats need it, trained ones are then checked against it. */
RWKVK_API rwkvk_status rwkvk_state_inspect(const char *path, rwkvk_state_format format, const rwkvk_file *model,
                                           rwkvk_state_info *info);

/* Turns the state in the file `in` into another kind of file, which is replaced as a whole.  `model` may be NULL when `in` is
 * NATIVE; else it must be the model that the state belongs to. */
RWKVK_API rwkvk_status rwkvk_state_convert(const char *in, rwkvk_state_format from, const char *out, rwkvk_state_format to,
                                           const rwkvk_file *model);

/* ---------------------------------------------------------------------------------------------------- counters */

/* What the host asked of Vulkan since the model was opened.  Differences between two calls are exact. */
typedef struct rwkvk_counters {
	uint64_t tokens;     /* fed, and fed again where a text was cut (rwkvk_token_fn) */
	uint64_t dispatches; /* executed, a recorded one counts at each submission */
	uint64_t barriers;   /* likewise */
	uint64_t submits;
	uint64_t host_calls;         /* calls of Vulkan to submit, wait and read timestamps: 3 a submission without profile */
	uint64_t descriptor_updates; /* vkUpdateDescriptorSets calls */
	uint64_t allocations;        /* vkAllocateMemory calls */
	uint64_t buffers;            /* vkCreateBuffer calls */
	uint64_t recordings;         /* command buffers recorded */
} rwkvk_counters;

RWKVK_API void rwkvk_model_counters(const rwkvk_model *model, rwkvk_counters *counters);

/* One row of the stage profile, summed over layers and tokens since the model was opened. */
typedef struct rwkvk_profile_row {
	const char *stage;
	uint64_t runs;  /* dispatches timed */
	double seconds; /* device time, from timestamps */
	uint64_t bytes; /* what those dispatches must at least read and write */
} rwkvk_profile_row;

/* false when index is past the last row, the model was opened without profile, or the device has no timestamps. */
RWKVK_API bool rwkvk_model_profile(const rwkvk_model *model, size_t index, rwkvk_profile_row *row);

/* What is not read of a layer's ffn.value because most of its inputs, relu(key x)^2, are zero; averages over all tokens since
 * the model was opened. */
typedef struct rwkvk_sparsity {
	uint64_t tokens;
	double density;       /* share of the inputs that are not zero, 0 to 1 */
	uint64_t bytes;       /* of the matrix on the device */
	/* Of these, weights not read for a token; scales that are not read either are not counted.  Processors read on where many
	 * inputs in a row are not zero. */
	double bytes_skipped;
} rwkvk_sparsity;

/* false past the last layer, before the first token, or when the model was opened without profile. */
RWKVK_API bool rwkvk_model_sparsity(const rwkvk_model *model, uint32_t layer, rwkvk_sparsity *out);

#ifdef __cplusplus
}
#endif
#endif
