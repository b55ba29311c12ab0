/* rwkvk - RWKV language models on any Vulkan device.
 *
 * Two nouns.  A *model* is a set of weights on one device: immutable once open, shared by any number of sessions.
 * A *session* is one text in progress: a recurrent state of fixed size inside a pool that the model owns, and the logits
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
 * Calls that measure and inspect (verify, tune, export, counters, states of other programs) are in rwkvk_tools.h.
 *
 * Structs.  Options are structs whose zero value is a documented default, so `(rwkvk_model_options){.path = p}` is complete.
 * Every struct begins with its size, which the caller sets: sizeof the struct, or 0 for its layout in version 0.1.  Later
 * versions add members at the end only.  The library reads and writes no more than `size` bytes of a caller's struct.  Option
 * members that it does not know must be zero, or the call returns RWKVK_ERROR_ARGUMENT.  Arrays of structs step by the size in
 * the first element.  The size of a struct passed to a callback is what the library has written.
 *
 * Errors.  Every call that can fail returns a status and leaves a sentence for the calling thread in rwkvk_last_error().  Wrong
 * use of the interface (a NULL where none is allowed, a token id past the vocabulary) asserts in debug builds of the library;
 * in release builds it returns RWKVK_ERROR_ARGUMENT, or does nothing where no status is returned.  The library never exits or
 * aborts, and prints nothing (but see RWKVK_VALIDATE in the README).
 *
 * Threads.  A model may be used from several threads; its device work is done one call at a time under a lock.
 * A session belongs to one thread at a time.  rwkvk_cancel_set() may be called from anywhere, signal handlers included.
 *
 * Promises.  ABI: within 0.MINOR a program runs with any library of the same or a later PATCH, and this header only gains
 * declarations.  Before 1.0, a new MINOR may break the ABI; the SONAME changes with it.  rwkvk_tools.h is not covered.  Bits:
 * the same calls with the same options on the same device, driver and version of the library give the same logits, states and
 * tokens, bit for bit, whatever other sessions do.  Anything else (another device or driver, another tuning, the same tokens
 * divided into calls in another way) agrees within rounding. */
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
	RWKVK_CANCELLED,         /* an rwkvk_cancel was set, or a progress function returned false; everything stays valid */
	RWKVK_ERROR_ARGUMENT,    /* the interface was used wrongly */
	RWKVK_ERROR_FILE,        /* a file that cannot be read or written, or does not hold what it should */
	RWKVK_ERROR_UNSUPPORTED, /* a well-formed file of a kind this version does not run */
	RWKVK_ERROR_DEVICE,      /* no Vulkan loader, no device, no device of that name, or one below the minimum limits */
	RWKVK_ERROR_MEMORY,      /* host or device memory does not suffice */
	RWKVK_ERROR_DRIVER,      /* a Vulkan call failed, or the device computed nonsense; the text names what and where */
	RWKVK_ERROR_BUSY,        /* all of the model's sessions are taken: wait for one to be destroyed */
	RWKVK_ERROR_DEVICE_LOST, /* the driver reported the device lost: close the model and open it again */
	RWKVK_ERROR_INTERNAL,    /* a bug in the library: please report it with the text */
} rwkvk_status;

/* The text of the last failure in this thread; "" before the first.  Valid until the thread's next failing call.  It uses this
 * header's names for options. */
RWKVK_API const char *rwkvk_last_error(void);

/* A short constant name such as "file" or "driver"; "unknown" for any other number. */
RWKVK_API const char *rwkvk_status_name(rwkvk_status status);

/* "MAJOR.MINOR.PATCH" of the library that is running. */
RWKVK_API const char *rwkvk_version(void);

/* ---------------------------------------------------------------------------------------------------- reports */

typedef enum rwkvk_log_level {
	RWKVK_LOG_ERROR,   /* something is broken that no call's status shows: a message of the Vulkan validation layer */
	RWKVK_LOG_WARNING, /* the result may not be what the user expects: a stored tuning was dropped, a key was ignored */
	RWKVK_LOG_NOTE,    /* worth knowing: what an exported file lacks, which programs will not read it */
} rwkvk_log_level;

/* Receives every report of the library, a sentence without a line break.  Failures of calls are not reported here; they are in
 * rwkvk_last_error().  Runs on the thread that made the call (validation messages: on any thread), and must not call the
 * library. */
typedef void rwkvk_log_fn(void *user, rwkvk_log_level level, const char *text);

/* Called during long operations; `done` of `total` steps, tokens or bytes.  Return false to cancel (RWKVK_CANCELLED).  Must not
 * call the library, except for rwkvk_cancel_*(): a lock may be held. */
typedef bool rwkvk_progress_fn(void *user, uint64_t done, uint64_t total);

/* ---------------------------------------------------------------------------------------------------- cancelling */

/* A flag that ends calls early.  A program makes one for each thing it may want to cancel (a request, a download) and passes it
 * in the options of the calls that belong to that.  A call that finds the flag set soon returns RWKVK_CANCELLED.  The flag
 * stays set until the program clears it, so a late rwkvk_cancel_set() never ends unrelated work. */
typedef struct rwkvk_cancel rwkvk_cancel;

RWKVK_API rwkvk_status rwkvk_cancel_create(rwkvk_cancel **out);
/* Not while a call uses it.  NULL is allowed. */
RWKVK_API void rwkvk_cancel_destroy(rwkvk_cancel *cancel);
/* From any thread and from signal handlers.  NULL is allowed, here and below: it does nothing, and is never set. */
RWKVK_API void rwkvk_cancel_set(rwkvk_cancel *cancel);
RWKVK_API void rwkvk_cancel_clear(rwkvk_cancel *cancel);
RWKVK_API bool rwkvk_cancel_is_set(const rwkvk_cancel *cancel);

/* ---------------------------------------------------------------------------------------------------- devices */

typedef enum rwkvk_device_type {
	RWKVK_DEVICE_OTHER,
	RWKVK_DEVICE_INTEGRATED,
	RWKVK_DEVICE_DISCRETE,
	RWKVK_DEVICE_VIRTUAL,
	RWKVK_DEVICE_CPU,
} rwkvk_device_type;

