// Drawing a token from logits, one workgroup for all of them.  The draw is defined in docs/model.md, Sampling, and equals that
// of src/session/sampler.c; only a short list of ids is sorted here:
//
//   1. the sum of all e^(logit - largest), and how many logits lie in each eighth of a nat below the largest
//   2. those numbers tell which tokens can be kept at all; they are listed, in the order of ids, if the list holds them
//   3. the last token that top-p and top-k keep is found by narrowing down the interval that its logit lies in to a third, again
//      and again; which of several with that logit, by the interval of ids
//   4. the tokens kept share the interval from 0 to 1 in the order of ids; the one that has the random number is found by
//      narrowing down the range of ids, a part for each team of threads
//
// Sums carry their rounding errors along, and are added in an order that depends only on the workgroup's size.  Draws so close
// to a boundary that rounding may decide are reported.  The logits are those at PICKS_LOGITS.
//
// Compilers inline all calls and are slow at loops and barriers, so long functions are called from one place only.  When they
// unroll a loop with barriers, they also keep a condition for each turn in a register.  Mesa's compilers guess the turns of
// measure()'s loop from the size of s_id, and would repeat its body as often.
#include "nearest.glsl"

const uint BINS = 96, TEAM = 16;
const float PER_BIN = 0.125, BINS_PER_ONE = 8, E_PER_BIN = 0.8824969, CLOSE = 1e-5; // E_PER_BIN: e^-PER_BIN

shared uint s_bins[BINS];
shared uint s_count, s_found, s_last;

struct Drawing {
	float largest, temperature;
	float all;      // the sum of step 1
	uint count;     // of tokens to go through
	bool listed;    // they are the list's: s_logit and s_id
	uint cut_key;   // kept: larger keys,
	uint cut_below; // and of equal ones those with ids below this
};
Drawing drawing;

// ------------------------------------------------------------------------------------------------------- arithmetic

// e^x for x <= 0 to the last bit or two, the same on all devices; theirs may be off by a hundred times that.
float exponential(float x)
{
	if (x < -87)
		return 0;
	float n = nearest(x * 1.44269504);
	precise float r = x - n * 0.693359375, y = 1.9875691500e-4;
	r += n * 2.12194440e-4;
	y = y * r + 1.3981999507e-3;
	y = y * r + 8.3334519073e-3;
	y = y * r + 4.1665795894e-2;
	y = y * r + 1.6666665459e-1;
	y = y * r + 5.0000001201e-1;
	y = y * r * r + r;
	y += 1;
	return y * uintBitsToFloat(uint(int(n) + 127) << 23);
}

// A sum with what its roundings lost.
vec2 plus(vec2 a, vec2 b)
{
	precise float sum = a.x + b.x, part = sum - a.x, lost = a.x - (sum - part);
	lost += b.x - part;
	lost += a.y + b.y;
	return vec2(sum, lost);
}

