/* The environment variables that the library heeds: all of them, and read nowhere else.  What a caller's options say goes
 * first. They are read when a device is listed or opened, or a model, and what is needed later is kept from then. */
#ifndef RWKVK_BASE_ENVIRONMENT_H
#define RWKVK_BASE_ENVIRONMENT_H

#include "base/error.h"

enum environment_variable {
	ENVIRONMENT_DEVICE,                /* the device where none is asked for */
	ENVIRONMENT_CACHE_DIR,             /* where caches are kept; empty: nowhere */
	ENVIRONMENT_XDG_CACHE_HOME,        /* else below this, */
	ENVIRONMENT_HOME,                  /* or this, */
	ENVIRONMENT_LOCALAPPDATA,          /* and on Windows below this */
	ENVIRONMENT_CAPS,                  /* features to hide, limits to lower (gpu/caps.c) */
	ENVIRONMENT_TOKENS_PER_SUBMISSION, /* see environment_tokens() */
	ENVIRONMENT_SHADER_DIR,            /* SPIR-V to take instead of the library's */
	ENVIRONMENT_VALIDATE,              /* "1": messages of the validation layer are passed on */
	ENVIRONMENT_BREAK_STAGE,           /* developer builds, read while verifying: the stage to spoil */
};

/* NULL when it is not set. */
const char *environment_text(enum environment_variable variable);
/* Tokens of each submission; 0: as many as suit the device. */
rwkvk_status environment_tokens(uint32_t *out);

#endif
