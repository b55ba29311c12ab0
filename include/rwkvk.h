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
 * What measures and inspects (verify, tune, export, counters, states of other programs) is in rwkvk_tools.h.
 *
 * Structs.  Options are structs whose zero value is a documented default, so `(rwkvk_model_options){.path = p}` is complete.
 * Every struct begins with its size, which the caller sets: sizeof the struct, or 0 for its layout in version 0.1.  Later
 * versions add members at the end only.  The library reads and writes no more than `size` bytes of a caller's struct; options
 * beyond what it knows must be zero, else the call is RWKVK_ERROR_ARGUMENT.  Arrays of structs step by the size in the first
 * element.  A struct that a callback gets has the size the library has written.
 *
 * Errors.  Every call that can fail returns a status and leaves a sentence for the calling thread in
 * rwkvk_last_error().  Wrong use of the interface (a NULL that may not be one, a token id past the vocabulary) asserts
 * in debug builds of the library; in release builds it returns RWKVK_ERROR_ARGUMENT, or does nothing where no status is
 * returned.  The library never exits or aborts, and prints nothing (but see RWKVK_VALIDATE in the README).
 *
 * Threads.  A model may be used from several threads; its device work is done one call at a time under a lock.
 * A session belongs to one thread at a time.  rwkvk_cancel_set() may be called from anywhere, signal handlers included.
 *
 * Promises.  ABI: within 0.MINOR a program runs with any library of the same or a later PATCH, and what this header declares
 * changes by additions alone; before 1.0, a step of MINOR may break it, and the SONAME says so.  rwkvk_tools.h is not part
 * of that.  Bits: the same calls with the same options on the same device, driver and version of the library give the same
 * logits, states and tokens, bit for bit, whatever other sessions do.  Anything else (another device or driver, another
 * tuning, the same tokens divided into calls in another way) agrees within rounding. */
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
	RWKVK_CANCELLED,         /* a rwkvk_cancel was set, or a progress function returned false; everything stays valid */
	RWKVK_ERROR_ARGUMENT,    /* the interface was used wrongly */
	RWKVK_ERROR_FILE,        /* a file that cannot be read or written, or does not hold what it should */
	RWKVK_ERROR_UNSUPPORTED, /* a well-formed file of a kind this version does not run */
	RWKVK_ERROR_DEVICE,      /* no Vulkan loader, no device, no device of that name, or one below the minimum limits */
	RWKVK_ERROR_MEMORY,      /* host or device memory does not suffice */
	RWKVK_ERROR_DRIVER,      /* a Vulkan call failed, or the device computed nonsense; the text names what and where */
	RWKVK_ERROR_BUSY,        /* all of the model's sessions are taken: wait for one to be destroyed */
	RWKVK_ERROR_DEVICE_LOST, /* the driver gave the device up: close the model and open it again */
	RWKVK_ERROR_INTERNAL,    /* the library broke a rule of its own: please report it with the text */
} rwkvk_status;

/* The text of the last failure in this thread; "" before the first.  Valid until the thread's next failing call.  It names
 * options as this header does. */
RWKVK_API const char *rwkvk_last_error(void);

/* A short constant name such as "file" or "driver"; "unknown" for a number that is no status. */
RWKVK_API const char *rwkvk_status_name(rwkvk_status status);

/* "MAJOR.MINOR.PATCH" of the library that is running. */
RWKVK_API const char *rwkvk_version(void);

/* ---------------------------------------------------------------------------------------------------- reports */

typedef enum rwkvk_log_level {
	RWKVK_LOG_ERROR,   /* something is broken that no call's status shows: a message of the Vulkan validation layer */
	RWKVK_LOG_WARNING, /* the result may not be what the user expects: a stored tuning was dropped, a key was ignored */
	RWKVK_LOG_NOTE,    /* worth knowing: what an exported file lacks, which programs will not read it */
} rwkvk_log_level;

/* Gets every report of the library, a sentence without line break.  What calls fail with is not reported but in
 * rwkvk_last_error().  Called on the thread that made the call (validation messages: on any), and must not call the library. */
typedef void rwkvk_log_fn(void *user, rwkvk_log_level level, const char *text);

/* Called by work that takes its time; `done` of `total` steps, tokens or bytes.  Return false to give up (RWKVK_CANCELLED).  It
 * must not call the library, except for rwkvk_cancel_*(): a lock may be held. */
typedef bool rwkvk_progress_fn(void *user, uint64_t done, uint64_t total);

/* ---------------------------------------------------------------------------------------------------- cancelling */

/* A flag that ends calls early.  A program makes one for each thing it may want to end (a request, a download) and names it in
 * the options of the calls that belong to it; whichever of them finds it set returns RWKVK_CANCELLED soon.  It stays set until
 * the program clears it, so a late rwkvk_cancel_set() never ends somebody else's work. */
typedef struct rwkvk_cancel rwkvk_cancel;