typedef struct rwkvk_device_info {
	size_t size;
	uint32_t index; /* what rwkvk_model_options.device accepts as a number */
	rwkvk_device_type type;
	char name[256];
	char driver[512];        /* driver name and version text, "" if the driver does not report it */
	uint32_t api_version[3]; /* Vulkan major, minor, patch */
	uint32_t vendor_id, device_id;
	uint32_t subgroup_size;
	bool subgroup_operations; /* arithmetic and shuffle in compute: without them the shared-memory shaders are used */
	bool unified_memory;      /* weights are written in place rather than through a staging buffer */
	bool is_default;          /* what a NULL device selects */
	bool usable;              /* false: below the minimum limits; reason says which */
	uint32_t max_workgroup_invocations;
	uint32_t max_shared_memory; /* bytes */
	uint64_t max_storage_range; /* bytes that one binding may cover; larger matrices are cut */
	uint64_t device_memory;     /* bytes in the heaps weights may use */
	char reason[256];
	char pci[16]; /* its place on the PCI bus, as the system writes it ("0000:03:00.0"); "" if the driver does not report it */
} rwkvk_device_info;

/* Lists the Vulkan devices, in the driver's order.  Writes at most `capacity` entries; *count is the number of devices.
 * `infos` may be NULL if capacity is 0.  RWKVK_ERROR_DEVICE if there is no Vulkan loader. */
RWKVK_API rwkvk_status rwkvk_devices(rwkvk_device_info *infos, size_t capacity, size_t *count);

/* The device that rwkvk_model_options.device would select; NULL: the best. */
RWKVK_API rwkvk_status rwkvk_device_find(const char *device, rwkvk_device_info *out);

/* ---------------------------------------------------------------------------------------------------- tokenizer */

typedef struct rwkvk_tokenizer rwkvk_tokenizer;

/* Reads a vocabulary, recognised by its content (docs/formats.md): World text (a line `ID LITERAL BYTES` a token, as in
 * rwkv_vocab_v20230424.txt), the same in the JSON of web-rwkv and Ai00, or a tokenizer.json with byte-level BPE, as in
 * 20B_tokenizer.json.  JSON of another kind is RWKVK_ERROR_UNSUPPORTED. */
RWKVK_API rwkvk_status rwkvk_tokenizer_open(const char *path, rwkvk_tokenizer **out);
/* NULL is allowed.  Not for the tokenizer of a model. */
RWKVK_API void rwkvk_tokenizer_close(rwkvk_tokenizer *tokenizer);

/* Converts text (any bytes) to ids.  Writes at most `capacity` ids and sets *count to the number of ids in the text, so a call
 * with capacity 0 (ids may be NULL) only counts.  There are never more ids than bytes; with a tokenizer.json, which may compose
 * characters first and lengthen them, never more than three per byte.  The ids' bytes give the text again, or the composed text
 * (Unicode's form C).  RWKVK_ERROR_FILE if the vocabulary has no token for a byte.  Thread-safe. */
RWKVK_API rwkvk_status rwkvk_tokenizer_encode(const rwkvk_tokenizer *tokenizer, const void *text, size_t bytes, uint32_t *ids,
                                              size_t capacity, size_t *count);

/* The bytes of one token (they need not be whole UTF-8 characters); NULL with *bytes = 0 for an id without text, such as
 * World's end-of-text token.  Owned by the tokenizer.  Thread-safe. */
RWKVK_API const void *rwkvk_tokenizer_token(const rwkvk_tokenizer *tokenizer, uint32_t id, size_t *bytes);

/* ---------------------------------------------------------------------------------------------------- model */

typedef struct rwkvk_model rwkvk_model;

/* How large float matrices are stored on the device.  Small tensors, and tensors already quantised in the file, stay as they
 * are.  docs/quantisation.md says how many bits each matrix gets and what that costs. */
typedef enum rwkvk_quant {
	RWKVK_QUANT_NONE, /* the file's types */
	RWKVK_QUANT_Q8,   /* 8.5 bits a weight */
	RWKVK_QUANT_Q6,   /* mostly 6.6 */
	RWKVK_QUANT_Q5,   /* mostly 5.6 */
	RWKVK_QUANT_Q4,   /* mostly 4.6 */
	RWKVK_QUANT_F16,  /* 16; a model with weights of 65520 or more is refused */
} rwkvk_quant;

/* An adapter: a .pth or safetensors file of RWKV-PEFT or Hugging Face's peft, an index of several, or a folder of peft or of a
 * model that holds it (docs/formats.md).  It may hold LoRA, DoRA, PiSSA, bone, disha and miss for any large matrix and for LoRA
 * factors; the file's other tensors replace the model's. */
typedef struct rwkvk_lora {
	size_t size;
	const char *path;
	/* The factor of B A; 0: alpha / rank, from the file or the adapter_config.json beside it.  RWKVK_ERROR_FILE if neither has
	 * it. */
	float scale;
	uint32_t reserved; /* 0 */
} rwkvk_lora;

struct rwkvk_tools_options;

