/* Fields of a JSON object, each with its type and range.  A field that is absent or null leaves *out as it is; one that does
 * not fit is refused with a message that names the field, the expectation and the finding. */
#ifndef RWKVK_SERVE_FIELDS_H
#define RWKVK_SERVE_FIELDS_H

#include "serve/request.h"

struct fields {
	const json_t *object;
	struct refusal *refusal;
};

/* NULL for null as well. */
json_t *field_get(const struct fields *f, const char *name);
bool field_flag(struct fields *f, const char *name, bool *out);
bool field_text(struct fields *f, const char *name, const char **out); /* the object's */
bool field_count(struct fields *f, const char *name, uint64_t low, uint64_t high, uint64_t *out);
bool field_number(struct fields *f, const char *name, double low, double high, float *out);

/* Refuses the field, and returns false. */
bool field_unexpected(struct fields *f, const char *name, const char *expected, const json_t *got);

/* Whether the object has no field that this endpoint refuses. */
bool fields_check(struct fields *f, enum endpoint endpoint);

#endif
