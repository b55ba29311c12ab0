#!/bin/sh
# data races, found by the thread sanitizer in all that has threads: loading, packing, compiling, sessions beside each other, the server
set -eu
. "$(dirname -- "$0")/../setup.sh"

install_needs run test

# Whether a program with two threads and a data race can be built, and its race is found.  If the kernel randomises addresses
# more widely than the sanitizer expects, its programs run without randomisation.
work=$root/build/tsan-check
mkdir -p "$work"
cat >"$work/race.c" <<'END'
#include <pthread.h>
static int shared;
static void *add(void *user)
{
	shared++;
	return user;
}
int main(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, add, NULL) != 0)
		return 1;
	shared++;
	pthread_join(thread, NULL);
	return 0;
}
END
${CC:-cc} -g -fsanitize=thread "$work/race.c" -o "$work/race" -lpthread >"$work/log" 2>&1 ||
    skip "the compiler has no thread sanitizer: $(tail -n 1 "$work/log")"
finds_races() {
    "$@" "$work/race" >"$work/log" 2>&1 || true # it ends with an error when it has found one
    grep -q "ThreadSanitizer: data race" "$work/log"
}
if finds_races; then
    plainly=
elif finds_races setarch "$(uname -m)" -R; then
    plainly="setarch $(uname -m) -R"
else
    skip "the thread sanitizer does not run here: $(tail -n 1 "$work/log")"
fi

begin
build tsan all
say "built in $(took)"
begin
# shellcheck disable=SC2086
$plainly ctest --test-dir "$root/build/tsan" --output-on-failure --no-tests=error -j "$(nproc)" \
    -R '^test_(parallel|pack|bpe|export|export_file|quantise|formats|options|faults|session|interface|recovery|tune|threads|batch|store|store_redis|cache)(\.sliced)?$|^serve_' ||
    die "the thread sanitizer has found something, or a test has failed"
say "tested in $(took)"