typedef struct rwkvk_model_options {
	size_t size;
	const char *path; /* recognised by content: GGUF, safetensors (or the index of its shards), .pth, rwkv.cpp's .bin */
	const void *data; /* the file's bytes, which must outlive the model; path, if set, is then only a name for messages */
	size_t data_bytes;
	const char *device; /* an index (digits only), or part of a name in any case; NULL: RWKVK_DEVICE, else the best device */
	const char *vocab; /* a vocabulary file, instead of the model's own; NULL: that, else bytes if it has 256 tokens, else none.
	                      Must fit: docs/formats.md */
	const char *names; /* a file that maps the model's tensor names to official ones (docs/formats.md); NULL: none */
	/* Where compiled pipelines and tunings are stored; "": nowhere; NULL: RWKVK_CACHE_DIR, else $XDG_CACHE_HOME/rwkvk or
	 * ~/.cache/rwkvk, else nowhere. */
	const char *cache_dir;
	rwkvk_quant quant;
	/* Of ln_x, at most 1; 0: the file's, or what its kind implies: 1e-5 for RWKV-5 from rwkv.cpp, N * 1e-5 for RWKV-7 from
	 * flash-linear-attention with heads of N (docs/formats.md), else 64e-5. */
	float group_norm_epsilon;
	/* n > 0: halve the residual stream after every n layers, with any version, as 16-bit engines do with RWKV-4 to 6.  This
	 * changes only the relative weight of LayerNorm's epsilon.  Files stored that way (rwkv6 GGUF) always run that way. */
	uint32_t rescale;
	uint32_t max_sessions;       /* states in the pool; 0: 4, or max_batch, or fewer if the device cannot bind that much */
	uint32_t threads;            /* that pack weights and compile pipelines, at most 64; 0: one per processor */
	bool read_file;              /* rather than map the file: it may then change, but takes as much main memory */
	uint64_t device_memory;      /* the most bytes of device memory that the model may take; 0: what is free */
	const rwkvk_cancel *cancel;  /* ends the loading; NULL: none.  Not used after rwkvk_model_open() has returned */
	rwkvk_progress_fn *progress; /* NULL: none; `done` and `total` are bytes of the file */
	void *progress_user;
	rwkvk_log_fn *log; /* NULL: none.  Used as long as the model is open */
	void *log_user;
	const struct rwkvk_tools_options *tools; /* rwkvk_tools.h; NULL: none */
	/* Not 0: prompts are read token by token, as in generation, never in chunks (rwkvk_session_eval()).  This is several times
	 * slower, but gives the same bits as feeding the tokens one by one, and saves the memory that chunks take. */
	uint32_t exact;
	/* Tokens in the longest chunk, in steps of 16; 0: 64, on graphics cards 256.  Chunks are never longer than that; they are
	 * shorter, down to 16, if memory is short.  No result depends on it. */
	uint32_t chunk_rows;
	/* n > 1: tokens of up to n sessions, 256 at most, go through the model together, in one pass over the weights.  This
	 * applies to calls that run in several threads at the same time and to the works of rwkvk_model_step().  Every token then
	 * goes through the batched stages, even if only one session is active, so a token's bits do not depend on the other
	 * sessions or their number.  They differ from those with 0 or 1, where each submission serves one session, by less than
	 * 3e-5 of the largest logit.  Not allowed with exact. */
	uint32_t max_batch;
	/* How many prompt tokens a submission may read while other sessions generate, 16 at least; 0: as many as a chunk.  With
	 * fewer, generation is smoother and prompts take longer.  No result depends on it. */
	uint32_t mixed_rows;
	/* lora_count adapters that are merged into the model while it loads, in their order: W + scale B A in F32, then stored as
	 * quant says.  A matrix that is quantised in the file becomes Q8 unless quant says otherwise.  The model's own file may be
	 * one of them, if it holds an adapter.  NULL: none.  Not used after rwkvk_model_open() has returned. */
	const rwkvk_lora *lora;
	size_t lora_count;
	/* A file that is already open for reading, instead of path, which is then only a name for messages (NULL: "file descriptor
	 * N"): Android gives its apps no more than that.  0: none, so standard input cannot be one.  The model is the fd_length
	 * bytes from fd_offset on, which may be any; fd_length 0: all from there.  A pipe is RWKVK_ERROR_FILE; Windows, where each
	 * C library has its own numbers, RWKVK_ERROR_UNSUPPORTED.  The descriptor stays the caller's, who may close it once
	 * rwkvk_model_open() has returned; its position is neither used nor changed. */
	int fd;
	uint64_t fd_offset, fd_length;
} rwkvk_model_options;

/* Opens a model on a device: reads the file (memory-mapped: it must stay unchanged while the model is open, unless read_file is
 * set), checks that it fits, uploads the weights, compiles the shaders.  On failure *out is NULL. */
RWKVK_API rwkvk_status rwkvk_model_open(const rwkvk_model_options *options, rwkvk_model **out);

/* NULL is allowed.  Calls of sessions that still exist then fail with RWKVK_ERROR_ARGUMENT, and the memory is freed when the
 * last session is destroyed.  `model` itself must not be used again. */
RWKVK_API void rwkvk_model_close(rwkvk_model *model);

/* No token: the value of rwkvk_model_info.begin_token if the model has none. */
#define RWKVK_NO_TOKEN UINT32_MAX

typedef struct rwkvk_model_info {
	size_t size;
	const char *name;          /* general.name of the file, else "" */
	const char *format;        /* "GGUF v3", "safetensors", "PyTorch .pth", "synthetic" */
	const char *version;       /* "4", "5.0", "5.1", "5.2", "6", "7" */
	const char *device;        /* name of the device, "" when none is involved */
	const char *type;          /* of the matrices on the device, by ffn.value: "F32", "F16", "BF16", "Q8", "Q6K" and so on */
	uint32_t layers;           /* L */
	uint32_t width;            /* C, n_embd */
	uint32_t ffn_width;        /* F */
	uint32_t vocab;            /* V: logits per token */
	uint32_t heads, head_size; /* heads * head_size = width; RWKV-4 has C heads of 1 */
	uint32_t rank_decay, rank_iclr, rank_value, rank_gate; /* LoRA ranks of RWKV-7; RWKV-6 has a decay and a mix rank */
	uint32_t rank_mix;
	float group_norm_epsilon; /* of ln_x as the model runs; 0: RWKV-4, which has none */
	uint32_t rescale;         /* the residual stream is halved after every `rescale` layers; 0: never */
	/* The tokens that begin and end a text: the file's tokenizer.ggml.bos_token_id and eos_token_id, else 0, which World and
	 * 20B vocabularies use for both; RWKVK_NO_TOKEN for a vocabulary of bytes. */
	uint32_t begin_token, end_token;
	uint32_t max_sessions; /* states in the pool; 0 when no device is involved */
	bool add_bos;          /* the text should begin with begin_token */
	bool has_tokenizer;
	uint64_t parameters;
	uint64_t bytes_per_token; /* what one decoded token must read from device memory: weights as stored, state twice */
	uint64_t device_bytes;    /* device memory that the model uses; 0 when no device is involved */
	uint64_t state_bytes;     /* of the recurrent state of one session */
	uint64_t multiply_adds;   /* in the matrices of all layers, for one token; logits, if wanted, take V C more */
} rwkvk_model_info;

/* Strings belong to the model. */
RWKVK_API rwkvk_status rwkvk_model_get_info(const rwkvk_model *model, rwkvk_model_info *info);

/* One entry of a model file's metadata: a key of a GGUF file, or of a safetensors file's __metadata__.  Strings belong to the
 * model. */
typedef struct rwkvk_metadata {
	size_t size;
	const char *key;    /* "tokenizer.chat_template" */
	const char *value;  /* a string as it is, 0-terminated; a number in decimal; "true", "false"; NULL for a list */
	size_t value_bytes; /* without the 0 */
	uint64_t items;     /* in a list; else 1 */
} rwkvk_metadata;

/* Entry `index`, in the file's order; false past the last. */
RWKVK_API bool rwkvk_model_metadata(const rwkvk_model *model, size_t index, rwkvk_metadata *out);
/* The value of one key; NULL if the file does not have the key, or its value is a list. */
RWKVK_API const char *rwkvk_model_metadata_value(const rwkvk_model *model, const char *key);

/* The model's tokenizer, owned by the model; NULL if neither the file nor the options provided one. */
RWKVK_API const rwkvk_tokenizer *rwkvk_model_tokenizer(const rwkvk_model *model);

/* ---------------------------------------------------------------------------------------------------- sampling */

