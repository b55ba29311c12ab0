// Picking a token for a text, shared by `select` and `choose`.  The host's words of the text begin at io[WORDS_AT]; the
// includer defines WORDS_AT.
#define PICKS_SHARED coherent
#define LISTED (4 * WORKGROUP) // a power of two
#include "picks.glsl"
#include "draw.glsl"

layout(set = 0, binding = 5) readonly buffer PicksU { uint picks_word[]; };
layout(set = 0, binding = 6) readonly buffer Logits { float logits[]; };
layout(set = 0, binding = 7) buffer Io { uint io[]; };
shared uint s_stops;

uint word(uint at)
{
	return io[WORDS_AT + at];
}

float io_float(uint at)
{
	return uintBitsToFloat(word(at));
}

// Token i's bare logit, adjusted for picking; it and `id` are the arguments of see().  `biases`: where the biases begin; kept:
// the logit is stored at PICKS_LOGITS.
float bare_logit(uint i, uint pick, uint biases, float presence, float frequency, bool kept, out uint id)
{
	float logit = logits[word(IO_SLOT) * V4(V) + i];
	float seen = (pick & PICK_PENALTY) != 0 ? picks[picks_at + PICKS_COUNT(V) + i] : -1;
	float bias = (pick & PICK_BIAS) != 0 ? picks[biases + i] : 0;
	id = broken(logit) ? PART_BROKEN : i;
	logit = broken(logit) ? INFINITE : adjust(logit, pick, seen, bias, presence, frequency);
	if (kept)
		picks[picks_at + PICKS_LOGITS + i] = logit;
	return logit;
}

// The largest logit seen by any thread.  In uniform control flow.
void find_best()
{
	if (thread == 0)
		s_stops = 0;
	memoryBarrierBuffer();
	share_best();
}

// A draw for the text's token number `fed` of this submission.
uint draw_token(uint fed, out bool is_close)
{
	uint carry, position = uaddCarry(word(IO_POSITION), fed, carry);
	return draw(io_float(IO_TEMPERATURE), io_float(IO_TOP_P), word(IO_TOP_K), uvec2(word(IO_SEED), word(IO_SEED + 1)),
	            uvec2(position, word(IO_POSITION + 1) + carry), is_close);
}

// Whether it is in the list of stop tokens.  Once after find_best().
bool stops(uint token)
{
	for (uint i = thread; i < word(IO_STOP_COUNT); i += WORKGROUP)
		if (word(IO_STOPS + i) == token)
			atomicAdd(s_stops, 1);
	barrier();
	return s_stops != 0;
}

// The weight of a picked token in its count.
float weight_of(uint token)
{
	return (picks_word[PICKS_LIGHT + token / 32] >> token % 32 & 1) != 0 ? 0 : 1;
}
