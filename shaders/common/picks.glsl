// Adjusts logits for picking: a bias, and penalties for earlier tokens. The host does the same with the same roundings
// (src/session/sampler.c), so nothing here may be fused or reordered. PICKS_SHARED: coherent where threads read what others
// have written in the same stage.
#ifndef PICKS_SHARED
#define PICKS_SHARED
#endif
layout(set = 0, binding = 5) PICKS_SHARED buffer Picks { float picks[]; };
uint picks_at; // where the slot's data begins; set by whoever picks
const float LARGEST = 3.402823466e38;
#define INFINITE uintBitsToFloat(0x7f800000u)

// NaN or +infinity: the device has computed garbage.  Tested by bits, because compilers may assume that there are no such
// numbers.
bool broken(float logit)
{
	uint bits = floatBitsToUint(logit);
	return (bits & 0x7f800000u) == 0x7f800000u && bits != 0xff800000u;
}

bool minus_infinity(float logit)
{
	return floatBitsToUint(logit) == 0xff800000u;
}

// A token's count after another step; negative where it never came.
float stepped_count(float count, float decay, float weight, bool is_token)
{
	precise float faded = count < 0 ? 0 : count * decay;
	if (is_token)
		faded += weight;
	faded = faded < 1.17549435e-38 ? 0 : faded; // some devices have no smaller numbers
	return count < 0 && !is_token ? count : faded;
}

float adjust(float logit, uint pick, float count, float bias, float presence, float frequency)
{
	precise float x = logit, lowered;
	if (minus_infinity(logit))
		return logit;
	if ((pick & PICK_BIAS) != 0) {
		if (minus_infinity(bias))
			return bias;
		x += bias;
		x = clamp(x, -LARGEST, LARGEST);
	}
	if ((pick & PICK_PENALTY) != 0 && count >= 0) {
		lowered = count * frequency;
		lowered += presence;
		x -= lowered;
		x = clamp(x, -LARGEST, LARGEST);
	}
	return x;
}

// The largest of what the threads have seen, the lowest id on ties.  LISTED: room for as many, where more of them are needed.
#ifndef LISTED
#define LISTED WORKGROUP
#endif
shared float s_logit[LISTED];
shared uint s_id[LISTED];
float best = -INFINITE;
uint best_id = PART_NONE;

void see(float value, uint id)
{
	if (value > best || (value == best && id < best_id && best_id != PART_NONE)) {
		best = value;
		best_id = id;
	}
}

// The workgroup's largest becomes every thread's.  In uniform control flow.
void share_best()
{
	s_logit[thread] = best;
	s_id[thread] = best_id;
	for (uint count = WORKGROUP; count > 1;) {
		uint half_count = (count + 1) / 2, other = thread + half_count;
		barrier();
		if (other < count)
			if (s_logit[other] > s_logit[thread] || (s_logit[other] == s_logit[thread] && s_id[other] < s_id[thread])) {
				s_logit[thread] = s_logit[other];
				s_id[thread] = s_id[other];
			}
		count = half_count;
	}
	barrier();
	best = s_logit[0];
	best_id = s_id[0];
	barrier();
}