/* A number added to a token's logit before any other step; -INFINITY bans the token.  This layout is fixed. */
typedef struct rwkvk_bias {
	uint32_t token; /* below the model's vocabulary */
	float value;
} rwkvk_bias;

/* How the next token is picked (the order is RWKV's own: biases, penalties, softmax, top-p on the untempered probabilities,
 * top-k, p^(1/T), draw).  Zeros mean: the most probable token, lowest id on ties, no penalties, no biases. */
typedef struct rwkvk_sampling {
	size_t size;
	float temperature; /* 0: the most probable token */
	float top_p;       /* keep the most probable tokens until their sum reaches this; 0 keeps one, >= 1 keeps all */
	uint32_t top_k;    /* keep at most this many; 0: no limit */
	float presence;    /* subtracted from the logit of every token generated so far */
	float frequency;   /* times a token's decayed count, subtracted too */
	float decay;       /* multiplies the counts at each step; used only with frequency */
	uint64_t seed;     /* same seed, model, device and text: same tokens */
	/* The caller's, needed for the duration of the call; several for one token add up.  RWKVK_ERROR_ARGUMENT if all tokens are
	 * banned. */
	const rwkvk_bias *biases;
	size_t bias_count; /* 0 with biases NULL: none */
} rwkvk_sampling;

/* The model's own sampling metadata (general.sampling.*), else temperature 1.0, top-p 0.3, no top-k, presence 0.5,
 * frequency 0.5, decay 0.996, seed 0. */
RWKVK_API rwkvk_status rwkvk_model_sampling(const rwkvk_model *model, rwkvk_sampling *out);

/* ---------------------------------------------------------------------------------------------------- session */

typedef struct rwkvk_session rwkvk_session;

/* Takes a free state from the model's pool (RWKVK_ERROR_BUSY if none is free).  The state is empty: no token seen. */
RWKVK_API rwkvk_status rwkvk_session_create(rwkvk_model *model, rwkvk_session **out);
/* NULL is allowed. */
RWKVK_API void rwkvk_session_destroy(rwkvk_session *session);

/* Forgets everything: state, position, generated-token counts, logits. */
RWKVK_API rwkvk_status rwkvk_session_reset(rwkvk_session *session);

/* Called with the logits after tokens[index], V floats, once for each token in order.  They are valid until the callback
 * returns.  Return false to end the call with RWKVK_CANCELLED; no further callbacks follow.  The callback may use nothing of
 * the session but its position, which may already be past the token. */
typedef bool rwkvk_logits_fn(void *user, size_t index, const float *logits);

typedef struct rwkvk_eval_options {
	size_t size;
	float *logits;               /* receives V floats, the logits after the last token; NULL: not wanted */
	const rwkvk_cancel *cancel;  /* NULL: none */
	rwkvk_progress_fn *progress; /* NULL: none; `done` and `total` count tokens */
	void *progress_user;
	rwkvk_logits_fn *on_logits; /* NULL: only the last logits are wanted, which saves work */
	void *logits_user;
} rwkvk_eval_options;

/* Feeds `count` tokens.  With count 0 (tokens may be NULL) it only returns the logits again.  A failure midway leaves the state
 * after the last token that was completed (see rwkvk_session_position()).  options: NULL for the defaults.
 *
 * A call of 16 tokens or more (8 on GPUs) reads them in chunks, all tokens of a chunk at once.  A shorter call, and every call
 * with rwkvk_model_options.exact, reads them one by one.  On the same device with the same driver, the same tokens from the
 * same state give bit-identical logits and states, however they are split into calls of at least that many tokens.  Tokens fed
 * one by one or in shorter calls also give the same bits as each other, but not the same as chunks: sums are added in another
 * order, a difference of less than 3e-5 of the largest logit.  To match tokens fed one by one bit for bit, use `exact`.
 *
 * A chunk is read as a whole or not at all.  If the call is cancelled or fails within a chunk, the state and the position are
 * those from before the chunk.  Feeding the remaining tokens from there gives the result of an undisturbed call, bit for bit if
 * they are read in chunks, too.  RWKVK_ERROR_ARGUMENT: a token is past the vocabulary, and none is fed; or logits are wanted of
 * a session that has none.  RWKVK_CANCELLED: by `cancel`, after the submission that is running; by `progress`, which is called
 * after each chunk.
 *
 * on_logits is for scoring texts: the logits of each token are reported as the text is read, so a long text takes no more
 * memory than a short one.  A model's first such call allocates 4 V bytes of device memory for each token of a chunk, or for
 * fewer if memory is short (RWKVK_ERROR_MEMORY: not even for one).  Logits of a chunk agree with `logits`, and with those of
 * single tokens, within rounding. on_logits does not change a bit of the state or of `logits`. */
RWKVK_API rwkvk_status rwkvk_session_eval(rwkvk_session *session, const uint32_t *tokens, size_t count,
                                          const rwkvk_eval_options *options);

/* Tokens fed since the session was empty.  A saved state includes it.  0 for NULL.  Never more than 2^63. */
RWKVK_API uint64_t rwkvk_session_position(const rwkvk_session *session);

/* Picks a token from the logits of the last eval and counts it for the penalties; does not feed it.  Runs on the host; generate
 * picks on the device. sampling: NULL means all zeros.  RWKVK_ERROR_ARGUMENT if nothing has been fed.  Same seed, same
 * position, same logits: same token, and the one rwkvk_session_generate() picks, unless the draw is one of its close_draws. */
RWKVK_API rwkvk_status rwkvk_session_sample(rwkvk_session *session, const rwkvk_sampling *sampling, uint32_t *token);

/* A token that could have been picked. */
typedef struct rwkvk_candidate { /* this layout is fixed */
	uint32_t token;
	float log_probability;
} rwkvk_candidate;

/* A generated token, valid until the callback returns. */
typedef struct rwkvk_token {
	size_t size;
	uint32_t id;
	uint32_t byte_count;
	const void *bytes; /* its text: possibly part of a character, possibly none; NULL without a tokenizer */
	/* The logarithm of its probability at temperature 1, after biases, penalties and the mask, before top-p and top-k.  Set
	 * with max_batch or rwkvk_generate_options.log_probabilities, else 0.  NaN for a token that was not picked, but replaces
	 * the beginning of a token cut by the end of the text. */
	float log_probability;
	uint32_t top_count; /* the most probable tokens with theirs, the most probable first */
	const rwkvk_candidate *tops;
} rwkvk_token;