RWKVK_API rwkvk_status rwkvk_cancel_create(rwkvk_cancel **out);
/* Not while a call uses it.  NULL is allowed. */
RWKVK_API void rwkvk_cancel_destroy(rwkvk_cancel *cancel);
/* From any thread and from signal handlers; NULL does nothing, and is not set. */
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
	char driver[512];        /* driver name and version text, "" where the driver does not tell */
	uint32_t api_version[3]; /* Vulkan major, minor, patch */
	uint32_t vendor_id, device_id;
	uint32_t subgroup_size;
	bool subgroup_operations; /* arithmetic and shuffle in compute: without them the shared-memory shaders run */
	bool unified_memory;      /* weights are written in place rather than through a staging buffer */
	bool is_default;          /* what a NULL device selects */
	bool usable;              /* false: below the minimum limits; reason says which */
	uint32_t max_workgroup_invocations;
	uint32_t max_shared_memory; /* bytes */
	uint64_t max_storage_range; /* bytes that one binding may cover; larger matrices are cut */
	uint64_t device_memory;     /* bytes in the heaps weights may use */
	char reason[256];
} rwkvk_device_info;

/* Lists the Vulkan devices, in the driver's order.  Writes at most `capacity` entries; *count is how many there are.
 * `infos` may be NULL when capacity is 0.  RWKVK_ERROR_DEVICE when there is no Vulkan loader. */
RWKVK_API rwkvk_status rwkvk_devices(rwkvk_device_info *infos, size_t capacity, size_t *count);

/* The device that rwkvk_model_options.device would select; NULL: the best. */
RWKVK_API rwkvk_status rwkvk_device_find(const char *device, rwkvk_device_info *out);

/* ---------------------------------------------------------------------------------------------------- tokenizer */

typedef struct rwkvk_tokenizer rwkvk_tokenizer;

/* Reads a vocabulary, told by its content (docs/formats.md): World text (a line `ID LITERAL BYTES` a token, as in
 * rwkv_vocab_v20230424.txt), the same in the JSON of web-rwkv and Ai00, or a tokenizer.json with byte-level BPE, as in
 * 20B_tokenizer.json.  JSON of another kind is RWKVK_ERROR_UNSUPPORTED. */
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
 * World's end-of-text token.  Owned by the tokenizer.  Thread-safe. */
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
	RWKVK_QUANT_F16,  /* 16; a model with weights of 65520 or more is refused */
} rwkvk_quant;

/* An adapter: a .pth or safetensors file of RWKV-PEFT or Hugging Face's peft, or a folder of the latter (docs/formats.md).
 * LoRA, DoRA, PiSSA, bone, disha and miss of any large matrix and of LoRA factors; other tensors of the file take the place of
 * the model's. */
typedef struct rwkvk_lora {
	size_t size;
	const char *path;
	/* What B A is multiplied by; 0: alpha / rank, as the file or the adapter_config.json beside it says.  RWKVK_ERROR_FILE when
	 * neither does. */
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
	/* Where compiled pipelines and tunings are kept; "": nowhere; NULL: RWKVK_CACHE_DIR, else $XDG_CACHE_HOME/rwkvk or
	 * ~/.cache/rwkvk, else nowhere. */
	const char *cache_dir;
	rwkvk_quant quant;
	/* Of ln_x, at most 1; 0: what the file says or its kind implies: 1e-5 for RWKV-5 from rwkv.cpp, N * 1e-5 for RWKV-7 from
	 * flash-linear-attention with heads of N (docs/formats.md), else 64e-5. */
	float group_norm_epsilon;
	/* n > 0: halve the residual stream after every n layers, of any version, as 16-bit engines do with RWKV-4 to 6; it changes
	 * nothing but the share that LayerNorm's epsilon has.  Files that are stored so (rwkv6 GGUF) are always run so. */
	uint32_t rescale;
	uint32_t max_sessions;       /* states in the pool; 0: 4, or max_batch, or fewer where a device cannot bind so much */
	uint32_t threads;            /* that pack weights and compile pipelines, at most 64; 0: one for each processor */
	bool read_file;              /* instead of mapping the file: it may change later, and takes as much main memory */
	uint64_t device_memory;      /* bytes of the device's memory that the model may take at most; 0: what is free */
	const rwkvk_cancel *cancel;  /* ends the loading; NULL: none.  Not used after rwkvk_model_open() has returned */
	rwkvk_progress_fn *progress; /* NULL: none; `done` and `total` are bytes of the file */
	void *progress_user;
	rwkvk_log_fn *log; /* NULL: none.  As long as the model is open */
	void *log_user;
	const struct rwkvk_tools_options *tools; /* rwkvk_tools.h; NULL: none */
	/* Not 0: prompts are read token by token, as texts are written, never in chunks (rwkvk_session_eval()): slower by a
	 * multiple, but with the bits that the same tokens one by one have, and without the memory that chunks take. */
	uint32_t exact;
	/* Tokens of the longest chunk, in steps of 16; 0: 64, on graphics cards 256.  It is never longer than
	 * that, and shorter where so much does not fit into the memory, 16 at least.  No result depends on it. */
	uint32_t chunk_rows;
	/* n > 1: tokens of up to n sessions, 256 at most, go through the model together, in one pass over the weights: those of
	 * calls that run in several threads at the same time, and of the works of rwkvk_model_step().  Then every token goes
	 * through the stages that can do so, also of a session that is alone: a token's bits depend neither on the other sessions
	 * nor on how many there are.  They differ from those with 0 or 1, where every submission is one session's, by less than
	 * 3e-5 of the largest logit.  Not with exact. */
	uint32_t max_batch;
	/* Tokens of prompts that a submission may have beside texts that are being written, 16 at least; 0: as many as a chunk.
	 * Fewer make texts flow more evenly while others read, and prompts take longer.  No result depends on it. */
	uint32_t mixed_rows;
	/* lora_count adapters that are merged into the model while it is loaded, in their order: W + scale B A in F32, which is
	 * then stored as quant says; a matrix that the file has quantised becomes Q8 unless quant says otherwise.  The model's own
	 * file may be one of them, if it holds an adapter.  NULL: none.  Read while the model is opened, and not used after that.
	 */
	const rwkvk_lora *lora;
	size_t lora_count;
} rwkvk_model_options;

