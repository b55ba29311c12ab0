/* What the embedded shaders ask of a device: SPIR-V 1.3, 32-bit numbers, the few capabilities below.  No 8- or 16-bit storage
 * and no half-precision arithmetic, which many phones do not have; no addresses, no atomics on floats.  Only what measures
 * exactly that arithmetic has it, and runs where the device does.  And nothing that drivers round each in their own way. */
#include "support.h"

#include "gpu/shaders.h"

#include <string.h>

enum { OP_EXT_INST = 12, OP_CAPABILITY = 17, OP_TYPE_INT = 21, OP_TYPE_FLOAT = 22, OP_CONSTANT = 43, OP_DECORATE = 71 };
enum { OP_FADD = 129, OP_FSUB = 131, NO_CONTRACTION = 42, MOST_IDS = 1 << 16 };

/* The capabilities that every Vulkan 1.1 device has, and the subgroup operations that caps.c looks for. */
static const struct {
	uint32_t id;
	const char *name;
	bool subgroups;
} allowed[] = {
	{ 1, "Shader", false },
	{ 46, "SampledBuffer", true },
	{ 47, "ImageBuffer", true },
	{ 61, "GroupNonUniform", true },
	{ 63, "GroupNonUniformArithmetic", true },
	{ 65, "GroupNonUniformShuffle", true },
};

static const struct {
	const char *shader;
	uint32_t id;
} measured[] = {
	{ "measure_f16", 9 },     /* Float16 */
	{ "measure_int8", 6018 }, /* DotProductInput4x8BitPacked */
	{ "measure_int8", 6019 }, /* DotProduct */
};

static bool may_have(const struct embedded_shader *shader, uint32_t capability)
{
	for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
		if (allowed[i].id == capability)
			return strcmp(shader->variant, ".shared") != 0 || !allowed[i].subgroups;
	for (size_t i = 0; i < sizeof measured / sizeof *measured; i++)
		if (measured[i].id == capability && strcmp(measured[i].shader, shader->name) == 0)
			return true;
	return false;
}

/* Of GLSL's built-in functions, the only set there is: shaders/common/nearest.glsl says why. */
static const struct {
	uint32_t id;
	const char *name;
} not_allowed[] = { { 1, "round" }, { 2, "roundEven" }, { 3, "trunc" }, { 8, "floor" }, { 9, "ceil" }, { 10, "fract" } };

static void check_instruction(const struct embedded_shader *shader, const uint32_t *words, uint32_t operation)
{
	if (operation == OP_CAPABILITY && !may_have(shader, words[1]))
		fail_msg("shader %s%s: asks for capability %u of SPIR-V", shader->name, shader->variant, words[1]);
	bool half = operation == OP_TYPE_FLOAT && words[2] == 16 && strcmp(shader->name, "measure_f16") == 0;
	if ((operation == OP_TYPE_INT || operation == OP_TYPE_FLOAT) && words[2] != 32 && !half)
		fail_msg("shader %s: has numbers of %u bits", shader->name, words[2]);
	for (size_t i = 0; i < sizeof not_allowed / sizeof *not_allowed; i++)
		if (operation == OP_EXT_INST && words[4] == not_allowed[i].id)
			fail_msg("shader %s: rounds by %s()", shader->name, not_allowed[i].name);
}

static void instructions(void **state)
{
	(void)state;
	assert_true(embedded_shader_count >= 20);
	for (size_t i = 0; i < embedded_shader_count; i++) {
		const struct embedded_shader *shader = &embedded_shaders[i];
		size_t count = shader->bytes / 4, found = 0;
		assert_true(count > 5 && shader->words[0] == 0x07230203u);
		assert_true(shader->words[1] <= 0x00010300u);
		for (size_t at = 5; at < count; at += shader->words[at] >> 16) {
			assert_true(shader->words[at] >> 16 > 0 && at + (shader->words[at] >> 16) <= count);
			check_instruction(shader, shader->words + at, shader->words[at] & 0xffff);
			found += (shader->words[at] & 0xffff) == OP_CAPABILITY;
		}
		assert_true(found > 0);
	}
}

static bool is_sum(uint32_t operation)
{
	return operation == OP_FADD || operation == OP_FSUB;
}

/* Sums that are to be precise: all of the shader, or those that have its constant with these bits.  Decorations come before
 * constants, and both before functions. */
static size_t check_precise(const struct embedded_shader *shader, bool all, uint32_t bits)
{
	static bool marked[MOST_IDS];
	size_t sums = 0, count = shader->bytes / 4;
	uint32_t constant = 0;
	assert_true(shader->words[3] <= MOST_IDS);
	memset(marked, 0, sizeof marked);
	for (size_t at = 5; at < count; at += shader->words[at] >> 16) {
		const uint32_t *words = shader->words + at;
		uint32_t operation = words[0] & 0xffff;
		if (operation == OP_DECORATE && words[2] == NO_CONTRACTION)
			marked[words[1]] = true;
		if (operation == OP_CONSTANT && words[3] == bits && words[0] >> 16 == 4)
			constant = words[2];
		if (!is_sum(operation) || (!all && (!constant || (words[3] != constant && words[4] != constant))))
			continue;
		if (!marked[words[2]])
			fail_msg("shader %s%s: sum %%%u is not precise", shader->name, shader->variant, words[2]);
		sums++;
	}
	return sums;
}

/* A fused multiplication and addition rounds once where C rounds twice.  What quantises must not have one.  And where
 * nearest.glsl rounds, in whatever shader, a compiler could take the number away that has just been added. */
static void no_contraction(void **state)
{
	(void)state;
	unsigned quantisers = 0, rounding = 0;
	for (size_t i = 0; i < embedded_shader_count; i++) {
		const struct embedded_shader *shader = &embedded_shaders[i];
		bool quantises = strcmp(shader->name, "quantise") == 0;
		size_t sums = check_precise(shader, quantises, 0x4b400000); /* 3 * 2^22 */
		assert_true(!quantises || sums > 20);
		quantisers += quantises;
		rounding += sums > 0;
	}
	assert_int_equal(quantisers, 3);
#ifdef RWKVK_DEVELOPER
	assert_int_equal(rounding, 12); /* select, choose and test_exact, too */
#else
	assert_int_equal(rounding, 9);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(instructions), cmocka_unit_test(no_contraction) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
