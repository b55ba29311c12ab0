#include "base/environment.h"

#include <stdlib.h>
#include <string.h>

#include "base/system.h"

static const char *const names[] = {
	[ENVIRONMENT_DEVICE] = "RWKVK_DEVICE",
	[ENVIRONMENT_CACHE_DIR] = "RWKVK_CACHE_DIR",
	[ENVIRONMENT_XDG_CACHE_HOME] = "XDG_CACHE_HOME",
	[ENVIRONMENT_HOME] = "HOME",
	[ENVIRONMENT_LOCALAPPDATA] = "LOCALAPPDATA",
	[ENVIRONMENT_CAPS] = "RWKVK_CAPS",
	[ENVIRONMENT_TOKENS_PER_SUBMISSION] = "RWKVK_TOKENS_PER_SUBMISSION",
	[ENVIRONMENT_SHADER_DIR] = "RWKVK_SHADER_DIR",
	[ENVIRONMENT_VALIDATE] = "RWKVK_VALIDATE",
	[ENVIRONMENT_BREAK_STAGE] = "RWKVK_BREAK_STAGE",
};

const char *environment_text(enum environment_variable variable)
{
#ifndef RWKVK_DEVELOPER
	if (variable == ENVIRONMENT_BREAK_STAGE)
		return NULL;
#endif
	return system_environment(names[variable]);
}

rwkvk_status environment_tokens(uint32_t *out)
{
	const char *text = environment_text(ENVIRONMENT_TOKENS_PER_SUBMISSION);
	*out = 0;
	if (!text)
		return RWKVK_OK;
	if (text[strspn(text, "0123456789")] || strlen(text) > 8)
		return fail(RWKVK_ERROR_ARGUMENT, "RWKVK_TOKENS_PER_SUBMISSION=%.60s: expected a whole number, 0 to leave it to rwkvk",
		            text);
	*out = (uint32_t)strtoul(text, NULL, 10);
	return RWKVK_OK;
}
