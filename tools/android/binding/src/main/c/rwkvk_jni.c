/* The native methods of rwkvk.Model and rwkvk.Session.  A handle is a pointer in a long; the Java side never passes one that is
 * closed.  Texts are arrays of bytes in UTF-8, because JNI's strings are in an encoding of their own.  A failed call throws
 * RwkvkException, unless an exception of a callback is already pending. */
#include <android/log.h>
#include <jni.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rwkvk.h"
#include "rwkvk_tools.h"

struct session {
	rwkvk_model *model;
	rwkvk_session *session;
	rwkvk_cancel *cancel;
};

static void *pointer(jlong handle)
{
	return (void *)(intptr_t)handle;
}

static jlong handle_of(const void *pointer)
{
	return (jlong)(intptr_t)pointer;
}

/* ---------------------------------------------------------------------------------------------------- to Java and back */

static jbyteArray to_bytes(JNIEnv *env, const void *data, size_t bytes)
{
	jbyteArray array = bytes <= INT32_MAX ? (*env)->NewByteArray(env, (jsize)bytes) : NULL;
	if (array)
		(*env)->SetByteArrayRegion(env, array, 0, (jsize)bytes, data);
	return array;
}

static void throw_text(JNIEnv *env, rwkvk_status status, const char *text)
{
	if ((*env)->ExceptionCheck(env))
		return;
	jclass class = (*env)->FindClass(env, "rwkvk/RwkvkException");
	jmethodID constructor = class ? (*env)->GetMethodID(env, class, "<init>", "(I[B)V") : NULL;
	jbyteArray message = constructor ? to_bytes(env, text, strlen(text)) : NULL;
	jobject exception = message ? (*env)->NewObject(env, class, constructor, (jint)status, message) : NULL;
	if (exception)
		(*env)->Throw(env, exception);
}

/* Whether the call succeeded; else its exception is thrown. */
static bool worked(JNIEnv *env, rwkvk_status status)
{
	if (status != RWKVK_OK)
		throw_text(env, status, rwkvk_last_error());
	return status == RWKVK_OK;
}

/* The array's bytes with a 0 behind them, for free(); NULL when memory is short, which is thrown. */
static char *from_bytes(JNIEnv *env, jbyteArray array, size_t *bytes)
{
	jsize count = (*env)->GetArrayLength(env, array);
	char *text = malloc((size_t)count + 1);
	if (!text) {
		throw_text(env, RWKVK_ERROR_MEMORY, "no memory for a text");
		return NULL;
	}
	(*env)->GetByteArrayRegion(env, array, 0, count, (jbyte *)text);
	text[count] = 0;
	if (bytes)
		*bytes = (size_t)count;
	return text;
}

/* A Java object that is called back on the thread of the call. */
struct callback {
	JNIEnv *env;
	jobject object;
	jmethodID method;
};

/* Whether it was found; an object that is null is none.  Else an exception is pending. */
static bool callback_init(struct callback *callback, JNIEnv *env, jobject object, const char *name, const char *type)
{
	*callback = (struct callback){ .env = env, .object = object };
	if (object)
		callback->method = (*env)->GetMethodID(env, (*env)->GetObjectClass(env, object), name, type);
	return !object || callback->method;
}

static bool step(void *user, uint64_t done, uint64_t total)
{
	const struct callback *c = user;
	return (*c->env)->CallBooleanMethod(c->env, c->object, c->method, (jlong)done, (jlong)total) &&
	       !(*c->env)->ExceptionCheck(c->env);
}

static bool show_text(void *user, const char *text, size_t bytes)
{
	const struct callback *c = user;
	jbyteArray array = to_bytes(c->env, text, bytes);
	bool more =
		array && (*c->env)->CallBooleanMethod(c->env, c->object, c->method, array) && !(*c->env)->ExceptionCheck(c->env);
	(*c->env)->DeleteLocalRef(c->env, array); /* they live until the native method returns, and a text is long */
	return more;
}

static void write_log(void *user, rwkvk_log_level level, const char *text)
{
	(void)user;
	__android_log_write(level == RWKVK_LOG_ERROR     ? ANDROID_LOG_ERROR
	                    : level == RWKVK_LOG_WARNING ? ANDROID_LOG_WARN
	                                                 : ANDROID_LOG_INFO,
	                    "rwkvk", text);
}

/* ---------------------------------------------------------------------------------------------------- models */

static rwkvk_model *open_model(JNIEnv *env, rwkvk_model_options *options, const struct callback *progress)
{
	rwkvk_model *model = NULL;
	options->size = sizeof *options;
	options->log = write_log;
	options->progress = progress->object ? step : NULL;
	options->progress_user = (void *)(uintptr_t)progress;
	if (!worked(env, rwkvk_model_open(options, &model)))
		return NULL;
	if (rwkvk_model_tokenizer(model))
		return model;
	rwkvk_model_close(model);
	throw_text(env, RWKVK_ERROR_UNSUPPORTED,
	           "the file has no vocabulary, which texts need: convert the model to GGUF with one");
	return NULL;
}

