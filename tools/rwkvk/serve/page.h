/* The web page, embedded in the program by embed.S, and the policy that says what it may load and run. */
#ifndef RWKVK_SERVE_PAGE_H
#define RWKVK_SERVE_PAGE_H

#include <stddef.h>

#include "page_policy.h"

extern const unsigned char rwkvk_page[];
extern const size_t rwkvk_page_bytes;

#endif