/* Sets which tokens may be picked next: bit i % 32 of allowed[i / 32] for token i, all initially 0.  May use nothing of the
 * session but its position.  Return false to end the text (RWKVK_END_CALLER). */
typedef bool rwkvk_mask_fn(void *user, uint32_t *allowed, size_t words);

/* Called with each token in order.  Return false to end the text with this token (RWKVK_END_CALLER); no further callbacks
 * follow.  May use nothing of the session but its position. */
typedef bool rwkvk_token_fn(void *user, const rwkvk_token *token);

/* Called with text that may be shown: whole characters, and nothing that may turn out to begin a stop text.  Text still held
 * back is released when generation ends, so the pieces together are the bytes of the tokens up to the stop text.  A model may
 * write bytes that are not UTF-8; they are passed on.  Not 0-terminated; `bytes` is not 0.  Return false to end the text with
 * this piece; then only the tokens that it completes are still reported. */
typedef bool rwkvk_text_fn(void *user, const char *text, size_t bytes);

typedef struct rwkvk_generate_options {
	size_t size;
	const rwkvk_sampling *sampling; /* NULL means all zeros: the most probable token each time */
	uint64_t max_tokens;            /* to pick; 0: 1024 */
	const uint32_t *stop_tokens;    /* picking one of these ends the text; it is neither reported nor fed */
	size_t stop_token_count;        /* at most 1024; 0 with stop_tokens NULL: the model's end_token stops */
	const char *const *stop_texts;  /* UTF-8, none empty: the text ends before the first to appear; needs a tokenizer */
	size_t stop_text_count;
	bool ignore_end;                /* no token stops; stop_tokens must be NULL */
	rwkvk_text_fn *on_text;         /* NULL: none; called before the on_token of the token that completed the text */
	rwkvk_token_fn *on_token;       /* NULL: none; called once the last byte of the token is released (see below) */
	void *user;                     /* passed to all callbacks */
	const rwkvk_cancel *cancel;     /* NULL: none */
	bool log_probabilities;         /* report them without max_batch, too; the host then picks the tokens */
	uint32_t top_log_probabilities; /* how many of the most probable tokens to report, 20 at most; implies log_probabilities */
	rwkvk_mask_fn *mask; /* NULL: any token may be picked; else called before each pick, and a submission has one token */
} rwkvk_generate_options;

/* Why a text ended. */
typedef enum rwkvk_end {
	RWKVK_END_FAILED,     /* the call failed */
	RWKVK_END_STOP_TOKEN, /* a stop token was picked */
	RWKVK_END_STOP_TEXT,  /* a stop text was written */
	RWKVK_END_LENGTH,     /* max_tokens */
	RWKVK_END_CALLER,     /* a callback returned false */
	RWKVK_END_CANCELLED,  /* the cancel object was set; the call returns RWKVK_CANCELLED */
} rwkvk_end;

typedef struct rwkvk_generate_result {
	size_t size;
	rwkvk_end reason;
	uint32_t stop;   /* which of stop_tokens or stop_texts ended it, by index; 0 for end_token */
	uint64_t tokens; /* in the text: by how much the position has grown */
	/* Draws that came within 1e-5 of a border between two tokens or of top_p, so that rounding may have decided them: another
	 * device, or rwkvk_session_sample(), may pick another token there. */
	uint64_t close_draws;
} rwkvk_generate_result;

/* Picks and feeds tokens on the device until a stop token, a stop text, max_tokens, a callback that returns false, cancellation
 * or a failure.  A submission has as many tokens as take about 30 milliseconds.  At least one token must have been fed before.
 * `result` may be NULL; otherwise it is always written.
 *
 * When output is released.  Without on_text and stop_texts, a token is reported as soon as it is known; the first one may be
 * reported before the device has read it.  With on_text, bytes are held back until they form whole characters; with stop_texts,
 * until they cannot begin a stop text.  A token is reported with its last byte.  At the end everything held back is released,
 * unless a stop text or a callback ended the text: then everything past the end is discarded.
 *
 * However the text ended, the state afterwards matches it: it has read exactly the tokens that were reported, and their bytes
 * are the text that was released.  Position and counts match these tokens, too, and a further eval or generate continues the
 * text.  A token cut in two by the end is not reported; the part of it that was written is encoded, and the resulting tokens
 * are read and reported in its place.  (If the vocabulary has no such tokens, the call fails with RWKVK_ERROR_FILE, and the
 * state is that of the reported tokens.  A tokenizer.json that composes characters may give other bytes for the same
 * characters.  If on_token ends the text between the tokens of one character, on_text has already been given the whole
 * character.) */
RWKVK_API rwkvk_status rwkvk_session_generate(rwkvk_session *session, const rwkvk_generate_options *options,
                                              rwkvk_generate_result *result);

/* ---------------------------------------------------------------------------------------------------- many sessions */

/* The work of one session in a step, and its result. */
typedef struct rwkvk_work {
	size_t size;
	rwkvk_session *session; /* each in one work only */
	const uint32_t *tokens; /* to read first */
	size_t token_count;
	/* How to generate once the tokens are read.  The options apply to the text that begins then, and are not read again until
	 * it ends; the stop tokens, stop texts and biases that they point to must stay valid as long. on_text and on_token must be
	 * NULL.  NULL: only read the tokens. */
	const rwkvk_generate_options *options;
	uint64_t most; /* tokens to pick in this step; 0: no limit but max_tokens */
	/* The members from here on are the result.  Pointers belong to the session, until the next call that uses it. */
	rwkvk_status status; /* of this work alone */
	const char *error;   /* its text, or "" */
	size_t read; /* of the tokens: fewer than token_count, or none, if there was no room; pass the rest to the next step */
	/* Reported in this step, in order, as rwkvk_session_generate() reports them to on_token; the next one begins picked[0].size
	 * bytes after the first. */
	const rwkvk_token *picked;
	size_t picked_count;
	const char *text; /* text that may be shown, as for on_text; "" without a tokenizer */
	size_t text_bytes;
	bool ended; /* the text ended in this step, and all of it is reported; then, as in rwkvk_generate_result: */
	rwkvk_end reason;
	uint32_t stop;
	uint64_t text_tokens, close_draws;
} rwkvk_work;

