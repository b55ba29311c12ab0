/* One text of a job: how it begins, and how it takes in the tokens that a step has picked. */
#ifndef RWKVK_SERVE_ANSWER_H
#define RWKVK_SERVE_ANSWER_H

#include "serve/server.h"

/* Before its first step.  The session has read the prompt. */
bool answer_begin(const struct server *server, struct job *job, uint32_t index);

/* After a step.  choice->ended says whether the text is complete. */
bool answer_take(const struct server *server, struct job *job, uint32_t index, const rwkvk_work *work);

#endif