/* Opens a model on a device: reads the file (memory-mapped: it must stay unchanged while the model is open, unless read_file is
 * set), checks that it fits, uploads the weights, compiles the shaders.  On failure *out is NULL. */
RWKVK_API rwkvk_status rwkvk_model_open(const rwkvk_model_options *options, rwkvk_model **out);

/* NULL is allowed.  A model that still has sessions is closed for them: their calls fail with RWKVK_ERROR_ARGUMENT, and the
 * memory is freed when the last of them is destroyed.  `model` itself must not be used any more. */
RWKVK_API void rwkvk_model_close(rwkvk_model *model);

/* No token: rwkvk_model_info.begin_token of a model that has none. */
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
	uint32_t rescale;         /* the residual stream is halved after every so many layers; 0: never */
	/* What stands before a text and what ends one: the file's tokenizer.ggml.bos_token_id and eos_token_id, else 0, which World
	 * and 20B vocabularies use for both; RWKVK_NO_TOKEN for a vocabulary of bytes. */
	uint32_t begin_token, end_token;
	uint32_t max_sessions; /* states in the pool; 0 when no device is involved */
	bool add_bos;          /* the text should begin with begin_token */
	bool has_tokenizer;
	uint64_t parameters;
	uint64_t bytes_per_token; /* what one decoded token must read from device memory: weights as stored, state twice */
	uint64_t device_bytes;    /* device memory the model holds; 0 when no device is involved */
	uint64_t state_bytes;     /* of the recurrent state of one session */
	uint64_t multiply_adds;   /* of matrices, that one token takes in all layers; its logits, if they are wanted, V C more */
} rwkvk_model_info;

/* Strings belong to the model. */
RWKVK_API rwkvk_status rwkvk_model_get_info(const rwkvk_model *model, rwkvk_model_info *info);

/* One of the things that a model's file says beside its tensors: the keys of a GGUF file, the __metadata__ of a safetensors
 * file.  Strings belong to the model. */
typedef struct rwkvk_metadata {
	size_t size;
	const char *key;    /* "tokenizer.chat_template" */
	const char *value;  /* a string as it is, with a 0 after it; a number in decimal; "true", "false"; NULL for a list */
	size_t value_bytes; /* without the 0 */
	uint64_t items;     /* how many a list has; else 1 */
} rwkvk_metadata;

/* Entry `index`, in the file's order; false past the last. */
RWKVK_API bool rwkvk_model_metadata(const rwkvk_model *model, size_t index, rwkvk_metadata *out);
/* The value of one key; NULL when the file does not have it, or has a list there. */
RWKVK_API const char *rwkvk_model_metadata_value(const rwkvk_model *model, const char *key);

/* The model's tokenizer, owned by the model; NULL when neither the file nor the options brought one. */
RWKVK_API const rwkvk_tokenizer *rwkvk_model_tokenizer(const rwkvk_model *model);

/* ---------------------------------------------------------------------------------------------------- sampling */

/* A number added to the logit of a token before everything else; -INFINITY bans the token.  This layout is fixed. */
typedef struct rwkvk_bias {
	uint32_t token; /* below the model's vocabulary */
	float value;
} rwkvk_bias;

/* How the next token is picked (the order is RWKV's own: biases, penalties, softmax, top-p on the untempered probabilities,
 * top-k, p^(1/T), draw).  Zeros mean: the most probable token, lowest id on ties, no penalties, no biases. */