/* Does the work of several sessions in one submission, and returns when it is done.  With rwkvk_model_options.max_batch n, up
 * to n sessions pick tokens in it, all in one pass over the weights, while the prompts of others are read as one chunk.  Works
 * for which there is no room get status RWKVK_OK, `read` 0 and no tokens; put them first in the next step.  Without max_batch
 * each step does one work.  A step picks as many tokens as take about 30 milliseconds, or one if it also reads a prompt.
 *
 * A text belongs to its session from the step that begins it to the step that ends it, including what is held back.  Its bytes
 * and tokens are those of rwkvk_session_generate(), bit for bit.  Until it ends, other calls on the session, except
 * rwkvk_session_position() and rwkvk_session_rewind(), fail with RWKVK_ERROR_ARGUMENT.
 *
 * A work that fails does not affect the others: its status says why, its session is in the same state as after the same failure
 * of rwkvk_session_eval() or rwkvk_session_generate(), and its text has ended.  The function itself fails only on misuse. */
RWKVK_API rwkvk_status rwkvk_model_step(rwkvk_model *model, rwkvk_work *works, size_t count);

/* Ends the text that a session is writing in steps, at a point of the caller's choice: the first `keep` tokens reported by the
 * last step stay; the others and everything held back are discarded.  State, position and counts are those of the text up to
 * there.  RWKVK_ERROR_ARGUMENT: no text is being written, or the last step reported fewer than `keep` tokens. */
RWKVK_API rwkvk_status rwkvk_session_rewind(rwkvk_session *session, size_t keep);

/* ---------------------------------------------------------------------------------------------------- states */

/* A new session of the same model that continues from here, bit for bit. */
RWKVK_API rwkvk_status rwkvk_session_clone(rwkvk_session *session, rwkvk_session **out);

/* A session as bytes, to be kept in memory or sent to another machine: its state, position, counts of generated tokens and, if
 * it has them, the logits of its last token.  After set, a text continues as if uninterrupted, bit for bit on the same device.
 * That holds for drawn texts, too: their random numbers follow from seed and position (but see close_draws).  The bytes are
 * opaque (rwkvk_session_save() writes the same ones).  Later versions of the library read them, and this one also reads format
 * 1, which has neither counts nor logits.  They fit any model of the same shape and vocabulary, on any device.  Their number
 * changes as tokens are generated: get needs the size that rwkvk_session_state_size() returns at that time.  Set refuses bytes
 * of another model or another length, and damaged ones (RWKVK_ERROR_FILE), and then changes nothing.  If the bytes have no
 * logits, neither has the session afterwards: feed a token before sampling. */
RWKVK_API size_t rwkvk_session_state_size(const rwkvk_session *session); /* 0 for NULL */
RWKVK_API rwkvk_status rwkvk_session_state_get(rwkvk_session *session, void *state, size_t bytes);
RWKVK_API rwkvk_status rwkvk_session_state_set(rwkvk_session *session, const void *state, size_t bytes);

/* The same through a state file (docs/formats.md), which is replaced as a whole.  Loading also takes a trained start state, a
 * safetensors or .pth file with the tensors blocks.i.att.time_state: then position is 0, and there are no logits. */
RWKVK_API rwkvk_status rwkvk_session_save(rwkvk_session *session, const char *path);
RWKVK_API rwkvk_status rwkvk_session_load(rwkvk_session *session, const char *path);

/* ---------------------------------------------------------------------------------------------------- state cache */

/* Keeps states of texts that have been read, so that no text is read twice: reading of a prompt starts at the end of its
 * longest cached prefix.  To continue, edit, retry or fork a conversation, or to reuse a system message, costs one copy of a
 * state and the reading of what is new.
 *
 * States are kept at the ends of messages and, within long ones, at the last space or line break before every 2 KiB.  Every
 * prompt is cut there, whatever is cached, and each piece is encoded by itself, so a prompt's tokens do not depend on what the
 * cache holds.  Prompts with the same bytes up to such a point, cut at the same places, share its state.  docs/cache.md. */
typedef struct rwkvk_cache rwkvk_cache;

typedef enum rwkvk_begin {
	RWKVK_BEGIN_FILE, /* texts begin with the model's begin_token if its file says so (rwkvk_model_info.add_bos) */
	RWKVK_BEGIN_TOKEN,
	RWKVK_BEGIN_NOTHING,
} rwkvk_begin;

typedef struct rwkvk_cache_options {
	size_t size;
	uint64_t memory; /* bytes of main memory for states, of which the least recently used go first; 0: a quarter of what is
	                    free, 4 GiB at most */
	/* Bytes in the folder "states" of `dir`, where states survive the program and which processes may share; 0: no folder.
	 * Files there hold the texts, too, and are the user's alone (0600). */
	uint64_t disk;
	const char *dir; /* NULL: the model's cache_dir */
	/* Keep no states of answers: they were made by picked tokens, and reading the same text may split it otherwise. */
	bool read_states_only;
	rwkvk_begin begin; /* of texts that start from the empty state */
	/* A Redis or Valkey server that keeps states for several machines with the same model: redis://[user:password@]host[:port]
	 * [/database], or rediss:// with TLS; NULL: none.  It gets the texts, too.  A store that fails is as good as none: that is
	 * reported (rwkvk_model_options.log) and counted. */
	const char *store;
	uint64_t store_ttl;    /* seconds that it keeps a state which nobody uses; 0: as long as it has room */
	uint32_t store_tokens; /* it is asked for a prefix so many tokens longer than what is known without it; 0: 128 */
	uint32_t store_wait;   /* milliseconds to wait for it before a prompt; 0: 500 */
} rwkvk_cache_options;

/* For one model, which must stay open longer.  Thread-safe but for destroy.  RWKVK_ERROR_ARGUMENT: the model has no tokenizer,
 * or no begin_token that texts are to begin with; disk without a folder; a store's address that is none.
 * RWKVK_ERROR_UNSUPPORTED: a store, or one with TLS, that this build lacks.  options: NULL for the defaults. */
RWKVK_API rwkvk_status rwkvk_cache_create(rwkvk_model *model, const rwkvk_cache_options *options, rwkvk_cache **out);
/* After its prompts.  States waiting to be written to the folder are written first, and those for the store, if that takes no
 * more than 5 seconds.  NULL is allowed. */
RWKVK_API void rwkvk_cache_destroy(rwkvk_cache *cache);

/* Identifies the caches whose states this one can use, in 32 hexadecimal digits: model, options that change results,
 * vocabulary, format; not the device.  Owned by the cache. */
RWKVK_API const char *rwkvk_cache_fingerprint(const rwkvk_cache *cache);

/* A state that prompts may start from instead of the empty one: a trained start state or a saved session (as
 * rwkvk_session_load() takes).  *start is for rwkvk_prompt_options.  The same content gives the same number.  It stays in
 * memory until the cache is destroyed, and does not count towards rwkvk_cache_options.memory. */
RWKVK_API rwkvk_status rwkvk_cache_add_start(rwkvk_cache *cache, const char *path, uint32_t *start);

