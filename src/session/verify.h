/* Shared by the two files of verification. */
#ifndef RWKVK_SESSION_VERIFY_H
#define RWKVK_SESSION_VERIFY_H

#include "session/session.h"

/* The row keeps the largest error and its place. */
void verify_note(rwkvk_verify_row *row, const char *vector, double error);

/* verify_exact.c: an error is the share of results that differ.  spoil: for tests, as if the device had erred.  The first
 * checks blocks of integers from hostile rows. */
rwkvk_status verify_blocks(struct rwkvk_model *model, bool spoil, rwkvk_verify_row *row);
/* Checks tokens picked from these logits; the session must own those on the device. */
rwkvk_status verify_picks(rwkvk_session *session, const float *logits, bool spoil, rwkvk_verify_row *row);

#endif