typedef struct rwkvk_sampling {
	size_t size;
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

/* The model's own sampling metadata (general.sampling.*), else temperature 1.0, top-p 0.3, no top-k, presence 0.5,
 * frequency 0.5, decay 0.996, seed 0. */
RWKVK_API rwkvk_status rwkvk_model_sampling(const rwkvk_model *model, rwkvk_sampling *out);

/* ---------------------------------------------------------------------------------------------------- session */

typedef struct rwkvk_session rwkvk_session;

/* Takes a free state of the model's pool (RWKVK_ERROR_BUSY when all are taken), empty: no token seen. */
RWKVK_API rwkvk_status rwkvk_session_create(rwkvk_model *model, rwkvk_session **out);
/* NULL is allowed. */
RWKVK_API void rwkvk_session_destroy(rwkvk_session *session);

/* Forgets everything: state, position, generated-token counts, logits. */
RWKVK_API rwkvk_status rwkvk_session_reset(rwkvk_session *session);

/* Called with the logits after tokens[index], V floats, once for each token in order.  They are the library's again when the
 * callback returns.  Return false to end the call with RWKVK_CANCELLED; then nothing is called any more.  Of the session, only
 * its position may be used in here, and it may be past the token. */
typedef bool rwkvk_logits_fn(void *user, size_t index, const float *logits);

typedef struct rwkvk_eval_options {
	size_t size;
	float *logits;               /* receives V floats, the logits after the last token; NULL: not wanted */
	const rwkvk_cancel *cancel;  /* NULL: none */
	rwkvk_progress_fn *progress; /* NULL: none; `done` and `total` count tokens */
	void *progress_user;
	rwkvk_logits_fn *on_logits; /* NULL: not all logits are wanted, which saves work */
	void *logits_user;
} rwkvk_eval_options;

/* Feeds `count` tokens.  With count 0 (tokens may be NULL) it only gives the logits again.  A failure in the middle leaves the
 * state after the tokens that were done (see rwkvk_session_position()).  options: NULL for the defaults.
 *
 * A call of 16 tokens or more (on GPUs 8) reads them in chunks, all tokens of one at once; a shorter call, and every call with
 * rwkvk_model_options.exact, one by one.  On the same device with the same driver, the same tokens from the same state give the
 * same logits and the same state to the bit, into whatever calls of at least so many tokens they are cut.  Tokens one by one,
 * or in shorter calls, give the same bits among each other, but others than chunks: sums are added in another order, which
 * comes to less than 3e-5 of the largest logit.  What has to be repeated to the bit with tokens fed one by one needs `exact`.
 *
 * A chunk counts as a whole.  When it is cancelled, or fails, within one, the state is that from before the first of its
 * tokens, whose number is the position: feeding the rest from there on gives what an undisturbed call would have, to the bit if
 * the rest is read in chunks, too. RWKVK_ERROR_ARGUMENT: a token past the vocabulary, and then none is fed; logits of a session
 * that has none. RWKVK_CANCELLED: by `cancel`, after the submission that is running; by `progress`, which is called after each
 * chunk.
 *
 * on_logits is for scoring texts: as soon as some tokens have been fed, each one's logits are reported, so a long text takes no
 * more memory than a short one.  The first such call of a model takes 4 V bytes of the device for each token of a chunk, of
 * fewer where there is not as much (RWKVK_ERROR_MEMORY: not even of one).  Logits of a chunk agree with `logits`, and with
 * those of single tokens, within rounding; the state and `logits` are to the bit what they are without on_logits. */
RWKVK_API rwkvk_status rwkvk_session_eval(rwkvk_session *session, const uint32_t *tokens, size_t count,
                                          const rwkvk_eval_options *options);

/* Tokens fed since the session was empty; a state carries it on.  0 for NULL.  Never more than 2^63. */
RWKVK_API uint64_t rwkvk_session_position(const rwkvk_session *session);

/* Picks a token from the logits of the last eval and counts it for the penalties; does not feed it.  On the host; generate does
 * it on the device.  sampling: NULL is a zeroed one.  RWKVK_ERROR_ARGUMENT when nothing has been fed.  Same seed, same
 * position, same logits: same token, also as rwkvk_session_generate() picks, unless the draw is one of its close_draws. */
RWKVK_API rwkvk_status rwkvk_session_sample(rwkvk_session *session, const rwkvk_sampling *sampling, uint32_t *token);

/* A token that could have been picked. */
typedef struct rwkvk_candidate { /* this layout is fixed */
	uint32_t token;
	float log_probability;
} rwkvk_candidate;

/* A generated token, while the callback lasts. */
typedef struct rwkvk_token {
	size_t size;
	uint32_t id;
	uint32_t byte_count;
	const void *bytes; /* its text: possibly part of a character, possibly none; NULL without a tokenizer */
	/* With max_batch, or where it is asked for (rwkvk_generate_options.log_probabilities), else 0: the logarithm of its
	 * probability at temperature 1, after biases, penalties and the mask, before top-p and top-k; NaN for a token that was not
	 * picked but stands for the beginning of one that the end cut. */
	float log_probability;
	uint32_t top_count; /* the most probable tokens with theirs, the first ones first */
	const rwkvk_candidate *tops;
} rwkvk_token;

/* Says which tokens may be picked next: bit i % 32 of allowed[i / 32] for token i, all 0 at first.  Of the session, only its
 * position may be used in here.  Return false to end the text (RWKVK_END_CALLER). */
typedef bool rwkvk_mask_fn(void *user, uint32_t *allowed, size_t words);

/* Called with each token in order.  Return false to end the text with this token (RWKVK_END_CALLER); then nothing is called any
 * more.  Of the session, only its position may be used in here. */
typedef bool rwkvk_token_fn(void *user, const rwkvk_token *token);

/* Called with text that may be shown: whole characters, and nothing that may turn out to be the beginning of a stop text.  Only
 * the end of the generation lets go of what has been held back, so the pieces, one after the other, are the bytes of the tokens
 * up to the stop text.  A model may write bytes that are not UTF-8; they are passed on.  Not 0-terminated; `bytes` is not 0.
 * Return false to end the text with this piece; then the tokens that it completes are reported, and nothing else. */
typedef bool rwkvk_text_fn(void *user, const char *text, size_t bytes);

typedef struct rwkvk_generate_options {
	size_t size;
	const rwkvk_sampling *sampling; /* NULL is a zeroed one: the most probable token each time */
	uint64_t max_tokens;            /* to pick; 0: 1024 */
	const uint32_t *stop_tokens;    /* a picked token of this list ends the text and is neither reported nor fed */
	size_t stop_token_count;        /* at most 1024; 0 with stop_tokens NULL: the model's end_token stops */
	const char *const *stop_texts;  /* UTF-8, none empty: the text ends before the first of them; needs a tokenizer */
	size_t stop_text_count;
	bool ignore_end;                /* no token stops; stop_tokens must be NULL */
	rwkvk_text_fn *on_text;         /* NULL: none; called before on_token with the token that completed it */
	rwkvk_token_fn *on_token;       /* NULL: none; called once the last byte of the token is released (see below) */
	void *user;                     /* of all callbacks */
	const rwkvk_cancel *cancel;     /* NULL: none */
	bool log_probabilities;         /* tokens come with theirs without max_batch, too, where the host then picks them */
	uint32_t top_log_probabilities; /* and so many of the most probable ones, 20 at most; implies log_probabilities */
	rwkvk_mask_fn *mask; /* NULL: any token may be picked; else it is asked before each, and a submission has one token */
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
	uint64_t tokens; /* in the text: what the position has grown by */
	/* Draws that came within 1e-5 of a border between two tokens or of top_p, so that rounding may have decided them: another
	 * device, or rwkvk_session_sample(), may pick another token there. */
	uint64_t close_draws;
} rwkvk_generate_result;

/* Picks and feeds tokens on the device, as many in one submission as take some 30 milliseconds, until a stop token, a stop
 * text, max_tokens, a callback that returns false, cancellation or a failure.  Something must have been fed before.  `result`
 * may be NULL; it is written in every case.
 *
 * What is released when.  Without on_text and stop_texts a token is reported as soon as it is known; the first one may be
 * reported before the device has read it.  With on_text, bytes wait until they are whole characters, with stop_texts until they
 * cannot begin a stop text, and a token is reported with the last of its bytes.  At the end everything held back is released,
 * unless a stop text or a callback ended it: then what is behind the end never happened.
 *
 * The state afterwards is that of the text, however it ended: it has read the tokens that were reported and no others, and
 * their bytes are the text that was released.  Position and counts are of these tokens, too, and a further eval or generate
 * continues the text.  A token that the end cuts in two is not reported; what was written of it is encoded, and the tokens that
 * this gives are read and reported in its place.  (Where a vocabulary has none, the call fails with RWKVK_ERROR_FILE, and the
 * state is that of the reported tokens.  A tokenizer.json that composes characters may give other bytes for the same
 * characters.  And an on_token that ends the text between tokens of one character has had the whole of it from on_text.) */
RWKVK_API rwkvk_status rwkvk_session_generate(rwkvk_session *session, const rwkvk_generate_options *options,
                                              rwkvk_generate_result *result);

/* ---------------------------------------------------------------------------------------------------- many sessions */

/* What one session is to do in a step, and what it has done. */
typedef struct rwkvk_work {
	size_t size;
	rwkvk_session *session; /* each in one work only */
	const uint32_t *tokens; /* to read first */
	size_t token_count;
	/* Once they are read: how a text is written.  They count for the text that begins then, and are looked at no more until it
	 * ends; what they point to, stop tokens, stop texts and biases, must stay as long.  on_text and on_token must be NULL.
	 * NULL: only reads. */
	const rwkvk_generate_options *options;
	uint64_t most; /* tokens to pick in this step; 0: no limit but max_tokens */
	/* From here on, what came of it.  Pointers belong to the session, until the next call that is about it. */
	rwkvk_status status; /* of this work alone */
	const char *error;   /* its text, or "" */
	size_t read; /* of the tokens: fewer than there are, or none, where there was no room; hand the rest to the next step */
	/* Reported in this step, in order, as rwkvk_session_generate() reports them to on_token; the next one begins picked[0].size
	 * bytes after the first. */
	const rwkvk_token *picked;
	size_t picked_count;
	const char *text; /* that may be shown, as for on_text; "" without a tokenizer */
	size_t text_bytes;
	bool ended; /* the text has, in this step; all of it is reported.  Then, as in rwkvk_generate_result: */
	rwkvk_end reason;
	uint32_t stop;
	uint64_t text_tokens, close_draws;
} rwkvk_work;

/* One submission of what several sessions want, and returns when it is done.  With rwkvk_model_options.max_batch n, up to n
 * sessions pick tokens in it, all in one pass over the weights, while the prompts of others are read as one chunk; works that
 * find no room have status RWKVK_OK, `read` 0 and no tokens, and should be the first ones of the next step.  Without max_batch
 * one work is done in each step.  As many tokens are picked as take some 30 milliseconds, one where a prompt is read beside
 * them.
 *
 * A text lives in its session from the step that begins it to the one in which it ends: with what is held back, as for
 * rwkvk_session_generate(), whose texts and tokens it repeats to the bit.  Until then other calls about the session, but
 * rwkvk_session_position() and rwkvk_session_rewind(), fail with RWKVK_ERROR_ARGUMENT.
 *
 * A work that fails does so alone: its status says why, its session is what it would be after the same failure of
 * rwkvk_session_eval() or rwkvk_session_generate(), and a text that was being written has ended.  The function itself fails
 * only when it is called wrongly. */
RWKVK_API rwkvk_status rwkvk_model_step(rwkvk_model *model, rwkvk_work *works, size_t count);

/* Ends the text that a session writes in steps, where the caller wants: of the tokens that the last step has reported the first
 * `keep` stay, the others and all that was held back never happened.  State, position and counts are those of the text up to
 * there.  RWKVK_ERROR_ARGUMENT: no text is being written, or the last step reported fewer than `keep`. */
RWKVK_API rwkvk_status rwkvk_session_rewind(rwkvk_session *session, size_t keep);

/* ---------------------------------------------------------------------------------------------------- states */

/* A new session of the same model that continues from here, bit for bit. */
RWKVK_API rwkvk_status rwkvk_session_clone(rwkvk_session *session, rwkvk_session **out);

/* A session as bytes, to be kept in memory or sent to another machine: its state, position, counts of generated tokens and, if
 * it has them, the logits of its last token.  So after set a text goes on as if nothing had been in between, bit for bit on the
 * same device: also one that is drawn, as its random numbers follow from seed and position (but see close_draws).  What the
 * bytes mean is the library's business (they are what rwkvk_session_save() writes); a later version of the library reads them,
 * and this one those of format 1, which have neither counts nor logits.  They fit any model of the same shape and vocabulary,
 * on any device.  Their number changes with what was generated: get wants the size that rwkvk_session_state_size() says now.
 * Set refuses bytes of another model, another length, or with damage (RWKVK_ERROR_FILE), and then changes nothing.  Where the
 * bytes have no logits, there are none afterwards: feed a token before sampling. */
RWKVK_API size_t rwkvk_session_state_size(const rwkvk_session *session); /* 0 for NULL */
RWKVK_API rwkvk_status rwkvk_session_state_get(rwkvk_session *session, void *state, size_t bytes);
RWKVK_API rwkvk_status rwkvk_session_state_set(rwkvk_session *session, const void *state, size_t bytes);

/* The same through a state file (docs/formats.md), which is replaced as a whole.  Loading also takes a trained start state, a
 * safetensors or .pth file with the tensors blocks.i.att.time_state: then position is 0, and there are no logits. */
RWKVK_API rwkvk_status rwkvk_session_save(rwkvk_session *session, const char *path);
RWKVK_API rwkvk_status rwkvk_session_load(rwkvk_session *session, const char *path);

/* ---------------------------------------------------------------------------------------------------- state cache */

/* States of texts that have been read, so that no text is read twice: a prompt begins where its longest beginning that is
 * known ends.  A conversation that goes on, is edited, retried or forked, and requests with the same system message, cost one
 * copy of a state and the reading of what is new.
 *
 * A state is kept at ends of messages and, within long ones, at the last space or line break before every 2 KiB.  Every prompt
 * is cut there, whatever is known, and each piece is encoded by itself, so a prompt's tokens do not depend on what the cache
 * holds.  Prompts with the same bytes up to such a point, cut at the same places, share its state.  docs/cache.md. */
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
} rwkvk_cache_options;

