/* Arbitrary bytes as the pickle of a .pth file that is whole otherwise.  The last byte says whether its entries are stored or
 * deflated. */
#include "check_weights.h"

#include "make_pth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const char *const storages[] = { "m/data/0", "m/data/1", "m/data/2" };
	static const uint8_t zeros[64];
	struct zip_maker zip = { 0 };
	if (bytes == 0)
		return 0;
	enum zip_kind kind = data[bytes - 1] & 1 ? ZIP_DEFLATED : ZIP_STORED;
	zip_put(&zip, "m/data.pkl", data, bytes - 1, ZIP_STORED);
	for (size_t i = 0; i < sizeof storages / sizeof *storages; i++)
		zip_put(&zip, storages[i], zeros, 16 << i, kind); /* 4, 8 and 16 floats */
	zip_end(&zip);
	fuzz_weights(zip.file.data, zip.file.count);
	bytes_free(&zip.file);
	return 0;
}
