// VEC_* of the q-th of RWKV-6's five mixes, in the order of their LoRA factors; chosen, as some compilers fail at a table of constants.
uint mix_vector(uint q)
{
	return q == 0 ? VEC_MIX_W : q == 1 ? VEC_MIX_K : q == 2 ? VEC_MIX_V : q == 3 ? VEC_MIX_R : VEC_MIX_G;
}