/* For one model, which must stay open longer.  Thread-safe but for destroy.  RWKVK_ERROR_ARGUMENT: the model has no tokenizer,
 * or no begin_token that texts are to begin with; disk without a folder.  options: NULL for the defaults. */
RWKVK_API rwkvk_status rwkvk_cache_create(rwkvk_model *model, const rwkvk_cache_options *options, rwkvk_cache **out);
/* After its prompts.  What is on its way to the folder is written first.  NULL is allowed. */
RWKVK_API void rwkvk_cache_destroy(rwkvk_cache *cache);

/* What tells whether a state of one cache is one of another, 32 hexadecimal digits: model, options that change results,
 * vocabulary, format; not the device.  The cache's. */
RWKVK_API const char *rwkvk_cache_fingerprint(const rwkvk_cache *cache);

/* A state that prompts may start from instead of the empty one: a trained start state or a saved session (as
 * rwkvk_session_load() takes).  *start is for rwkvk_prompt_options.  The same content gives the same number.  Kept in memory
 * until the cache goes, not counted in rwkvk_cache_options.memory. */
RWKVK_API rwkvk_status rwkvk_cache_add_start(rwkvk_cache *cache, const char *path, uint32_t *start);

typedef struct rwkvk_cache_stats {
	size_t size;
	uint64_t prompts, hits;         /* prompts begun; those that found a state */
	uint64_t tokens, cached_tokens; /* of the prompts begun; those that a state stood for */
	uint64_t memory_states, memory_bytes, memory_limit;
	uint64_t disk_states, disk_bytes, disk_limit; /* of all models and processes that share the folder, as last seen */
	uint64_t disk_hits;                           /* of the hits */
	uint64_t dropped;                             /* states that made room for others, in memory and in the folder */
	uint64_t damaged;                             /* files that were skipped, and removed */
	uint64_t unwritten; /* states that are not in the folder since the drive was too slow, or failed */
} rwkvk_cache_stats;
RWKVK_API rwkvk_status rwkvk_cache_get_stats(rwkvk_cache *cache, rwkvk_cache_stats *out);

