/* Features that CMake's options leave out of this build: refused by name. */
#include "text/chat.h"
#include "text/vocabulary.h"

#ifndef RWKVK_JSON
rwkvk_status tokenizer_from_ids(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out)
{
	(void)text, (void)bytes, (void)out;
	return fail(RWKVK_ERROR_UNSUPPORTED,
	            "%s: a vocabulary in JSON, which this build of rwkvk cannot read: build it with -DRWKVK_BPE=ON, or use "
	            "rwkv_vocab_v20230424.txt",
	            path);
}

static rwkvk_status no_tools(const char *option)
{
	return fail(
		RWKVK_ERROR_UNSUPPORTED,
		"%s: tools are JSON, which this build of rwkvk lacks: build it with one of -DRWKVK_SAFETENSORS=ON, -DRWKVK_PTH=ON, "
		"-DRWKVK_BPE=ON",
		option);
}

rwkvk_status chat_put_tools(const char *tools, struct text_sink *out)
{
	(void)tools, (void)out;
	return no_tools("rwkvk_chat_options.tools");
}

rwkvk_status chat_put_calls(const char *calls, struct text_sink *out)
{
	(void)calls, (void)out;
	return no_tools("rwkvk_chat_message.tool_calls");
}

rwkvk_status rwkvk_chat_tool_calls(const char *tools, const void *answer, size_t bytes, char *json, size_t capacity,
                                   size_t *written)
{
	REQUIRE(tools && written && (answer || bytes == 0) && (json || capacity == 0));
	*written = 0;
	return no_tools("rwkvk_chat_tool_calls");
}
#endif

#ifndef RWKVK_BPE
rwkvk_status tokenizer_from_json(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out)
{
	(void)text, (void)bytes, (void)out;
	return fail(RWKVK_ERROR_UNSUPPORTED,
	            "%s: a vocabulary of byte pairs, which this build of rwkvk cannot read: build it with -DRWKVK_BPE=ON", path);
}

rwkvk_status bpe_encode(const rwkvk_tokenizer *t, const uint8_t *text, size_t bytes, struct id_sink *out)
{
	(void)text, (void)bytes, (void)out;
	INVARIANT(t->kind != KIND_BPE);
	return RWKVK_OK;
}

void bpe_destroy(struct bpe *bpe)
{
	(void)bpe;
}
#endif
