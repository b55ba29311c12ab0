/* The model that is part of the program: a GGUF file of a story teller, placed in the program by embed.S. */
#ifndef RWKVK_DEMO_H
#define RWKVK_DEMO_H

#include <stddef.h>

extern const unsigned char rwkvk_demo_model[];
extern const size_t rwkvk_demo_model_bytes;

#endif