typedef struct rwkvk_cache_stats {
	size_t size;
	uint64_t prompts, hits;         /* prompts begun; prompts that found a state */
	uint64_t tokens, cached_tokens; /* of the prompts begun; those covered by a cached state */
	uint64_t memory_states, memory_bytes, memory_limit;
	uint64_t disk_states, disk_bytes, disk_limit; /* of all models and processes that share the folder, as last seen */
	uint64_t disk_hits;                           /* of the hits */
	uint64_t dropped;                             /* states evicted, from memory and from the folder */
	uint64_t damaged;                             /* files that were skipped, and removed */
	uint64_t unwritten;                           /* states missing from the folder because the drive was too slow or failed */
	uint64_t store_connected;                     /* 1: the store can be asked */
	uint64_t store_lookups, store_failed;         /* times that it was asked; that it gave no answer in time */
	uint64_t store_hits;                          /* of the hits */
	uint64_t store_written, store_unwritten;      /* states; the latter: it was too slow, full or gone */
	uint64_t store_bytes_read, store_bytes_written;
	uint64_t store_damaged; /* values of a wrong size, checksum or shape, skipped and removed */
} rwkvk_cache_stats;
RWKVK_API rwkvk_status rwkvk_cache_get_stats(rwkvk_cache *cache, rwkvk_cache_stats *out);

/* A text being read into a session.  Belongs to one thread at a time. */
typedef struct rwkvk_prompt rwkvk_prompt;

typedef struct rwkvk_prompt_options {
	size_t size;
	const size_t *ends; /* where messages end, as rwkvk_chat_render() has them, ascending; NULL: it is one message */
	size_t end_count;   /* 0 with ends not NULL: no message ends in it */
	uint32_t start;     /* of rwkvk_cache_add_start(); 0: the empty state */
	/* A state is kept at the ends of the last two messages, and on the way there after every keep_tokens tokens; 0: 128. */
	uint32_t keep_tokens;
} rwkvk_prompt_options;

/* Encodes the text.  Copies both text and ends.  Does not use the device.  options: NULL for the defaults. */
RWKVK_API rwkvk_status rwkvk_prompt_create(rwkvk_cache *cache, const void *text, size_t bytes,
                                           const rwkvk_prompt_options *options, rwkvk_prompt **out);
RWKVK_API void rwkvk_prompt_destroy(rwkvk_prompt *prompt); /* NULL is allowed */

typedef struct rwkvk_prompt_info {
	size_t size;
	uint64_t tokens; /* of the whole text, the begin_token included */
	uint64_t cached; /* of which rwkvk_prompt_begin() found a state */
	uint64_t read;   /* cached ones included */
} rwkvk_prompt_info;
RWKVK_API rwkvk_status rwkvk_prompt_get_info(const rwkvk_prompt *prompt, rwkvk_prompt_info *out);

/* Sets the session's state to that of the text's longest cached prefix, in one submission.  This replaces everything in the
 * session and empties its counts for the penalties.  May be called again, for another session, too. */
RWKVK_API rwkvk_status rwkvk_prompt_begin(rwkvk_prompt *prompt, rwkvk_session *session);

/* The tokens to read next, up to a point where a state is worth keeping, or the following ones are better read by another call,
 * or the end.  NULL with *count 0: all are read.  They belong to the prompt, until rwkvk_prompt_done().  Pass all of them to
 * one call of rwkvk_session_eval(), or to consecutive works of rwkvk_model_step(), each with all that are left: then the
 * session's state has the same bits whatever the cache held. */
RWKVK_API const uint32_t *rwkvk_prompt_next(const rwkvk_prompt *prompt, size_t *count);
/* Reports that the session has read the first `read` of these; keeps the state if it is worth keeping.  It is no failure if the
 * state cannot be kept, because memory is short or the session has already moved on. */
RWKVK_API rwkvk_status rwkvk_prompt_done(rwkvk_prompt *prompt, rwkvk_session *session, size_t read);

/* Repeats next, eval and done until all is read.  options as for rwkvk_session_eval(), but without on_logits: progress counts
 * tokens of the whole text, cached ones included.  After a failure or RWKVK_CANCELLED, call it again to continue. */
RWKVK_API rwkvk_status rwkvk_prompt_finish(rwkvk_prompt *prompt, rwkvk_session *session, const rwkvk_eval_options *options);
/* rwkvk_prompt_begin() and rwkvk_prompt_finish(). */
RWKVK_API rwkvk_status rwkvk_prompt_read(rwkvk_prompt *prompt, rwkvk_session *session, const rwkvk_eval_options *options);

/* After an answer: `answer` is the text that the session has generated since the prompt was read, and `text` the history that
 * the next prompt will begin with: all messages with the answer, rendered with messages_only.  If `text` begins with the prompt
 * and the answer, the prompt becomes that text.  Read its rest (the separator between messages) by next and done, or by
 * rwkvk_prompt_finish(); that keeps the state for the next turn.  Otherwise (the answer had reasoning, or was cleaned), and
 * with read_states_only, nothing is left to read, and the next turn begins at the end of the user's message. */
RWKVK_API rwkvk_status rwkvk_prompt_answered(rwkvk_prompt *prompt, rwkvk_session *session, const void *answer,
                                             size_t answer_bytes, const void *text, size_t bytes, const size_t *ends,
                                             size_t end_count);

/* Gives the cache a state from elsewhere, such as a conversation file: rwkvk_session_state_get() of a session that had read
 * exactly this text.  The last message must end with the text.  The caller must make sure that the state belongs to the text;
 * only damage and other shapes are detected (RWKVK_ERROR_FILE). */
RWKVK_API rwkvk_status rwkvk_cache_put(rwkvk_cache *cache, const void *text, size_t bytes, const rwkvk_prompt_options *options,
                                       const void *state, size_t state_bytes);

/* ---------------------------------------------------------------------------------------------------- chat */

/* Renders messages as the prompt that a family of models was trained on, and splits an answer into its parts.  No device is
 * involved, and nothing here is bound to a session: render, encode, feed, generate, and push the output into an answer.
 * docs/chat.md has every template to the byte, and the loop. */
typedef enum rwkvk_chat_template {
	RWKVK_CHAT_PLAIN,      /* "plain": the texts as they are, one after the other */
	RWKVK_CHAT_RAVEN,      /* "raven", RWKV-4: Bob and Alice */
	RWKVK_CHAT_WORLD,      /* "world", RWKV-4 to 6: User and Assistant */
	RWKVK_CHAT_RWKV_WORLD, /* "rwkv-world": the same as llama.cpp has it, which most GGUF files name */
	RWKVK_CHAT_G1,         /* "g1", RWKV-7: with think modes and tools */
} rwkvk_chat_template;

