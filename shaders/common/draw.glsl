// Drawing a token from logits, one workgroup for all of them.  What is drawn is defined in docs/model.md, Sampling, and is what
// src/session/sampler.c draws; here nothing is sorted:
//
//   1. the sum of all e^(logit - largest), and how many logits lie in each eighth of a nat below the largest
//   2. those numbers tell which tokens can be kept at all; they are listed, in the order of ids, if the list holds them
//   3. the last logit that top-p and top-k keep is found by narrowing down the interval it lies in to a third, again and again;
//      which of equal ones, by the interval of ids
//   4. the tokens kept share the interval from 0 to 1 in the order of ids; the one that has the random number is found by
//      narrowing down the range of ids, a part for each team of threads
//
// Sums carry their rounding errors along, and are added in an order that depends on nothing but the workgroup's size.  Draws
// that come so close to a border that rounding may decide are told.  Loops over tokens and barriers are few, because compilers
// take long over them.  The logits are those at PICKS_LOGITS.
const uint BINS = 96, LISTED = 4 * WORKGROUP, TEAM = 16;
const float PER_BIN = 0.125, CLOSE = 1e-5;

shared uint s_bins[BINS];
shared uint s_list_id[LISTED];
shared float s_list_logit[LISTED];
shared vec2 s_scan[WORKGROUP];
shared uint s_count, s_found, s_last;