// The order of floats as one of integers.
uint key_of(float x)
{
	uint bits = floatBitsToUint(x == 0 ? 0.0 : x);
	return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

float of_key(uint key)
{
	return uintBitsToFloat((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// The generator's first word for this seed and position; docs/model.md (62).
uint philox(uvec2 key, uvec2 position)
{
	uvec4 x = uvec4(position, 0, 0);
	[[dont_unroll]] for (int i = 0; i < 10; i++) {
		uint high0, low0, high2, low2;
		umulExtended(0xd2511f53u, x.x, high0, low0);
		umulExtended(0xcd9e8d57u, x.z, high2, low2);
		x = uvec4(high2 ^ x.y ^ key.x, low2, high0 ^ x.w ^ key.y, low0);
		key += uvec2(0x9e3779b9u, 0xbb67ae85u);
	}
	return x.x;
}

// ------------------------------------------------------------------------------------------------------- the tokens

float likelihood(float logit)
{
	return exponential(logit - drawing.largest);
}

uint bin_of(float logit)
{
	return uint(min((drawing.largest - logit) * BINS_PER_ONE, float(BINS)));
}

void token(uint i, out float logit, out uint id)
{
	id = drawing.listed ? s_id[i] : i;
	logit = drawing.listed ? s_logit[i] : picks[picks_at + PICKS_LOGITS + i];
}

// Brings the list into the order of ids: a bitonic sort, in which sorted runs of 1 become such of 2, 4, ...
void sort_list(uint count)
{
	uint size = 2, run = 2, distance = 1;
	while (size < count)
		size *= 2;
	for (uint i = count + thread; i < size; i += WORKGROUP)
		s_id[i] = 0xffffffffu; // they come last
	barrier();
	while (run <= size) {
		for (uint i = thread; i < size / 2; i += WORKGROUP) {
			uint a = 2 * i - (i & (distance - 1)), b = a + distance, id = s_id[a], other = s_id[b];
			if ((id > other) == ((a & run) == 0)) {
				float logit = s_logit[a];
				s_logit[a] = s_logit[b];
				s_logit[b] = logit;
				s_id[a] = other;
				s_id[b] = id;
			}
		}
		barrier();
		distance /= 2;
		if (distance == 0) {
			distance = run;
			run *= 2;
		}
	}
}

// Whether top-p or top-k drop any token, which only step 1 can tell.
bool is_cut(float top_p, uint top_k)
{
	return top_p < 1 || (top_k != 0 && top_k < V);
}

// Step 1, if it is needed: the sum over all tokens, and the bins.
void survey(float largest, bool needed)
{
	drawing = Drawing(largest, 1, 0, V, false, 0, V);
	if (!needed)
		return;
	for (uint i = thread; i < BINS; i += WORKGROUP)
		s_bins[i] = 0;
	if (thread == 0)
		s_count = 0;
	barrier();
	vec2 sum = vec2(0);
	for (uint i = thread; i < V; i += WORKGROUP) {
		float logit = picks[picks_at + PICKS_LOGITS + i];
		uint bin = bin_of(logit);
		if (bin < BINS)
			atomicAdd(s_bins[bin], 1);
		sum = plus(sum, vec2(likelihood(logit), 0));
	}
	vec4 sums = workgroup_sum(vec4(sum, 0, 0));
	drawing.all = sums.x + sums.y;
}

// Lists the tokens of bins up to `last`, in any order.
void list_bins(uint last)
{
	for (uint i = thread; i < V; i += WORKGROUP) {
		float logit = picks[picks_at + PICKS_LOGITS + i];
		if (bin_of(logit) <= last) {
			uint at = min(atomicAdd(s_count, 1), LISTED - 1); // there are no more
			s_id[at] = i;
			s_logit[at] = logit;
		}
	}
}

// Step 2.  Lists the tokens among which the last one kept is, if the list holds them.  Returns a bound below all their keys.
uint find_candidates(float enough, float most)
{
	uint count = 0, last = 0;
	float least = 0, e = 0.999; // forgives rounding
	for (; last < BINS; last++) { // all logits of a bin are at least as likely as its end
		e *= E_PER_BIN;
		count += s_bins[last];
		least += float(s_bins[last]) * e;
		if (least > enough || count >= most)
			break;
	}
	if (last == BINS || count > LISTED)
		return key_of(-LARGEST) - 1;
	list_bins(last);
	sort_list(count);
	drawing.listed = true;
	drawing.count = count;
	return key_of(drawing.largest - PER_BIN * float(last + 2)) - 1; // the float next to it: large ones have no eighths
}

// ------------------------------------------------------------------------------------------------------- the cut

// The tokens before each of two places: those with a larger key, or an equal key and a lower id.  Their sums, then their
// numbers.
vec4 measure(uvec2 keys, uvec2 below)
{
	vec2 first = vec2(0), second = vec2(0), count = vec2(0);
	[[dont_unroll]] for (uint i = thread; i < drawing.count; i += WORKGROUP) {
		float logit;
		uint id;
		token(i, logit, id);
		uint key = key_of(logit);
		float e = likelihood(logit);
		vec2 counts = vec2(key > keys.x || (key == keys.x && id < below.x), key > keys.y || (key == keys.y && id < below.y));
		first = plus(first, vec2(counts.x * e, 0));
		second = plus(second, vec2(counts.y * e, 0));
		count += counts;
	}
	return workgroup_sum(vec4(first.x + first.y, second.x + second.y, count));
}

// The cut lies between two places, keys or numbers of last ids to leave out: what is up to `low` is enough, what is up to
// `high` is not.  Their sums and numbers of tokens; -1 where none was found to be enough.
struct Interval {
	uint low, high;
	vec2 at_low, at_high;
};

// Narrows it down to a third.  Tokens are enough if their sum exceeds `enough` or they are `most`.
void narrow(inout Interval cut, bool by_id, float enough, float most)
{
	uint third = max((cut.high - cut.low) / 3, 1u);
	uvec2 place = min(uvec2(cut.low + third, cut.low + 2 * third), uvec2(cut.high));
	vec4 m = measure(by_id ? uvec2(drawing.cut_key) : place, by_id ? V - place : uvec2(V));
	if (m.y > enough || m.w >= most)
		cut = Interval(place.y, cut.high, m.yw, cut.at_high);
	else if (m.x > enough || m.z >= most)
		cut = Interval(place.x, place.y, m.xz, m.yw);
	else
		cut = Interval(cut.low, place.x, cut.at_low, m.xz);
}

// Step 3: where top-p and top-k cut.  Returns how likely the last token kept is, or -1 if there is no doubt that it is the last.
float find_cut(float enough, float most, uint lowest, float all)
{
	// First the largest key so that the tokens that have it or a larger one are enough, then how many of those that have it are
	// not needed.
	Interval cut = Interval(lowest, key_of(drawing.largest) + 1, vec2(-1), vec2(0));
	for (bool by_id = false;;) {
		narrow(cut, by_id, enough, most);
		if (cut.high - cut.low > 1)
			continue;
		if (by_id) {
			drawing.cut_below = V - cut.low;
			break;
		}
		drawing.cut_key = cut.low;
		if (cut.at_low.y - cut.at_high.y < 2) // one token has it; or not even all were enough
			break;
		by_id = true;
		cut.low = 0;
		cut.high = V;
	}
	float each = likelihood(of_key(drawing.cut_key));
	if (enough == INFINITE || cut.at_low.y < 0 || each == 0)
		return -1;
	bool by_count = cut.at_low.y >= most;
	return enough - cut.at_high.x < CLOSE * all || (!by_count && cut.at_low.x - enough < CLOSE * all) ? each : -1;
}

// ------------------------------------------------------------------------------------------------------- the draw

float weight_below(float below)
{
	return below < 0 ? exponential(below / drawing.temperature) : 1;
}

float weight(uint i)
{
	float logit;
	uint id;
	token(i, logit, id);
	uint key = key_of(logit);
	if (minus_infinity(logit) || key < drawing.cut_key || (key == drawing.cut_key && id >= drawing.cut_below))
		return 0;
	return weight_below(logit - drawing.largest);
}

// s_sum4[t] becomes the sum of the numbers of threads 0 to t.
void scan(vec2 own)
{
	s_sum4[thread].xy = own;
	barrier();
	[[dont_unroll]] for (uint distance = 1; distance < WORKGROUP; distance *= 2) {
		vec2 sum = s_sum4[thread].xy;
		if (thread >= distance)
			sum = plus(s_sum4[thread - distance].xy, sum);
		barrier();
		s_sum4[thread].xy = sum;
		barrier();
	}
}

// Step 4: the token at `share` of the total weight, and whether a border is near.  in_doubt: find_cut()'s result.
uint find_token(vec2 share, float in_doubt, float all, out bool is_close)
{
	uint begin = 0, count = drawing.count, team = TEAM;
	vec2 before = vec2(0), after = vec2(0);
	float total = -1, target = 0;
	while (team != 1) {
		team = count > WORKGROUP ? TEAM : 1;
		uint part = (count + WORKGROUP / team - 1) / (WORKGROUP / team), at = begin + thread / team * part;
		uint end = min(at + part, begin + count);
		vec2 own = vec2(0);
		for (uint i = at + thread % team; i < end; i += team)
			own = plus(own, vec2(weight(i), 0));
		if (thread == 0) {
			s_found = WORKGROUP;
			s_last = 0;
		}
		scan(own);
		if (total < 0) {
			total = s_sum4[WORKGROUP - 1].x + s_sum4[WORKGROUP - 1].y;
			target = share.x * total + share.y * total;
		}
		vec2 until = plus(before, s_sum4[thread].xy);
		if (own.x > 0) {
			atomicMax(s_last, thread);
			if ((until.x - target) + until.y > 0)
				atomicMin(s_found, thread);
		}
		barrier();
		uint found = (s_found < WORKGROUP ? s_found : s_last) / team;
		after = plus(before, s_sum4[found * team + team - 1].xy);
		if (found > 0)
			before = plus(before, s_sum4[found * team - 1].xy);
		begin += found * part;
		count = min(part, count - found * part);
		barrier();
	}
	float from = before.x + before.y, to = after.x + after.y;
	is_close = (from > 0 && target - from < CLOSE * total) || (to < total && to - target < CLOSE * total);
	// If the cut is in doubt: what the tokens weigh that it is about.  Rounding may be off by 2e-7 of the sum.
	if (in_doubt > 0 && weight_below(of_key(drawing.cut_key) - drawing.largest) * (1 + 2e-7 * all / in_doubt) > 5e-6 * total)
		is_close = true;
	float logit;
	uint id;
	token(begin, logit, id);
	return id;
}

// Steps 2 to 4, after survey().  In uniform control flow.
uint draw(float temperature, float top_p, uint top_k, uvec2 seed, uvec2 position, out bool is_close)
{
	drawing.temperature = temperature;
	float in_doubt = -1, all = drawing.all;
	if (is_cut(top_p, top_k)) {
		float enough = top_p < 1 ? top_p * all : INFINITE, most = float(top_k != 0 && top_k < V ? top_k : V);
		in_doubt = find_cut(enough, most, find_candidates(enough * 1.0001, most), all);
	}
	uint random = philox(seed, position);
	vec2 share = vec2(float(random >> 8) * 5.9604644775390625e-8, float(random & 255u) * 2.3283064365386963e-10);
	return find_token(share, in_doubt, all, is_close);
}