/* A text on its way into a session.  Belongs to one thread at a time. */
typedef struct rwkvk_prompt rwkvk_prompt;

typedef struct rwkvk_prompt_options {
	size_t size;
	const size_t *ends; /* where messages end, as rwkvk_chat_render() has them, ascending; NULL: it is one message */
	size_t end_count;   /* 0 with ends not NULL: no message ends in it */
	uint32_t start;     /* of rwkvk_cache_add_start(); 0: the empty state */
	/* A state is kept at the ends of the last two messages, and on the way there after so many tokens each; 0: 128. */
	uint32_t keep_tokens;
} rwkvk_prompt_options;

/* Encodes the text, which is copied, as are the ends.  No device is involved.  options: NULL for the defaults. */
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

/* Makes the session's state that of the text's longest known beginning, in one submission; whatever the session was is
 * forgotten, and its counts for the penalties are empty.  May be called again, for another session, too. */
RWKVK_API rwkvk_status rwkvk_prompt_begin(rwkvk_prompt *prompt, rwkvk_session *session);

/* The tokens to read next, up to where a state is worth keeping, or others are better read by another call, or the end.  NULL
 * with *count 0: all is read.  They are the prompt's, until rwkvk_prompt_done().  All of them belong into one call of
 * rwkvk_session_eval(), or one work after the other of rwkvk_model_step(), each with all that are left: then the session's
 * state has the same bits whatever the cache held. */
