/* What the two files of verification share. */
#ifndef RWKVK_SESSION_VERIFY_H
#define RWKVK_SESSION_VERIFY_H

#include "session/session.h"

/* The row keeps the largest error, and what had it. */
void verify_note(rwkvk_verify_row *row, const char *vector, double error);

/* verify_exact.c: errors are shares of what differs.  spoil: for tests, as if the device had got something wrong.
 * Blocks of integers of hostile rows. */
rwkvk_status verify_blocks(struct rwkvk_model *model, bool spoil, rwkvk_verify_row *row);
/* Tokens picked from these logits, for which the session has to own those on the device. */
rwkvk_status verify_picks(rwkvk_session *session, const float *logits, bool spoil, rwkvk_verify_row *row);

#endif