JNIEXPORT jlong JNICALL Java_rwkvk_Model_open(JNIEnv *env, jclass class, jint fd, jlong offset, jlong length, jbyteArray name,
                                              jbyteArray cache_folder, jint quant, jobject listener)
{
	(void)class;
	struct callback progress;
	if (!callback_init(&progress, env, listener, "step", "(JJ)Z"))
		return 0;
	char *title = from_bytes(env, name, NULL), *cache = cache_folder ? from_bytes(env, cache_folder, NULL) : NULL;
	rwkvk_model *model = NULL;
	if (title && (cache || !cache_folder))
		model = open_model(env,
		                   &(rwkvk_model_options){ .path = title,
		                                           .fd = fd,
		                                           .fd_offset = (uint64_t)offset,
		                                           .fd_length = (uint64_t)length,
		                                           .cache_dir = cache ? cache : "",
		                                           .quant = (rwkvk_quant)quant },
		                   &progress);
	free(title);
	free(cache);
	return handle_of(model);
}

JNIEXPORT jbyteArray JNICALL Java_rwkvk_Model_describe(JNIEnv *env, jclass class, jlong model)
{
	(void)class;
	rwkvk_model_info info = { .size = sizeof info };
	char text[1024];
	if (!worked(env, rwkvk_model_get_info(pointer(model), &info)))
		return NULL;
	int bytes = snprintf(text, sizeof text, "RWKV-%s, %.2f G parameters, %s, %.2f GB on %.255s, %.1f MB for each text",
	                     info.version, (double)info.parameters * 1e-9, info.type, (double)info.device_bytes * 1e-9, info.device,
	                     (double)info.state_bytes * 1e-6);
	return to_bytes(env, text, (size_t)bytes);
}

static jobject to_comparison(JNIEnv *env, jclass class, jmethodID constructor, const rwkvk_verify_row *row)
{
	jstring stage = (*env)->NewStringUTF(env, row->stage);
	jobject comparison =
		stage ? (*env)->NewObject(env, class, constructor, stage, row->error, row->limit, (jboolean)row->ok) : NULL;
	(*env)->DeleteLocalRef(env, stage);
	return comparison;
}

static jobjectArray to_comparisons(JNIEnv *env, const rwkvk_verify_row *rows, size_t count)
{
	jclass class = (*env)->FindClass(env, "rwkvk/Comparison");
	jmethodID constructor = class ? (*env)->GetMethodID(env, class, "<init>", "(Ljava/lang/String;DDZ)V") : NULL;
	jobjectArray array = constructor ? (*env)->NewObjectArray(env, (jsize)count, class, NULL) : NULL;
	for (size_t i = 0; array && i < count; i++) {
		jobject comparison = to_comparison(env, class, constructor, &rows[i]);
		if (!comparison)
			return NULL;
		(*env)->SetObjectArrayElement(env, array, (jsize)i, comparison);
		(*env)->DeleteLocalRef(env, comparison);
	}
	return array;
}

JNIEXPORT jobjectArray JNICALL Java_rwkvk_Model_verify(JNIEnv *env, jclass class, jlong model, jobject listener)
{
	(void)class;
	struct callback progress;
	rwkvk_verify_row rows[RWKVK_VERIFY_ROWS] = { { .size = sizeof *rows } };
	rwkvk_verify_options options = { .size = sizeof options, .progress = listener ? step : NULL, .progress_user = &progress };
	size_t count;
	if (!callback_init(&progress, env, listener, "step", "(JJ)Z") ||
	    !worked(env, rwkvk_model_verify(pointer(model), &options, rows, RWKVK_VERIFY_ROWS, &count)))
		return NULL;
	return to_comparisons(env, rows, count < RWKVK_VERIFY_ROWS ? count : RWKVK_VERIFY_ROWS);
}

JNIEXPORT void JNICALL Java_rwkvk_Model_close(JNIEnv *env, jclass class, jlong model)
{
	(void)env;
	(void)class;
	rwkvk_model_close(pointer(model));
}

/* ---------------------------------------------------------------------------------------------------- sessions */

static void destroy(struct session *session)
{
	rwkvk_session_destroy(session->session);
	rwkvk_cancel_destroy(session->cancel);
	free(session);
}

JNIEXPORT jlong JNICALL Java_rwkvk_Session_create(JNIEnv *env, jclass class, jlong model)
{
	(void)class;
	struct session *session = calloc(1, sizeof *session);
	if (!session) {
		throw_text(env, RWKVK_ERROR_MEMORY, "no memory for a session");
		return 0;
	}
	session->model = pointer(model);
	if (worked(env, rwkvk_session_create(session->model, &session->session)) &&
	    worked(env, rwkvk_cancel_create(&session->cancel)))
		return handle_of(session);
	destroy(session);
	return 0;
}

