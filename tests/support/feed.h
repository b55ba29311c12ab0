/* Short forms of calls that many tests make. */
#ifndef RWKVK_TEST_FEED_H
#define RWKVK_TEST_FEED_H

#include "rwkvk.h"

/* rwkvk_session_eval() with no other option than the logits. */
static inline rwkvk_status feed_tokens(rwkvk_session *session, const uint32_t *tokens, size_t count, float *logits)
{
	return rwkvk_session_eval(session, tokens, count, &(rwkvk_eval_options){ .logits = logits });
}

#endif