RWKVK_API const uint32_t *rwkvk_prompt_next(const rwkvk_prompt *prompt, size_t *count);
/* So many of these have been read by the session; keeps the state where one is worth it.  That it cannot be kept, since memory
 * is short or the session has gone on already, is no failure. */
RWKVK_API rwkvk_status rwkvk_prompt_done(rwkvk_prompt *prompt, rwkvk_session *session, size_t read);

/* next, eval and done until all is read.  options as for rwkvk_session_eval(), but without on_logits: progress counts tokens of
 * the whole text, cached ones included.  After a failure or RWKVK_CANCELLED it may be called again, and goes on. */
RWKVK_API rwkvk_status rwkvk_prompt_finish(rwkvk_prompt *prompt, rwkvk_session *session, const rwkvk_eval_options *options);
/* rwkvk_prompt_begin() and rwkvk_prompt_finish(). */
RWKVK_API rwkvk_status rwkvk_prompt_read(rwkvk_prompt *prompt, rwkvk_session *session, const rwkvk_eval_options *options);

/* After an answer: `answer` is the text that the session has generated since the prompt was read, and `text` the history that
 * the next prompt will begin with: all messages with the answer, rendered with messages_only.  If `text` begins with the prompt
 * and the answer, the prompt becomes that text, of which the rest (what separates messages) is to be read by next and done, or
 * rwkvk_prompt_finish(); that keeps the state for the next turn.  Else (the answer had reasoning, or was cleaned), and with
 * read_states_only, nothing is left to read, and the next turn begins at the end of the user's message. */
RWKVK_API rwkvk_status rwkvk_prompt_answered(rwkvk_prompt *prompt, rwkvk_session *session, const void *answer,
                                             size_t answer_bytes, const void *text, size_t bytes, const size_t *ends,
                                             size_t end_count);

/* Gives the cache a state from elsewhere: rwkvk_session_state_get() of a session that had read exactly this text, in a
 * conversation file, say.  The last message must end with the text.  The caller answers for it, apart from damage and states of
 * other shapes (RWKVK_ERROR_FILE). */
RWKVK_API rwkvk_status rwkvk_cache_put(rwkvk_cache *cache, const void *text, size_t bytes, const rwkvk_prompt_options *options,
                                       const void *state, size_t state_bytes);

/* ---------------------------------------------------------------------------------------------------- chat */

/* Messages as the prompt that a family of models was trained on, and what such a model answers in its parts.  No device is
 * involved, and nothing here is bound to a session: render, encode, feed, generate, and push what comes into an answer.
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
/* RWKVK_ERROR_ARGUMENT: there is none of that name, and the message has them all. */
RWKVK_API rwkvk_status rwkvk_chat_find(const char *name, rwkvk_chat_template *out);

/* The template for a model: what the GGUF key tokenizer.chat_template says, if that is known by its content; else by the
 * version and the vocabulary: RWKV-7 with World's is g1, RWKV-4 to 6 with it world, and everything else plain.  That a text is
 * not known, or that nothing but plain is left, the model's log function hears, once a model.  Thread-safe. */
RWKVK_API rwkvk_status rwkvk_model_chat(rwkvk_model *model, rwkvk_chat_template *out);

typedef enum rwkvk_chat_role {
	RWKVK_ROLE_SYSTEM,
	RWKVK_ROLE_USER,
	RWKVK_ROLE_ASSISTANT,
	RWKVK_ROLE_TOOL, /* what a tool has returned */
} rwkvk_chat_role;

