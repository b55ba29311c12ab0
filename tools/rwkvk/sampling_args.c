#include "sampling_args.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t sampling_random_seed(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t x = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30 ^ (uint64_t)getpid() << 44;
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) & UINT32_MAX;
}

static void take_number(float *field, const struct arg_number *arg)
{
	if (arg->given)
		*field = arg->value;
}

rwkvk_sampling sampling_choose(const struct sampling_args *args, const rwkvk_model *model, const struct bias_list *biases)
{
	rwkvk_sampling sampling = { 0 };
	rwkvk_model_sampling(model, &sampling);
	if (args->temperature.given && args->temperature.value == 0)
		sampling.presence = sampling.frequency = 0;
	take_number(&sampling.temperature, &args->temperature);
	take_number(&sampling.top_p, &args->top_p);
	take_number(&sampling.presence, &args->presence);
	take_number(&sampling.frequency, &args->frequency);
	take_number(&sampling.decay, &args->decay);
	if (args->top_k.given)
		sampling.top_k = (uint32_t)args->top_k.value;
	sampling.seed = args->seed.value;
	sampling.biases = biases->biases;
	sampling.bias_count = biases->count;
	return sampling;
}

bool sampling_is_drawn(const rwkvk_sampling *s)
{
	return s->temperature > 0 && s->top_p > 0 && s->top_k != 1;
}

const char *sampling_show(char *out, size_t size, const rwkvk_sampling *s)
{
	if (s->temperature == 0)
		snprintf(out, size, "temperature 0, presence %g, frequency %g, decay %g", (double)s->presence, (double)s->frequency,
		         (double)s->decay);
	else
		snprintf(out, size, "temperature %g, top-p %g, top-k %" PRIu32 ", presence %g, frequency %g, decay %g, seed %" PRIu64,
		         (double)s->temperature, (double)s->top_p, s->top_k, (double)s->presence, (double)s->frequency,
		         (double)s->decay, s->seed);
	return out;
}

/* ---------------------------------------------------------------------------------------------------- by name */

const char *sampling_name(const void *user, size_t index)
{
	(void)user;
	struct sampling_args args;
	const struct arg rows[] = { ARGS_SAMPLING(args) };
	return index < sizeof(rows) / sizeof(rows[0]) ? rows[index].name : NULL;
}

static int unknown_name(const char *word)
{
	char name[64];
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	const char *guess = nearest(name, sampling_name, NULL);
	return guess ? failed("unknown setting \"%s\"; did you mean \"%s\"?", name, guess)
	             : failed("unknown setting \"%s\"; expected NAME=VALUE, such as temp=0.8 or top-p=0.5", name);
}

static int set_row(const struct arg *row, const char *value)
{
	if (row->kind == ARG_NUMBER) {
		struct arg_number number = { .given = true };
		if (!args_number(value, row->low, row->high, &number.value))
			return failed("%s: expected a number from %g to %g, got \"%.60s\"", row->name, row->low, row->high, value);
		*(struct arg_number *)row->target = number;
		return EXIT_DONE;
	}
	struct arg_count count = { .given = true };
	uint64_t high = row->high > 0 ? (uint64_t)row->high : UINT64_MAX;
	if (!args_count(value, high, &count.value))
		return failed("%s: expected a whole number from 0 to %" PRIu64 ", got \"%.60s\"", row->name, high, value);
	*(struct arg_count *)row->target = count;
	return EXIT_DONE;
}

int sampling_set(struct sampling_args *args, const char *word)
{
	const struct arg rows[] = { ARGS_SAMPLING(*args) };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t length = strlen(rows[i].name);
		if (strncmp(word, rows[i].name, length) == 0 && word[length] == '=')
			return set_row(&rows[i], word + length + 1);
	}
	return unknown_name(word);
}

void sampling_args_free(struct sampling_args *args)
{
	free(args->bias.bans.texts);
	free(args->bias.biases.texts);
}