JNIEXPORT void JNICALL Java_rwkvk_Session_destroy(JNIEnv *env, jclass class, jlong session)
{
	(void)env;
	(void)class;
	destroy(pointer(session));
}

/* The text's tokens, after the one that the model's file says a text begins with. */
static rwkvk_status feed(struct session *s, const char *text, size_t bytes, uint32_t *ids, size_t capacity)
{
	rwkvk_model_info info = { .size = sizeof info };
	const rwkvk_eval_options options = { .size = sizeof options, .cancel = s->cancel };
	size_t first = 0, count;
	rwkvk_status status = rwkvk_model_get_info(s->model, &info);
	if (status == RWKVK_OK && info.add_bos && rwkvk_session_position(s->session) == 0)
		ids[first++] = info.begin_token;
	if (status == RWKVK_OK)
		status = rwkvk_tokenizer_encode(rwkvk_model_tokenizer(s->model), text, bytes, ids + first, capacity - first, &count);
	if (status == RWKVK_OK && first + count > 0)
		status = rwkvk_session_eval(s->session, ids, first + count, &options);
	return status;
}

JNIEXPORT void JNICALL Java_rwkvk_Session_read(JNIEnv *env, jclass class, jlong handle, jbyteArray utf8)
{
	(void)class;
	size_t bytes;
	char *text = from_bytes(env, utf8, &bytes);
	if (!text)
		return;
	size_t capacity = 3 * bytes + 1; /* a vocabulary that composes characters has up to three tokens for a byte */
	uint32_t *ids = malloc(capacity * sizeof *ids);
	if (ids)
		worked(env, feed(pointer(handle), text, bytes, ids, capacity));
	else
		throw_text(env, RWKVK_ERROR_MEMORY, "no memory for the text's tokens");
	free(ids);
	free(text);
}

JNIEXPORT jint JNICALL Java_rwkvk_Session_generate(JNIEnv *env, jclass class, jlong handle, jfloat temperature, jlong seed,
                                                   jlong max_tokens, jboolean ignore_end, jobject listener)
{
	(void)class;
	struct session *s = pointer(handle);
	struct callback text;
	rwkvk_sampling sampling = { .size = sizeof sampling };
	if (!callback_init(&text, env, listener, "text", "([B)Z") || !worked(env, rwkvk_model_sampling(s->model, &sampling)))
		return RWKVK_END_FAILED;
	if (temperature >= 0)
		sampling.temperature = temperature;
	sampling.seed = (uint64_t)seed;
	const rwkvk_generate_options options = {
		.size = sizeof options,
		.sampling = &sampling,
		.max_tokens = (uint64_t)max_tokens,
		.ignore_end = ignore_end,
		.on_text = listener ? show_text : NULL,
		.user = &text,
		.cancel = s->cancel,
	};
	rwkvk_generate_result result = { .size = sizeof result };
	rwkvk_status status = rwkvk_session_generate(s->session, &options, &result);
	if (status != RWKVK_CANCELLED) /* which is an end like others */
		worked(env, status);
	return (jint)result.reason;
}

JNIEXPORT void JNICALL Java_rwkvk_Session_setStop(JNIEnv *env, jclass class, jlong handle, jboolean stop)
{
	(void)env;
	(void)class;
	struct session *s = pointer(handle);
	if (stop)
		rwkvk_cancel_set(s->cancel);
	else
		rwkvk_cancel_clear(s->cancel);
}

JNIEXPORT jlong JNICALL Java_rwkvk_Session_position(JNIEnv *env, jclass class, jlong handle)
{
	(void)env;
	(void)class;
	const struct session *s = pointer(handle);
	return (jlong)rwkvk_session_position(s->session);
}

JNIEXPORT jbyteArray JNICALL Java_rwkvk_Session_state(JNIEnv *env, jclass class, jlong handle)
{
	(void)class;
	struct session *s = pointer(handle);
	size_t bytes = rwkvk_session_state_size(s->session);
	jbyteArray array = NULL;
	void *state = malloc(bytes);
	if (!state)
		throw_text(env, RWKVK_ERROR_MEMORY, "no memory for the state");
	else if (worked(env, rwkvk_session_state_get(s->session, state, bytes)))
		array = to_bytes(env, state, bytes);
	free(state);
	return array;
}

JNIEXPORT void JNICALL Java_rwkvk_Session_setState(JNIEnv *env, jclass class, jlong handle, jbyteArray state)
{
	(void)class;
	struct session *s = pointer(handle);
	size_t bytes;
	char *data = from_bytes(env, state, &bytes);
	if (data)
		worked(env, rwkvk_session_state_set(s->session, data, bytes));
	free(data);
}
