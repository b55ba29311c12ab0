/* The built-in model: a GGUF file that tells stories, embedded in the program by embed.S. */
#ifndef RWKVK_DEMO_H
#define RWKVK_DEMO_H

#include <stddef.h>

extern const unsigned char rwkvk_demo_model[];
extern const size_t rwkvk_demo_model_bytes;

#endif
