/* The SPIR-V that the build embeds (shaders/CMakeLists.txt).  Each shader exists in three variants. */
#ifndef RWKVK_GPU_SHADERS_H
#define RWKVK_GPU_SHADERS_H

#include <stddef.h>
#include <stdint.h>

struct embedded_shader {
	const char *name;
	const char *variant; /* "": with subgroup operations; ".shared": without; ".texel": with, reading through texel buffers */
	const uint32_t *words;
	size_t bytes;
};

extern const struct embedded_shader embedded_shaders[];
extern const size_t embedded_shader_count;

#endif
