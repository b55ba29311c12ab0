/* How work is divided on devices that are not at hand: whatever their limits, the shaders' rules hold. */
#include "support.h"

#include "engine/plan.h"

static bool is_power_of_two(uint32_t n)
{
	return n > 0 && (n & (n - 1)) == 0;
}

static void check(const struct gpu_caps *caps, const struct config *c)
{
	struct tuning s = tuning_for(caps, c);
	assert_true(is_power_of_two(s.workgroup) && s.workgroup <= 256 && s.workgroup <= caps->max_invocations);
	assert_int_equal(s.workgroup % caps->subgroup_size, 0);
	assert_true(is_power_of_two(s.lanes) && s.lanes <= s.workgroup);
	assert_true(s.rows == 1 || s.rows == 2 || s.rows == 4 || s.rows == 8);
	assert_true(s.chunk > 0 && s.chunk % 256 == 0);
	assert_true(s.groups > 0);
	assert_true(is_power_of_two(s.state_lanes) && s.state_lanes <= s.workgroup);
	if (c->head_size >= 4) /* RWKV-4 has no heads */
		assert_int_equal(c->head_size % (4 * s.state_lanes), 0);
	if (caps->subgroups) {
		assert_true(s.lanes <= caps->subgroup_size);
		assert_true(s.state_lanes <= caps->subgroup_size);
	} else {
		assert_int_equal(s.state_lanes, 1);
	}
	/* the staged input, the sums' vec4s, head's best logits and ids, and without subgroups the rows' parts */
	uint32_t shared = 4 * s.chunk + 16 * (caps->subgroups ? s.workgroup / 4 : s.workgroup) + 8 * s.workgroup +
	                  (caps->subgroups ? 0 : 4 * s.workgroup * s.rows);
	assert_true(shared <= caps->max_shared_bytes);
	struct tuning tuned = s; /* tuning begins with it */
	assert_true(tuning_complete(&tuned, caps, c));
	assert_memory_equal(&tuned, &s, sizeof s);
}

/* Tiles of chunks, the usual one among them, are within the device's limits, or refused. */
static void check_tiles(const struct gpu_caps *caps, const struct config *c)
{
	const struct chunk_shape usual = chunk_shape_for(caps, c);
	const struct tile first = chunk_shape_tile(&usual);
	struct chunk_shape s = usual;
	assert_true(chunk_shape_cut(&s, caps, &first));
	assert_memory_equal(&s, &usual, sizeof s);
	for (uint32_t workgroup = 32; workgroup <= 512; workgroup *= 2)
		for (uint32_t outputs = 1; outputs <= 16; outputs *= 2)
			for (uint32_t tokens = 1; tokens <= 32; tokens *= 2)
				for (uint32_t depth = 0; depth <= 64; depth += 16) {
					s = usual;
					if (!chunk_shape_cut(&s, caps, &(struct tile){ workgroup, outputs, tokens, depth })) {
						assert_memory_equal(&s, &usual, sizeof s);
						continue;
					}
					assert_true(workgroup <= caps->max_invocations && workgroup % caps->subgroup_size == 0);
					assert_true(16 * (s.tile_outputs + s.tile_rows) * (depth / 4 + 1) <= caps->max_shared_bytes);
					assert_true(outputs * tokens <= 64 && (depth == 16 || depth == 32));
					assert_int_equal(s.tile_outputs * s.tile_rows, workgroup * outputs * tokens);
					assert_int_equal(s.workgroup, usual.workgroup); /* which bits depend on */
				}
}

static void all_devices(void **state)
{
	(void)state;
	static const rwkvk_device_type types[] = { RWKVK_DEVICE_DISCRETE, RWKVK_DEVICE_VIRTUAL, RWKVK_DEVICE_INTEGRATED,
		                                       RWKVK_DEVICE_CPU, RWKVK_DEVICE_OTHER };
	static const uint32_t subgroups[] = { 1, 4, 8, 16, 32, 64, 128 }, invocations[] = { 128, 256, 1024 };
	static const uint32_t kilobytes[] = { 16, 32, 48, 64 }, widths[] = { 64, 768, 2048, 2560, 4096, 5120 };
	static const uint32_t head_sizes[] = { 1, 4, 12, 20, 32, 48, 64, 96, 128 };
	unsigned checked = 0;
	for (size_t a = 0; a < 5; a++)
		for (size_t b = 0; b < 7; b++)
			for (size_t i = 0; i < 3; i++)
				for (size_t k = 0; k < 4; k++) {
					check_tiles(&(struct gpu_caps){ .type = types[a],
					                                .subgroups = subgroups[b] > 1,
					                                .subgroup_size = subgroups[b],
					                                .max_invocations = invocations[i],
					                                .max_shared_bytes = kilobytes[k] << 10 },
					            &(struct config){ .width = 768, .head_size = 64 });
					for (size_t w = 0; w < 6; w++)
						for (size_t h = 0; h < 9; h++, checked++)
							check(&(struct gpu_caps){ .type = types[a],
							                          .subgroups = subgroups[b] > 1,
							                          .subgroup_size = subgroups[b],
							                          .max_invocations = invocations[i],
							                          .max_shared_bytes = kilobytes[k] << 10 },
							      &(struct config){ .width = widths[w], .head_size = head_sizes[h] });
				}
	assert_int_equal(checked, 5 * 7 * 3 * 4 * 6 * 9);
}

/* A state row is spread over as many threads as a graphics card's subgroup allows, but a software device's loops are narrow. */
static void state_lanes(void **state)
{
	(void)state;
	const struct config c = { .width = 2048, .head_size = 64 };
	struct gpu_caps caps = { .type = RWKVK_DEVICE_DISCRETE,
		                     .subgroups = true,
		                     .subgroup_size = 64,
		                     .max_invocations = 1024,
		                     .max_shared_bytes = 65536 };
	assert_int_equal(tuning_for(&caps, &c).state_lanes, 16);
	caps.subgroup_size = 8;
	assert_int_equal(tuning_for(&caps, &c).state_lanes, 8);
	caps.type = RWKVK_DEVICE_CPU;
	assert_int_equal(tuning_for(&caps, &c).state_lanes, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(all_devices), cmocka_unit_test(state_lanes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
