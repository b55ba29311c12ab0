/* The two parts of RWKV-7 that plain tensor operations do slowly on a CPU, with their gradients.  model.py compiles this
 * file and calls it through ctypes; B sequences, T tokens, H heads, C channels.
 *
 * Token shift: out[i] = x + (previous x - x) * m[i] for several mixes m of one x [B][T][C], as bfloat16.
 *
 * State update: for each sequence and head, with S a 64x64 matrix (rows: value, columns: key) that starts at zero:
 *   sa = S a;   S = S diag(w) + sa b^T + v k^T;   y = S r
 * on float [B][T][H][64], T a multiple of CHUNK.  The states at the start of every CHUNK steps are kept for the backward
 * pass, which computes those between again.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { N = 64, CHUNK = 16, MAX_CHANNELS = 4096 };
typedef float State[N][N];

/* One step, which also gives S a; out may be in. */
static void step(const State in, State out, const float *restrict r, const float *restrict w, const float *restrict k,
                 const float *restrict v, const float *restrict a, const float *restrict b, float *restrict sa,
                 float *restrict y)
{
	for (int i = 0; i < N; i++) {
		const float *before = in[i];
		float *after = out[i], removed = 0, sum = 0;
		for (int j = 0; j < N; j++)
			removed += before[j] * a[j];
#pragma GCC ivdep
		for (int j = 0; j < N; j++) {
			float x = before[j] * w[j] + removed * b[j] + v[i] * k[j];
			after[j] = x;
			sum += x * r[j];
		}
		sa[i] = removed;
		y[i] = sum;
	}
}

void wkv7_forward(int B, int T, int H, const float *r, const float *w, const float *k, const float *v, const float *a,
                  const float *b, float *y, float *sa, State *chunks)
{
#pragma omp parallel for collapse(2)
	for (int n = 0; n < B; n++)
		for (int h = 0; h < H; h++) {
			State s = { 0 };
			State *keep = chunks + (size_t)(n * H + h) * (T / CHUNK);
			for (int t = 0; t < T; t++) {
				size_t p = (((size_t)n * T + t) * H + h) * N;
				if (t % CHUNK == 0)
					memcpy(keep[t / CHUNK], s, sizeof s);
				step(s, s, r + p, w + p, k + p, v + p, a + p, b + p, sa + p, y + p);
			}
		}
}

/* The gradients of one step.  g is that of the state after it, and becomes that of the state before it. */
static void step_back(const State before, const State after, State g, const float *restrict r, const float *restrict w,
                      const float *restrict k, const float *restrict v, const float *restrict a, const float *restrict b,
                      const float *restrict sa, const float *restrict dy, float *dr, float *dw, float *dk, float *dv, float *da,
                      float *db)
{
	float gr[N] = { 0 }, gw[N] = { 0 }, gk[N] = { 0 }, ga[N] = { 0 }, gb[N] = { 0 };
	for (int i = 0; i < N; i++) {
		const float *restrict old = before[i], *restrict new = after[i];
		float *restrict row = g[i];
		float gv = 0, gsa = 0;
		for (int j = 0; j < N; j++) {
			row[j] += dy[i] * r[j];
			gv += row[j] * k[j];
			gsa += row[j] * b[j];
		}
		for (int j = 0; j < N; j++) {
			float d = row[j];
			gr[j] += dy[i] * new[j];
			gk[j] += d * v[i];
			gb[j] += d * sa[i];
			gw[j] += d * old[j];
			ga[j] += gsa * old[j];
			row[j] = d * w[j] + gsa * a[j];
		}
		dv[i] = gv;
	}
	memcpy(dr, gr, sizeof gr);
	memcpy(dw, gw, sizeof gw);
	memcpy(dk, gk, sizeof gk);
	memcpy(da, ga, sizeof ga);
	memcpy(db, gb, sizeof gb);
}

void wkv7_backward(int B, int T, int H, const float *r, const float *w, const float *k, const float *v, const float *a,
                   const float *b, const float *sa, const State *chunks, const float *dy, float *dr, float *dw, float *dk,
                   float *dv, float *da, float *db)
{
#pragma omp parallel for collapse(2)
	for (int n = 0; n < B; n++)
		for (int h = 0; h < H; h++) {
			_Alignas(64) State s[CHUNK + 1];
			State g = { 0 };
			float unused[2][N];
			for (int t = T - 1; t >= 0; t--) {
				if (t % CHUNK == CHUNK - 1) {
					memcpy(s[0], chunks[(size_t)(n * H + h) * (T / CHUNK) + t / CHUNK], sizeof *s);
					for (int u = 0; u < CHUNK; u++) {
						size_t p = (((size_t)n * T + t - CHUNK + 1 + u) * H + h) * N;
						step(s[u], s[u + 1], r + p, w + p, k + p, v + p, a + p, b + p, unused[0], unused[1]);
					}
				}
				size_t p = (((size_t)n * T + t) * H + h) * N;
				step_back(s[t % CHUNK], s[t % CHUNK + 1], g, r + p, w + p, k + p, v + p, a + p, b + p, sa + p, dy + p, dr + p,
				          dw + p, dk + p, dv + p, da + p, db + p);
			}
		}
}

static uint16_t round16(float f)
{
	uint32_t u;
	memcpy(&u, &f, 4);
	return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static float widen(uint16_t h)
{
	uint32_t u = (uint32_t)h << 16;
	float f;
	memcpy(&f, &u, 4);
	return f;
}

void shift_forward(int B, int T, int C, int mixes, const float *x, const float *m, uint16_t **out)
{
	static const float zero[MAX_CHANNELS];
#pragma omp parallel for
	for (int n = 0; n < B * T; n++) {
		const float *now = x + (size_t)n * C, *before = n % T ? now - C : zero;
		for (int i = 0; i < mixes; i++)
			for (int c = 0; c < C; c++)
				out[i][(size_t)n * C + c] = round16(now[c] + (before[c] - now[c]) * m[i * C + c]);
	}
}

/* dout are the gradients of out as bfloat16; dm must be zero on entry. */
void shift_backward(int B, int T, int C, int mixes, const float *x, const float *m, uint16_t **dout, float *dx, float *dm)
{
	enum { BLOCK = 64 };
	static const float zero[BLOCK];
#pragma omp parallel for
	for (int at = 0; at < C; at += BLOCK)
		for (int n = 0; n < B * T; n++) {
			size_t p = (size_t)n * C + at;
			const float *now = x + p, *before = n % T ? now - C : zero;
			float d[BLOCK] = { 0 }, earlier[BLOCK] = { 0 };
			for (int i = 0; i < mixes; i++)
				for (int c = 0; c < BLOCK; c++) {
					float g = widen(dout[i][p + c]), share = g * m[i * C + at + c];
					d[c] += g - share;
					earlier[c] += share;
					dm[i * C + at + c] += g * (before[c] - now[c]);
				}
			for (int c = 0; c < BLOCK; c++)
				dx[p + c] = d[c];
			if (n % T)
				for (int c = 0; c < BLOCK; c++)
					dx[p - C + c] += earlier[c];
		}
}
