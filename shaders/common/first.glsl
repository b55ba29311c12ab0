// Files included after this work on a stage's first matrix.
#define WEIGHTS READ_WEIGHTS
#define SIDE READ_SIDE
#define TYPE WEIGHT_TYPE
#define NAME(f) first_##f
