/* A driver that fails under a model: what is reported, and that the model, or the next one, still works.  The calls of the
 * driver are entries of a table that each gpu object has, so single ones are replaced here. */
#include "support.h"

#include <stdio.h>

#include "gpu/vk.h"
#include "make_model.h"
#include "session/session.h"

static const struct model_spec spec = {
	.version = 70,
	.layers = 2,
	.width = 128,
	.head_size = 64,
	.ffn = 512,
	.vocab = 300,
	.rank_decay = 32,
	.rank_iclr = 32,
	.rank_gate = 64,
	.rank_value = 32,
	.type = DTYPE_F16,
	.lora_type = DTYPE_F16,
	.seed = 1,
};
enum { VOCAB = 300, TEXT = 6 };
static const uint32_t text[TEXT] = { 1, 22, 5, 299, 0, 7 };

static rwkvk_model *open_model(void)
{
	rwkvk_model *model = NULL;
	const char *path = test_temp("model");
	make_model(path, &spec);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path }, &model));
	return model;
}

static rwkvk_session *new_session(rwkvk_model *model)
{
	rwkvk_session *session = NULL;
	assert_ok(rwkvk_session_create(model, &session));
	return session;
}

/* The text's logits, in a session of their own. */
static void feed(rwkvk_model *model, float logits[VOCAB])
{
	rwkvk_session *session = new_session(model);
	assert_ok(rwkvk_session_eval(session, text, TEXT, logits));
	rwkvk_session_destroy(session);
}

/* With penalties: once the device has the counts, it picks the first token, too. */
static rwkvk_status generate(rwkvk_session *session, uint64_t tokens)
{
	const rwkvk_generate_options options = { .sampling.presence = 0.5f, .max_tokens = tokens, .ignore_end = true };
	return rwkvk_session_generate(session, &options, NULL);
}

/* ---------------------------------------------------------------------------------------------------- nothing is done */

static uint32_t dropped; /* so many of the last command buffers of a submission are not run */
static PFN_vkQueueSubmit queue_submit;

static VKAPI_ATTR VkResult VKAPI_CALL submit_less(VkQueue queue, uint32_t count, const VkSubmitInfo *infos, VkFence fence)
{
	assert_int_equal(count, 1);
	VkSubmitInfo less = *infos;
	less.commandBufferCount -= dropped < less.commandBufferCount ? dropped : less.commandBufferCount;
	return queue_submit(queue, 1, &less, fence);
}

static rwkvk_model *open_lazy(const char *tokens_at_once)
{
	tokens_at_once ? setenv("RWKVK_TOKENS_PER_SUBMISSION", tokens_at_once, 1) : unsetenv("RWKVK_TOKENS_PER_SUBMISSION");
	rwkvk_model *model = open_model();
	unsetenv("RWKVK_TOKENS_PER_SUBMISSION");
	queue_submit = model->gpu->vk.vkQueueSubmit;
	model->gpu->vk.vkQueueSubmit = submit_less;
	return model;
}

/* Feeding and picking find out, whether nothing is done or only some; the driver's next submission is as good as any. */
static void nothing_is_done(void **state)
{
	(void)state;
	static const char *const at_once[] = { "1", "4", NULL };
	for (size_t i = 0; i < 3; i++) {
		rwkvk_model *model = open_lazy(at_once[i]);
		rwkvk_session *session = new_session(model);
		float want[VOCAB], got[VOCAB];
		feed(model, want);
		for (uint32_t lost = 1; lost <= GPU_LIST; lost += GPU_LIST - 1) {
			dropped = lost;
			assert_fails(rwkvk_session_eval(session, text, TEXT, NULL), RWKVK_ERROR_DRIVER, "which it has not done");
			test_assert_error_contains(gpu_caps(model->gpu)->name, __FILE__, __LINE__);
			dropped = 0;
			assert_ok(rwkvk_session_reset(session));
			assert_ok(rwkvk_session_eval(session, text, TEXT, got));
			assert_memory_equal(got, want, sizeof got);
			assert_ok(generate(session, 3));
			assert_true(session->counts_on_device);
			dropped = lost;
			assert_fails(generate(session, 20), RWKVK_ERROR_DRIVER, "which it has not done");
			dropped = 0;
			assert_ok(rwkvk_session_reset(session));
		}
		rwkvk_session_destroy(session);
		rwkvk_model_close(model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