struct Drawing {
	float largest, temperature;
	uint count;     // of tokens to go through
	bool listed;    // they are the list's
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
	float n = round(x * 1.44269504);
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
	for (int i = 0; i < 10; i++) {
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
	return uint(min((drawing.largest - logit) / PER_BIN, float(BINS)));
}

void token(uint i, out float logit, out uint id)
{
	id = drawing.listed ? s_list_id[i] : i;
	logit = drawing.listed ? s_list_logit[i] : picks[PICKS_LOGITS + i];
}

// Lists the tokens of bins up to `last`, of which there are `count`.
void make_list(uint last, uint count)
{
	if (thread == 0)
		s_count = 0;
	barrier();
	for (uint i = thread; i < V; i += WORKGROUP) {
		float logit = picks[PICKS_LOGITS + i];
		if (bin_of(logit) <= last) {
			uint at = atomicAdd(s_count, 1);
			if (at < LISTED) {
				s_list_id[at] = i;
				s_list_logit[at] = logit;
			}
		}
	}
	barrier();
	// in any order; into that of ids
	uint ids[4], ranks[4];
	float logits[4];
	[[unroll]] for (uint j = 0; j < 4; j++) {
		uint at = thread + j * WORKGROUP;
		ids[j] = at < count ? s_list_id[at] : 0;
		logits[j] = at < count ? s_list_logit[at] : 0;
		ranks[j] = 0;
	}
	for (uint i = 0; i < count; i++) {
		uint other = s_list_id[i];
		[[unroll]] for (uint j = 0; j < 4; j++)
			ranks[j] += uint(other < ids[j]);
	}
	barrier();
	[[unroll]] for (uint j = 0; j < 4; j++)
		if (thread + j * WORKGROUP < count) {
			s_list_id[ranks[j]] = ids[j];
			s_list_logit[ranks[j]] = logits[j];
		}
	barrier();
	drawing.listed = true;
	drawing.count = count;
}

// Steps 1 and 2: the sum over all tokens.  Lists those among which the last one kept is, if it can; *lowest is below their keys.
float survey(float top_p, uint most, out uint lowest)
{
	for (uint i = thread; i < BINS; i += WORKGROUP)
		s_bins[i] = 0;
	barrier();
	vec2 sum = vec2(0);
	for (uint i = thread; i < V; i += WORKGROUP) {
		float logit = picks[PICKS_LOGITS + i];
		uint bin = bin_of(logit);
		if (bin < BINS)
			atomicAdd(s_bins[bin], 1);
		sum = plus(sum, vec2(likelihood(logit), 0));
	}
	vec4 sums = workgroup_sum(vec4(sum, 0, 0));
	float all = sums.x + sums.y, enough = top_p < 1 ? top_p * all * 1.0001 : INFINITE, least = 0;
	uint count = 0, last = 0;
	for (; last < BINS; last++) { // all logits of a bin are at least as likely as its end
		count += s_bins[last];
		least += float(s_bins[last]) * 0.999 * exponential(-PER_BIN * float(last + 1));
		if (least > enough || count >= most)
			break;
	}
	barrier();
	lowest = key_of(-LARGEST) - 1;
	if (last < BINS && count <= LISTED) {
		make_list(last, count);
		lowest = key_of(drawing.largest - PER_BIN * float(last + 2));
	}
	return all;
}

// ------------------------------------------------------------------------------------------------------- the cut

// Two places, and how many tokens there are up to each: with a larger key, or an equal one and an id below; what they sum to.
struct Places {
	uvec2 key, below;
	vec2 sum, count;
};

void measure(inout Places at)
{
	vec2 first = vec2(0), second = vec2(0), count = vec2(0);
	for (uint i = thread; i < drawing.count; i += WORKGROUP) {
		float logit;
		uint id;
		token(i, logit, id);
		uint key = key_of(logit);
		bool in_first = key > at.key.x || (key == at.key.x && id < at.below.x);
		bool in_second = key > at.key.y || (key == at.key.y && id < at.below.y);
		float e = likelihood(logit);
		first = plus(first, vec2(in_first ? e : 0, 0));
		second = plus(second, vec2(in_second ? e : 0, 0));
		count += vec2(in_first, in_second);
	}
	vec4 sums = workgroup_sum(vec4(first.x + first.y, second.x + second.y, count));
	at.sum = sums.xy;
	at.count = sums.zw;
}

// Step 3: where top-p and top-k cut.  Returns how likely the last token is, or -1 if there is no doubt that it is the last.
float find_cut(float enough, float most, uint lowest, float all)
{
	// First the largest key so that the tokens that have it or a larger one exceed `enough`, or are `most`: it is `low` in the
	// end.  Then, if not all tokens with this key are needed, the id up to which `kept` of them come: `high`.
	uint low = lowest, high = key_of(drawing.largest) + 1;
	float sum_above = 0, above = 0, with_low = -1, by_sum = 0, kept = 0, each = 0;
	bool by_id = false;
	drawing.cut_below = V;
	for (;;) {
		if (high - low <= 1) {
			if (by_id || with_low < 0) // with_low < 0: not even all exceed `enough`
				break;
			// of the equal tokens as many as are needed, and one at least
			float equal = with_low - above;
			each = likelihood(of_key(low));
			by_sum = each > 0 ? min(max(floor((enough - sum_above) / each), 0) + 1, equal) : equal;
			kept = min(by_sum, max(most - above, 1));
			by_id = true;
			drawing.cut_key = low;
			if (kept >= equal)
				break;
			low = 0;
			high = V;
		}
		uint third = max((high - low) / 3, 1u);
		uvec2 place = min(uvec2(low + third, low + 2 * third), uvec2(high));
		Places at;
		at.key = by_id ? uvec2(drawing.cut_key) : place;
		at.below = by_id ? place : uvec2(V);
		measure(at);
		if (by_id) { // the second place has more tokens
			bvec2 too_few = lessThan(at.count, vec2(above + kept));
			if (!too_few.x)
				high = place.x;
			else if (!too_few.y)
				low = place.x, high = place.y;
			else
				low = place.y;
			continue;
		}
		bvec2 reaches = bvec2(at.sum.x > enough || at.count.x >= most, at.sum.y > enough || at.count.y >= most);
		if (reaches.y)
			low = place.y, with_low = at.count.y;
		else if (reaches.x)
			low = place.x, with_low = at.count.x, high = place.y, sum_above = at.sum.y, above = at.count.y;
		else
			high = place.x, sum_above = at.sum.x, above = at.count.x;
	}
	if (!by_id) {
		drawing.cut_key = low;
		return -1;
	}
	if (kept < with_low - above)
		drawing.cut_below = high;
	if (enough == INFINITE || each == 0)
		return -1;
	float before = enough - (sum_above + (kept - 1) * each), after = sum_above + kept * each - enough;
	bool by_count = kept == most - above;
	return before < CLOSE * all || (!by_count && after < CLOSE * all) ? each : -1;
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

// s_scan[t] becomes the sum of the numbers of threads 0 to t.
void scan(vec2 own)
{
	s_scan[thread] = own;
	barrier();
	for (uint distance = 1; distance < WORKGROUP; distance *= 2) {
		vec2 sum = s_scan[thread];
		if (thread >= distance)
			sum = plus(s_scan[thread - distance], sum);
		barrier();
		s_scan[thread] = sum;
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
			total = s_scan[WORKGROUP - 1].x + s_scan[WORKGROUP - 1].y;
			target = share.x * total + share.y * total;
		}
		vec2 until = plus(before, s_scan[thread]);
		if (own.x > 0) {
			atomicMax(s_last, thread);
			if ((until.x - target) + until.y > 0)
				atomicMin(s_found, thread);
		}
		barrier();
		uint found = (s_found < WORKGROUP ? s_found : s_last) / team;
		after = plus(before, s_scan[found * team + team - 1]);
		if (found > 0)
			before = plus(before, s_scan[found * team - 1]);
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

// Steps 1 to 4.  In uniform control flow.
uint draw(float largest, float temperature, float top_p, uint top_k, uvec2 seed, uvec2 position, out bool is_close)
{
	drawing = Drawing(largest, temperature, V, false, 0, V);
	float in_doubt = -1, all = 0;
	uint most = top_k != 0 && top_k < V ? top_k : V;
	if (top_p < 1 || most < V) {
		uint lowest;
		all = survey(top_p, most, lowest);
		in_doubt = find_cut(top_p < 1 ? top_p * all : INFINITE, float(most), lowest, all);
	}
	uint random = philox(seed, position);
	vec2 share = vec2(float(random >> 8) * 5.9604644775390625e-8, float(random & 255u) * 2.3283064365386963e-10);
	return find_token(share, in_doubt, all, is_close);
}