typedef struct rwkvk_chat_message {
	size_t size;
	rwkvk_chat_role role;
	/* UTF-8; NULL: "".  An assistant's may begin with reasoning: what precedes its last </think> is left out. */
	const char *text;
	/* Of an assistant: the calls it made, as JSON: what rwkvk_chat_tool_calls() writes, or OpenAI's tool_calls.  NULL: none. */
	const char *tool_calls;
} rwkvk_chat_message;

/* Whether the model reasons before it answers.  g1 has all modes, rwkv-world the first three, the others the first. */
typedef enum rwkvk_chat_think {
	RWKVK_THINK_OFF,
	RWKVK_THINK_FAKE, /* the prompt has an empty reasoning, which makes answers better than none does */
	RWKVK_THINK_ON,
	RWKVK_THINK_A_BIT, /* for models from G1c on (September 2025) */
	RWKVK_THINK_A_LOT,
} rwkvk_chat_think;

typedef struct rwkvk_chat_options {
	size_t size;
	rwkvk_chat_think think;
	bool continued;     /* the messages follow others that have been rendered: tools are not listed again */
	bool messages_only; /* nothing after the last message: no "Assistant:" for the model to go on from */
	bool call;          /* the answer has to call a tool: without think modes, the prompt begins the call */
	/* What the model may call, as JSON: a list of {name, description, arguments}, or OpenAI's tools; g1 alone has them.  NULL:
	 * none. */
	const char *tools;
} rwkvk_chat_options;

/* The prompt.  Writes at most `capacity` bytes, without a 0 after them, and sets *bytes to the number the prompt has, so a call
 * with capacity 0 (text may be NULL) measures.  ends: NULL, or room for `count` offsets; ends[i] is where the text of message i
 * ends, what separates it from the next one included.  What lies before ends[i] depends on no later message: the first messages
 * rendered alone with messages_only, and the others with `continued`, give the same bytes as all at once with the same options.
 *
 * RWKVK_ERROR_ARGUMENT: the template does not have the think mode, or has no tools; JSON that is none, or of another kind.
 * options: NULL for the defaults.  Thread-safe. */
RWKVK_API rwkvk_status rwkvk_chat_render(rwkvk_chat_template chat, const rwkvk_chat_message *messages, size_t count,
                                         const rwkvk_chat_options *options, char *text, size_t capacity, size_t *bytes,
                                         size_t *ends);

/* An answer while it is written: told apart into reasoning and text.  Belongs to one thread at a time. */
typedef struct rwkvk_chat_answer rwkvk_chat_answer;

/* For what follows a prompt of rwkvk_chat_render() with the same template and options.  The tokenizer is not kept. */
RWKVK_API rwkvk_status rwkvk_chat_answer_create(rwkvk_chat_template chat, const rwkvk_chat_options *options,
                                                const rwkvk_tokenizer *tokenizer, rwkvk_chat_answer **out);
RWKVK_API void rwkvk_chat_answer_destroy(rwkvk_chat_answer *answer); /* NULL is allowed */

/* What ends the answer, for rwkvk_generate_options: token 0, the user's next turn ("\n\nUser:", of raven "\n\nBob:"; not of
 * plain), and of g1 and rwkv-world the token "\n\n" (261), but not while the model reasons.  So they change when it begins to,
 * and when it is done. */
typedef struct rwkvk_chat_stops {
	size_t size;
	const uint32_t *tokens; /* the answer's, as long as it lives; NULL: none */
	size_t token_count;
	const char *const *texts;
	size_t text_count;
} rwkvk_chat_stops;
RWKVK_API rwkvk_status rwkvk_chat_answer_stops(const rwkvk_chat_answer *answer, rwkvk_chat_stops *out);

/* What a push has brought to light; the answer's until its next call, not 0-terminated.  Neither part has the tags, the ">"
 * that completes one from the prompt, or white space before and after it (but plain has one part, all of the text). */
typedef struct rwkvk_chat_part {
	size_t size;
	bool new_stops; /* rwkvk_chat_answer_stops() are others now: end the generation here and go on with them */
	const char *reasoning;
	size_t reasoning_bytes;
	const char *text;
	size_t text_bytes;
} rwkvk_chat_part;

/* What the model writes, in pieces of any size, such as on_text gets.  Held back is what may become a tag, and white space that
 * nothing follows yet.  `out` is written in every case. */
RWKVK_API rwkvk_status rwkvk_chat_answer_push(rwkvk_chat_answer *answer, const void *text, size_t bytes, rwkvk_chat_part *out);
/* Nothing more comes: lets go of what may not become a tag any more. */
RWKVK_API rwkvk_status rwkvk_chat_answer_end(rwkvk_chat_answer *answer, rwkvk_chat_part *out);

/* The calls that an answer is: JSON, alone or in a ```json block (whose first line may be in the prompt), of an object {name,
 * arguments}, or a list of such, with names of `tools` (as in rwkvk_chat_options).  Writes them as a JSON list of such objects,
 * at most `capacity` bytes, and sets *written to the number it has; 0: the answer is no call.  Thread-safe. */
RWKVK_API rwkvk_status rwkvk_chat_tool_calls(const char *tools, const void *answer, size_t bytes, char *json, size_t capacity,
                                             size_t *written);

#ifdef __cplusplus
}
#endif
#endif
