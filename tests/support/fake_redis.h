/* A server that speaks as much of Redis's protocol as the state store uses, in threads of this process, and lies when told to.
 */
#ifndef RWKVK_TEST_FAKE_REDIS_H
#define RWKVK_TEST_FAKE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_redis;

enum fake_lie {
	FAKE_HONEST,
	FAKE_CLOSES,      /* the connection, in the middle of a reply */
	FAKE_SILENT,      /* reads and never answers */
	FAKE_DRIPS,       /* a byte of a number that does not end, again and again */
	FAKE_NONSENSE,    /* what no Redis says */
	FAKE_OTHER_TYPE,  /* well-formed replies of another kind */
	FAKE_ENDLESS,     /* announces and sends far more than was asked for */
	FAKE_FULL,        /* refuses to set anything */
	FAKE_REPEATS_ALL, /* refuses every command, and repeats its arguments */
};

/* port: 0 takes a free one. */
struct fake_redis *fake_redis_start(uint16_t port);
void fake_redis_stop(struct fake_redis *fake); /* closes all connections */
uint16_t fake_redis_port(const struct fake_redis *fake);
void fake_redis_lie(struct fake_redis *fake, enum fake_lie lie);
/* Closes the connections that there are, as a server does with idle ones. */
void fake_redis_hang_up(struct fake_redis *fake);
/* Holds back every SET until it is called again with false. */
void fake_redis_hold(struct fake_redis *fake, bool held);

/* The value of a key, copied to `out`; 0 bytes: there is none.  *seconds: its time to live, 0: no end. */
size_t fake_redis_get(struct fake_redis *fake, const char *key, uint8_t *out, size_t capacity, uint64_t *seconds);
void fake_redis_set(struct fake_redis *fake, const char *key, const void *bytes, size_t count);
/* The key that was set last; how many commands there were that began with this word. */
void fake_redis_last(struct fake_redis *fake, char out[128]);
uint64_t fake_redis_count(struct fake_redis *fake, const char *command);

#endif
