/* All environment variables that the library reads; it reads them nowhere else.  The caller's options take precedence.  They
 * are read when devices are listed and when a device or a model is opened; values needed later are kept from then on. */
#ifndef RWKVK_BASE_ENVIRONMENT_H
#define RWKVK_BASE_ENVIRONMENT_H

#include "base/error.h"

enum environment_variable {
	ENVIRONMENT_DEVICE,                /* the device if none is requested */
	ENVIRONMENT_CACHE_DIR,             /* where caches are kept; empty: nowhere */
	ENVIRONMENT_XDG_CACHE_HOME,        /* else below this, */
	ENVIRONMENT_HOME,                  /* or this, */
	ENVIRONMENT_LOCALAPPDATA,          /* and on Windows below this */
	ENVIRONMENT_CAPS,                  /* features to hide, limits to lower (gpu/caps.c) */
	ENVIRONMENT_TOKENS_PER_SUBMISSION, /* see environment_tokens() */
	ENVIRONMENT_SHADER_DIR,            /* SPIR-V to use instead of the library's */
	ENVIRONMENT_VALIDATE,              /* "1": messages of the validation layer are passed on */
	ENVIRONMENT_BREAK_STAGE,           /* developer builds, read while verifying: the stage to spoil */
};

/* NULL when it is not set. */
const char *environment_text(enum environment_variable variable);
/* Tokens of each submission; 0: as many as suit the device. */
rwkvk_status environment_tokens(uint32_t *out);

#endif