/* "g1"; NULL past the last. */
RWKVK_API const char *rwkvk_chat_name(rwkvk_chat_template chat);
/* RWKVK_ERROR_ARGUMENT: no template has that name; the message lists them all. */
RWKVK_API rwkvk_status rwkvk_chat_find(const char *name, rwkvk_chat_template *out);

/* The template for a model: that of the GGUF key tokenizer.chat_template, if its content is recognised; else by version and
 * vocabulary: g1 for RWKV-7 with World's vocabulary, world for RWKV-4 to 6 with it, and plain for everything else.  The model's
 * log function gets one report if the key's content is not recognised or only plain is left.  Thread-safe. */
RWKVK_API rwkvk_status rwkvk_model_chat(rwkvk_model *model, rwkvk_chat_template *out);

typedef enum rwkvk_chat_role {
	RWKVK_ROLE_SYSTEM,
	RWKVK_ROLE_USER,
	RWKVK_ROLE_ASSISTANT,
	RWKVK_ROLE_TOOL, /* the result of a tool */
} rwkvk_chat_role;

typedef struct rwkvk_chat_message {
	size_t size;
	rwkvk_chat_role role;
	/* UTF-8; NULL: "".  An assistant's text may begin with reasoning: everything up to its last </think> is skipped. */
	const char *text;
	/* An assistant's tool calls, as JSON: the output of rwkvk_chat_tool_calls(), or OpenAI's tool_calls.  NULL: none. */
	const char *tool_calls;
} rwkvk_chat_message;

/* Whether the model reasons before it answers.  g1 has all modes, rwkv-world the first three, the others the first. */
typedef enum rwkvk_chat_think {
	RWKVK_THINK_OFF,
	RWKVK_THINK_FAKE, /* the prompt has empty reasoning, which makes answers better than none */
	RWKVK_THINK_ON,
	RWKVK_THINK_A_BIT, /* for models from G1c on (September 2025) */
	RWKVK_THINK_A_LOT,
} rwkvk_chat_think;

typedef struct rwkvk_chat_options {
	size_t size;
	rwkvk_chat_think think;
	bool continued;     /* the messages follow others that have been rendered: tools are not listed again */
	bool messages_only; /* nothing after the last message: no "Assistant:" for the model to go on from */
	bool call;          /* the answer must call a tool: without think modes, the prompt begins the call */
	/* The tools that the model may call, as JSON: a list of {name, description, arguments}, or OpenAI's tools; g1 only.  NULL:
	 * none. */
	const char *tools;
} rwkvk_chat_options;

/* Renders the prompt.  Writes at most `capacity` bytes, without a terminating 0, and sets *bytes to the prompt's length, so a
 * call with capacity 0 (text may be NULL) only measures. ends: NULL, or room for `count` offsets; ends[i] is where message i
 * ends, including the separator before the next one.  The text before ends[i] depends on no later message: the first messages
 * rendered alone with messages_only, and then the others with `continued`, give the same bytes as all at once with the same
 * options.
 *
 * RWKVK_ERROR_ARGUMENT: the template lacks the think mode, or has no tools; JSON that is invalid or of another kind.  options:
 * NULL for the defaults.  Thread-safe. */
RWKVK_API rwkvk_status rwkvk_chat_render(rwkvk_chat_template chat, const rwkvk_chat_message *messages, size_t count,
                                         const rwkvk_chat_options *options, char *text, size_t capacity, size_t *bytes,
                                         size_t *ends);

/* Splits an answer into reasoning and text while it is written.  Belongs to one thread at a time. */
typedef struct rwkvk_chat_answer rwkvk_chat_answer;

/* For the answer to a prompt that rwkvk_chat_render() made with the same template and options.  The tokenizer is not kept. */
RWKVK_API rwkvk_status rwkvk_chat_answer_create(rwkvk_chat_template chat, const rwkvk_chat_options *options,
                                                const rwkvk_tokenizer *tokenizer, rwkvk_chat_answer **out);
RWKVK_API void rwkvk_chat_answer_destroy(rwkvk_chat_answer *answer); /* NULL is allowed */

/* The stops of an answer, for rwkvk_generate_options: token 0; the user's next turn ("\n\nUser:", for raven "\n\nBob:"; none
 * for plain); and, for g1 and rwkv-world, the token "\n\n" (261), except while the model reasons.  So the stops change when
 * reasoning begins and when it ends. */
typedef struct rwkvk_chat_stops {
	size_t size;
	const uint32_t *tokens; /* owned by the answer; NULL: none */
	size_t token_count;
	const char *const *texts;
	size_t text_count;
} rwkvk_chat_stops;
RWKVK_API rwkvk_status rwkvk_chat_answer_stops(const rwkvk_chat_answer *answer, rwkvk_chat_stops *out);

/* The output of a push; owned by the answer until its next call, not 0-terminated.  Neither part includes the tags, the ">"
 * that completes a tag begun in the prompt, or white space at its beginning and end (except with plain, which has one part: the
 * whole text). */
typedef struct rwkvk_chat_part {
	size_t size;
	bool new_stops; /* rwkvk_chat_answer_stops() has changed: end the generation here and continue with the new stops */
	const char *reasoning;
	size_t reasoning_bytes;
	const char *text;
	size_t text_bytes;
} rwkvk_chat_part;

/* Takes the model's output in pieces of any size, such as those of on_text.  Holds back text that may become a tag, and white
 * space until something follows it.  `out` is always written. */
RWKVK_API rwkvk_status rwkvk_chat_answer_push(rwkvk_chat_answer *answer, const void *text, size_t bytes, rwkvk_chat_part *out);
/* Ends the input, and releases what was held back as a possible tag. */
RWKVK_API rwkvk_status rwkvk_chat_answer_end(rwkvk_chat_answer *answer, rwkvk_chat_part *out);

/* Reads the tool calls from an answer that consists of them: JSON, alone or in a ```json block (whose first line may be in the
 * prompt), with one object {name, arguments} or a list of them, whose names are in `tools` (as in rwkvk_chat_options).  Writes
 * them as a JSON list of such objects, at most `capacity` bytes, and sets *written to the list's length in bytes; 0: the answer
 * is not a call.  Thread-safe. */
RWKVK_API rwkvk_status rwkvk_chat_tool_calls(const char *tools, const void *answer, size_t bytes, char *json, size_t capacity,
                                             size_t *written);

#ifdef __cplusplus
}
#endif
#endif
