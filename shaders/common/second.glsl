// Files included after this work on a stage's second matrix.
#undef WEIGHTS
#undef SIDE
#undef TYPE
#undef NAME
#define WEIGHTS READ_SECOND
#define SIDE READ_SECOND_SIDE
#define TYPE SECOND_TYPE
#define NAME(f) second_##f
