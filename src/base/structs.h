/* Structs of the public interface whose caller may have been compiled with another version of it (rwkvk.h, Structs).
 *
 *     rwkvk_eval_options own;
 *     TRY(READ_OPTIONS(rwkvk_eval_options, logits_user, options, &own));      logits_user: the last member of version 0.1
 */
#ifndef RWKVK_BASE_STRUCTS_H
#define RWKVK_BASE_STRUCTS_H

#include "base/error.h"

/* sizeof(type) in version 0.1, of which `last` was the last member. */
#define SIZE_0_1(type, last)                                                                                                   \
	((offsetof(type, last) + sizeof(((type *)0)->last) + _Alignof(type) - 1) / _Alignof(type) * _Alignof(type))

/* A caller's options, all zeros for NULL, as this version's struct with its size.  RWKVK_ERROR_ARGUMENT: they are shorter than
 * in version 0.1, or set an option that this version does not know. */
#define READ_OPTIONS(type, last, given, own) struct_read(#type, given, SIZE_0_1(type, last), own, sizeof(type))
rwkvk_status struct_read(const char *name, const void *given, size_t least, void *own, size_t own_bytes);

/* Fills a caller's struct.  Members unknown to this version become zeros; its size stays. */
#define WRITE_RESULT(type, last, own, given) struct_write(#type, own, sizeof(type), SIZE_0_1(type, last), given)
rwkvk_status struct_write(const char *name, const void *own, size_t own_bytes, size_t least, void *given);

/* Fills an array whose stride is the size in its first element; at most `capacity` of `count` elements. */
#define WRITE_RESULTS(type, last, own, count, given, capacity)                                                                 \
	struct_write_all(#type, own, sizeof(type), SIZE_0_1(type, last), count, given, capacity)
rwkvk_status struct_write_all(const char *name, const void *own, size_t own_bytes, size_t least, size_t count, void *given,
                              size_t capacity);

#endif
